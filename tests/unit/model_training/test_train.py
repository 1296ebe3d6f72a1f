"""The command `tabular train`, as people run it."""

import os
import pickle
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from model_artifact.errors import ArtifactError
from model_artifact.pickling import MODEL_FILE, load_artifact
from model_artifact.predictors import decision_table
from model_artifact.store import ArtifactStore
from model_training import train, training
from model_training.data.datasets import load_iris
from model_training.model import IrisModel
from model_training.model_card import git_commit

OPTIONS = "data store n-estimators max-depth learning-rate subsample colsample-bytree test-size seed".split()


@pytest.fixture
def command(repository: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        inherited = {name: value for name, value in os.environ.items() if name not in ("MODEL_STORE", "GIT_COMMIT")}
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "model_training.train", *map(str, arguments)],
            cwd=repository,
            env=inherited | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def test_two_trainings_with_one_seed_give_the_same_model(command, tmp_path: Path) -> None:
    """Two processes, two stores: the files are equal except for the version, the time and the folder."""
    artifacts = []
    for name in ("one", "two"):
        done = command("--store", tmp_path / name, "--n-estimators", 5, "--seed", 7)
        assert (done.returncode, done.stderr) == (0, "")
        store = ArtifactStore(tmp_path / name)
        artifacts.append(load_artifact(store.folder(store.current())))
    one, two = (artifact.card for artifact in artifacts)
    assert one.artifact.sha256 == two.artifact.sha256
    assert one.golden_rows == two.golden_rows
    assert one.metrics == two.metrics
    rows = load_iris().X
    assert artifacts[0].model.predict_proba(rows).tobytes() == artifacts[1].model.predict_proba(rows).tobytes()


