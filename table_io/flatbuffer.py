"""As much of FlatBuffers as it takes to check Arrow's messages before Arrow reads them."""

import struct


class FlatTable:
    """One table of a FlatBuffers message; `struct` checks every read against the message's end."""

    def __init__(self, data: bytes, position: int | None = None) -> None:
        self._data = data
        self._position = self._read("<I", 0) if position is None else position
        self._fields = self._position - self._read("<i", self._position)

    def number(self, field: int, form: str, default: int = 0) -> int:
        """Return a scalar field, by its number in the schema and its `struct` format."""
        place = self._place(field)
        return self._read(form, place) if place else default

    def table(self, field: int) -> "FlatTable | None":
        """Return a field that is a table; None if it is absent."""
        place = self._place(field)
        return FlatTable(self._data, place + self._read("<I", place)) if place else None

    def pairs(self, field: int) -> list[tuple[int, int]]:
        """Return a field that is a vector of structs of two 64-bit numbers."""
        place = self._place(field)
        if not place:
            return []
        start = place + self._read("<I", place)
        count = self._read("<I", start)
        if count * 16 > len(self._data):
            raise struct.error("a vector is longer than its message")
        numbers = struct.unpack_from(f"<{2 * count}q", self._data, start + 4)
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    def _place(self, field: int) -> int:
        offset = 4 + 2 * field
        if offset >= self._read("<H", self._fields):
            return 0
        relative = self._read("<H", self._fields + offset)
        return self._position + relative if relative else 0

    def _read(self, form: str, position: int) -> int:
        # A negative position would count from the end.
        if position < 0:
            raise struct.error("a position before the start")
        return int(struct.unpack_from(form, self._data, position)[0])
