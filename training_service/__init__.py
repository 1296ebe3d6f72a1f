"""Training over HTTP: upload a table, queue a training, activate a version or roll back; all with one admin token."""
