"""docs/api.md: every command gives the documented answer, and every path and status is documented."""

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.readme.reader import ROOT, Reader, shape
from tests.stacks import ProcessStack, free_ports

DOCUMENT = (ROOT / "docs" / "api.md").read_text()
BLOCK = re.compile(r"<!-- tested: (\w+)( part)? -->\n```sh\n(.*?)```\n(?:```(json|text)\n(.*?)```\n)?", re.DOTALL)
BLOCKS = BLOCK.findall(DOCUMENT)
KEY = "open-sesame"

Place = tuple[str, str | None]


def blocks(*ways: str) -> list[Any]:
    return [pytest.param(*block[1:], id=f"{number}") for number, block in enumerate(BLOCKS) if block[0] in ways]


def check(place: Place, part: str, command: str, kind: str, answer: str) -> None:
    """Run a block against a base address, trusting an authority's certificate, and compare its answer."""
    base, ca_cert = place
    environ = {"URL": base, **({"CURL_CA_BUNDLE": ca_cert} if ca_cert else {})}
    printed = Reader.at_checkout(**environ).run(command)
    assert answer, f"{command} has no answer in the document; it is:\n{printed}"
    if kind == "text":
        assert roughly(printed) == roughly(answer)
    elif part:
        given = json.loads(printed)
        assert cut(given, json.loads(answer)) == json.loads(answer)
    else:
        assert shape(json.loads(roughly(printed))) == shape(json.loads(roughly(answer)))


def roughly(text: str) -> str:
    """Return the text without versions and digits of probabilities, which differ between models."""
    text = re.sub(r"\b\d{8}-\d{6}-[0-9a-f]{8}\b", "VERSION", text)
    return re.sub(r"\b0\.\d{3,}(e-\d+)?|\b\d\.\d+e-\d+", "0.5", text)


def cut(value: Any, pattern: Any) -> Any:
    """Return only the members that the pattern has, at any depth."""
    if isinstance(pattern, dict) and isinstance(value, dict):
        return {name: cut(value.get(name), member) for name, member in pattern.items()}
    return value


@pytest.fixture(params=["direct", "nginx"])
def place(request: pytest.FixtureRequest, process_stack: ProcessStack) -> Place:
    if request.param == "nginx":
        return process_stack.base_url, process_stack.ca_cert
    return process_stack.api_url, None


@pytest.mark.parametrize(("part", "command", "kind", "answer"), blocks("api"))
def test_examples(place: Place, part: str, command: str, kind: str, answer: str) -> None:
    check(place, part, command, kind, answer)


@pytest.mark.parametrize(("part", "command", "kind", "answer"), blocks("direct"))
def test_examples_of_the_api_itself(
    process_stack: ProcessStack, part: str, command: str, kind: str, answer: str
) -> None:
    check((process_stack.api_url, None), part, command, kind, answer)


@pytest.mark.parametrize(("part", "command", "kind", "answer"), blocks("nginx"))
def test_examples_of_nginx(process_stack: ProcessStack, part: str, command: str, kind: str, answer: str) -> None:
    check((process_stack.base_url, process_stack.ca_cert), part, command, kind, answer)


@pytest.fixture(scope="module")
def start_api() -> Iterator[Callable[..., str]]:
    """Run Gunicorn alone with settings, until the module's end; return its address."""
    with contextlib.ExitStack() as stack:

        def start(**settings: str) -> str:
            (port,) = free_ports(1)
            process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "-c", "flask_app/gunicorn.conf.py", "flask_app.wsgi:app"],
                cwd=ROOT,
                env={**os.environ, "API_PORT": str(port), "WEB_CONCURRENCY": "1", **settings},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait, 20)
            stack.callback(process.send_signal, signal.SIGTERM)
            base = f"http://localhost:{port}"
            _wait_for(f"{base}/health")
            return base

        yield start


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2).close()
            return
        except (OSError, urllib.error.URLError):
            assert time.monotonic() < deadline, url
            time.sleep(0.1)


@pytest.mark.parametrize(("part", "command", "kind", "answer"), blocks("empty"))
def test_examples_without_a_model(
    start_api: Callable[..., str], tmp_path: Path, part: str, command: str, kind: str, answer: str
) -> None:
    check((start_api(MODEL_STORE=str(tmp_path)), None), part, command, kind, answer)


@pytest.fixture(scope="module")
def closed_api(start_api: Callable[..., str], process_stack: ProcessStack) -> str:
    keys = f"me:{hashlib.sha256(KEY.encode()).hexdigest()}"
    return start_api(API_KEYS=keys, MODEL_STORE=str(process_stack.store))


@pytest.mark.parametrize(("part", "command", "kind", "answer"), blocks("keys"))
def test_examples_with_keys(closed_api: str, part: str, command: str, kind: str, answer: str) -> None:
    check((closed_api, None), part, command, kind, answer)


@pytest.fixture(scope="module")
def limited_stack(process_stack: ProcessStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessStack]:
    folder = tmp_path_factory.mktemp("limited")
    with ProcessStack(folder, RATE_LIMIT="1", MODEL_STORE=str(process_stack.store)) as stack:
        yield stack


@pytest.mark.parametrize(("part", "command", "kind", "answer"), blocks("limits"))
def test_examples_with_limits(limited_stack: ProcessStack, part: str, command: str, kind: str, answer: str) -> None:
    check((limited_stack.base_url, limited_stack.ca_cert), part, command, kind, answer)


def test_every_block_is_run() -> None:
    assert {block[0] for block in BLOCKS} == {"api", "direct", "nginx", "empty", "keys", "limits"}
    # All except the block that sets the address.
    assert DOCUMENT.count("```sh") == len(BLOCKS) + 1
    assert DOCUMENT.count("```sh\nURL=http://localhost:5000\n```") == DOCUMENT.count("localhost:5000") == 1


def test_every_path_and_status_of_the_openapi_document_is_documented(process_stack: ProcessStack) -> None:
    document = json.loads(Reader.at_checkout(URL=process_stack.api_url).run("curl $URL/openapi.json"))
    for path, operations in document["paths"].items():
        shown = path.replace("/versions/{version}", "").replace("{name}", "iris")
        assert shown in DOCUMENT, path
        for operation in operations.values():
            for status in operation["responses"]:
                assert status == "200" or re.search(rf"^\| .*\b{status}\b.* \|", DOCUMENT, re.MULTILINE), status
