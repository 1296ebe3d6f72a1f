"""The page for tables, driven by Streamlit's AppTest against the API itself, and its failures against a stub."""

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import requests
from pyarrow import parquet
from streamlit.testing.v1 import AppTest

from streamlit_app.batch import scoring


def words(at: AppTest) -> str:
    """Return the page's text."""
    assert not at.exception
    parts = [*at.title, *at.caption, *at.error, *at.warning, *at.info, *at.markdown]
    return "\n".join(part.value.replace("\\", "") for part in parts)


def press(at: AppTest, start: str) -> AppTest:
    (button,) = [button for button in at.button if button.label.startswith(start)]
    return button.click().run()


def send(at: AppTest, data: bytes, name: str = "flowers.csv") -> AppTest:
    return at.file_uploader(key="file").set_value((name, data, "application/octet-stream")).run()


def figures(at: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in at.metric}


def flowers(rows: int) -> pd.DataFrame:
    random = np.random.default_rng(1)
    names = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    return pd.DataFrame(random.uniform(0.1, 7, (rows, 4)).round(1), columns=names).assign(
        id=[f"{i:03}" for i in range(rows)]
    )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_is_scored_as_the_api_scores_each_row(open_page, real_api, kind, monkeypatch):
    monkeypatch.setattr(scoring, "ROWS_PER_CALL", 7)
    frame = flowers(40)
    sink = io.BytesIO()
    if kind == "csv":
        frame.to_csv(sink, index=False)
    else:
        parquet.write_table(pa.Table.from_pandas(frame), sink)
    at = send(open_page("batch", real_api), sink.getvalue(), f"flowers.{kind}")
    assert "40 rows, 4 of 4 features found" in at.expander[0].label
    press(at, "Predict 40 rows")
    assert figures(at)["Rows predicted"] == "40"
    assert figures(at)["Rows without prediction"] == "0"
    scored = at.session_state["scored"]
    for read, written in ((pd.read_csv, scored.as_csv), (pd.read_parquet, scored.as_parquet)):
        table = read(io.BytesIO(written()))
        assert list(table.columns[:5]) == list(frame.columns)
        rows = frame[frame.columns[:4]].to_dict("records")
        answer = requests.post(f"{real_api}/predict", json={"instances": rows}, timeout=10).json()
        assert table["class_name"].tolist() == answer["class_names"]
        assert table["prediction"].tolist() == answer["predictions"]
        shares = table[[name for name in table.columns if name.startswith("probability_")]].to_numpy()
        assert shares == pytest.approx(np.array(answer["probabilities"]), abs=1e-6)


def test_bad_cells_are_listed_and_the_others_scored(open_page, real_api):
    data = flowers(5).astype(str)
    data.loc[1, "petal_length"] = "abc"
    data.loc[3, "sepal_width"] = ""
    at = press(send(open_page("batch", real_api), data.to_csv(index=False).encode()), "Predict")
    assert figures(at)["Rows predicted"] == "3"
    errors = at.dataframe[0].value
    assert errors.to_numpy().tolist() == [[2, "petal_length must be a number, not 'abc'"], [4, "sepal_width is empty"]]
    table = pd.read_csv(io.BytesIO(at.session_state["scored"].as_csv()))
    assert table["class_name"].isna().tolist() == [False, True, False, True, False]
    assert table["error"].tolist()[1] == "petal_length must be a number, not 'abc'"


def test_rows_of_another_width_stay_in_their_place(open_page, real_api):
    lines = flowers(4).to_csv(index=False).splitlines()
    lines[2:2] = ["1,2", "5.1,3.5,1.4,0.2,x,y"]
    at = press(send(open_page("batch", real_api), "\n".join(lines).encode()), "Predict 6 rows")
    assert figures(at)["Rows predicted"] == "4"
    assert at.dataframe[0].value.to_numpy().tolist() == [[2, "has 2 cells, not 5"], [3, "has 6 cells, not 5"]]
    assert at.session_state["scored"].table["class_name"].is_valid().to_pylist() == [True, False, False, *[True] * 3]


def test_numbers_that_parquet_has_as_text_are_read(open_page, real_api):
    frame = flowers(3)
    frame["petal_length"] = frame["petal_length"].astype(str).astype("category")
    frame.loc[1, "sepal_width"] = None
    sink = io.BytesIO()
    frame.to_parquet(sink)
    at = press(send(open_page("batch", real_api), sink.getvalue(), "flowers.parquet"), "Predict")
    assert figures(at)["Rows predicted"] == "2"
    assert at.dataframe[0].value.to_numpy().tolist() == [[2, "sepal_width is empty"]]


def test_columns_named_like_the_answers_are_renamed(open_page, real_api):
    data = flowers(2).assign(error="old", prediction=7)
    at = press(send(open_page("batch", real_api), data.to_csv(index=False).encode()), "Predict")
    table = at.session_state["scored"].table
    assert table["error (file)"].to_pylist() == ["old", "old"] and table["prediction (file)"].to_pylist() == ["7", "7"]
    assert "error" not in table.column_names


def test_wrong_columns_are_named_with_a_next_step(open_page, real_api):
    at = send(open_page("batch", real_api), b"sepal_length,other\n1,2\n")
    assert "The file lacks 3 columns that the model needs: sepal_width, petal_length, petal_width." in words(at)
    assert "upload the file again" in words(at)
    assert not [button for button in at.button if button.label.startswith("Predict")]


