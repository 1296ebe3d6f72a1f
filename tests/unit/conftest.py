"""A tiny model, trained once per session by the real training; every test gets a copy of its store.

Everything is imported inside the fixtures: the tests of the UI and of Nginx need none of it.
"""

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from model_artifact.card import ModelCard
    from model_artifact.store import ArtifactStore

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The working directory of commands."""
    return REPOSITORY


@pytest.fixture(scope="session")
def train_into() -> Callable[..., "ModelCard"]:
    """Train on Iris as the command does, but with few trees: train_into(folder, n_estimators=3, ...)."""
    from model_artifact.store import ArtifactStore
    from model_training.data.datasets import load_iris
    from model_training.model import IrisModel
    from model_training.training import train_version

    def train(folder: Path, **hyperparameters: Any) -> "ModelCard":
        def make_model() -> IrisModel:
            return IrisModel(**{"n_estimators": 10, **hyperparameters})

        return train_version(load_iris(), make_model, ArtifactStore(folder), test_size=0.2, seed=42)

    return train


@pytest.fixture(scope="session")
def trained_store(tmp_path_factory: pytest.TempPathFactory, train_into: Callable[..., "ModelCard"]) -> Path:
    """A store with one version. Shared: read it only."""
    folder = tmp_path_factory.mktemp("trained") / "artifacts"
    train_into(folder)
    return folder


@pytest.fixture(scope="session")
def second_version(tmp_path_factory: pytest.TempPathFactory, train_into: Callable[..., "ModelCard"]) -> Path:
    """The folder of a version with other probabilities. Shared: copy it into a store."""
    folder = tmp_path_factory.mktemp("second") / "artifacts"
    card = train_into(folder, n_estimators=3, random_state=7)
    return folder / "versions" / card.model_version


@pytest.fixture(scope="session")
def store_of(trained_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A store with one version of the named estimator, trained on all of Iris. Shared: read it only."""
    import msgspec

    from model_artifact.card import GoldenRow
    from model_artifact.pickling import load_artifact, save_artifact
    from model_artifact.store import ArtifactStore
    from model_training.data.datasets import load_iris
    from model_training.estimators.parameters import make_model

    @cache
    def make(estimator: Any) -> Path:
        iris = load_iris()
        few = {} if estimator == "logistic-regression" else {"n_estimators": 10}
        model = make_model(estimator, few, 42).train(iris.X, iris.y)
        model.specialise()
        first = ArtifactStore(trained_store)
        card = msgspec.structs.replace(
            load_artifact(first.folder(first.current())).card,
            model_version=estimator,
            **model.card_fields(),
            golden_rows=[
                GoldenRow(features=row.tolist(), probabilities=model.predict_proba([row])[0].tolist())
                for row in iris.X[::50]
            ],
        )
        store = ArtifactStore(tmp_path_factory.mktemp(estimator) / "artifacts")
        with store.new_version(estimator) as folder:
            save_artifact(folder, model, card)
        store.activate(estimator)
        return store.root

    return make


@pytest.fixture
def store(trained_store: Path, tmp_path: Path) -> "ArtifactStore":
    """A test's own copy of the store with one version."""
    from model_artifact.store import ArtifactStore

    return ArtifactStore(shutil.copytree(trained_store, tmp_path / "artifacts"))


@pytest.fixture
def version(store: "ArtifactStore") -> str:
    """The name of the store's one version."""
    return store.current()


@pytest.fixture
def other_version(store: "ArtifactStore", version: str, second_version: Path) -> str:
    """The name of a second good version in the store, which is not current."""
    shutil.copytree(second_version, store.folder(second_version.name))
    return second_version.name
