"""Tables to train from, in one shape."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_iris as load_sklearn_iris


@dataclass(frozen=True)
class Column:
    """A feature of a data set, before any model has seen it."""

    name: str
    unit: str | None
    dtype: Literal["float", "integer"]


@dataclass(frozen=True)
class Dataset:
    """Rows X of shape (n, len(columns)) and labels y of shape (n,), each an index into `classes`."""

    name: str
    columns: tuple[Column, ...]
    classes: tuple[str, ...]
    X: NDArray[np.float64]
    y: NDArray[np.int64]

    @property
    def sha256(self) -> str:
        """Hex digest over names, rows and labels, the same on every machine."""
        names = json.dumps([[column.name for column in self.columns], list(self.classes)])
        digest = hashlib.sha256(names.encode())
        digest.update(np.ascontiguousarray(self.X, dtype="<f8").tobytes())
        digest.update(np.ascontiguousarray(self.y, dtype="<i8").tobytes())
        return digest.hexdigest()


def load_iris() -> Dataset:
    """Fisher's 150 irises, as scikit-learn ships them: four lengths in centimetres, three species."""
    bunch = load_sklearn_iris()
    return Dataset(
        name="iris",
        columns=tuple(
            Column(name=name.removesuffix(" (cm)").replace(" ", "_"), unit="cm", dtype="float")
            for name in bunch.feature_names
        ),
        classes=tuple(str(name) for name in bunch.target_names),
        X=np.asarray(bunch.data, dtype=np.float64),
        y=np.asarray(bunch.target, dtype=np.int64),
    )


DATASETS: dict[str, Callable[[], Dataset]] = {"iris": load_iris}
