"""Rows of JSON: schema, decoding and validation."""
