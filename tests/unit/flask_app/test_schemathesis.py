"""Schemathesis against a real Gunicorn: no server error, and nothing that the OpenAPI document does not promise."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
# Bounds the number of cases: each operation gets the configured number, and some for its edge cases.
MIN_CASES, MAX_CASES = 300, 5000


# Flask alone gives the same bytes (server/test_fast_path.py).
@pytest.mark.parametrize("server", ["on"], ids=["fast-path"], indirect=True)
def test_every_answer_is_documented(server: Any, tmp_path: Path) -> None:
    before = set(server.workers())
    command = ["-m", "schemathesis.cli", "--config-file", str(CONFIGURATION), "run", "--no-color"]
    done = subprocess.run(
        [sys.executable, *command, f"http://127.0.0.1:{server.port}/openapi.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    operations = re.search(r"Operations: +(\d+) selected / (\d+) total", done.stdout)
    assert operations and operations[1] == operations[2] != "0", done.stdout
    cases = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert cases and cases[1] == cases[2] and MIN_CASES < int(cases[1]) < MAX_CASES, done.stdout[-2000:]
    assert set(server.workers()) == before, "a worker died"
    assert [line for line in server.log() if line["level"] in ("error", "critical")] == []
