"""Logs: one JSON object a line on standard output, or lines for people."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

# What a log record has anyway; everything else came by `extra` and is part of the line.
_STANDARD = {*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"}


_encode = msgspec.json.Encoder(enc_hook=str).encode


class JsonFormatter(logging.Formatter):
    """A line that stays one valid JSON object whatever the message holds: quotes, newlines, lone surrogates."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **extra_fields(record),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        try:
            encoded = _encode(line).decode()
        # A lone surrogate, or a number beyond 64 bits.
        except (UnicodeEncodeError, OverflowError):
            encoded = ""
        # Escaped, so that nothing in a name can steer a terminal.
        return encoded if encoded.isascii() and encoded else json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """Time, level, message and the fields of the line."""

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={_visible(value)}" for name, value in extra_fields(record).items())
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        line = f"{time} {record.levelname:<7} {record.getMessage()} {fields}".rstrip()
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _visible(value: Any) -> str:
    # A client's path must not forge a second line or steer the terminal.
    text = str(value)
    return text if text.isprintable() else ascii(text)


def extra_fields(record: logging.LogRecord) -> dict[str, Any]:
    """What the caller passed as `extra`."""
    return {name: value for name, value in record.__dict__.items() if name not in _STANDARD}


def logging_config(log_format: str, level: str) -> dict[str, Any]:
    """A configuration for `logging.config.dictConfig`."""
    formatter = {"json": JsonFormatter, "text": TextFormatter}[log_format]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter}},
        "handlers": {"stdout": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stdout"}},
        "root": {"level": level.upper(), "handlers": ["stdout"]},
    }
