"""Wait in the background until every part is ready."""

import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence

from local_stack.parts import Part
from local_stack.terminal import say

READY_TIMEOUT_SECONDS = 60.0
PROBE_TIMEOUT_SECONDS = 2.0
_POLL_SECONDS = 0.2


class ReadinessProbes:
    """Probe every part until all are ready; then print a text."""

    def __init__(self, parts: Sequence[Part], ready_text: str) -> None:
        self._parts = parts
        self._ready_text = ready_text
        self._is_stopped = threading.Event()
        self.late: tuple[Part, str] | None = None
        """The part that was not ready in time, and why."""

    def start(self) -> None:
        """Start probing in a thread."""
        threading.Thread(target=self._run, name="readiness", daemon=True).start()

    def stop(self) -> None:
        """Stop probing and printing."""
        self._is_stopped.set()

    def _run(self) -> None:
        began = time.monotonic()
        waiting = list(self._parts)
        while waiting and not self._is_stopped.is_set():
            for part in list(waiting):
                reason = why_not_ready(part)
                seconds = time.monotonic() - began
                if self._is_stopped.is_set():
                    return
                if reason is None:
                    waiting.remove(part)
                    say(f"{part.name} is ready after {seconds:.1f} s")
                elif seconds > READY_TIMEOUT_SECONDS:
                    self.late = (part, reason)
                    return
            self._is_stopped.wait(_POLL_SECONDS)
        if not waiting:
            say(self._ready_text)


def why_not_ready(part: Part) -> str | None:
    """Return why the part is not ready, as a sentence, or None when it is ready."""
    try:
        context = ssl.create_default_context(cafile=str(part.ca_cert)) if part.ca_cert else None
        # The environment's proxy is not meant for this machine's own services.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(part.ready_url, timeout=PROBE_TIMEOUT_SECONDS):
            return None
    except urllib.error.HTTPError as error:
        return _detail(error.read(2000)) or f"{part.ready_url} answers with status {error.code}."
    except OSError as error:
        return f"{part.ready_url}: {error}."


def _detail(body: bytes) -> str | None:
    """Return the sentence of a problem document (RFC 9457)."""
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return None
