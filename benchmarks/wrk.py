"""wrk, the load generator: one thread of it, with benchmarks/lua/post.lua."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.work import HERE, BenchmarkError

_MARK = "RESULT "


@dataclass(frozen=True)
class Load:
    """The result of one run of wrk."""

    requests: int
    seconds: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    not_2xx: int
    failed: int
    """Connections refused or cut, and requests without an answer within wrk's limit."""
    foreign: float = 0.0
    """Share of the machine that other processes used."""

    @property
    def rate(self) -> float:
        """Return the good answers a second."""
        return (self.requests - self.not_2xx) / self.seconds

    def values(self) -> dict[str, float]:
        """Return the values of a sample."""
        names = ("rate", "p50_ms", "p90_ms", "p99_ms", "not_2xx", "failed", "foreign")
        return {name: getattr(self, name) for name in names}


def parse(output: str) -> Load:
    """Parse the output of post.lua.

    Raises:
        BenchmarkError: there is no such line, or not one request was answered.
    """
    marked = [line for line in output.splitlines() if line.startswith(_MARK)]
    if not marked:
        raise BenchmarkError(f"wrk printed no result: {output.strip()[-300:]}")
    result = json.loads(marked[0].removeprefix(_MARK))
    failed = sum(result[name] for name in ("connect_errors", "read_errors", "write_errors", "timeouts"))
    if not result["requests"]:
        raise BenchmarkError(f"wrk got no answer ({failed} failures)")
    times = {f"{name}_ms": result[f"{name}_us"] / 1e3 for name in ("p50", "p90", "p99", "max")}
    seconds = result["duration_us"] / 1e6
    return Load(requests=result["requests"], seconds=seconds, not_2xx=result["not_2xx"], failed=failed, **times)


def find() -> str:
    """Return wrk's path.

    Raises:
        BenchmarkError: it is not installed.
    """
    path = shutil.which("wrk")
    if path is None:
        raise BenchmarkError("wrk, the load generator, is not installed; run: sudo apt install wrk")
    return path


def load(url: str, connections: int, seconds: float, content_type: str, bodies: Path, *headers: str) -> Load:
    """Post the bodies of a file in turn, as fast as so many connections are answered.

    content_type with the prefix `whole:` makes the file one body, else each line is one; headers are names and values.

    Raises:
        BenchmarkError: wrk failed or got no answer.
    """
    command = [find(), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
    script = ["-s", str(HERE / "lua" / "post.lua"), url, "--", content_type, str(bodies), *headers]
    done = subprocess.run([*command, *script], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"wrk failed: {(done.stderr or done.stdout).strip()[-300:]}")
    return parse(done.stdout)
