"""Train models on random tables, to measure how cost grows with trees and features."""

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.work import Work, training_state
from model_artifact.store import ArtifactStore
from model_training.data.datasets import Column, Dataset
from model_training.model import IrisModel
from model_training.training import train_version

_ROWS = 300
_CLASSES = 2


class RandomWork(Work):
    """A store with a model of so many features and trees."""

    def __init__(self, folder: Path, features: int = 4, trees: int = 100) -> None:
        # The name contains a digest of the code that makes artifacts: changed code makes a new model.
        super().__init__(folder / "random" / f"{features}-{trees}-{training_state()[:8]}")
        self.features = features
        self.trees = trees

    @cached_property
    def iris(self) -> NDArray[np.float64]:
        """Return the table's rows, shape (300, features)."""
        return np.round(np.random.default_rng(self.features).normal(size=(_ROWS, self.features)), 3)

    def many(self, count: int) -> NDArray[np.float64]:
        """Return similar rows, shape (count, features)."""
        return np.round(np.random.default_rng(count).normal(size=(count, self.features)), 3)

    def prepare(self) -> None:
        """Train the model unless it exists."""
        if (self.store / "current").exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(0).normal(size=_ROWS)
        dataset = Dataset(
            # The protocol's path contains the name.
            name="iris",
            columns=tuple(Column(f"x{index}", None, "float") for index in range(self.features)),
            classes=("no", "yes"),
            X=self.iris,
            y=(self.iris[:, : min(8, self.features)].sum(axis=1) + noise > 0).astype(np.int64),
        )
        rounds = self.trees // _CLASSES
        # A low rate: the trees continue to split instead of becoming leaves.
        train_version(dataset, lambda: IrisModel(rounds, learning_rate=0.01), ArtifactStore(self.store), 0.2, 42)