def test_a_table_can_be_pasted_from_a_sheet(open_page, real_api):
    at = open_page("batch", real_api)
    at.segmented_control[0].set_value("Paste a table").run()
    text = "Sepal Length (cm)\tSepal Width\tPetal length\tpetal_width\n5.1\t3.5\t1.4\t0.2\n"
    at.text_area(key="pasted").set_value(text).run()
    press(at, "Predict 1 row")
    assert at.session_state["scored"].table["class_name"].to_pylist() == ["setosa"]


def test_the_sample_file_is_accepted(open_page, digits_api):
    from streamlit_app.batch import upload
    from streamlit_app.components import service

    at = open_page("batch", digits_api)
    assert any(button.label == "Download a sample file" for button in at.get("download_button"))
    press(send(at, upload.sample(service.fetch_card())), "Predict")
    assert figures(at)["Rows without prediction"] == "0"
    assert not at.exception


def test_filters_and_pages(open_page, real_api):
    at = press(send(open_page("batch", real_api), flowers(350).to_csv(index=False).encode()), "Predict")
    scored = at.session_state["scored"]
    rows = at.dataframe[-1].value
    assert rows["Row"].tolist() == list(range(1, 101))
    at.selectbox(key="order").set_value("Confidence, lowest first").run()
    rows = at.dataframe[-1].value
    assert rows["Confidence"].tolist() == pytest.approx(sorted((scored.confidence * 100).tolist())[:100], abs=1e-3)
    at.toggle(key="low_only").set_value(True).run()
    at.slider(key="threshold").set_value(0.5).run()
    unsure = int((scored.confidence < 0.5).sum())
    assert f"{unsure:,} of 350 rows, {unsure:,} of them with low confidence" in words(at)
    at.slider(key="threshold").set_value(0.0).run()
    assert "No row matches the filters" in words(at)


def test_another_table_after_the_first(open_page, real_api):
    at = press(send(open_page("batch", real_api), flowers(3).to_csv(index=False).encode()), "Predict")
    press(at, "Predict another")
    assert at.file_uploader(key="file")
    assert "scored" not in at.session_state


# --- failures ------------------------------------------------------------------------------------------------------

WINE = b"alcohol,ash,bottles\n" + b"12.5,2,6\n" * 30


def test_api_away(open_page, running):
    running.stop()
    assert "does not answer" in words(open_page("batch"))


def test_prediction_continues_after_the_api_was_away(open_page, running, api, monkeypatch):
    monkeypatch.setattr(scoring, "ROWS_PER_CALL", 10)
    monkeypatch.setattr(scoring, "WAITS_SECONDS", ())
    asked = 0

    def second_fails(handler) -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            handler.send_problem(503, "As many files as are taken at once are under way.")
        else:
            handler.send_scored(api.requests[-1].body)

    api.replies["/predict"] = second_fails
    at = press(send(open_page("batch"), WINE), "Predict 30 rows")
    assert "under way" in words(at)
    assert "10 rows are predicted and kept" in words(at)
    press(at, "Continue")
    assert figures(at)["Rows predicted"] == "30"
    assert asked == 4


def test_a_busy_api_is_retried(open_page, api, monkeypatch):
    monkeypatch.setattr(scoring, "WAITS_SECONDS", (0.01, 0.01))
    asked = 0

    def first_fails(handler) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            handler.send_problem(429, "slow down")
        else:
            handler.send_scored(api.requests[-1].body)

    api.replies["/predict"] = first_fails
    at = press(send(open_page("batch"), WINE), "Predict 30 rows")
    assert figures(at)["Rows predicted"] == "30"


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(422, "Fields differ."), (413, "larger than the prediction service accepts"), (401, "rejected the API key")],
)
def test_a_rejected_table_is_a_sentence_with_a_next_step(open_page, api, status, sentence):
    api.replies["/predict"] = lambda handler: handler.send_problem(status, "Fields differ.", ("alcohol", "is unknown"))
    at = press(send(open_page("batch"), WINE), "Predict 30 rows")
    assert sentence in words(at)
    press(at, "Start over")
    assert at.file_uploader(key="file")


def test_model_replaced_in_between_is_reported(open_page, api, monkeypatch):
    monkeypatch.setattr(scoring, "ROWS_PER_CALL", 10)

    versions = iter(["old", "new", "new"])

    def swap(handler) -> None:
        handler.send_scored(api.requests[-1].body, next(versions))
        # The next one has other classes as well.
        api.card = api.card | {"classes": ["barolo", "barbera"]}

    api.replies["/predict"] = swap
    at = press(send(open_page("batch"), WINE), "Predict 30 rows")
    assert "model version new, old" in words(at)
    assert "predictions come from two versions" in words(at)
    assert figures(at)["Rows predicted"] == "30"
    assert not [request for request in api.requests if request.path == "/ready"]


def test_cancel_keeps_what_is_scored(open_page, api, monkeypatch):
    monkeypatch.setattr(scoring, "ROWS_PER_CALL", 10)
    monkeypatch.setattr(scoring, "WAITS_SECONDS", ())
    asked = 0

    def second_fails(handler) -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            handler.send_problem(503, "Away.")
        else:
            handler.send_scored(api.requests[-1].body)

    api.replies["/predict"] = second_fails
    at = press(send(open_page("batch"), WINE), "Predict 30 rows")
    press(at, "Cancel")
    assert figures(at)["Rows predicted"] == "10"
    assert "Cancelled after 10 of 30 rows" in words(at)


def test_too_large_a_file_is_a_sentence(open_page, monkeypatch):
    from streamlit_app.batch import table

    monkeypatch.setattr(table, "MAX_ROWS", 3)
    at = send(open_page("batch"), WINE)
    assert "more than 3 rows" in words(at)
    assert "POST /predict" in words(at)
