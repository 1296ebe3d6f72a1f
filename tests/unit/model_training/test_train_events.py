"""`tabular train` for programs: a configuration file in, JSON lines and an exit status out."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from model_artifact.card import ModelCard
from model_artifact.pickling import load_artifact
from model_artifact.store import ArtifactStore
from model_artifact.training_record import read_record
from model_training import train

Run = Callable[..., tuple[int, list[dict[str, Any]]]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command in this process; return its status and its events."""
    for name in ("MODEL_STORE", "MODEL_SIGN_KEY", "MODEL_PUBLIC_KEY", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> tuple[int, list[dict[str, Any]]]:
        status = train.main(["--events", "--store", str(tmp_path / "store"), *map(str, arguments)])
        said = capsys.readouterr()
        assert said.err == ""
        return status, [json.loads(line) for line in said.out.splitlines()]

    return run


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    """Return a table whose first column mostly separates the two classes."""
    rows = [f"{index % 97},{index % 2 * 50 + index % 61},{'rose' if index % 2 else 'lily'}\n" for index in range(200)]
    path = tmp_path / "flowers.csv"
    path.write_text("noise,length,kind\n" + "".join(rows))
    return path


def test_a_training_reports_its_steps_and_its_card(run: Run, tmp_path: Path) -> None:
    status, events = run("--n-estimators", 5)
    assert status == 0
    *steps, result = events
    assert {step["event"] for step in steps} == {"progress"}
    assert list(dict.fromkeys(step["stage"] for step in steps)) == [
        *("read", "check", "train", "evaluate", "gate", "register")
    ]
    shares = [step["share"] for step in steps]
    assert shares[0] == 0 and shares == sorted(shares) and shares[-1] < 1
    assert all(step["text"] for step in steps)
    store = ArtifactStore(tmp_path / "store")
    assert (result["event"], result["outcome"], result["version"]) == ("result", "promoted", store.current())
    assert msgspec.convert(result["card"], ModelCard) == load_artifact(store.folder(store.current())).card


def test_a_long_file_name_does_not_end_a_training(run: Run, flowers: Path) -> None:
    renamed = flowers.rename(flowers.with_name(f"{'n' * 140}.csv"))
    status, events = run("--data", renamed, "--target", "kind", "--folds", 0, "--n-estimators", 5)
    assert (status, events[-1]["card"]["model_name"]) == (0, "n" * 128)


def test_a_column_with_values_in_held_out_rows_alone_is_rejected_by_name(run: Run, flowers: Path) -> None:
    head, *rows = flowers.read_text().splitlines()
    said = set()
    for seed in range(40):
        table = [f"{head},rare", *(f"{row},{1 if index == 0 else ''}" for index, row in enumerate(rows))]
        flowers.write_text("\n".join(table) + "\n")
        status, events = run("--data", flowers, "--target", "kind", "--folds", 0, "--n-estimators", 1, "--seed", seed)
        if status == 1:
            said.add(events[-1]["text"])
            break
    assert said == {"Column rare has no value in the training rows, only in held-out ones; ignore such columns."}


def test_a_file_a_configuration_and_options(run: Run, flowers: Path, tmp_path: Path) -> None:
    """Options override the file, and the file overrides the defaults; paths start at the file."""
    (tmp_path / "units.toml").write_text('length = "cm"')
    (tmp_path / "training.toml").write_text(
        'data = "flowers.csv"\nname = "garden"\ntarget = "kind"\nunits = "units.toml"\nignore = ["noise"]\n'
        "test_size = 0.5\nseed = 1\nfolds = 3\n[parameters]\nmax_depth = 2\nn_estimators = 9\n"
        "[gate]\nmin_accuracy = 0.6\n"
    )
    status, events = run("--config", tmp_path / "training.toml", "--test-size", 0.25, "--parameter", "n_estimators=4")
    card = msgspec.convert(events[-1]["card"], ModelCard)
    assert status == 0
    assert (card.model_name, card.data.name, card.data.rows, card.data.test_rows) == ("garden", "garden", 200, 50)
    assert [(feature.name, feature.unit, feature.dtype) for feature in card.features] == [("length", "cm", "integer")]
    assert card.classes == ["lily", "rose"]
    assert card.metrics.cross_validation and card.metrics.cross_validation.folds == 3
    assert card.hyperparameters["max_depth"] == 2 and card.hyperparameters["n_estimators"] == 4
    assert card.data.seed == card.hyperparameters["random_state"] == 1
    assert card.gate and card.gate.passed and card.gate.held_out_rows == 50


@pytest.mark.parametrize("estimator", ["xgboost", "random-forest", "logistic-regression"])
def test_every_estimator_learns_the_digits(run: Run, estimator: str) -> None:
    trees = () if estimator == "logistic-regression" else ("--n-estimators", 30)
    status, events = run("--data", "digits", "--estimator", estimator, "--folds", 0, *trees)
    card = msgspec.convert(events[-1]["card"], ModelCard)
    assert status == 0
    assert card.estimator == estimator
    assert card.metrics.accuracy > 0.9 and card.metrics.cross_validation is None
    assert card.picture and (card.picture.width, card.picture.height) == (8, 8)
    assert card.classes == [str(digit) for digit in range(10)]
    assert {feature.dtype for feature in card.features} == {"integer"}


def test_a_worse_model_is_kept_as_a_rejected_challenger(run: Run, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "store")
    _, first = run("--data", "digits", "--folds", 0, "--n-estimators", 20)
    worse = ("--data", "digits", "--folds", 0, "--n-estimators", 1, "--max-depth", 2)
    status, events = run(*worse)
    assert (status, events[-1]["outcome"]) == (3, "rejected")
    assert store.current() == first[-1]["version"]
    gate = load_artifact(store.folder(events[-1]["version"])).card.gate
    assert gate and not gate.passed and not gate.forced and gate.champion_version == first[-1]["version"]
    assert any("worse than" in reason for reason in gate.reasons)
    record = read_record(store.root)
    assert record and (record.outcome, record.version) == ("rejected", events[-1]["version"])
    assert record.reason == " ".join(gate.reasons)

    status, events = run(*worse, "--force")
    assert (status, events[-1]["outcome"]) == (0, "promoted")
    assert store.current() == events[-1]["version"]
    assert events[-1]["card"]["gate"]["forced"] and not events[-1]["card"]["gate"]["passed"]


def test_a_threshold_rejects_even_the_first_model(run: Run, tmp_path: Path) -> None:
    status, events = run("--n-estimators", 3, "--min-accuracy", 1)
    assert status == 3
    assert "below min_accuracy" in events[-1]["card"]["gate"]["reasons"][0]
    assert not (tmp_path / "store" / "current").exists()


@pytest.mark.parametrize("champion", ["other table", "rejected"])
def test_a_champion_that_cannot_be_compared_is_named(run: Run, champion: str, tmp_path: Path) -> None:
    _, first = run("--data", "digits" if champion == "other table" else "iris", "--n-estimators", 2, "--folds", 0)
    version = first[-1]["version"]
    if champion == "rejected":
        with (tmp_path / "store" / "versions" / version / "iris_model.pkl").open("ab") as file:
            file.write(b"x")
    status, events = run("--n-estimators", 2)
    (reason,) = events[-1]["card"]["gate"]["reasons"]
    assert status == 0 and version in reason
    assert ("of another table (digits" if champion == "other table" else "is rejected") in reason


def test_missing_values_are_used_and_reported(run: Run, flowers: Path) -> None:
    """For trees only; ranges ignore them, and golden rows have none."""
    lines = flowers.read_text().splitlines()
    lines[1::3] = ["," + line.partition(",")[2] for line in lines[1::3]]
    flowers.write_text("\n".join(lines))
    status, events = run("--data", flowers, "--target", "kind", "--n-estimators", 5)
    assert status == 0
    (warning,) = [event["text"] for event in events if event["event"] == "warning"]
    assert warning.startswith("Column noise (33.5%) has missing values")
    card = msgspec.convert(events[-1]["card"], ModelCard)
    assert card.data.warnings == [warning]
    assert 0 <= card.features[0].minimum < card.features[0].maximum <= 96

    status, events = run("--data", flowers, "--target", "kind", "--estimator", "logistic-regression")
    assert status == 1 and "logistic-regression cannot learn from" in events[-1]["text"]


def test_a_table_without_a_complete_row_has_golden_rows(run: Run, flowers: Path) -> None:
    lines = flowers.read_text().splitlines()
    halves = [line.split(",") for line in lines[1:]]
    flowers.write_text("\n".join([lines[0], *(f"{a},,{c}" if int(a) % 2 else f",{b},{c}" for a, b, c in halves)]))
    status, _ = run("--data", flowers, "--target", "kind", "--n-estimators", 5)
    assert status == 0


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--data", "FLOWERS"], 1, "Name the column to predict (--target); there are noise, length and kind."),
        (["--data", "FLOWERS", "--target", "length", "--ignore", "kind"], 1, "Each class needs at least 5 rows"),
        (["--data", "FLOWERS.none", "--target", "kind"], 1, "There is no table"),
        (["--data", "iris", "--target", "colour"], 1, "The table iris predicts species, not colour."),
        (["--data", "iris", "--ignore", "petal_width"], 1, "The table iris is built in"),
        (["--data", "FLOWERS", "--target", "kind", "--units", "FLOWERS"], 1, "is not TOML"),
        (["--folds", "1"], 2, "folds must be 0"),
        (["--config", "FLOWERS"], 2, "is not TOML"),
        (["--estimator", "logistic-regression", "--max-depth", "3"], 2, "logistic-regression has no parameter"),
        (["--parameter", "max_depth=0.5"], 2, "max_depth of xgboost must be a whole number"),
    ],
)
def test_each_failure_is_one_sentence(
    run: Run, flowers: Path, arguments: list[str], status: int, words: str, tmp_path: Path
) -> None:
    """Nothing is registered; a failed training is recorded, an invalid option is not."""
    ended, events = run(*(argument.replace("FLOWERS", str(flowers)) for argument in arguments))
    assert ended == status
    assert (events[-1]["event"], [event["event"] for event in events].count("error")) == ("error", 1)
    assert words in events[-1]["text"]
    assert not list((tmp_path / "store").glob("versions/*"))
    record = read_record(tmp_path / "store")
    if status == 1:
        assert record and (record.outcome, record.version, record.reason) == ("failed", None, events[-1]["text"])
    else:
        assert record is None


