"""The page for one row, driven by Streamlit's AppTest against a real server on the loopback."""

import json
import re
import shlex

import pytest
import requests
import streamlit as st
from streamlit.testing.v1 import AppTest


def press(at: AppTest, label: str) -> AppTest:
    (button,) = [button for button in at.button if button.label == label]
    return button.click().run()


def move(at: AppTest, index: int, value: float) -> AppTest:
    return at.slider[index].set_value(value).run()


def words(at: AppTest) -> str:
    """Return the page's text."""
    assert not at.exception
    parts = [*at.title, *at.caption, *at.error, *at.warning, *at.info, *at.markdown]
    return "\n".join(part.value.replace("\\", "") for part in parts)


def found(at: AppTest) -> str:
    """Return the predicted class; empty without one."""
    return at.header[0].value.replace("\\", "") if at.header else ""


def linked(at: AppTest) -> dict[str, str]:
    return {name: value[0] if isinstance(value, list) else value for name, value in at.query_params.items()}


def test_form_comes_from_the_card(open_page, api):
    at = open_page()
    assert "Wine quality" in words(at)
    alcohol, ash, bottles = at.slider
    assert [slider.label.replace("\\", "") for slider in at.slider] == ["Alcohol (% vol)", "Ash (g/l)", "Bottles"]
    assert "Training range: 11 to 14.8" in alcohol.help.replace("\\", "")
    assert (alcohol.min, alcohol.max, alcohol.step, alcohol.value) == (10.6, 15.2, 0.1, 13.0)
    assert ash.value == 2.36
    assert (bottles.min, bottles.max, bottles.step, bottles.value) == (0, 52, 1, 12)
    assert isinstance(bottles.value, int)
    assert linked(at) == {}


def test_every_move_predicts(open_page, api):
    at = open_page()
    assert found(at) == "grignolino"
    move(at, 0, 14.2)
    assert api.predictions()[-1] == {"alcohol": 14.2, "ash": 2.36, "bottles": 12}
    assert isinstance(api.predictions()[-1]["bottles"], int)
    assert found(at) == "barbera"
    assert "Probability **90.0%**" in words(at)
    assert "20261121-073107-3f2a9c1d" in words(at)
    assert " ms" in words(at)
    assert linked(at) == {"alcohol": "14.2", "ash": "2.36", "bottles": "12"}


def test_contributions_and_training_data_in_words(open_page):
    at = open_page(alcohol="11.2")
    said = words(at)
    assert "Alcohol 11.2 % vol pushes the prediction **towards** barbera" in said
    assert "Compared with the training data" in "".join(header.value for header in at.subheader)
    alts = [chart.proto.alt for chart in at.get("vega_lite_chart")]
    assert any("Contributions to the log-odds of barbera: Alcohol 11.2 % vol +0.50" in alt for alt in alts)
    assert any("Alcohol 11.2 % vol is in the middle half" in alt for alt in alts)
    assert all(alts)


def test_link_reproduces_the_view(open_page, api):
    at = open_page(alcohol="12.34", ash="2.5", bottles="9")
    assert [slider.value for slider in at.slider] == [12.34, 2.5, 9]
    assert api.predictions() == [{"alcohol": 12.34, "ash": 2.5, "bottles": 9}]
    assert found(at) == "barolo"


def test_reload_keeps_the_inputs(open_page):
    first = move(open_page(), 1, 1.5)
    second = open_page(**linked(first))
    assert [slider.value for slider in second.slider] == [slider.value for slider in first.slider]
    assert found(second) == found(first) != ""


def test_numbers_accept_values_beyond_the_sliders_and_stay_in_the_link(open_page, api):
    at = open_page()
    at.segmented_control(key="kind_control").set_value("Numbers").run()
    assert not at.slider
    assert [number.value for number in at.number_input] == [13.0, 2.36, 12]
    at.number_input[0].set_value(99.5).run()
    assert api.predictions()[-1]["alcohol"] == 99.5
    assert "Alcohol (% vol): 99.5 % vol is outside the training range, 11 to 14.8" in words(at)
    again = open_page(**linked(at))
    assert [number.value for number in again.number_input] == [99.5, 2.36, 12]
    again.segmented_control(key="kind_control").set_value("Sliders").run()
    assert again.slider[0].value == 15.2


def test_inputs_survive_a_visit_to_another_page(open_page):
    at = move(open_page(), 0, 14.2)
    at.switch_page("status/page.py").run()
    at.switch_page("predict/page.py").run()
    assert at.slider[0].value == 14.2
    assert linked(at)["alcohol"] == "14.2"


