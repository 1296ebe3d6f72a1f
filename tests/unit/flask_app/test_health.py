"""`/health`, `/ready` and `/model`, with a model, without one, and with a bad one."""

import json
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from model_artifact.pickling import CARD_FILE, MODEL_FILE
from model_artifact.store import ArtifactStore


def test_with_a_model_both_probes_succeed(client: FlaskClient, trained_store: Path) -> None:
    assert client.get("/health").json == {"status": "ok"}
    ready = client.get("/ready")
    assert ready.status_code == 200
    assert ready.json["status"] == "ready"
    assert ready.json["model_version"] == ArtifactStore(trained_store).current()


def test_model_is_the_card_beside_the_pickle(client: FlaskClient, trained_store: Path) -> None:
    card = client.get("/model")
    assert (card.status_code, card.content_type) == (200, "application/json")
    store = ArtifactStore(trained_store)
    assert card.json == json.loads((store.folder(store.current()) / CARD_FILE).read_bytes())


@pytest.mark.parametrize(("method", "path"), [("GET", "/ready"), ("GET", "/model"), ("POST", "/predict")])
def test_without_a_model_the_reason_is_given(
    make_app: Any, tmp_path: Path, setosa: Any, method: str, path: str
) -> None:
    """The process stays up and answers /health, so that nothing restarts it before a model exists."""
    client = make_app(tmp_path / "nothing").test_client()
    assert client.get("/health").status_code == 200
    answer = client.open(path, method=method, json=setosa)
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
    assert answer.json["title"] == "Service Unavailable"
    assert answer.json["detail"] == "No model is loaded: the store has no current version; train a model first."
    assert int(answer.headers["Retry-After"]) >= 1
    assert str(tmp_path) not in answer.text


@pytest.mark.parametrize(
    ("file", "reason"), [(MODEL_FILE, "bytes, but its card records"), (CARD_FILE, "model_card.json cannot be used")]
)
def test_a_rejected_model_is_not_served_and_the_reason_is_given(
    make_app: Any, store: ArtifactStore, version: str, setosa: Any, file: str, reason: str
) -> None:
    (store.folder(version) / file).write_bytes(b"broken")
    client = make_app(store.root).test_client()
    assert client.get("/health").status_code == 200
    for answer in (client.get("/ready"), client.get("/model"), client.post("/predict", json=setosa)):
        assert answer.status_code == 503
        assert reason in answer.json["detail"]
        assert str(store.root) not in answer.text


def test_a_missing_model_is_reported_before_the_body_is_read(make_app: Any, tmp_path: Path) -> None:
    """A 503 leaves open whether the request is valid; a 400 would be misleading."""
    client = make_app(tmp_path).test_client()
    assert client.post("/predict", data=b"{", content_type="application/json").status_code == 503


@pytest.mark.parametrize("path", ["/health", "/ready", "/model"])
def test_head_is_answered_without_a_body(client: FlaskClient, path: str) -> None:
    """Load balancers send HEAD."""
    answer = client.head(path)
    assert (answer.status_code, answer.data) == (200, b"")
