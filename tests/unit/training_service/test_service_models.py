"""The service promotes only versions that the loader accepts, and that passed the gate or are forced."""

import pytest

from model_artifact.pickling import MODEL_FILE
from tests.unit.training_service.running import QUICK, Service

REJECTED = {"data": "iris", "config": {"folds": 0, "gate": {"min_accuracy": 1.0}, "parameters": {"n_estimators": 1}}}


@pytest.fixture(scope="module")
def versions(service: Service) -> tuple[str, str]:
    """The champion, and one that the gate rejected."""
    champion = service.store.current()
    job = service.end_of(service.train(REJECTED))
    assert job["state"] == "rejected", job
    return champion, job["version"]


@pytest.fixture(autouse=True)
def _the_champion_is_as_before(service: Service, versions: tuple[str, str]) -> None:
    service.store.activate(versions[0])


def test_versions_are_listed_with_their_metrics(service: Service, versions: tuple[str, str]) -> None:
    champion, rejected = versions
    listed = service.ask("GET", "/models").json()
    assert listed["champion"] == champion
    assert [model["version"] for model in listed["models"]] == sorted(versions, reverse=True)
    newest = next(model for model in listed["models"] if model["version"] == rejected)
    assert newest["gate"]["passed"] is False and newest["gate"]["reasons"]
    assert newest["estimator"] == "xgboost" and newest["data"]["name"] == "iris"
    assert 0 < newest["accuracy"] <= 1 and newest["log_loss"] > 0
    assert listed["last_training"].items() >= {"outcome": "rejected", "version": rejected}.items()


def test_a_rejected_version_needs_force(service: Service, versions: tuple[str, str]) -> None:
    champion, rejected = versions
    for body in (None, {}, {"force": False}):
        response = service.ask("POST", f"/models/{rejected}/activate", json=body)
        assert response.status_code == 409
        assert response.json()["detail"].startswith("The gate rejected this version; only force activates it. ")
        assert service.store.current() == champion
    assert service.ask("POST", f"/models/{rejected}/activate", json={"force": "true"}).status_code == 422
    assert service.ask("POST", f"/models/{rejected}/activate", json={"force": True}).json() == {"champion": rejected}
    assert service.store.current() == rejected
    assert service.ask("POST", "/rollback").json() == {"champion": champion}


def test_a_version_that_was_tampered_with_is_not_activated(service: Service, versions: tuple[str, str]) -> None:
    champion, rejected = versions
    pickled = service.store.folder(rejected) / MODEL_FILE
    good = pickled.read_bytes()
    pickled.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    response = service.ask("POST", f"/models/{rejected}/activate", json={"force": True})
    assert response.status_code == 409
    assert "is rejected" in response.json()["detail"] and "SHA-256" in response.json()["detail"]
    assert service.store.current() == champion
    pickled.write_bytes(good)


@pytest.mark.parametrize("version", ["no-such-version", "..", "%2e%2e", "..%2f..%2fetc", "x" * 200])
def test_an_unknown_version(service: Service, version: str) -> None:
    answer = service.ask("POST", f"/models/{version}/activate")
    assert answer.status_code == 404


def test_nothing_to_roll_back_to(service: Service, versions: tuple[str, str]) -> None:
    (service.store.root / "history").unlink(missing_ok=True)
    response = service.ask("POST", "/rollback")
    assert response.status_code == 409
    assert response.json()["detail"].startswith("no version was current before this one")
    assert service.store.current() == versions[0]


def test_a_pointer_that_cannot_be_written_is_a_sentence(service: Service, versions: tuple[str, str]) -> None:
    champion, rejected = versions
    pointer = service.store.root / "current"
    pointer.unlink()
    pointer.mkdir()
    try:
        answer = service.ask("POST", f"/models/{rejected}/activate", json={"force": True})
        assert answer.status_code == 503
        assert answer.json()["detail"] == f"{service.store.root} cannot be written: Is a directory."
    finally:
        pointer.rmdir()
        service.store.activate(champion)


def test_a_missing_store_is_a_sentence(service: Service) -> None:
    hidden = service.store.root.with_name("hidden")
    service.store.root.rename(hidden)
    try:
        listed = service.ask("GET", "/models")
        assert listed.json() == {"champion": None, "models": [], "last_training": None}
        service.store.root.write_text("not a folder")
        job = service.end_of(service.train(QUICK))
        assert job["state"] == "failed" and job["reason"].endswith(".") and "Traceback" not in str(job)
    finally:
        service.store.root.unlink(missing_ok=True)
        hidden.rename(service.store.root)
