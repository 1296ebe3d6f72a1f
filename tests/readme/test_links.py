"""Every link of a document leads to a file, and to a heading where it names one."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.readme.reader import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for name, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", document.read_text()):
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), name
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_files_of_the_architecture_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    paths = {f"/{name}" for name in tracked} | {f"/{parent}/" for name in tracked for parent in Path(name).parents}
    in_text = re.findall(r"`([\w./-]+(?:\.py|\.template|/))`", text)
    in_tree = re.findall(r"[\w./]+(?:\.py|/)(?=[ ,:;])", text.split("```")[1])
    for name in {*in_text, *in_tree}:
        assert any(path.endswith(f"/{name}") for path in paths), name
