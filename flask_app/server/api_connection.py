"""A connection of the API: what its client has sent is read before a thread has it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from flask_app.server.compute_slots import compute_slots
from http_service.gunicorn.response import OneWriteResponse
from http_service.gunicorn.slow_clients import TimedConnection, TimedUnreader

if TYPE_CHECKING:
    from http_service.gunicorn.deadlines import Deadlines


class ApiConnection(TimedConnection):
    """A connection that hands to a thread what the poller has read of a request."""

    received = b""
    # Since when the request waits for a thread, in monotonic time.
    queued_at = 0.0
    # Accepted beyond the limit of `LoadShedding`.
    is_excess = False
    deadlines: Deadlines | None = None

    def init(self) -> None:
        """Prepare for a request, of which a part may have been read."""
        super().init()
        if self.received:
            self.parser.unreader.unread(self.received)
            self.received = b""

    def wait(self, deadlines: Deadlines) -> None:
        """Begin to wait for the remaining header or body, unless this connection already does."""
        if self.deadlines is not deadlines:
            self.stop_waiting()
            self.deadlines = deadlines
            deadlines.start(self)

    def stop_waiting(self) -> None:
        """Forget the deadline."""
        if self.deadlines is not None:
            self.deadlines.stop(self)
            self.deadlines = None


class ApiUnreader(TimedUnreader):
    """Frees the thread's compute slot while the client sends."""

    def waiting(self) -> AbstractContextManager[None]:
        """Return the context in which to wait for the client."""
        return compute_slots.released()


class ApiResponse(OneWriteResponse):
    """Frees the thread's compute slot while the client reads."""

    def waiting(self) -> AbstractContextManager[None]:
        """Return the context in which to wait for the client."""
        return compute_slots.released()
