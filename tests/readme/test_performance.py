"""docs/performance.md: its commands work for a reader."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from benchmarks.__main__ import parser
from benchmarks.wrk import parse
from tests.readme.reader import ROOT, Reader
from tests.stacks import ProcessStack

TEXT = (ROOT / "docs" / "performance.md").read_text()


def test_wrk_measures_a_running_system(process_stack: ProcessStack, tmp_path: Path) -> None:
    if not shutil.which("wrk"):
        pytest.skip("wrk is missing: apt install wrk")
    reader = Reader.of_stack(tmp_path, process_stack)
    (printed,) = reader.read("docs/performance.md", URL=process_stack.base_url)
    load = parse(printed)
    assert load.requests > 0 and load.not_2xx == load.failed == 0


@pytest.mark.parametrize("arguments", re.findall(r'^make bench BENCH_ARGS="([^"]+)"', TEXT, re.MULTILINE))
def test_the_options_of_make_bench_exist(arguments: str) -> None:
    assert parser().parse_args(shlex.split(arguments))
