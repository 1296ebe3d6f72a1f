"""One reader of tables for the API, training and the user interface, with one set of rules (docs/files.md).

- A table is CSV, an Arrow stream or Parquet. CSV is UTF-8 with a header row; commas separate its cells, or semicolons
  or tabs where the header row has no comma. A row has as many cells as the header.
- A name is text without whitespace at its ends, which is removed; names are compared exactly, and none appears twice.
- A number is an optional sign, digits with at most one decimal point, and an optional exponent, as in `-1.5e3`.
  Whitespace around it does not count, no-break spaces included. `inf` and `1e400` are numbers that are not finite.
- A gap is a null, a cell of nothing but whitespace, NaN, or one of the words in `cells.GAPS`, such as `NA` or `null`.

What each program accepts beyond that is its own rule: a prediction needs a finite number in each cell of a feature,
while training learns from gaps. Errors are `errors.TableFormatError` with one sentence.

Nothing is imported here: `kinds` needs no pyarrow, the other modules do.
"""