def test_the_report_shows_the_metrics_of_the_card(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert train.main(["--store", str(tmp_path), "--n-estimators", "5"]) == 0
    report = capsys.readouterr().out
    store = ArtifactStore(tmp_path)
    card = load_artifact(store.folder(store.current())).card
    assert "120 training rows, 30 held-out rows" in report
    for figure in (card.metrics.accuracy, card.metrics.macro_f1, card.metrics.log_loss):
        assert f"{figure:.4f}" in report
    assert f"5-fold accuracy {card.metrics.cross_validation.accuracy_mean:.4f}" in report
    for name, counts in zip(card.classes, card.metrics.confusion_matrix, strict=True):
        assert re.search(rf"{name} +" + " +".join(map(str, counts)) + r"\b", report)
    assert f"predictor: a decision table of {card.table_cells} cells, verified to equal XGBoost" in report
    assert f"version {card.model_version} is current in {tmp_path}" in report
    assert len(report.splitlines()) < 12


def test_without_a_decision_table_the_predictor_is_xgboost(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(decision_table, "MAX_CELLS", 10)
    assert train.main(["--store", str(tmp_path), "--n-estimators", "5"]) == 0
    assert "predictor: XGBoost\n" in capsys.readouterr().out
    store = ArtifactStore(tmp_path)
    artifact = load_artifact(store.folder(store.current()))
    assert (artifact.card.predictor, artifact.card.table_cells) == ("xgboost", 0)
    assert artifact.model.predictor == "xgboost"


def test_card_describes_the_training_rows(tmp_path: Path) -> None:
    """Ranges and quantiles are those of the 120 training rows, not of the held-out ones."""
    assert train.main(["--store", str(tmp_path), "--n-estimators", "5", "--max-depth", "2", "--seed", "1"]) == 0
    store = ArtifactStore(tmp_path)
    card = load_artifact(store.folder(store.current())).card
    assert card.hyperparameters == IrisModel(n_estimators=5, max_depth=2, random_state=1).hyperparameters
    assert (card.data.rows, card.data.train_rows, card.data.test_rows, card.data.seed) == (150, 120, 30, 1)
    assert card.data.sha256 == load_iris().sha256
    for feature in card.features:
        quantiles = [feature.quantiles[share] for share in ("0.05", "0.25", "0.5", "0.75", "0.95")]
        assert feature.minimum <= quantiles[0] and quantiles == sorted(quantiles) and quantiles[-1] <= feature.maximum
    assert sum(card.feature_importance.values()) == pytest.approx(1)
    assert list(card.feature_importance) == [feature.name for feature in card.features]
    matrix = card.metrics.confusion_matrix
    assert [sum(row) for row in matrix] == [10, 10, 10]
    assert card.metrics.accuracy == sum(matrix[index][index] for index in range(3)) / 30
    assert {"python", "xgboost", "numpy", "scikit-learn"} <= card.packages.keys()


def test_every_hyperparameter_reaches_the_model(tmp_path: Path) -> None:
    values = {"n-estimators": 2, "max-depth": 3, "learning-rate": 0.2, "subsample": 0.5, "colsample-bytree": 0.6}
    arguments = [f"--{name}={value}" for name, value in {**values, "seed": 9, "store": tmp_path}.items()]
    assert train.main(arguments) == 0
    store = ArtifactStore(tmp_path)
    model = pickle.loads((store.folder(store.current()) / MODEL_FILE).read_bytes())
    assert list(model.hyperparameters.values()) == [*values.values(), 9]
    assert len(model.booster.get_dump()) == 2 * 3


def test_help_documents_every_option(command) -> None:
    text = command("--help", COLUMNS="120").stdout
    for option in OPTIONS:
        assert re.search(rf"--{option} \S+\s+\w.*?\(default: \S+", text, re.DOTALL), option
    listed = re.findall(r"^  --([a-z-]+)(?: [A-Z_]+| {\S+})?\s+(\w*)", text, re.MULTILINE)
    assert set(OPTIONS) <= {option for option, _ in listed}
    assert all(words for _, words in listed), listed


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("n-estimators", "0"),
        ("n-estimators", "-3"),
        ("n-estimators", "1.5"),
        ("max-depth", "0"),
        ("max-depth", "99999999999"),
        ("learning-rate", "0"),
        ("learning-rate", "1.1"),
        ("learning-rate", "nan"),
        ("learning-rate", "inf"),
        ("learning-rate", "1e-320"),
        ("learning-rate", "fast"),
        ("subsample", "0"),
        ("colsample-bytree", "2"),
        ("test-size", "0"),
        ("test-size", "1"),
        ("test-size", "0.999"),
        ("test-size", "0.001"),
        ("seed", "-1"),
        ("seed", "4294967296"),
        ("seed", "x"),
        ("data", "roses"),
    ],
)
def test_a_bad_option_is_one_sentence(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No trace, no files, and a status that stops a script."""
    try:
        status = train.main(["--store", str(tmp_path / "store"), f"--{option}={value}"])
    except SystemExit as stop:
        status = int(str(stop.code))
    said = capsys.readouterr()
    assert status != 0
    sentences = [line for line in said.err.splitlines() if re.match(r"(tabular )?train: ", line)]
    assert len(sentences) == 1, said.err
    assert "Traceback" not in said.err and ".cc" not in said.err
    assert " _" not in sentences[0], f"names our code: {sentences[0]}"
    assert said.out == ""
    assert not list((tmp_path / "store").glob("versions/*"))
    assert not (tmp_path / "store" / "current").exists()


@pytest.mark.parametrize("store", ["file", "file/below", "versions-is-a-file"])
def test_a_store_that_cannot_be_written_is_one_sentence(store: str, command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "versions-is-a-file").mkdir()
    (tmp_path / "versions-is-a-file" / "versions").touch()
    done = command("--store", tmp_path / store, "--n-estimators", 1)
    assert done.returncode == 1
    assert re.fullmatch(rf"train: cannot write to {tmp_path / store}: .+; choose another --store\n", done.stderr)


def test_a_write_that_fails_keeps_the_version_that_was_current(
    trained_store: Path, store: ArtifactStore, version: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert train.main(["--store", str(store.root), "--n-estimators", "1"]) == 1
    assert "No space left on device" in capsys.readouterr().err
    monkeypatch.undo()
    assert store.versions() == [version] == [store.current()]
    assert [path.name for path in (store.root / "versions").iterdir()] == [version]


def test_a_version_that_the_loader_rejects_never_becomes_current(
    store: ArtifactStore, version: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def reject(*_: object) -> None:
        raise ArtifactError("iris_model.pkl is rejected.")

    monkeypatch.setattr(training, "load_artifact", reject)
    assert train.main(["--store", str(store.root), "--n-estimators", "1"]) == 1
    assert capsys.readouterr().err == "train: iris_model.pkl is rejected.\n"
    assert store.versions() == [version] == [store.current()]


def test_store_folder_may_come_from_the_environment(command, tmp_path: Path) -> None:
    """An option overrides the environment."""
    assert str(tmp_path / "env") in re.sub(r"\s", "", command("--help", MODEL_STORE=str(tmp_path / "env")).stdout)
    done = command("--store", tmp_path / "option", "--n-estimators", 1, MODEL_STORE=str(tmp_path / "env"))
    assert f"is current in {tmp_path / 'option'}" in done.stdout
    assert not (tmp_path / "env").exists()


def test_an_empty_model_store_is_the_default_as_in_the_api(command) -> None:
    assert "(default: artifacts)" in " ".join(command("--help", MODEL_STORE="").stdout.split()).replace("( ", "(")


def test_commit_is_taken_from_the_environment_where_there_is_no_repository(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GIT_COMMIT", "abc123")
    assert git_commit() == "abc123"
    monkeypatch.delenv("GIT_COMMIT")
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", git_commit())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit() == "unknown"


def test_a_terminal_shows_a_bar_and_a_closed_pipe_no_trace(repository: Path, tmp_path: Path) -> None:
    """Only the terminal gets the bar; the pipe gets the report."""
    command = [sys.executable, "-m", "model_training.train", "--n-estimators", "3", "--search", "2", "--folds", "2"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MODEL_", "MLFLOW_"))}
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [*command, "--store", str(tmp_path)],
        cwd=repository,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        timeout=120,
    )
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.returncode == 0 and "is current in" in done.stdout and "\r" not in done.stdout
    assert re.search(r"\r\x1b\[K\[#+ +\] +\d+% .*trial 2 of 2", shown)
    assert shown.endswith("\r\x1b[K")

    with subprocess.Popen(
        [*command, "--events", "--store", str(tmp_path)],
        cwd=repository,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(120) == 1
        assert process.stderr.read() == ""
