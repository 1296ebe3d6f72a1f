"""Whole tables as files: CSV, Arrow stream and Parquet.

A file is received completely into an unnamed file on disk, read once to check every cell, and read again to predict:
so whatever is wrong with it is one clear error, and no client has to read the answer while it still sends.

Only `media_type` and `upload` may be imported at the start: the others load pyarrow.
"""