def test_check_reads_and_checks_only(run: Run, flowers: Path, tmp_path: Path) -> None:
    status, (checked,) = run("--check", "--data", flowers, "--target", "kind")
    assert status == 0
    assert not (tmp_path / "store").exists()
    assert (checked["event"], checked["rows"], checked["classes"]) == ("checked", 200, {"lily": 100, "rose": 100})
    assert (checked["errors"], checked["warnings"]) == ([], [])
    assert checked["columns"][1] == {
        "name": "length",
        "dtype": "integer",
        "usable": True,
        "missing": 0,
        "minimum": 0,
        "maximum": 110,
    }
    assert len(checked["preview"]) == 5 and checked["preview"][1] == [1, 51, "rose"]

    status, (checked,) = run("--check", "--data", flowers)
    assert (status, checked["classes"], checked["errors"]) == (0, None, [])

    status, (checked,) = run("--check", "--data", flowers, "--target", "noise")
    assert status == 1
    assert checked["classes"]["96"] == 2
    assert checked["errors"][0].startswith("Column kind holds text")

    status, (checked,) = run("--check", "--data", "digits")
    assert (status, checked["rows"], len(checked["columns"]), checked["classes"]["0"]) == (0, 1797, 65, 178)

    status, (error,) = run("--check", "--data", tmp_path)
    assert (status, error["event"]) == (1, "error")


