"""Logs: one JSON object a line on standard output, or lines for people."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

# Every log record has these; the other attributes are the caller's `extra` and part of the line.
_STANDARD = {*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName"}

_encode = msgspec.json.Encoder(enc_hook=str).encode


class JsonFormatter(logging.Formatter):
    """Formats any record as one valid JSON object of ASCII: quotes, newlines and lone surrogates are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
            **_extra_fields(record),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        try:
            encoded = _encode(line).decode()
        # A lone surrogate, or a number beyond 64 bits.
        except (UnicodeEncodeError, OverflowError):
            encoded = ""
        # Escaped, so that a name cannot control a terminal.
        return encoded if encoded.isascii() and encoded else json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """Formats a record as time, level, message and fields."""

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={_printable(value)}" for name, value in _extra_fields(record).items())
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        line = f"{time} {record.levelname:<7} {record.getMessage()} {fields}".rstrip()
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def logging_config(log_format: str, level: str) -> dict[str, Any]:
    """Return a configuration for `logging.config.dictConfig`."""
    formatter = {"json": JsonFormatter, "text": TextFormatter}[log_format]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": formatter}},
        "handlers": {"stdout": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stdout"}},
        "root": {"level": level.upper(), "handlers": ["stdout"]},
    }


def _extra_fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in record.__dict__.items() if name not in _STANDARD}


def _printable(value: Any) -> str:
    # A client's path must not forge a second line or control the terminal.
    text = str(value)
    return text if text.isprintable() else ascii(text)
