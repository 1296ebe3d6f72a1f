"""The service requires its token."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.unit.training_service.running import QUICK, TOKEN, Service, eventually
from training_service.application import create_app
from training_service.settings import TrainingServiceSettings

ROUTES = [
    ("GET", "/options"),
    ("POST", "/inspect"),
    ("POST", "/train"),
    ("GET", "/jobs"),
    ("GET", "/jobs/0123456789abcdef"),
    ("POST", "/jobs/0123456789abcdef/cancel"),
    ("GET", "/models"),
    ("POST", "/models/v1/activate"),
    ("POST", "/rollback"),
    ("GET", "/no-such-address"),
]
BAD_HEADERS = {
    "none": {},
    "empty": {"Authorization": ""},
    "no token": {"Authorization": "Bearer "},
    "another scheme": {"Authorization": f"Basic {TOKEN}"},
    "an API key's header": {"X-API-Key": TOKEN},
    "wrong": {"Authorization": f"Bearer {TOKEN[:-1]}x"},
    "too short": {"Authorization": f"Bearer {TOKEN[:-1]}"},
    "too long": {"Authorization": f"Bearer {TOKEN}x"},
    "twice": {"Authorization": f"Bearer {TOKEN} {TOKEN}"},
    "not ASCII": {"Authorization": "Bearer tökén".encode("latin-1")},
}


def test_every_route_is_tried_here(tmp_path) -> None:
    app = create_app(TrainingServiceSettings(admin_token=TOKEN, training_dir=str(tmp_path)))
    known = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
        if method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    }
    tried = {
        (method, path.replace("0123456789abcdef", "<job_id>").replace("v1", "<version>")) for method, path in ROUTES
    }
    assert known - tried == {("GET", "/health"), ("GET", "/ready")}


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_path_needs_the_token(service: Service, method: str, path: str) -> None:
    answer = service.ask(method, path, token=None)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="training-api"'
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["detail"] == "Send the admin token in the header Authorization: Bearer TOKEN."


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_a_wrong_token_gets_a_401(service: Service, name: str) -> None:
    before = len(service.ask("GET", "/jobs").json()["jobs"])
    answer = service.ask("POST", "/train", token=None, headers=BAD_HEADERS[name], json=QUICK)
    assert answer.status_code == 401
    assert len(service.ask("GET", "/jobs").json()["jobs"]) == before


def test_probes_need_no_token(service: Service) -> None:
    assert service.ask("GET", "/health", token=None).json() == {"status": "ok"}
    assert service.ask("GET", "/ready", token=None).json() == {"status": "ready"}


def test_a_rejected_upload_of_megabytes_gets_its_answer(service: Service) -> None:
    answer = service.ask("POST", "/inspect", token=None, files={"file": ("a.csv", b"1,2\n" * 5_000_000)})
    assert answer.status_code == 401


def test_a_token_is_private_and_replaced_without_a_restart(make_service: Callable[..., Service]) -> None:
    service = make_service(admin_token="")
    service.start()
    file = service.folder / "training" / "admin-token"
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    made = file.read_text().strip()
    assert len(made) >= 32
    assert service.ask("GET", "/jobs", token=made).status_code == 200
    file.write_text("another-token-of-mine\n")
    assert service.ask("GET", "/jobs", token=made).status_code == 401
    assert service.ask("GET", "/jobs", token="another-token-of-mine").status_code == 200
    file.write_text("")
    response = service.ask("GET", "/jobs", token="another-token-of-mine")
    assert response.status_code == 503
    assert "a token has 16 characters or more" in response.json()["detail"]
    file.write_text(f"{made}\n")
    service.stop()
    # The next run keeps it.
    service.start()
    assert service.ask("GET", "/jobs", token=made).status_code == 200
    service.stop()


def test_neither_job_nor_log_has_the_token(service: Service) -> None:
    job = service.train({"data": "digits", "config": {"search": 100}})
    (process,) = eventually(service.job_processes)
    with open(f"/proc/{process}/environ", "rb") as file:
        assert TOKEN.encode() not in file.read()
    service.ask("POST", f"/jobs/{job}/cancel")
    assert TOKEN not in service.log_file.read_text()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"admin_token": "short"}, "ADMIN_TOKEN cannot be used: a token has 16 characters or more"),
        ({"admin_token": "", "admin_token_file": "/proc/no-such-token"}, "cannot be made"),
        ({"job_seconds": "soon"}, "JOB_SECONDS='soon' cannot be used"),
        ({"queue_length": "0"}, "QUEUE_LENGTH='0' cannot be used"),
        ({"model_public_key": "nonsense"}, "MODEL_PUBLIC_KEY cannot be used"),
        ({"mlflow_tracking_uri": "nowhere"}, "MLFLOW_TRACKING_URI"),
        ({"log_level": "loud"}, "it is one of debug, info, warning, error"),
    ],
)
def test_a_bad_setting_ends_the_start_with_one_sentence(
    make_service: Callable[..., Service], settings: dict[str, str], sentence: str
) -> None:
    service = make_service()
    command = [sys.executable, "-m", "gunicorn", "-c", "training_service/gunicorn.conf.py", "no:app"]
    done = subprocess.run(
        command, cwd=service.repository, env=service.environment(**settings), capture_output=True, text=True
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("training-api: ") and sentence in line
