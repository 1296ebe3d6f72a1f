"""The comparison counts of a challenger that gets copies of requests, and the header that names the track."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flask_app import metrics
from flask_app.model import shadow
from flask_app.settings import ApiSettings
from http_service.settings import SettingsError
from model_artifact.store import ArtifactStore
from model_training.data.datasets import load_iris
from model_training.model import IrisModel
from model_training.training import train_version

TABLE = "sepal_length,sepal_width,petal_length,petal_width\n5.1,3.5,1.4,0.2\n6.7,3.0,5.2,2.3\n"


@pytest.fixture(autouse=True)
def _no_champion_afterwards() -> Any:
    yield
    shadow.init(ApiSettings())


def counted() -> np.ndarray:
    """Return the rows so far: (agreed, not agreed)."""
    return np.array(
        [metrics.registry.get_sample_value("flask_api_shadow_rows_total", {"agreed": a}) for a in ("true", "false")]
    )


def test_every_answer_names_its_track(make_app, trained_store: Path) -> None:
    assert make_app(trained_store).test_client().get("/health").headers["X-Model-Track"] == "champion"
    challenger = make_app(trained_store, model_track="challenger").test_client()
    for answer in (challenger.get("/ready"), challenger.get("/nothing"), challenger.post("/predict", data="{")):
        assert answer.headers["X-Model-Track"] == "challenger"


def test_an_invalid_track_is_rejected() -> None:
    with pytest.raises(SettingsError, match="MODEL_TRACK"):
        ApiSettings.from_env({"MODEL_TRACK": "a\tb"})


def test_rows_of_every_format_are_compared(make_app, trained_store: Path, setosa: dict[str, float]) -> None:
    client = make_app(trained_store, shadow_of=str(trained_store)).test_client()
    before = counted()
    assert client.post("/predict", json=setosa).status_code == 200
    assert client.post("/predict", json={"instances": [setosa, setosa]}).status_code == 200
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}
    assert client.post("/v2/models/iris/infer", json={"inputs": [tensor]}).status_code == 200
    answer = client.post("/predict", data=TABLE, content_type="text/csv")
    assert answer.status_code == 200 and answer.text
    # Rejected, so there is nothing to compare.
    assert client.post("/predict", json={"features": [1]}).status_code == 422
    # A model agrees with itself.
    assert (counted() - before).tolist() == [6, 0]


def test_disagreement_is_counted(make_app, trained_store: Path, tmp_path: Path, train_into) -> None:
    train_into(tmp_path / "weak", n_estimators=1, max_depth=1, random_state=3)
    rows = np.random.default_rng(1).uniform([4.3, 2, 1, 0.1], [7.9, 4.4, 6.9, 2.5], (500, 4)).round(1).tolist()
    body = {"instances": [{"features": row} for row in rows]}
    theirs = make_app(trained_store).test_client().post("/predict", json=body).json["class_names"]
    before = counted()
    challenger = make_app(tmp_path / "weak", shadow_of=str(trained_store)).test_client()
    mine = challenger.post("/predict", json=body).json["class_names"]
    agreed = sum(a == b for a, b in zip(theirs, mine, strict=True))
    assert 0 < agreed < 500
    assert (counted() - before).tolist() == [agreed, 500 - agreed]


def test_the_champions_rows_are_not_counted_as_predicted(
    make_app, trained_store: Path, setosa: dict[str, float]
) -> None:
    client = make_app(trained_store, shadow_of=str(trained_store)).test_client()
    client.post("/predict", json=setosa)
    version = client.get("/ready").json["model_version"]
    labels = {"model_version": version, "class_name": "setosa"}
    before = metrics.registry.get_sample_value("flask_api_rows_predicted_total", labels)
    client.post("/predict", json=setosa)
    assert metrics.registry.get_sample_value("flask_api_rows_predicted_total", labels) == before + 1


def test_a_champion_that_appears_later_is_loaded(
    make_app, trained_store: Path, tmp_path: Path, setosa: dict[str, float], eventually
) -> None:
    client = make_app(trained_store, shadow_of=str(tmp_path / "champion")).test_client()
    before = counted()
    assert client.post("/predict", json=setosa).status_code == 200
    assert (counted() - before).tolist() == [0, 0]
    shutil.copytree(trained_store, tmp_path / "champion")

    def compared() -> bool:
        client.post("/predict", json=setosa)
        return bool((counted() - before)[0])

    eventually(compared)


def test_a_champion_with_other_features_is_logged_once(
    make_app, trained_store: Path, tmp_path: Path, setosa: dict[str, float], log
) -> None:
    iris = load_iris()
    other = replace(iris, columns=tuple(replace(column, name=f"other_{column.name}") for column in iris.columns))
    train_version(other, lambda: IrisModel(n_estimators=1), ArtifactStore(tmp_path / "other"), test_size=0.2, seed=1)
    client = make_app(trained_store, shadow_of=str(tmp_path / "other")).test_client()
    before = counted()
    for _ in range(3):
        assert client.post("/predict", json=setosa).status_code == 200
    assert (counted() - before).tolist() == [0, 0]
    assert len(log.lines("shadow comparison is not possible: the champion has different features")) == 1
