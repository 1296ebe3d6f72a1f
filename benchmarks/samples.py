"""Measured values: one line of JSON per sample, so that an interrupted run keeps its samples."""

import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

FOREIGN_LIMIT = 0.05
"""Maximum share of the machine that other processes use during an undisturbed load."""


@dataclass(frozen=True)
class Sample:
    """Values of one server in one case of one measure, in one round."""

    measure: str
    server: str
    case: str
    values: dict[str, float]


class Samples:
    """All samples of a run."""

    def __init__(self, path: Path, keep: bool = False) -> None:
        """keep: continue with the samples of the previous run."""
        self._path = path
        self.all: list[Sample] = []
        if keep and path.exists():
            self.all = [Sample(**json.loads(line)) for line in path.read_text().splitlines()]
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("")

    def add(self, measure: str, server: str, case: object, **values: float) -> None:
        """Record a sample."""
        sample = Sample(measure, server, str(case), values)
        self.all.append(sample)
        with self._path.open("a") as file:
            file.write(json.dumps(asdict(sample)) + "\n")

    def values(self, measure: str, server: str, case: object, name: str) -> list[float]:
        """Return the value of every round, without disturbed rounds if any is undisturbed."""
        found = [
            sample.values
            for sample in self.all
            if (sample.measure, sample.server, sample.case) == (measure, server, str(case)) and name in sample.values
        ]
        alone = [values for values in found if values.get("foreign", 0.0) <= FOREIGN_LIMIT]
        return [values[name] for values in alone or found]

    def median(self, measure: str, server: str, case: object, name: str) -> float | None:
        """Return the median over the rounds; None if it was not measured."""
        found = self.values(measure, server, case, name)
        return statistics.median(found) if found else None

    def servers(self, measure: str) -> list[str]:
        """Return the servers with a sample of a measure, in the order of measuring."""
        return list(dict.fromkeys(sample.server for sample in self.all if sample.measure == measure))

    def cases(self, measure: str, server: str | None = None) -> list[str]:
        """Return the cases of a measure, in the order of measuring."""
        found = (sample for sample in self.all if sample.measure == measure and server in (None, sample.server))
        return list(dict.fromkeys(sample.case for sample in found))
