"""A connection of the API: what its client has sent is read before a thread has it."""

from http_service.gunicorn.deadlines import Deadlines
from http_service.gunicorn.slow_clients import TimedConnection


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
