"""Whole tables as files: CSV, Arrow streams and Parquet.

A file is received completely into an unnamed file on disk, read once to check every cell, and read again to predict.
So every fault of a file is one clear error, and no client has to read the answer while it still sends.

At the start the application imports only `media_type` and `upload`: the other modules load pyarrow.
"""
