"""The command `tabular`."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from model_artifact.store import ArtifactStore
from tabular.__main__ import COMMANDS, main

TRAIN = ["train", "--n-estimators", "3", "--folds", "0"]


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_names_every_command(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert main(arguments) == 0
    assert re.findall(r"^  (\w+) {2}", capsys.readouterr().out, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        name.split()
        for name in ("train", "check", "store", "store list", "keys", "keys sign", "keys new-api-key", "serve")
    ],
    ids=" ".join,
)
def test_help_of_a_command_shows_its_name(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    try:
        status = main([*arguments, "--help"])
    except SystemExit as exit_:
        status = int(exit_.code or 0)
    assert status == 0
    name = "tabular train" if arguments == ["check"] else " ".join(["tabular", *arguments])
    assert capsys.readouterr().out.startswith(f"usage: {name}")


def test_an_unknown_command_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'trian'" in line and all(name in line for name in COMMANDS)


@pytest.mark.parametrize(("command", "extra"), [("train", "training"), ("check", "training"), ("serve", "api")])
def test_a_missing_extra_is_one_sentence_with_the_command_that_installs_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, extra: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert main([command]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"[{extra}]" in line and "pip install" in line


def test_train_list_sign_and_roll_back(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODEL_STORE", str(tmp_path / "artifacts"))
    store = ArtifactStore(tmp_path / "artifacts")
    assert main([*TRAIN, "--force"]) == 0
    first = store.current()
    assert main([*TRAIN, "--force", "--seed", "7"]) == 0
    assert main(["keys", "new-key", str(tmp_path / "keys")]) == 0
    assert main(["keys", "sign", str(first), "--key", str(tmp_path / "keys" / "signing.key")]) == 0
    assert main(["store", "rollback"]) == 0
    assert store.current() == first
    capsys.readouterr()
    assert main(["store", "list"]) == 0
    assert re.search(rf"^\* +{first}", capsys.readouterr().out, re.MULTILINE)


def test_check_reports_and_trains_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MODEL_STORE", str(tmp_path / "artifacts"))
    assert main(["check", "--data", "digits"]) == 0
    assert capsys.readouterr().out
    assert main(["check", "--data", str(tmp_path / "missing.csv")]) != 0
    output = capsys.readouterr()
    assert "missing.csv" in output.err and "Traceback" not in output.err
    assert not (tmp_path / "artifacts").exists()


def test_an_api_key_is_printed_with_its_entry(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "new-api-key", "alice"]) == 0
    assert re.search(r"^  alice:[0-9a-f]{64}$", capsys.readouterr().out, re.MULTILINE)


def test_ctrl_c_in_a_command_is_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, "store", ("numpy", interrupt))
    assert main(["store", "list"]) == 130
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_pipe_is_no_traceback(unbuffered: str) -> None:
    """`tabular --help | true`."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "tabular", "--help"],
        stdout=writer,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_serve_runs_gunicorn_with_the_settings_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Any] = []
    monkeypatch.setattr(os, "execv", lambda *arguments: called.extend(arguments))
    main(["serve"])
    program, (*command, configuration, app) = called
    assert (program, command) == (sys.executable, [sys.executable, "-m", "gunicorn", "-c"])
    assert Path(configuration).is_file() and app == "flask_app.wsgi:app"


def test_serve_takes_no_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--port", "80"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'--port'" in line and "environment" in line
