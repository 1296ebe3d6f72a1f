"""Which kind of table a file is, by its first bytes."""

from typing import Literal

from table_io.errors import TableFormatError

Kind = Literal["csv", "arrow", "parquet"]

# How many bytes `kind_of_file` looks at.
HEAD_BYTES = 4096
PARQUET_MAGIC = b"PAR1"
_OTHER_MAGIC = (b"PK\x03\x04", b"\x1f\x8b", b"\x89PNG", b"%PDF")


def kind_of_file(head: bytes) -> Kind:
    """Return "csv" or "parquet" for the first HEAD_BYTES of a file without a declared type.

    Raises:
        TableFormatError: it is neither.
    """
    if head.startswith(PARQUET_MAGIC):
        return "parquet"
    if b"\0" in head or head.startswith(_OTHER_MAGIC):
        raise TableFormatError("The file is neither CSV nor Parquet; save it as one of them, without compressing it.")
    return "csv"
