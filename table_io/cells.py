"""What a cell holds: a number, a gap, or something else."""

import contextlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

# What pandas and Arrow write and read as a missing value; a cell of whitespace is one as well.
GAPS = (
    *("", "NA", "N/A", "n/a", "NULL", "null", "NaN", "nan", "-NaN", "-nan"),
    *("#N/A", "#N/A N/A", "#NA", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
)
_GAPS = pa.array(GAPS)
_NUMBER = r"^[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|(?i:inf|infinity))$"
_SAMPLE_ROWS = 64
_KINDS_OF_TEXT = (pa.int64(), pa.float64(), pa.bool_(), pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"))


def is_text(kind: pa.DataType) -> bool:
    """Return whether a column of this type holds text."""
    return any(check(kind) for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def numbers(column: pa.Array) -> NDArray[np.float64]:
    """Return a column of text or numbers as doubles, shape (n,): NaN for a gap and for what is not a number."""
    if is_text(column.type):
        with contextlib.suppress(pa.ArrowInvalid):
            return _doubles(column.cast(pa.float64()))
        column = pc.utf8_trim_whitespace(column)
        column = pc.if_else(pc.match_substring_regex(column, _NUMBER), column, None)
    return _doubles(column.cast(pa.float64(), safe=False))


def typed(column: pa.Array) -> pa.Array:
    """Return a column of text as what all its cells are, with null for each gap.

    That is whole numbers, numbers, booleans (true and false), dates or times; text where they are nothing of it, and
    Arrow's null type where each cell is a gap.
    """
    # Most columns of numbers need no second pass.
    for kind in (pa.int64(), pa.float64()):
        with contextlib.suppress(pa.ArrowInvalid):
            cast = _cast(column, kind)
            if kind == pa.int64() or not pc.any(pc.is_nan(cast)).as_py():
                return cast
    present = without_gaps(column)
    if present.null_count == len(present):
        return pa.nulls(len(present))
    trimmed = pc.utf8_trim_whitespace(present)
    for kind in _KINDS_OF_TEXT:
        with contextlib.suppress(pa.ArrowInvalid):
            return _cast(trimmed, kind)
    return present


def without_gaps(column: pa.Array) -> pa.Array:
    """Return a column of text with null for each gap, and every other cell as it is."""
    return pc.if_else(pc.is_in(pc.utf8_trim_whitespace(column), value_set=_GAPS), None, column)


def _cast(text: pa.Array, kind: pa.DataType) -> pa.Array:
    # Arrow takes 1.5 us for each cell that it cannot cast.
    text[:_SAMPLE_ROWS].cast(kind)
    cast = text.cast(kind)
    # Arrow reads 0x10 as a whole number.
    if kind == pa.int64() and any(pc.any(pc.match_substring(text, letter)).as_py() for letter in "xX"):
        raise pa.ArrowInvalid("hexadecimal")
    return cast


def _doubles(column: pa.Array) -> NDArray[np.float64]:
    values: NDArray[np.float64] = (column.fill_null(np.nan) if column.null_count else column).to_numpy()
    return values
