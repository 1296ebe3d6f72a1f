"""Every setting of the API, read from the environment in one place."""

import os
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class SettingsError(Exception):
    """A setting cannot be used; the message names it and says what it may be."""


class Settings(msgspec.Struct, frozen=True):
    """The environment variable is the field's name in capitals."""

    bind_address: str = "127.0.0.1"
    """Address that Gunicorn listens on; 0.0.0.0 in a container."""
    api_port: Port = 5000
    """Port that Gunicorn listens on."""
    web_concurrency: Positive = 2
    """Worker processes: as many as cores that the API may use, never the machine's count inside a container."""
    threads: Positive = 4
    """Threads of a worker; more than one keeps /health answering while a prediction runs."""
    model_store: str = "artifacts"
    """Folder of the artifact store."""
    model_poll_seconds: Seconds = 1.0
    """Seconds between two looks at the store's pointer."""
    max_body_bytes: Positive = 1_048_576
    """Largest body of a request; Nginx has the same limit under the same name."""
    graceful_timeout_seconds: Positive = 20
    """Seconds that requests under way get when the API is told to stop."""
    keepalive_seconds: Positive = 75
    """Seconds that an idle connection is kept; above Nginx's 60, or Nginx writes into a connection just closed."""
    log_format: Literal["json", "text"] = "json"
    """One JSON object a line, or lines for people."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings; a variable that is unset or empty leaves the default.

        Raises:
            SettingsError: a value is of the wrong type or out of range.
        """
        given = {name: environ[name.upper()].strip() for name in cls.__struct_fields__ if environ.get(name.upper())}
        for name, value in given.items():
            try:
                msgspec.convert({name: value}, cls, strict=False)
            except msgspec.ValidationError as error:
                expected = str(error).split(" - at ")[0]
                raise SettingsError(f"{name.upper()}={value!r} cannot be used: {expected}.") from None
        return msgspec.convert(given, cls, strict=False)
