"""An open-loop client: requests go out at their times, whether or not those before are answered.

`python -m benchmarks.open_loop HOST PORT REQUESTS_FILE RATE:SECONDS...` prints one line of JSON: a list of buckets of
a quarter of a second each, by the time at which requests were due. Times are counted from then, so that a request which
had to wait for the client itself counts that wait, too.
"""

import collections
import gc
import json
import select
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BUCKET_SECONDS = 0.25
ANSWER_SECONDS = 5.0
"""Without an answer for so long, a request counts as timed out."""
MAX_CONNECTIONS = 4000
_LATE_SECONDS = 0.2
"""A client that is so late skips requests, and reports how many it offered."""


@dataclass
class Bucket:
    """What became of the requests of a quarter of a second."""

    rate: float
    """Requests a second that were due."""
    sent: int = 0
    good: int = 0
    shed: int = 0
    """503 with Retry-After and JSON."""
    other: int = 0
    """Any other status, a connection refused or cut, an incomplete 503."""
    timeouts: int = 0
    held: int = 0
    """Not sent, since MAX_CONNECTIONS requests were waiting for an answer."""
    good_ms: list[float] = field(default_factory=list)
    shed_ms: list[float] = field(default_factory=list)


class _Connection:
    """A socket, and the request under way on it."""

    __slots__ = ("bucket", "buffer", "due", "socket", "unsent")

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect_ex(address)
        self.buffer = b""
        self.unsent = b""
        self.due = 0.0
        self.bucket: Bucket | None = None


class OpenLoop:
    """Offers phases of (requests a second, seconds) one after the other."""

    def __init__(self, host: str, port: int, requests: list[bytes]) -> None:
        self._address = (host, port)
        self._requests = requests
        self._turn = 0
        self._epoll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._idle: list[_Connection] = []
        self._waiting: collections.deque[tuple[float, _Connection]] = collections.deque()

    def run(self, phases: list[tuple[float, float]]) -> list[Bucket]:
        """Offer the phases, wait for the last answers, and return the outcome of each quarter of a second."""
        buckets: list[Bucket] = []
        for rate, seconds in phases:
            buckets += self._phase(rate, seconds)
        deadline = time.perf_counter() + ANSWER_SECONDS + 0.5
        while any(connection.bucket for connection in self._connections.values()) and time.perf_counter() < deadline:
            self._poll(0.05)
        return buckets

    def _phase(self, rate: float, seconds: float) -> list[Bucket]:
        buckets = [Bucket(rate) for _ in range(max(1, round(seconds / BUCKET_SECONDS)))]
        began = time.perf_counter()
        count, total = 0, int(rate * len(buckets) * BUCKET_SECONDS)
        while count < total:
            now = time.perf_counter() - began
            due = min(total, int(now * rate) + 1)
            count = max(count, int((now - _LATE_SECONDS) * rate))
            # In turns with the answers, so that neither waits for the other.
            for number in range(count, min(due, count + 50)):
                self._send(began + number / rate, buckets[int(number / rate / BUCKET_SECONDS)])
                count = number + 1
            late = count < due
            self._poll(0 if late else max(0.0, count / rate - (time.perf_counter() - began)))
        return buckets

    def _send(self, due: float, bucket: Bucket) -> None:
        if self._idle:
            connection = self._idle.pop()
        elif len(self._connections) < MAX_CONNECTIONS:
            connection = _Connection(self._address)
            self._connections[connection.socket.fileno()] = connection
            self._epoll.register(connection.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)
        else:
            bucket.held += 1
            return
        bucket.sent += 1
        connection.due, connection.bucket, connection.buffer = due, bucket, b""
        self._turn = (self._turn + 1) % len(self._requests)
        connection.unsent = self._requests[self._turn]
        self._waiting.append((due, connection))
        self._write(connection)

    def _write(self, connection: _Connection) -> None:
        try:
            sent = connection.socket.send(connection.unsent)
        except (BlockingIOError, OSError):
            # Not connected yet; a refused connection comes as an event.
            return
        connection.unsent = connection.unsent[sent:]

    def _poll(self, seconds: float) -> None:
        for number, event in self._epoll.poll(seconds):
            connection = self._connections.get(number)
            if connection is None:
                continue
            if event & select.EPOLLOUT:
                if connection.unsent:
                    self._write(connection)
                if not connection.unsent:
                    self._epoll.modify(number, select.EPOLLIN)
            if event & (select.EPOLLIN | select.EPOLLHUP | select.EPOLLERR):
                self._read(connection)
        self._time_out()

    def _read(self, connection: _Connection) -> None:
        try:
            piece = connection.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            if connection.bucket:
                connection.bucket.other += 1
            self._close(connection)
            return
        connection.buffer += piece
        answer = _parse(connection.buffer)
        if answer is None or connection.bucket is None:
            return
        status, last, complete_shed = answer
        milliseconds = (time.perf_counter() - connection.due) * 1e3
        bucket, connection.bucket = connection.bucket, None
        if status == 200:
            bucket.good += 1
            bucket.good_ms.append(milliseconds)
        elif status == 503 and complete_shed:
            bucket.shed += 1
            bucket.shed_ms.append(milliseconds)
        else:
            bucket.other += 1
        if last:
            self._close(connection)
        else:
            self._idle.append(connection)

    def _time_out(self) -> None:
        oldest = time.perf_counter() - ANSWER_SECONDS
        while self._waiting and self._waiting[0][0] < oldest:
            due, connection = self._waiting.popleft()
            if connection.bucket is not None and connection.due == due:
                connection.bucket.timeouts += 1
                self._close(connection)

    def _close(self, connection: _Connection) -> None:
        connection.bucket = None
        self._connections.pop(connection.socket.fileno(), None)
        if connection in self._idle:
            self._idle.remove(connection)
        connection.socket.close()


def _parse(buffer: bytes) -> tuple[int, bool, bool] | None:
    """Status, whether the connection ends, whether a 503 has Retry-After and JSON; None until the answer is whole."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = buffer[:end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0 or len(buffer) < end + 4 + int(head[at + 17 :].split(b"\r\n", 1)[0]):
        return None
    status = int(head[9:12])
    complete_shed = status == 503 and b"\r\nretry-after:" in head and buffer[end + 4 : end + 5] == b"{"
    return status, b"\r\nconnection: close" in head, complete_shed


def http_requests(path: str, content_type: str, bodies: list[bytes]) -> list[bytes]:
    """Whole requests as they go over the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: "
    return [f"{head}{len(body)}\r\n\r\n".encode() + body for body in bodies]


def main(host: str, port: str, path: str, *phases: str) -> None:
    """Offer the phases and print the buckets."""
    texts: list[str] = json.loads(Path(path).read_text())
    loop = OpenLoop(host, int(port), [text.encode() for text in texts])
    # Garbage is collected for milliseconds once there are many buckets.
    gc.disable()
    buckets = loop.run(
        [(float(rate), float(seconds)) for rate, _, seconds in (phase.partition(":") for phase in phases)]
    )
    result: list[dict[str, Any]] = [vars(bucket) for bucket in buckets]
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
