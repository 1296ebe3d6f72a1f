"""Ask a part whether it is ready."""

import json
import ssl
import urllib.error
import urllib.request

from local_stack.parts import Part

PROBE_TIMEOUT_SECONDS = 2.0


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
