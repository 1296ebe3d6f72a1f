"""Logs: every record is one valid JSON object a line, or one line of text."""

import json
import logging
import logging.config
from datetime import datetime
from typing import Any

import pytest

from http_service.logs import JsonFormatter, TextFormatter, logging_config

NASTY = ['say "hi"', "two\nlines\r\n", "\ud800 lone", "tab\t\x00\x1b[31m", "ünïcödé 🌸", "%s %d {}", "\\", "\u2028"]


def _record(message: Any, *arguments: Any, **extra: Any) -> logging.LogRecord:
    return logging.getLogger("test").makeRecord("test", logging.INFO, "f", 1, message, arguments, None, extra=extra)


@pytest.mark.parametrize("text", NASTY)
def test_a_line_stays_one_json_object(text: str) -> None:
    line = JsonFormatter().format(_record(text, field=text, nested={text: [text]}))
    assert line.isascii() and line.isprintable()
    parsed = json.loads(line)
    assert (parsed["message"], parsed["field"], parsed["nested"]) == (text, text, {text: [text]})


def test_a_line_has_the_documented_fields() -> None:
    line = json.loads(JsonFormatter().format(_record("%s and %d", "one", 2, other=object, path=None)))
    assert line["message"] == "one and 2"
    assert (line["level"], line["logger"], line["path"]) == ("info", "test", None)
    assert datetime.fromisoformat(line["time"]).utcoffset() is not None
    assert line["other"] == "<class 'object'>"


def test_a_trace_is_part_of_its_line() -> None:
    try:
        raise ValueError('with "quotes"\nand lines')
    except ValueError as error:
        record = _record("failed")
        record.exc_info = (type(error), error, error.__traceback__)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert 'ValueError: with "quotes"\nand lines' in json.loads(line)["trace"]


def test_text_has_level_message_and_fields() -> None:
    line = TextFormatter().format(_record("request", method="GET", path="/health", status=200))
    assert line.endswith("INFO    request method=GET path=/health status=200")


@pytest.mark.parametrize("text", ["a\n12:00:00 INFO    request forged=1", "\x1b[2J"])
def test_text_of_a_client_cannot_forge_a_line_or_control_a_terminal(text: str) -> None:
    line = TextFormatter().format(_record("request", path=text))
    assert line.isprintable()


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_configuration_writes_to_standard_output(log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logging.config.dictConfig(logging_config(log_format, "warning"))
        logging.getLogger("somebody").info("not this")
        logging.getLogger("somebody").warning("but this")
        said = capsys.readouterr().out
    finally:
        for handler in root.handlers[:]:
            root.removeHandler(handler)
        for handler in handlers:
            root.addHandler(handler)
        root.setLevel(level)
    assert "not this" not in said
    assert said.count("\n") == 1
    assert (json.loads(said)["message"] if log_format == "json" else said).endswith(
        "but this" + "\n" * (log_format == "text")
    )
