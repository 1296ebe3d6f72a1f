"""Measures of speed and memory, against other servers of the same model: `make bench`."""
