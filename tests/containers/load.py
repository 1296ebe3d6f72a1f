"""Continuous prediction requests, while something else happens."""

import http.client
import json
import ssl
import threading
import time
from collections import Counter
from urllib.parse import urlsplit

import numpy as np

from tests.stacks import ComposeStack

ROWS = np.random.default_rng(5).uniform([4.3, 2, 1, 0.1], [7.9, 4.4, 6.9, 2.5], (4000, 4)).round(1).tolist()


class Load:
    """POST /predict `total` times, or until the block ends; count (status or error, track, version)."""

    def __init__(
        self,
        stack: ComposeStack,
        total: int = 0,
        connections: int = 4,
        per_second: float = 0.0,
        *,
        keepalive: bool = True,
    ) -> None:
        self.results: Counter[tuple[object, str | None, str | None]] = Counter()
        self._keepalive = keepalive
        self._context = ssl.create_default_context(cafile=stack.ca_cert)
        self._parts = urlsplit(stack.base_url)
        self._left = total if total else 10**9
        self._pause = connections / per_second if per_second else 0.0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._client, daemon=True) for _ in range(connections)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop sending, and wait for running requests."""
        with self._lock:
            self._left = 0
        self.join()

    def join(self) -> "Load":
        for thread in self._threads:
            thread.join()
        return self

    def run(self) -> "Load":
        """Send all requests and wait for the answers."""
        for thread in self._threads:
            thread.start()
        return self.join()

    def of(self, place: int) -> Counter[object]:
        """Return the counts by status (0), track (1) or model version (2)."""
        counts: Counter[object] = Counter()
        for result, number in self.results.items():
            counts[result[place]] += number
        return counts

    def _client(self) -> None:
        connection = http.client.HTTPSConnection(
            self._parts.hostname or "", self._parts.port, context=self._context, timeout=30
        )
        while True:
            with self._lock:
                if self._left <= 0:
                    break
                self._left -= 1
                row = ROWS[self._left % len(ROWS)]
            began = time.perf_counter()
            result: tuple[object, str | None, str | None]
            try:
                connection.request(
                    "POST", "/predict", json.dumps({"features": row}), {"Content-Type": "application/json"}
                )
                answer = connection.getresponse()
                content = answer.read()
                version = json.loads(content)["model_version"] if answer.status == 200 else None
                result = (answer.status, answer.headers["X-Model-Track"], version)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                result = (repr(error), None, None)
            if not self._keepalive:
                connection.close()
            with self._lock:
                self.results[result] += 1
            if self._pause:
                time.sleep(max(0.0, self._pause - (time.perf_counter() - began)))
        connection.close()
