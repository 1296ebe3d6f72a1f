"""Charts and their words for screen readers."""

import json
import re
import subprocess
import sys

import pytest

from streamlit_app.components.charts import (
    MAX_BARS,
    confusion_words,
    probability_chart,
    probability_rows,
    probability_words,
)
from tests.stacks import ROOT


def test_few_classes_keep_their_order():
    rows = probability_rows({"b": 0.2, "a": 0.7995, "c": 0.0005}, "a")
    assert [(row["name"], row["shown"], row["marked"]) for row in rows] == [
        ("b", "20.0%", False),
        ("a", "80.0%", True),
        ("c", "< 0.1%", False),
    ]


def test_of_many_classes_the_likeliest_are_shown_and_the_others_summed():
    shares = {f"class {i}": i / 4950 for i in range(100)}
    rows = probability_rows(shares, "class 99")
    assert len(rows) == MAX_BARS
    assert rows[0]["name"] == "class 99"
    assert rows[-1]["name"] == "89 others"
    assert sum(float(row["value"]) for row in rows) == pytest.approx(1)


def test_certainty_is_not_overstated():
    assert [row["shown"] for row in probability_rows({"a": 1.0, "b": 0.0, "c": 0.9999, "d": 1e-9}, "a")] == [
        "100.0%",
        "0.0%",
        "> 99.9%",
        "< 0.1%",
    ]


def test_chart_labels_hold_any_name():
    names = {'say "hi"\\': 0.5, "a" * 50: 0.3, "a" * 49 + "b": 0.2}
    spec = probability_chart(names, 'say "hi"\\', "dark").to_dict()
    expression = spec["layer"][0]["encoding"]["y"]["axis"]["labelExpr"]
    labels = json.loads(expression.removesuffix("[datum.value]"))
    assert labels[0] == 'say "hi"\\'
    assert labels[1].startswith("aaa") and labels[1].endswith("…")
    (rows,) = spec["datasets"].values()
    # Names that are cut to the same text are two bars nevertheless.
    assert [row["position"] for row in rows] == [0, 1, 2]


def test_only_data_changes_with_the_numbers():
    """Otherwise the browser would draw a new chart for every move of a slider."""
    specs = []
    for share in (0.2, 0.7):
        spec = probability_chart({"a": share, "b": 1 - share}, "a" if share > 0.5 else "b", "light").to_dict()
        del spec["datasets"], spec["data"]
        specs.append({key: value for key, value in spec.items() if key != "name"})
    assert re.sub("view_[0-9]+", "", json.dumps(specs[0])) == re.sub("view_[0-9]+", "", json.dumps(specs[1]))


def test_confusion_in_words():
    assert confusion_words([[5, 0], [0, 4]], ["a", "b"]) == "9 of 9 test rows predicted correctly."
    assert confusion_words([[5, 1], [2, 4]], ["a", "b"]) == (
        "9 of 12 test rows predicted correctly; 2 of b predicted as a, 1 of a predicted as b."
    )


def test_chart_in_words():
    assert probability_words({"a": 0.25, "b": 0.75}, "b") == "Probabilities: a 25.0%, b 75.0%."


def test_pandas_is_imported_before_the_first_chart():
    code = "import sys, streamlit_app.components.charts; assert hasattr(sys.modules['pandas'], 'Timestamp')"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
