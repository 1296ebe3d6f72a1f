"""A reader of the documents: a copy of the checkout and one shell that runs a document's blocks in order.

A block is run if `<!-- tested -->` or `<!-- tested: WAY -->` precedes it; an answer that follows it is compared.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.stacks import ROOT, ProcessStack

_BLOCK = re.compile(r"<!-- tested(?:: (\w+))? -->\n```sh\n(.*?)```\n(?:```json\n(.*?)```\n)?", re.DOTALL)
_END_OF_BLOCK = "--- end of block ---"


@dataclass
class Reader:
    """A reader who has cloned the repository into `folder` and installed it."""

    folder: Path
    environ: dict[str, str]

    @classmethod
    def with_clone(cls, folder: Path, **environ: str) -> Reader:
        """Copy the checkout's files to the folder, with a link to the virtual environment of the tests."""
        listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        for name in filter(None, names):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
        # That environment has been installed from the checkout, a reader's from the clone.
        return cls(folder, _environ(HOME=str(folder), PYTHONPATH=str(folder), **environ))

    @classmethod
    def of_stack(cls, folder: Path, stack: ProcessStack, **environ: str) -> Reader:
        """Copy the checkout as `with_clone` does; the stack is what `make run` has started in the copy."""
        reader = cls.with_clone(folder, **environ)
        (folder / ".run").symlink_to(stack.folder / "run")
        (folder / "artifacts").symlink_to(stack.store)
        return reader

    @classmethod
    def at_checkout(cls, **environ: str) -> Reader:
        """Read in the checkout itself, for commands that write nothing there."""
        return cls(ROOT, _environ(**environ))

    def read(self, document: str, way: str = "", **replacements: str) -> list[str]:
        """Run a document's blocks of a way; return the output of each.

        A replacement such as URL="https://localhost:9443" changes the one assignment of that variable. No other line
        may contain an address of this machine.
        """
        blocks = [found[1:] for found in _BLOCK.findall((ROOT / document).read_text()) if found[0] == way]
        script = f"\necho '{_END_OF_BLOCK}'\n".join(block for block, _ in blocks)
        for name, value in replacements.items():
            script, count = re.subn(rf"\b{name}=[^\s;]+", f"{name}={value}", script)
            assert count == 1, f"{document} sets {name} {count} times"
        addresses = re.findall(r"https?://localhost\S*", script)
        assert set(addresses) <= set(replacements.values()), f"{document} repeats an address: {addresses}"
        printed = self.run(script).split(f"{_END_OF_BLOCK}\n")
        for (block, answer), text in zip(blocks, printed, strict=True):
            if answer:
                assert shape(json.loads(text)) == shape(json.loads(answer)), block
        return printed

    def run(self, script: str) -> str:
        """Run a script in one shell, which ends at the first command that fails; return its output."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def _environ(**environ: str) -> dict[str, str]:
    """Return variables of a reader's shell, and nothing else of the test run's own: no settings, no proxy."""
    kept = {name: value for name, value in os.environ.items() if name == "PATH" or name.startswith("DOCKER_")}
    return {**kept, "LANG": "C.UTF-8", **environ}


def shape(value: object) -> object:
    """Return the value with the parts replaced that differ between models."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items() if name not in ("model_version", "request_id")}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value).__name__ if isinstance(value, float) else value
