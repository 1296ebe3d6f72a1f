"""What every measure needs: the servers chosen, the samples, how long and how often."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.running import Running
from benchmarks.samples import Samples
from benchmarks.servers import Server
from benchmarks.work import BenchmarkError, Work


@dataclass(frozen=True)
class Context:
    """One run of the benchmark."""

    work: Work
    samples: Samples
    servers: dict[str, Server]
    """Those to measure, by name, in the order of measuring."""
    rounds: int
    quick: bool
    failures: dict[str, str]
    """Filled with what could not be measured, and why."""

    def seconds(self, full: float) -> float:
        """How long to load; a second in quick mode."""
        return 1.0 if self.quick else full

    def say(self, text: str) -> None:
        """A line about progress."""
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    def chosen(self, *names: str) -> list[Server]:
        """Return those of the named servers that are measured in this run."""
        return [self.servers[name] for name in names if name in self.servers]

    @contextmanager
    def part(self, what: str) -> Iterator[None]:
        """Run a part that may fail while the others continue; report the reason and keep it for the results."""
        try:
            yield
        except (BenchmarkError, OSError) as error:
            self.say(f"{what}: {error}")
            self.failures[what] = str(error)

    def interleaved(self, measure: Callable[[Running], None], *names: str, rounds: int | None = None) -> None:
        """Measure round by round, server by server, so that a drift of the machine hits all alike.

        names: the servers, all without any; rounds: fewer than those of the run, for what takes long.
        """
        rounds = rounds or self.rounds
        for number in range(rounds):
            for server in self.chosen(*names or self.servers):
                with self.part(server.title), Running(server, self.work) as running:
                    self.say(f"round {number + 1} of {rounds}: {server.title}")
                    measure(running)
