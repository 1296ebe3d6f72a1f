"""Estimators that training can fit."""
