"""Settings from the environment, with one sentence for each bad value."""

import os
from collections.abc import Mapping
from typing import Annotated, Literal, Self, get_args, get_type_hints

import msgspec

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Positive = Annotated[int, msgspec.Meta(ge=1)]


class SettingsError(Exception):
    """A setting is invalid; the message names it and its allowed values."""


class ServiceSettings(msgspec.Struct, frozen=True):
    """The settings that every service has. The environment variable is the field's name in capitals."""

    bind_address: str = "127.0.0.1"
    """Address that Gunicorn listens on; 0.0.0.0 in a container."""
    graceful_timeout_seconds: Positive = 20
    """Seconds that Gunicorn waits for running requests when it stops."""
    log_format: Literal["json", "text"] = "json"
    """One JSON object a line, or lines for people."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Return the settings; a variable that is unset or empty leaves the default.

        Raises:
            SettingsError: a value has the wrong type or is out of range.
        """
        given = {name: environ[name.upper()].strip() for name in cls.__struct_fields__ if environ.get(name.upper())}
        if "log_level" in given:
            given["log_level"] = given["log_level"].lower()
        for name, value in given.items():
            try:
                msgspec.convert({name: value}, cls, strict=False)
            except msgspec.ValidationError as error:
                expected = str(error).split(" - at ")[0]
                choices = get_args(get_type_hints(cls)[name])
                if choices:
                    expected = f"it is one of {', '.join(choices)}"
                raise SettingsError(f"{name.upper()}={value!r} cannot be used: {expected}.") from None
        return msgspec.convert(given, cls, strict=False)
