"""What can be wrong with a table."""

from collections.abc import Sequence


class TableFormatError(ValueError):
    """The table cannot be read; the message is one sentence.

    `faults` names the rows or columns at fault, each with what is wrong with it; empty where it is the whole file.
    """

    def __init__(self, sentence: str = "", faults: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(sentence or "; ".join(f"{where} {message}" for where, message in faults) + ".")
        self.faults = list(faults)


class TableTooLargeError(TableFormatError):
    """The table, once unpacked, is larger than its reader allows."""
