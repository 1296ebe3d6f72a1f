"""The Model and the Status page, driven by Streamlit's AppTest."""

import pytest
import requests
from streamlit.testing.v1 import AppTest


def words(at: AppTest) -> str:
    """Return the page's text, tables and figures included."""
    assert not at.exception
    parts = [*at.title, *at.caption, *at.error, *at.success, *at.info, *at.subheader]
    cells = [str(cell) for table in at.table for cell in table.value.to_numpy().ravel()]
    shown = [f"{metric.label} {metric.value} {metric.delta}" for metric in at.metric]
    return "\n".join([*(part.value for part in parts), *cells, *shown]).replace("\\", "")


def alts(at: AppTest) -> str:
    return "\n".join(chart.proto.alt for chart in at.get("vega_lite_chart"))


def test_model_page_shows_the_card(open_page, real_api):
    card = requests.get(f"{real_api}/model", timeout=5).json()
    said = words(at := open_page("model", real_api))
    assert card["model_version"] in said
    assert "iris, 150 rows: 120 for training, 30 for testing" in said
    assert f"Accuracy {card['metrics']['accuracy']:.1%}" in said
    assert "Not verified: the service has no key" in said
    assert "as recorded at training" in said and "baseline 33.3%" in said
    assert "rows predicted correctly" in alts(at)
    assert "Feature importance: Petal" in alts(at)
    assert card["packages"]["xgboost"] in said
    assert str(card["hyperparameters"]["max_depth"]) in said


def test_model_page_of_another_kind(open_page, digits_api):
    at = open_page("model", digits_api)
    assert "Digits model" in words(at)
    assert "others" in alts(at)


def test_estimator_gate_and_warnings_of_the_card(open_page, api):
    comparison = {
        "metric": "log_loss",
        "champion": 0.2,
        "challenger": 0.3,
        "gain": -0.1,
        "low": -0.2,
        "high": 0.0,
        "tolerance": 0.05,
        "worse_share": 0.9,
    }
    gate = {
        "passed": False,
        "forced": True,
        "reasons": ["Its log loss is worse than that of champion [one]."],
        "champion_version": "one",
        "held_out_rows": 40,
        "comparisons": [comparison],
    }
    api.card |= {
        "estimator": "logistic-regression",
        "predictor": "linear",
        "gate": gate,
        "metrics": {"accuracy": 0.9, "cross_validation": None},
        "data": {"name": "wine", "warnings": ["Column ash is constant.", "3 rows are there twice."]},
    }
    at = open_page("model")
    said = words(at)
    assert "Logistic regression" in said and "the model's coefficients" in said
    assert "It was not cross-validated." in said
    shown = "\n".join(warning.value for warning in at.warning)
    assert "The gate rejected the model, but it was forced." in shown
    assert "It was evaluated on 40 test rows and compared with version one." in shown
    assert "champion \\[one\\]" in shown
    assert "-0.2000 to +0.0000" in said and "90%" in said
    assert any(expander.label == "2 warnings about the training data" for expander in at.expander)
    assert any("3 rows are there twice" in text.value for text in at.markdown)


def test_a_model_of_pictures_shows_which_pixels_count(open_page, api):
    api.card |= {
        "features": [api.feature(f"p{i}", 0, 9, 0, dtype="integer") for i in range(6)],
        "feature_importance": {"p4": 0.75, "p0": 0.25},
        "picture": {"width": 3, "height": 2, "minimum": 0.0, "maximum": 9.0},
    }
    at = open_page("model")
    assert "Picture of 3 by 2 pixels: 0 is empty, 9 is full ink" in words(at)
    (image,) = at.get("image")
    alt = image.proto.imgs[0].alt
    assert alt.startswith("Feature importance: highest at row 2 column 2, row 1 column 1") and "2 pixels of 6" in alt


def test_a_card_with_few_members_is_shown(open_page, api):
    at = open_page("model")
    said = words(at)
    assert "Wine quality model" in said
    assert "not recorded" in said and "unknown" in said
    assert not at.metric


def test_importance_is_computed_if_the_card_has_none(open_page, api):
    row = {"features": [12.5, 2.0, 6], "probabilities": [0.9, 0.05, 0.05]}
    api.card = api.card | {"golden_rows": [row]}
    at = open_page("model")
    assert "Computed here, since the card has no importance" in words(at)
    assert "over 1 row." in words(at)
    assert "Alcohol (% vol) 33.3%" in alts(at)


ODD = ("metrics", "data", "hyperparameters", "feature_importance", "trained_at", "gate", "picture", "estimator")


@pytest.mark.parametrize("odd", [None, 3, [], {"confusion_matrix": [[1, 2], 3], "accuracy": "good"}])
def test_odd_cards_break_nothing(open_page, api, odd):
    api.card = api.card | dict.fromkeys(ODD, odd)
    assert "Wine quality model" in words(open_page("model"))


def test_status_of_a_ready_service(open_page, real_api):
    version = requests.get(f"{real_api}/model", timeout=5).json()["model_version"]
    at = open_page("status", real_api)
    assert "is ready" in words(at)
    assert version in words(at)
    assert "Median" in words(at)
    links = {link.proto.url for link in at.get("link_button")}
    assert links == {f"{real_api}/docs", f"{real_api}/openapi.json"}
    assert requests.get(f"{real_api}/docs", timeout=5).ok


def test_status_of_one_without_a_model(open_page, api):
    api.replies["/ready"] = lambda handler: handler.send_problem(503, "No model has been trained yet.")
    said = words(open_page("status"))
    assert "not ready: No model has been trained yet." in said
    assert "Checked every 10 seconds" in said


@pytest.mark.parametrize("page", ["model", "status"])
def test_api_away(open_page, running, page):
    running.stop()
    said = words(open_page(page))
    assert "does not answer" in said
    assert "try again in a few seconds" in said


@pytest.mark.parametrize(
    ("status", "sentence"), [(413, "larger than the prediction service accepts"), (422, "It cannot be said.")]
)
@pytest.mark.parametrize(("page", "path"), [("model", "/model"), ("status", "/ready")])
def test_other_errors_are_sentences(open_page, api, page, path, status, sentence):
    api.replies[path] = lambda handler: handler.send_problem(status, "It cannot be said.")
    assert sentence in words(open_page(page))
