"""The whole page, driven by Streamlit's AppTest against a real API on the loopback."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import service

SCRIPT = Path(service.__file__).with_name("streamlit_app.py")


@pytest.fixture
def open_page(api, monkeypatch) -> Iterator[Callable[..., AppTest]]:
    """Opens the page as a new visitor with the given query."""
    monkeypatch.setenv("API_BASE_URL", api.url)
    st.cache_data.clear()

    def open_page(**query: str) -> AppTest:
        at = AppTest.from_file(SCRIPT, default_timeout=20)
        for name, value in query.items():
            at.query_params[name] = value
        return at.run()

    yield open_page
    service.client().close()
    st.cache_resource.clear()
    st.cache_data.clear()


def press(at: AppTest, label: str = "Predict") -> AppTest:
    (button,) = [button for button in at.button if button.label == label]
    return button.click().run()


def words(at: AppTest) -> str:
    """All that the page says in prose."""
    assert not at.exception
    parts = [*at.title, *at.caption, *at.error, *at.warning, *at.info, *at.markdown]
    return "\n".join(part.value.replace("\\", "") for part in parts)


def found(at: AppTest) -> str:
    """The predicted class; empty while there is none."""
    return at.header[0].value.replace("\\", "") if at.header else ""


def linked(at: AppTest) -> dict[str, str]:
    return {name: value[0] if isinstance(value, list) else value for name, value in at.query_params.items()}


def test_form_comes_from_the_card(open_page, api):
    at = open_page()
    assert "Wine quality" in words(at)
    alcohol, ash, bottles = at.slider
    assert [slider.label.replace("\\", "") for slider in at.slider] == ["Alcohol (% vol)", "Ash (g/l)", "Bottles"]
    assert "trained on 11 to 14" in alcohol.help.replace("\\", "")
    assert (alcohol.min, alcohol.max, alcohol.step, alcohol.value) == (10.6, 15.2, 0.1, 13.0)
    assert ash.value == 2.36
    assert (bottles.min, bottles.max, bottles.step, bottles.value) == (0, 52, 1, 12)
    assert isinstance(bottles.value, int)
    assert not found(at)
    assert not api.predictions()


def test_predict(open_page, api):
    at = open_page()
    at.slider[0].set_value(14.2)
    press(at)
    assert api.predictions() == [{"alcohol": 14.2, "ash": 2.36, "bottles": 12}]
    assert isinstance(api.predictions()[0]["bottles"], int)
    assert found(at) == "barbera"
    assert "**90.0%** probable" in words(at)
    assert "20261121-073107-3f2a9c1d" in words(at)
    assert " ms" in words(at)
    assert linked(at) == {"alcohol": "14.2", "ash": "2.36", "bottles": "12"}


def test_link_reproduces_the_view(open_page, api):
    at = open_page(alcohol="12.34", ash="2.5", bottles="9")
    assert [slider.value for slider in at.slider] == [12.34, 2.5, 9]
    assert api.predictions() == [{"alcohol": 12.34, "ash": 2.5, "bottles": 9}]
    assert found(at) == "barolo"


def test_reload_keeps_the_inputs(open_page):
    first = open_page()
    first.slider[1].set_value(1.5)
    press(first)
    second = open_page(**linked(first))
    assert [slider.value for slider in second.slider] == [slider.value for slider in first.slider]
    assert found(second) == found(first) != ""


@pytest.mark.parametrize(
    "garbage", ["", "abc", "nan", "inf", "-inf", "1e999", "0x10", "<script>alert(1)</script>", "٣"]
)
def test_garbage_in_the_link_is_ignored_or_clamped(open_page, garbage):
    at = open_page(alcohol=garbage, unknown=garbage, bottles=garbage)
    assert not at.exception
    alcohol, _, bottles = at.slider
    assert alcohol.min <= alcohol.value <= alcohol.max
    assert bottles.min <= bottles.value <= bottles.max
    assert isinstance(bottles.value, int)


def test_values_beyond_the_slider_are_clamped(open_page):
    at = open_page(alcohol="99", ash="-5", bottles="1e300")
    assert [slider.value for slider in at.slider] == [15.2, 1.17, 52]


def test_streamlits_own_query_parameters_may_be_features(open_page, api):
    api.card["features"] = [api.feature("embed", 0, 1, 0.5), api.feature("Embed_Options", 0, 1, 0.5)]
    at = press(open_page(embed="true"))
    assert not at.exception
    assert found(at)


def test_warnings_are_shown_with_the_label(open_page, api):
    message = "15.2 lies outside the training range 11 to 14.8"
    api.replies["/predict"] = lambda handler: handler.send_json(
        200, handler.prediction(api.predictions()[-1]) | {"warnings": [{"field": "alcohol", "message": message}]}
    )
    at = open_page(alcohol="15.2")
    assert "Alcohol (% vol): 15.2 lies outside the training range 11 to 14.8" in words(at)
    assert found(at)


def test_api_away_and_back(open_page, running):
    running.stop()
    at = open_page()
    assert "does not answer" in words(at)
    assert "try again in a few seconds" in words(at)
    assert "Request id: " in words(at)
    assert not at.slider
    press(at, "Try again")
    assert "does not answer" in words(at)
    running.start()
    press(at, "Try again")
    assert len(at.slider) == 3
    assert not at.error
    assert found(press(at))


def test_api_goes_away_after_the_form_was_drawn(open_page, running):
    at = open_page()
    at.slider[0].set_value(12.0)
    running.stop()
    press(at)
    assert "does not answer" in words(at)
    assert not found(at)
    running.start()
    press(at, "Try again")
    assert at.slider[0].value == 12.0
    assert found(at) == "barolo"


@pytest.mark.parametrize("path", ["/model", "/predict"])
def test_model_not_ready(open_page, api, path):
    api.replies[path] = lambda handler: handler.send_problem(503, "The artifact was refused: its digest differs.")
    at = press(open_page()) if path == "/predict" else open_page()
    assert "not ready: The artifact was refused: its digest differs." in words(at)
    del api.replies[path]
    api.card = api.card | {"model_name": "the next one"}
    press(at, "Try again")
    assert not at.error
    assert at.slider
    assert "The next one" in words(at)


@pytest.mark.parametrize("path", ["/model", "/predict"])
def test_refused_key_is_told_and_never_shown(open_page, api, monkeypatch, path):
    monkeypatch.setenv("API_KEY", "s3cret")
    api.replies[path] = lambda handler: handler.send_problem(401, "This API key is not valid.")
    at = press(open_page()) if path == "/predict" else open_page()
    assert api.requests[-1].headers["Authorization"] == "Bearer s3cret"
    said = words(at)
    assert "The prediction service does not accept the key of this page." in said
    assert "Whoever runs the service sets API_KEY of the user interface to a key that the API knows." in said
    assert "s3cret" not in said


def test_rejected_values_are_named(open_page, api):
    api.replies["/predict"] = lambda handler: handler.send_problem(422, "One field is wrong.", ("ash", "is *odd*"))
    at = press(open_page())
    assert "One field is wrong." in words(at)
    assert "- Ash: is *odd*" in words(at)
    assert not found(at)
    assert at.slider


def test_model_with_other_features_is_picked_up(open_page, api):
    at = open_page()
    api.card = api.card | {"model_version": "new", "features": [api.feature("colour", 1.0, 9.0, 5.0)]}
    api.replies["/predict"] = lambda handler: (
        handler.send_json(200, handler.prediction(api.predictions()[-1]))
        if list(api.predictions()[-1]) == ["colour"]
        else handler.send_problem(422, "Fields differ.", ("alcohol", "is unknown"))
    )
    press(at)
    assert [slider.label for slider in at.slider] == ["Colour"]
    assert "now version new" in words(at)
    assert not at.error
    press(at)
    assert found(at)
    assert "now version" not in words(at)


def test_newer_version_of_the_same_schema_is_told_once(open_page, api):
    at = open_page()
    api.card = api.card | {"model_version": "new"}
    press(at)
    assert "now version new" in words(at)
    assert found(at)
    press(at)
    assert "now version" not in words(at)


def test_two_servers_that_disagree_do_not_make_the_page_run_for_ever(open_page, api):
    at = open_page()
    answers = 0

    def other_card(handler) -> None:
        nonlocal answers
        answers += 1
        feature = api.feature("alcohol", answers, 99.0, 50.0)
        handler.send_json(200, api.card | {"features": [feature], "model_version": f"v{answers}"})

    api.replies["/model"] = other_card
    api.replies["/predict"] = lambda handler: handler.send_problem(422, "Fields differ.")
    press(at)
    assert not at.exception
    assert answers < 5


def test_narrower_range_of_a_new_model_clamps_the_old_input(open_page, api):
    at = open_page()
    at.slider[0].set_value(15.0)
    press(at)
    api.card = api.card | {"model_version": "new", "features": [api.feature("alcohol", 1.0, 2.0, 1.5)]}
    st.cache_data.clear()
    at.run()
    assert not at.exception
    (alcohol,) = at.slider
    assert (alcohol.max, alcohol.value) == (2.1, 2.1)


def test_card_is_cached_but_no_failure(open_page, api):
    open_page()
    press(open_page())
    assert [request.path for request in api.requests] == ["/model", "/predict"]


def test_64_features_and_a_constant_one(open_page, api):
    api.card["features"] = [api.feature(f"pixel_{i}", 0, 16 if i else 0, 3 if i else 0, dtype="int") for i in range(64)]
    at = open_page()
    assert len(at.slider) == 64
    constant = at.slider[0]
    assert constant.min < constant.max
    assert constant.value == 0
    assert "always 0 in training" in constant.help
    press(at)
    assert list(api.predictions()[0]) == [f"pixel_{i}" for i in range(64)]
    assert found(at)


def test_names_are_never_markup(open_page, api):
    name = "![x](http://example.org/x.png) <b>$a$</b>"
    api.card["features"] = [api.feature(name, 0, 2, 1, unit="*m*")]
    api.card["classes"] = [name, "**bold**", "`code`"]
    at = press(open_page())
    assert at.slider[0].label.startswith("\\!\\[x\\]\\(http\\:")
    assert at.header[0].value == "\\*\\*bold\\*\\*"


def test_hundred_classes(open_page, api):
    api.card["classes"] = [f"a rather long name of class number {i}" for i in range(100)]
    at = press(open_page())
    assert "number 13" in found(at)


def test_unforeseen_answer_shows_no_internals(open_page, api):
    api.replies["/predict"] = lambda handler: handler.send_bytes(200, b"<html>Traceback</html>", "text/html")
    at = press(open_page())
    assert "does not understand" in words(at)
    assert "Traceback" not in words(at)
