"""What a column's name is."""

from collections import Counter
from collections.abc import Sequence

from table_io.errors import TableFormatError

# Each row of a wider table would be too much work.
MAX_COLUMNS = 10_000
_MAX_SHOWN = 100


def clean_names(names: Sequence[str]) -> list[str]:
    """Return the names without whitespace at their ends.

    Raises:
        TableFormatError: there are more than MAX_COLUMNS, or two are the same.
    """
    if len(names) > MAX_COLUMNS:
        raise TableFormatError(f"The table has more than {MAX_COLUMNS} columns; keep only those that you need.")
    cleaned = [name.strip() for name in names]
    repeated = [name for name, count in Counter(cleaned).items() if count > 1]
    if repeated:
        message = "appears more than once among the columns"
        raise TableFormatError(faults=[(name[:_MAX_SHOWN] or "an empty name", message) for name in repeated])
    return cleaned
