"""Names of measures and cases in the samples."""

OURS = "ours"
IN_PROCESS = "in process"

ONE_ROW = "one row"
MANY_ROWS = "many rows"
EDGE = "through Nginx with TLS"
BINARY_ROWS = "binary rows"
CSV_ROWS = "CSV rows"
MEMORY = "memory"
GROWTH = "memory over requests"
COLD_START = "cold start"
FAIRNESS = "one row beside two files"
OVERLOAD = "overload"
STALLS = "stalled clients"
BY_CONNECTIONS = "curve: connections"
BY_ROWS = "curve: rows"
BY_TREES = "curve: trees"
BY_FEATURES = "curve: features"

READY = "/ready is 200"
FIRST_ANSWER = "first good answer"
AFTER_FIRST = "after the first requests"
BESIDE_FILES = "beside two files"
TWICE = "twice the capacity"

ROW_CONNECTIONS = (1, 16, 64)
"""Connections at which one row is measured."""
