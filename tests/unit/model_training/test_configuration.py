"""The settings of a training, from a TOML file and from options."""

from pathlib import Path
from typing import Any

import pytest

from model_training.configuration import Configuration, ConfigurationError, GateRules, make_configuration, read_settings


def test_without_settings_defaults_apply() -> None:
    assert make_configuration({}) == Configuration()
    assert Configuration().folds is None


def test_the_example_in_the_documentation_is_a_configuration(tmp_path: Path) -> None:
    import model_training.configuration as module

    path = tmp_path / "training.toml"
    path.write_text((module.__doc__ or "").split("\n\n", 1)[1])
    configuration = make_configuration(read_settings(path, ("iris",)))
    assert configuration == Configuration(
        data=str(tmp_path / "table.csv"),
        name="flowers",
        target="species",
        ignore=["row_number"],
        units=str(tmp_path / "units.toml"),
        test_size=0.2,
        seed=42,
        folds=5,
        estimator="xgboost",
        parameters={"max_depth": 4},
        gate=GateRules(min_accuracy=0.9, max_log_loss=0.5),
    )


def test_relative_paths_start_at_the_file_and_names_of_tables_are_not_paths(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "conf").mkdir()
    path = tmp_path / "conf" / "training.toml"
    monkeypatch.chdir(tmp_path)
    for written, read in (("iris", "iris"), ("x.csv", str(path.parent / "x.csv")), ("/data/x.csv", "/data/x.csv")):
        path.write_text(f'data = "{written}"')
        assert read_settings(Path("conf/training.toml"), ("iris",)) == {"data": read}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"test_size": 2}, "test_size must be a number below 1.0"),
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"seed": "7"}, "seed must be a whole number, not text"),
        ({"folds": 2.5}, "folds must be a whole number or nothing, not a number"),
        ({"folds": 1}, "folds must be 0 (no cross-validation) or at least 2"),
        ({"estimator": "forest"}, "estimator: 'forest' is unknown; choose one of xgboost, random-forest,"),
        ({"depth": 1}, "there is no setting depth; there are data, name, target,"),
        ({"gate": {"bar": 1}}, "there is no setting bar; there are min_accuracy,"),
        ({"gate": {"min_accuracy": 2}}, "gate.min_accuracy must be a number of at most 1.0"),
        ({"gate": {"min_accuracy": float("nan")}}, "gate.min_accuracy must be"),
        ({"gate": 5}, "gate must be a table, not a whole number"),
        ({"parameters": {"max_depth": "4"}}, "parameters (a value) must be a whole number or a number, not text"),
        ({"ignore": "row"}, "ignore must be a list, not text"),
        ({"data": ""}, "data must be text of length of at least 1"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_configuration(settings)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("content", [None, b"data = ", b"\xff", b"data = 'a'\ndata = 'b'"])
def test_a_file_that_is_not_toml_is_reported_in_one_sentence(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "training.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"training\.toml (is not TOML|cannot be read: No such file)"):
        read_settings(path, ())
