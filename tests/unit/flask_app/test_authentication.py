"""API keys: access, logs, generation and rotation."""

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flask_app.api_keys import KeyRing, hash_key
from flask_app.commands import keys
from flask_app.settings import ApiSettings
from http_service.settings import SettingsError

ALICE, BOB = "the-key-of-alice", "the-key-of-bob"
ENTRY = {"alice": f"alice:{hash_key(ALICE)}", "bob": f"bob:{hash_key(BOB)}"}
BOTH = f"{ENTRY['alice']},{ENTRY['bob']}"


@pytest.fixture
def closed(make_app: Any, trained_store: Path) -> Any:
    """A client of an application that requires Alice's or Bob's key."""
    return make_app(trained_store, api_keys=BOTH).test_client()


def test_off_by_default(client: Any, setosa: Any) -> None:
    assert client.post("/predict", json=setosa).status_code == 200
    assert client.post("/predict", json=setosa, headers={"X-API-Key": "anything"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {ALICE}"},
        {"Authorization": f"bearer   {ALICE} "},
        {"X-API-Key": ALICE},
        # A proxy in front may use Authorization for itself.
        {"X-API-Key": ALICE, "Authorization": "Basic dTpw"},
        {"X-API-Key": ALICE, "Authorization": "Bearer something.for.the-proxy"},
    ],
)
def test_a_valid_key_is_accepted(closed: Any, setosa: Any, log: Any, headers: dict[str, str]) -> None:
    assert closed.post("/predict", json=setosa, headers=headers).status_code == 200
    (line,) = log.lines("request")
    assert line["api_key"] == "alice"
    assert ALICE not in log.stream.getvalue()


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {ALICE}"},
        {"Authorization": ALICE},
        {"Authorization": f"Bearer {ALICE}x"},
        {"Authorization": f"Bearer {ALICE[:-1]}"},
        {"X-API-Key": ""},
        {"X-API-Key": hash_key(ALICE)},
        {"X-API-Key": "alice"},
        {"X-API-Key": f"alice:{ALICE}"},
        {"X-API-Key": "ÿþ schlüssel"},
        {"X-API-Key": "x" * 8000},
        {"X-API-Key": "wrong", "Authorization": f"Bearer {ALICE}"},
    ],
)
def test_anything_else_is_a_401(closed: Any, setosa: Any, log: Any, headers: dict[str, str]) -> None:
    answer = closed.post("/predict", json=setosa, headers=headers)
    assert answer.status_code == 401
    assert answer.content_type == "application/problem+json"
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="flask-api"')
    problem = answer.get_json()
    assert (problem["status"], problem["title"], problem["errors"]) == (401, "Unauthorized", [])
    sent = next((value for value in headers.values() if len(value) > 6), None)
    if sent and sent.split()[-1] not in ("Bearer", "Basic"):
        assert sent.split()[-1] not in answer.text
        assert sent.split()[-1] not in log.stream.getvalue()
    (line,) = log.lines("request")
    assert "api_key" not in line


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/v2/health/live", "/v2/health/ready"])
def test_probes_need_no_key(closed: Any, path: str) -> None:
    assert closed.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/docs/", "/openapi.json"])
def test_the_documentation_needs_no_key(closed: Any, path: str) -> None:
    """A browser sends no key for a page; the page then asks for one."""
    assert closed.get(path).status_code != 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/model"),
        ("POST", "/predict"),
        ("POST", "/explain"),
        ("GET", "/v2"),
        ("POST", "/v2/models/iris/infer"),
        ("GET", "/"),
        ("GET", "/nowhere"),
        ("GET", "/health/"),
        ("GET", "//health"),
        ("GET", "/metrics/x"),
        ("GET", "/docsx"),
        ("OPTIONS", "/predict"),
        ("HEAD", "/model"),
        ("BREW", "/predict"),
    ],
)
def test_all_other_paths_need_a_key(closed: Any, method: str, path: str) -> None:
    assert closed.open(path, method=method).status_code == 401


def test_routes_without_a_key_are_listed_here(closed: Any) -> None:
    """A new path requires a key unless this test lists it."""
    answered = {
        rule.rule
        for rule in closed.application.url_map.iter_rules()
        if "GET" in rule.methods and closed.get(re.sub(r"<[^>]+>", "x", rule.rule)).status_code != 401
    }
    probes = {"/health", "/ready", "/metrics", "/v2/health/live", "/v2/health/ready"}
    assert probes <= answered
    assert all(rule.startswith(("/docs", "/openapi.json")) for rule in answered - probes)


def test_the_same_id_may_have_two_keys_while_they_are_exchanged(make_app: Any, trained_store: Path) -> None:
    keys = f"alice:{hash_key('old')}  alice:{hash_key('new').upper()}\n"
    client = make_app(trained_store, api_keys=keys).test_client()
    for key, status in (("old", 200), ("new", 200), ("older", 401)):
        assert client.get("/model", headers={"X-API-Key": key}).status_code == status


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ("alice", "entry 1 is not an id, a colon and 64 hexadecimal digits"),
        (f"{BOTH},carol:{ALICE}", "entry 3 is not an id, a colon and 64 hexadecimal digits"),
        (f"{BOTH},carol:{hash_key('x')}0", "entry 3 is not"),
        (f"a b:{hash_key('x')}", "entry 1 is not"),
        (f":{hash_key('x')}", "entry 1 is not"),
        (",", "it contains no key"),
        ("# nothing", "it contains no key"),
    ],
)
def test_a_malformed_setting_is_one_sentence_without_the_key(
    make_app: Any, trained_store: Path, tmp_path: Path, keys: str, sentence: str
) -> None:
    file = tmp_path / "keys"
    file.write_text(keys)
    for settings in ({"api_keys": keys}, {"api_keys_file": str(file)}):
        with pytest.raises(SettingsError) as caught:
            KeyRing(ApiSettings(**settings)).check()
        assert sentence in str(caught.value)
        assert str(caught.value).endswith(".")
        assert ALICE not in str(caught.value)
    with pytest.raises(SettingsError):
        make_app(trained_store, api_keys=keys)


