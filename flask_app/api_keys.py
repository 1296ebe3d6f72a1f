"""Valid API keys: SHA-256 hashes from the settings, and from a file that may change while the API runs."""

import hashlib
import hmac
import logging
import re
import threading
import time
from pathlib import Path

from flask_app.settings import ApiSettings
from http_service.settings import SettingsError

ID_PATTERN = "[A-Za-z0-9._-]{1,64}"
_ENTRY = re.compile(f"({ID_PATTERN}):([0-9a-fA-F]{{64}})")
_HINT = "python -m flask_app.authentication new ID makes one"

_log = logging.getLogger(__name__)

Keys = list[tuple[str, bytes]]


class KeyRing:
    """The keys of the settings and of the file.

    A request with a key checks whether the file has changed, at most once in `model_poll_seconds`.
    """

    def __init__(self, settings: ApiSettings) -> None:
        """
        Raises:
            SettingsError: API_KEYS is malformed. A malformed file does not stop a worker, which may restart while the
                file is being edited: until it is repaired its keys are invalid. `check` finds it at the first start.
        """
        self.enabled = bool(settings.api_keys or settings.api_keys_file)
        self._fixed = _parse("API_KEYS", settings.api_keys) if settings.api_keys else []
        self._keys = self._fixed
        self._file = Path(settings.api_keys_file) if settings.api_keys_file else None
        self._poll_seconds = settings.model_poll_seconds
        self._seen: object = None
        self._next_poll = 0.0
        self._polling = threading.Lock()

    def check(self) -> None:
        """
        Raises:
            SettingsError: the file cannot be read or is malformed.
        """
        if self._file:
            _parse("API_KEYS_FILE", _read(self._file))

    def identify(self, key: str) -> str | None:
        """Return the id of a valid key, else None. Compares with every key in constant time."""
        self._poll_file()
        # Headers are Latin-1.
        given = hashlib.sha256(key.encode("latin-1", "replace")).digest()
        found = None
        for key_id, digest in self._keys:
            if hmac.compare_digest(given, digest):
                found = key_id
        return found

    def _poll_file(self) -> None:
        """Read the file if it changed; an unreadable file leaves the keys as they are."""
        if self._file is None or time.monotonic() < self._next_poll or not self._polling.acquire(blocking=False):
            return
        try:
            state = _state(self._file)
            if state != self._seen:
                self._seen = state
                self._keys = self._fixed + _parse("API_KEYS_FILE", _read(self._file), may_be_empty=True)
                _log.info("API keys read", extra={"keys": sorted({key_id for key_id, _ in self._keys})})
        except SettingsError as error:
            _log.error("API keys not read", extra={"reason": str(error)})
        finally:
            self._next_poll = time.monotonic() + self._poll_seconds
            self._polling.release()


def hash_key(key: str) -> str:
    """Return the hash of a key, as the settings take it."""
    return hashlib.sha256(key.encode()).hexdigest()


def _parse(name: str, text: str, may_be_empty: bool = False) -> Keys:
    # No message repeats the text: it may be a key in place of its hash.
    keys = []
    for number, entry in enumerate(re.split(r"[\s,]+", re.sub(r"#.*", "", text).strip(" \t\r\n,")), 1):
        match = _ENTRY.fullmatch(entry)
        if match:
            keys.append((match[1], bytes.fromhex(match[2])))
        elif entry:
            raise SettingsError(
                f"{name} cannot be used: entry {number} is not an id, a colon and 64 hexadecimal digits ({_HINT})."
            )
    if not keys and not may_be_empty:
        raise SettingsError(f"{name} cannot be used: it contains no key ({_HINT}).")
    return keys


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise SettingsError(f"API_KEYS_FILE={str(path)!r} cannot be used: {reason}.") from None


def _state(path: Path) -> object:
    """Return a value that changes with the file; Kubernetes updates a mounted Secret by links, which stat follows."""
    try:
        status = path.stat()
    except OSError as error:
        return error.errno
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