def test_examples_are_the_golden_rows(open_page, real_api):
    card = requests.get(f"{real_api}/model", timeout=5).json()
    at = open_page(base_url=real_api)
    for name in card["classes"]:
        press(at, name.capitalize())
        assert found(at) == name
        values = [slider.value for slider in at.slider]
        assert values in [pytest.approx(golden["features"]) for golden in card["golden_rows"]]
    press(at, "Typical")
    assert [slider.value for slider in at.slider] == [
        pytest.approx(feature["quantiles"]["0.5"], abs=0.1) for feature in card["features"]
    ]


def test_copy_as_curl_is_the_exact_request(open_page, real_api):
    at = open_page(base_url=real_api, petal_length="6.0")
    words_of_shell = shlex.split(at.code[0].value.replace("\\\n", ""))
    assert words_of_shell[:2] == ["curl", f"{real_api}/explain"]
    row = json.loads(words_of_shell[words_of_shell.index("-d") + 1])
    answer = requests.post(words_of_shell[1], json=row, timeout=5).json()
    assert answer["class_name"] == found(at)
    assert row["petal_length"] == 6.0


def test_a_slow_service_predicts_at_the_press_of_a_button(open_page, api, monkeypatch):
    at = open_page()
    at.session_state["seconds"].extend([0.9] * 5)
    at.run()
    asked = len(api.predictions())
    assert "is slow at the moment" in words(at)
    (button,) = [button for button in at.button if button.label == "Predict"]
    at.slider[0].set_value(14.2)
    button.click().run()
    assert api.predictions()[-1]["alcohol"] == 14.2
    assert len(api.predictions()) == asked + 1
    # A few quick answers later it is live again.
    for _ in range(3):
        at.run()
    assert "is slow at the moment" not in words(at)


@pytest.mark.parametrize(
    "garbage", ["", "abc", "nan", "inf", "-inf", "1e999", "0x10", "<script>alert(1)</script>", "٣"]
)
def test_garbage_in_the_link_is_ignored_or_clamped(open_page, garbage):
    at = open_page(alcohol=garbage, unknown=garbage, bottles=garbage, _inputs=garbage)
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
    at = move(open_page(embed="true"), 0, 0.8)
    assert not at.exception
    assert found(at)


def test_the_switch_may_be_called_like_a_feature(open_page, api):
    api.card["features"] = [api.feature("_inputs", 0, 9, 5)]
    at = open_page(_inputs="3")
    assert at.slider[0].value == 3
    at.segmented_control(key="kind_control").set_value("Numbers").run()
    assert linked(at) == {"_inputs": "3.0"}


def test_warnings_are_shown_with_the_label(open_page, api):
    message = "is a little odd"
    api.replies["/explain"] = lambda handler: handler.send_json(
        200, handler.prediction(api.predictions()[-1]) | {"warnings": [{"field": "ash", "message": message}]}
    )
    at = open_page(alcohol="15.2")
    assert "Alcohol (% vol): 15.2 % vol is outside the training range, 11 to 14.8" in words(at)
    assert "Ash (g/l): is a little odd" in words(at)
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
    assert found(at)


def test_api_goes_away_after_the_form_was_drawn(open_page, running):
    at = open_page()
    running.stop()
    move(at, 0, 12.0)
    assert "does not answer" in words(at)
    assert not found(at)
    running.start()
    press(at, "Try again")
    assert at.slider[0].value == 12.0
    assert found(at) == "barolo"


@pytest.mark.parametrize("path", ["/model", "/explain"])
def test_model_not_ready(open_page, api, path):
    api.replies[path] = lambda handler: handler.send_problem(503, "The artifact was rejected: its digest differs.")
    at = open_page()
    assert "not ready: The artifact was rejected: its digest differs." in words(at)
    del api.replies[path]
    api.card = api.card | {"model_name": "the next one"}
    press(at, "Try again")
    assert not at.error
    assert at.slider
    assert "The next one" in words(at)


@pytest.mark.parametrize("path", ["/model", "/explain"])
def test_rejected_key_is_reported_and_never_shown(open_page, api, monkeypatch, path):
    monkeypatch.setenv("API_KEY", "s3cret")
    api.replies[path] = lambda handler: handler.send_problem(401, "This API key is not valid.")
    at = open_page()
    assert api.requests[-1].headers["Authorization"] == "Bearer s3cret"
    said = words(at)
    assert "The prediction service rejected the API key." in said
    assert "The operator must set API_KEY of the user interface to a key that the API accepts." in said
    assert "s3cret" not in said