def test_a_bad_setting_stops_gunicorn_with_one_sentence(
    repository: Path, gunicorn_command: list[str], gunicorn_environment: Any, tmp_path: Path
) -> None:
    for name, value, sentence in (
        ("API_KEYS", ALICE, "flask-api: API_KEYS cannot be used: entry 1 is not an id"),
        ("API_KEYS_FILE", str(tmp_path / "none"), "cannot be used: No such file or directory."),
        ("API_KEYS_FILE", str(tmp_path), "cannot be used: Is a directory."),
    ):
        environment = gunicorn_environment(**{name: value})
        done = subprocess.run(
            gunicorn_command, cwd=repository, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        said = done.stdout + done.stderr
        assert done.returncode != 0
        assert sentence in said
        assert len(said.splitlines()) == 1
        assert ALICE not in said


def test_keys_of_a_file_are_exchanged_without_a_restart(
    make_app: Any, trained_store: Path, tmp_path: Path, log: Any, eventually: Any
) -> None:
    file = tmp_path / "keys"
    file.write_text(f"# the first\n{ENTRY['alice']}\n")
    client = make_app(trained_store, api_keys_file=str(file), api_keys=f"carol:{hash_key('c')}").test_client()

    def status(key: str) -> int:
        return client.get("/model", headers={"X-API-Key": key}).status_code

    assert (status(ALICE), status(BOB), status("c")) == (200, 401, 200)
    file.write_text(f"{ENTRY['alice']}\n{ENTRY['bob']}\n")
    eventually(lambda: status(BOB) == 200)
    assert status(ALICE) == 200
    replacement = tmp_path / "replacement"
    replacement.write_text(ENTRY["bob"])
    replacement.replace(file)
    eventually(lambda: status(ALICE) == 401)
    assert status(BOB) == 200
    # An unreadable file changes nothing, and is logged once.
    file.write_text(f"{ENTRY['bob']}\n{ALICE}\n")
    eventually(lambda: status(BOB) and log.lines("API keys not read"))
    assert (status(ALICE), status(BOB)) == (401, 200)
    file.unlink()
    eventually(lambda: status(BOB) and len(log.lines("API keys not read")) == 2)
    assert status(BOB) == 200
    # With an empty file, only the keys in API_KEYS are valid.
    file.write_text("\n")
    eventually(lambda: status(BOB) == 401)
    assert status("c") == 200
    for _ in range(4):
        time.sleep(0.06)
        status("c")
    assert len(log.lines("API keys not read")) == 2
    assert ALICE not in log.stream.getvalue()


def test_a_worker_with_a_broken_file_rejects_requests_and_recovers(
    make_app: Any, trained_store: Path, tmp_path: Path, eventually: Any
) -> None:
    """If it stopped, the workers with valid keys would stop as well."""
    file = tmp_path / "keys"
    file.write_text("half a li")
    client = make_app(trained_store, api_keys_file=str(file)).test_client()
    assert client.get("/model", headers={"X-API-Key": BOB}).status_code == 401
    file.write_text(ENTRY["bob"])
    eventually(lambda: client.get("/model", headers={"X-API-Key": BOB}).status_code == 200)


def test_every_configured_key_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The duration of an answer must not reveal a key's position in the list."""
    import flask_app.api_keys as module

    compared: list[tuple[bytes, bytes]] = []
    original = module.hmac.compare_digest

    def count(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return original(one, other)

    monkeypatch.setattr(module.hmac, "compare_digest", count)
    ring = KeyRing(ApiSettings(api_keys=BOTH))
    for key, found in ((ALICE, "alice"), (BOB, "bob"), ("nobody's", None)):
        compared.clear()
        assert ring.identify(key) == found
        assert len(compared) == 2
        assert {len(digest) for pair in compared for digest in pair} == {32}


def test_the_command_makes_a_key_that_works(repository: Path, make_app: Any, trained_store: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "flask_app.authentication", "new", "alice"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    key, entry = re.findall(r"^  (\S+)$", done.stdout, re.MULTILINE)
    assert len(key) >= 40
    client = make_app(trained_store, api_keys=entry).test_client()
    assert client.get("/model", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    assert done.stdout.count(key) == 1


def test_generated_keys_are_unique(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert keys.main(["new", "a"]) == 0
    printed = re.findall(r"^  ([^:\n]+)$", capsys.readouterr().out, re.MULTILINE)
    assert len(set(printed)) == 2


@pytest.mark.parametrize("key_id", ["", "a b", "a:b", "ä", "x" * 65, "a,b", "a#b"])
def test_an_id_that_the_setting_cannot_contain_is_rejected(capsys: pytest.CaptureFixture[str], key_id: str) -> None:
    assert keys.main(["new", key_id]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1
