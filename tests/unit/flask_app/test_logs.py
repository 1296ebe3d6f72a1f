"""Logs: whatever happens, one valid JSON object a line."""

import json
import logging
import logging.config
from datetime import datetime
from typing import Any

import pytest
from flask.testing import FlaskClient

from flask_app.logs import JsonFormatter, TextFormatter, logging_config

NASTY = ['say "hi"', "two\nlines\r\n", "\ud800 lone", "tab\t\x00\x1b[31m", "ünïcödé 🌸", "%s %d {}", "\\", "\u2028"]


def _record(message: Any, *arguments: Any, **extra: Any) -> logging.LogRecord:
    return logging.getLogger("test").makeRecord("test", logging.INFO, "f", 1, message, arguments, None, extra=extra)


@pytest.mark.parametrize("text", NASTY)
def test_a_line_stays_one_json_object(text: str) -> None:
    line = JsonFormatter().format(_record(text, field=text, nested={text: [text]}))
    assert line.isascii() and line.isprintable()
    parsed = json.loads(line)
    assert (parsed["message"], parsed["field"], parsed["nested"]) == (text, text, {text: [text]})


def test_a_line_has_the_promised_fields() -> None:
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


def test_a_request_is_one_line_with_its_fields(client: FlaskClient, setosa: Any, log: Any) -> None:
    body = json.dumps(setosa)
    headers = {"X-Request-ID": "id-1", "Content-Type": "application/json"}
    answer = client.post("/predict?secret=1", data=body, headers=headers)
    (line,) = log.lines()
    expected = {
        "message": "request",
        "level": "info",
        "method": "POST",
        "path": "/predict",
        "route": "/predict",
        "status": 200,
        "request_id": "id-1",
        "client": "127.0.0.1",
        "model_version": answer.json["model_version"],
        "request_bytes": len(body),
        "response_bytes": len(answer.data),
    }
    assert {name: line[name] for name in expected} == expected
    assert 0 < line["duration_ms"] < 60_000
    assert "secret" not in json.dumps(line), "a query string may hold what is not for the log"


@pytest.mark.parametrize(
    "path", ["/%22quoted%22", "/a%0Ab%0D%0Ac", "/%ED%A0%80", "/%00%1b[31m", "/%F0%9F%8C%B8", "/" + "x" * 3000]
)
def test_a_request_for_anything_is_one_valid_line(client: FlaskClient, log: Any, path: str) -> None:
    assert client.get(path, headers={"X-Request-ID": "bad\x00id"}).status_code == 404
    assert log.stream.getvalue().count("\n") == 1
    (line,) = log.lines("request")
    assert (line["status"], line["route"]) == (404, None)
    assert len(line["path"]) <= 200


@pytest.mark.parametrize("status", [400, 405, 413, 415, 422])
def test_a_refused_request_is_logged_once(client: FlaskClient, log: Any, status: int) -> None:
    requests: dict[int, dict[str, Any]] = {
        400: {"data": "{", "content_type": "application/json"},
        405: {"method": "PUT"},
        413: {"data": b" " * 5_000_000, "content_type": "application/json"},
        415: {"data": "x"},
        422: {"json": {}},
    }
    client.open("/predict", **{"method": "POST", **requests[status]})
    (line,) = log.lines()
    assert (line["status"], line["path"]) == (status, "/predict")


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_a_green_probe_is_not_logged_but_a_red_one_is(
    client: FlaskClient, make_app: Any, tmp_path: Any, log: Any, path: str
) -> None:
    client.get(path)
    assert log.lines("request") == []
    make_app(tmp_path).test_client().get("/ready")
    (line,) = log.lines("request")
    assert (line["path"], line["status"]) == ("/ready", 503)


def test_probes_are_logged_when_debugging(client: FlaskClient, log: Any) -> None:
    logging.getLogger().setLevel(logging.DEBUG)
    client.get("/health")
    assert [line["level"] for line in log.lines("request")] == ["debug"]


def test_text_is_for_people() -> None:
    line = TextFormatter().format(_record("request", method="GET", path="/health", status=200))
    assert line.endswith("INFO    request method=GET path=/health status=200")


@pytest.mark.parametrize("text", ["a\n12:00:00 INFO    request forged=1", "\x1b[2J"])
def test_text_of_a_client_cannot_forge_a_line_or_steer_a_terminal(text: str) -> None:
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