def test_rejected_values_are_named(open_page, api):
    api.replies["/explain"] = lambda handler: handler.send_problem(422, "One field is wrong.", ("ash", "is *odd*"))
    at = open_page()
    assert "One field is wrong." in words(at)
    assert "- Ash: is *odd*" in words(at)
    assert not found(at)
    assert at.slider


def test_too_much_for_the_api_is_a_sentence(open_page, api):
    api.replies["/explain"] = lambda handler: handler.send_problem(413, "too large")
    assert "The request is larger than the prediction service accepts. Send less at a time." in words(open_page())


def test_model_with_other_features_is_picked_up(open_page, api):
    at = open_page()
    api.card = api.card | {"model_version": "new", "features": [api.feature("colour", 1.0, 9.0, 5.0)]}
    api.replies["/explain"] = lambda handler: (
        handler.send_json(200, handler.prediction(api.predictions()[-1]))
        if list(api.predictions()[-1]) == ["colour"]
        else handler.send_problem(422, "Fields differ.", ("alcohol", "is unknown"))
    )
    move(at, 0, 12.0)
    assert [slider.label for slider in at.slider] == ["Colour"]
    assert "version new is now serving" in words(at)
    assert not at.error
    assert found(at)
    move(at, 0, 6.0)
    assert found(at)
    assert "is now serving" not in words(at)


def test_newer_version_of_the_same_schema_is_announced_once(open_page, api):
    at = open_page()
    api.card = api.card | {"model_version": "new"}
    move(at, 0, 12.0)
    assert "version new is now serving" in words(at)
    assert found(at)
    move(at, 0, 12.1)
    assert "is now serving" not in words(at)


def test_two_servers_that_disagree_do_not_make_the_page_run_for_ever(open_page, api):
    at = open_page()
    answers = 0

    def other_card(handler) -> None:
        nonlocal answers
        answers += 1
        feature = api.feature("alcohol", answers, 99.0, 50.0)
        handler.send_json(200, api.card | {"features": [feature], "model_version": f"v{answers}"})

    api.replies["/model"] = other_card
    api.replies["/explain"] = lambda handler: handler.send_problem(422, "Fields differ.")
    move(at, 0, 12.0)
    assert not at.exception
    assert answers < 5


def test_narrower_range_of_a_new_model_clamps_the_old_input(open_page, api):
    at = move(open_page(), 0, 15.0)
    features = [api.feature("alcohol", 1.0, 2.0, 1.5), *api.card["features"][1:]]
    api.card = api.card | {"model_version": "new", "features": features}
    st.cache_data.clear()
    at.run()
    assert not at.exception
    assert (at.slider[0].max, at.slider[0].value) == (2.1, 2.1)


def test_card_is_cached_but_no_failure(open_page, api):
    open_page()
    move(open_page(), 0, 12.0)
    assert [request.path for request in api.requests] == ["/model", "/explain", "/explain", "/explain"]


def test_a_model_of_another_kind(open_page, digits_api):
    at = open_page(base_url=digits_api)
    assert len(at.slider) == 64
    assert "Digits" in words(at)
    constant = at.slider[0]
    assert constant.min < constant.max
    assert (constant.value, constant.help) == (0, "Training range\\: always 0")
    (examples,) = at.selectbox
    examples.set_value("digit 3").run()
    assert found(at) == "digit 3"
    move(at, 0, 1)
    assert "Pixel 0 0: 1 is outside the training range, always 0" in words(at)
    assert re.search(r"Pixel \d \d = \d+ pushes the prediction \*\*(towards|away from)\*\* digit 3", words(at))
    assert not at.exception


def test_names_are_never_markup(open_page, api):
    name = "![x](http://example.org/x.png) <b>$a$</b>"
    api.card["features"] = [api.feature(name, 0, 2, 1, unit="*m*")]
    api.card["classes"] = [name, "**bold**", "`code`"]
    at = open_page()
    assert at.slider[0].label.startswith("\\!\\[x\\](http\\:")
    assert at.header[0].value == "\\*\\*bold\\*\\*"
    assert not any(line.value.count(name) for line in at.markdown)


def test_hundred_classes(open_page, api):
    api.card["classes"] = [f"a rather long name of class number {i}" for i in range(100)]
    assert "number 13" in found(open_page())


def test_unexpected_answer_shows_no_internals(open_page, api):
    api.replies["/explain"] = lambda handler: handler.send_bytes(200, b"<html>Traceback</html>", "text/html")
    at = open_page()
    assert "returned an unexpected answer" in words(at)
    assert "Traceback" not in words(at)