def test_a_search_reports_each_trial_and_its_parameters_are_the_models(run: Run) -> None:
    status, events = run("--search", 2, "--folds", 2, "--n-estimators", 3)
    trials = [event for event in events if event.get("stage") == "search"]
    assert status == 0 and len(trials) >= 2 and 0.1 <= trials[0]["share"] < trials[-1]["share"] <= 0.5
    assert events[-1]["card"]["hyperparameters"]["n_estimators"] == 3


def test_a_signed_version_and_keys_that_do_not_fit(run: Run, tmp_path: Path, capsys) -> None:
    from model_training import signing

    for name in ("ours", "theirs"):
        assert signing.main(["new-key", str(tmp_path / name)]) == 0
    capsys.readouterr()
    public = ("--public-key", tmp_path / "ours" / "signing.pub")
    quick = ("--n-estimators", 2, "--folds", 0)
    status, (error,) = run(*public, *quick)
    assert status == 1 and "train with --sign-key" in error["text"]
    status, (error,) = run(*public, *quick, "--sign-key", tmp_path / "theirs" / "signing.key")
    assert status == 1 and "its public key is not among those" in error["text"]
    status, events = run(*public, *quick, "--sign-key", tmp_path / "ours" / "signing.key")
    assert status == 0
    # An unsigned champion is not trusted to compare with.
    assert run(*quick, "--force")[0] == 0
    status, events = run(*public, *quick, "--sign-key", tmp_path / "ours" / "signing.key")
    assert status == 0 and "is not signed" in events[-1]["card"]["gate"]["reasons"][0]


