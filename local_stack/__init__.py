"""The stack as local processes: what `make run` starts."""
