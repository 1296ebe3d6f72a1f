"""The training service logs as the API does."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from http_service.logs import JsonFormatter
from tests.unit.training_service.running import TOKEN
from training_service.application import create_app
from training_service.settings import TrainingServiceSettings


def test_a_request_is_one_line_with_its_fields(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(TrainingServiceSettings(admin_token=TOKEN, training_dir=str(tmp_path)))
    caplog.set_level(logging.INFO)
    headers = {"Authorization": f"Bearer {TOKEN}", "X-Request-ID": "id-1"}
    answer = app.test_client().get("/options", headers=headers)
    (line,) = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    assert (line["message"], line["route"], line["status"]) == ("request", "/options", 200)
    assert (line["request_id"], line["response_bytes"]) == ("id-1", len(answer.data))
    assert TOKEN not in json.dumps(line)


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_log_format_is_that_of_the_setting(repository: Path, tmp_path: Path, log_format: str) -> None:
    program = (
        "import logging, runpy\n"
        "runpy.run_path('training_service/gunicorn.conf.py')\n"
        "logging.getLogger('test').warning('hello')\n"
    )
    environment = {"LOG_FORMAT": log_format, "ADMIN_TOKEN": TOKEN, "TRAINING_DIR": str(tmp_path)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("{") == (log_format == "json")
    assert "hello" in done.stdout