def test_a_training_that_is_stopped_leaves_the_champion(repository: Path, store: ArtifactStore, version: str) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "model_training.train",
            "--events",
            "--store",
            str(store.root),
            "--n-estimators",
            "9999",
        ],
        cwd=repository,
        env={name: value for name, value in os.environ.items() if not name.startswith(("MODEL_", "MLFLOW_"))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        while json.loads(process.stdout.readline())["stage"] != "train":
            pass
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, err) == (1, "")
    assert json.loads(out.splitlines()[-1]) == {"event": "error", "text": "The training was stopped before its end."}
    assert store.versions() == [version] == [store.current()]
    record = read_record(store.root)
    assert record and record.outcome == "failed"


def test_a_grown_table_is_evaluated_on_rows_unknown_to_the_champion(run: Run, tmp_path: Path) -> None:
    """Otherwise a model that memorises rows would beat each of its successors."""
    chance = random.Random(0)
    values = [[chance.gauss(0, 1) for _ in range(6)] for _ in range(1600)]
    lines = [f"{','.join(map(str, row))},{'ab'[sum(row[:2]) + chance.gauss(0, 1.5) > 0]}\n" for row in values]
    path = tmp_path / "table.csv"
    asked = ("--data", path, "--target", "kind", "--folds", 0, "--max-depth", 8)
    cards = []
    for rows, seed in ((1500, 42), (1600, 42), (1600, 7)):
        path.write_text("a,b,c,d,e,f,kind\n" + "".join(lines[:rows]))
        _, events = run(*asked, "--seed", seed, *(["--force"] if rows == 1500 else []))
        cards.append(events[-1]["card"])
        # The first stays champion.
        ArtifactStore(tmp_path / "store").activate(cards[0]["model_version"])
    first, grown, other = cards
    accuracy = [card["gate"]["comparisons"][0]["champion"] for card in (grown, other)]
    assert abs(accuracy[0] - first["metrics"]["accuracy"]) < 0.05
    assert accuracy[1] > first["metrics"]["accuracy"] + 0.15
    knows = "was trained with another seed or test_size (42, 0.2), so it was trained on many of these rows"
    assert [knows in " ".join(card["gate"]["reasons"]) for card in (grown, other)] == [False, True]


def test_the_later_of_two_trainings_is_compared_with_the_earlier_ones_champion(run: Run, tmp_path: Path) -> None:
    run("--n-estimators", 5, "--folds", 0)
    store = ArtifactStore(tmp_path / "store")
    first = store.current()
    run("--n-estimators", 6, "--folds", 0, "--force")
    second = store.current()
    store.activate(first)
    options = ["--events", "--store", store.root, "--n-estimators", "7", "--folds", "0"]
    with subprocess.Popen(
        [sys.executable, "-m", "model_training.train", *options], stdout=subprocess.PIPE, text=True
    ) as later:
        assert later.stdout
        with store.gate_lock():
            # It runs until it waits for the gate lock of the other training.
            while json.loads(later.stdout.readline())["stage"] != "gate":
                pass
            store.activate(second)
        *_, result = map(json.loads, later.stdout)
    assert result["card"]["gate"]["champion_version"] == second
