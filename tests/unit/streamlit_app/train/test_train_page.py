"""The Train page in each of its states, driven by Streamlit's AppTest against a stub of the service."""

import json
import logging
from collections.abc import Callable, Iterator

import pytest
from streamlit.testing.v1 import AppTest

from tests.unit.streamlit_app.train import training_stub
from tests.unit.streamlit_app.train.training_stub import TOKEN, TrainingStub


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Iterator[TrainingStub]:
    stub = TrainingStub()
    stub.start()
    monkeypatch.setenv("TRAINING_API_URL", stub.url)
    yield stub
    stub.stop()


@pytest.fixture
def unlocked(training, open_page, api) -> Callable[[str], AppTest]:
    """The page after the token was given, at one of its tabs."""

    def unlocked(tab: str = "New training") -> AppTest:
        api.card |= {"model_version": training.champion}
        at = give(open_page("train"), TOKEN)
        at.session_state["wanted_tab"] = tab
        return at.run()

    return unlocked


def give(at: AppTest, token: str) -> AppTest:
    at.text_input(key="token").set_value(token)
    return press(at, "Unlock")


def press(at: AppTest, label: str) -> AppTest:
    (button,) = [button for button in at.button if button.label == label]
    return button.click().run()


def words(at: AppTest) -> str:
    """Return the page's text."""
    assert not at.exception
    parts = [
        *at.title,
        *at.subheader,
        *at.caption,
        *at.error,
        *at.warning,
        *at.info,
        *at.success,
        *at.markdown,
        *at.code,
    ]
    figures = [f"{metric.label} {metric.value}" for metric in at.metric]
    return "\n".join([*(part.value for part in parts), *figures]).replace("\\", "")


def test_without_a_service_it_says_how_to_get_one(open_page, monkeypatch):
    monkeypatch.delenv("TRAINING_API_URL", raising=False)
    said = words(at := open_page("train"))
    assert "`make run` starts one" in said and "--profile training" in said
    assert not at.text_input


def test_nothing_is_shown_or_asked_without_the_token(open_page, training):
    at = open_page("train")
    assert "requires the admin token" in words(at)
    assert not at.tabs and training.asked == []
    assert "Enter the admin token." in words(give(at, "  "))
    assert training.asked == []


@pytest.mark.parametrize("token", ["another", "two words", "naïve", "line\nbreak"])
def test_a_wrong_token_is_rejected(open_page, training, token):
    at = give(open_page("train"), token)
    assert "token" in words(at) and len(at.error) == 1
    assert not at.tabs and "admin_token" not in at.session_state


def test_the_token_stays_in_the_session_until_it_is_locked(unlocked, training, caplog):
    caplog.set_level(logging.DEBUG)
    training.problems["GET /jobs"] = (500, "")
    at = unlocked("Jobs")
    assert training.tokens == {f"Bearer {TOKEN}"}
    assert TOKEN not in words(at) and TOKEN not in json.dumps(dict(at.query_params)) and TOKEN not in caplog.text
    assert "status 500" in words(at)
    press(at, "Lock")
    assert not at.tabs and at.text_input(key="token").value == ""
    assert "admin_token" not in at.session_state


def test_a_token_that_is_changed_meanwhile_is_asked_for_again(unlocked, training):
    at = unlocked()
    training.problems["GET /options"] = (401, "")
    assert "does not accept this token" in words(at.run())
    assert at.run().text_input(key="token")


def test_service_away(unlocked, training):
    at = unlocked()
    training.problems["GET /models"] = (503, "The registry is away.")
    assert "cannot do this now: The registry is away." in words(at.run())
    training.stop()
    said = words(press(at, "Try again"))
    assert "The training service does not answer." in said and "--profile training" in said
    training.start()


def test_a_built_in_table_is_checked_and_trained_from(unlocked, training):
    training.checked |= {"warnings": ["Column [length] is constant."]}
    at = unlocked()
    assert "Column [length] is constant." in words(at)
    assert any("3 rows, 1 feature" in expander.label for expander in at.expander)
    at.number_input(key="parameter:xgboost:max_depth").set_value(7)
    at.number_input(key="min_accuracy").set_value(0.9)
    press(at, "Train")
    asked = training.last("/train")
    assert asked["data"] == "digits" and asked["force"] is False
    # Unchanged parameters are not sent, so that a search can try other values.
    assert asked["config"]["parameters"] == {"max_depth": 7}
    assert "folds" not in asked["config"] and "target" not in asked["config"]
    assert asked["config"]["gate"]["min_accuracy"] == 0.9 and "max_log_loss" not in asked["config"]["gate"]
    assert "Queued" in at.get("progress")[0].proto.text
    assert at.tabs[1].proto.label == "Jobs" and at.session_state["tab"] == "Jobs"
    # The chosen values are there when the visitor comes back for the next training.
    at.session_state["wanted_tab"] = "New training"
    assert at.run().number_input(key="parameter:xgboost:max_depth").value == 7


def test_another_estimator_has_its_own_parameters(unlocked, training):
    at = unlocked()
    at.segmented_control(key="estimator").set_value("logistic-regression").run()
    at.number_input(key="parameter:logistic-regression:C").set_value(0.5)
    at.checkbox(key="force").check()
    press(at, "Train")
    asked = training.last("/train")
    assert asked["config"]["estimator"] == "logistic-regression" and asked["config"]["parameters"] == {"C": 0.5}
    assert asked["force"] is True


def test_a_file_is_trained_from_when_its_target_is_chosen(unlocked, training):
    at = unlocked()
    at.segmented_control(key="source").set_value("Upload a file").run()
    assert at.button(key="train").disabled
    data = b"length,kind\n1,a\n2,b\n3.5,a\n"
    at.file_uploader(key="table_file").set_value(("flowers.csv", data, "text/csv")).run()
    assert training.last("/inspect") == {"file": data, "name": "flowers.csv"}
    assert "Choose the target" in words(at) and at.button(key="train").disabled
    (target,) = [box for box in at.selectbox if box.key.startswith("target:")]
    target.set_value("kind").run()
    assert training.last("/inspect")["target"] == "kind"
    assert at.dataframe[1].value["Use"].tolist() == ["feature", "target"]
    at.multiselect[0].set_value(["length"]).run()
    assert json.loads(training.last("/inspect")["ignore"]) == ["length"]
    assert at.dataframe[1].value["Use"].tolist() == ["excluded", "target"]
    checks = training.paths().count("POST /inspect")
    press(at, "Train")
    asked = training.last("/train")
    assert asked["file"] == data and json.loads(asked["config"])["target"] == "kind"
    assert json.loads(asked["config"])["ignore"] == ["length"] and asked["force"] == "false"
    assert training.paths().count("POST /inspect") == checks


def test_errors_of_the_checks_keep_it_from_being_trained(unlocked, training):
    training.checked |= {"errors": ["Column kind is text: leave it out."]}
    at = unlocked()
    assert "Column kind is text: leave it out." in words(at)
    assert at.button(key="train").disabled


@pytest.mark.parametrize("path", ["/inspect", "/train"])
def test_a_rejected_request_is_a_sentence(unlocked, training, path):
    training.problems[f"POST {path}"] = (429, "5 jobs wait already, and no more may.")
    at = unlocked()
    if path == "/train":
        press(at, "Train")
    assert "5 jobs wait already, and no more may." in words(at)


def test_a_job_is_watched_and_cancelled(unlocked, training):
    running = training_stub.job("j", "running", share=0.4, text="training", log=["reading", "training"])
    training.jobs = [running]
    at = unlocked("Jobs")
    assert "40% · training" in at.get("progress")[0].proto.text
    assert at.code[0].value == "reading\ntraining"
    running["log"] = [*running["log"], "evaluating"]
    at.run()
    assert at.code[0].value == "reading\ntraining\nevaluating"
    training.problems["POST /jobs/j/cancel"] = (409, "The job is about to end.")
    assert "The job is about to end." in words(press(at, "Cancel"))
    training.problems.clear()
    press(at, "Cancel")
    assert running["state"] == "cancelled"
    assert "The training was cancelled." in words(at.run())


CARD = {
    "classes": ["a", "b"],
    "metrics": {"accuracy": 0.9, "log_loss": 0.31, "confusion_matrix": [[5, 1], [0, 4]], "cross_validation": None},
}
COMPARISON = {
    "metric": "accuracy",
    "champion": 0.95,
    "challenger": 0.9,
    "gain": -0.05,
    "low": -0.1,
    "high": 0.01,
    "tolerance": 0.01,
    "worse_share": 0.82,
}


def test_a_rejected_model_is_shown_beside_the_champion_and_can_be_forced(unlocked, training, api):
    verdict = training_stub.gate(
        passed=False, reasons=["Its accuracy is worse."], champion_version="champ", comparisons=[COMPARISON]
    )
    training.models.insert(0, training_stub.version("new", gate=verdict))
    training.jobs = [training_stub.job("j", "rejected", version="new", card=CARD | {"gate": verdict})]
    at = unlocked("Jobs")
    said = words(at)
    assert "The gate rejected the model. It was evaluated on 30 test rows and compared with version champ." in said
    assert "Its accuracy is worse." in said
    assert at.table[0].value["Accuracy"].tolist() == ["95.00%", "90.00%", "-5.00%", "-10.00% to +1.00%", "1.00%", "82%"]
    assert "Accuracy 90.0%" in said and "Log loss 0.310" in said
    assert "9 of 10 test rows predicted correctly" in said
    assert training.champion == "champ"
    api.card |= {"model_version": "new"}
    press(at, "Promote now")
    assert training.last("/models/new/activate") == {"force": True}
    assert "Version new is now serving." in words(at)


def test_a_promoted_model_leads_to_the_predict_page(unlocked, training):
    training.jobs = [training_stub.job("j", "promoted", version="champ", card=CARD | {"gate": training_stub.gate()})]
    at = unlocked("Jobs")
    assert "The model passes the gate." in words(at) and "This version is now serving." in words(at)
    assert any(link.proto.label == "Try it on the Predict page" for link in at.get("page_link"))


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ("failed", "The training failed. The column is missing."),
        ("interrupted", "The training was interrupted. The column is missing."),
    ],
)
def test_other_ends(unlocked, training, state, sentence):
    training.jobs = [training_stub.job("j", state, reason="The column is missing.", log=["last words"])]
    at = unlocked("Jobs")
    assert sentence in words(at) and "last words" in words(at)


def test_no_jobs_and_no_versions_yet(unlocked, training):
    assert "There are no jobs yet" in words(unlocked("Jobs"))
    training.models, training.champion = [], None
    assert "There are no versions yet" in words(unlocked("Versions"))


def test_a_version_is_made_champion_and_rolled_back(unlocked, training, api):
    at = unlocked("Versions")
    table = at.dataframe[-1].value
    assert table["Version"].tolist() == ["champ", "older"] and table["Status"].tolist() == ["serving", ""]
    assert "rejected (It is worse.)" in words(at)
    api.card |= {"model_version": "older"}
    press(at, "Promote")
    assert training.champion == "older"
    assert "Version older is now serving." in words(at)
    training.problems["POST /rollback"] = (409, "There is no champion before this one.")
    assert "There is no champion before this one." in words(press(at, "Roll back now"))
    assert "There is no champion before this one." not in words(at.run())


def test_an_api_that_lags_is_reported(unlocked, training, monkeypatch):
    from streamlit_app.components import service

    monkeypatch.setattr(service, "SWITCH_TIMEOUT_SECONDS", 0.1)
    at = unlocked("Versions")
    assert "the API does not serve it yet" in words(press(at, "Promote"))


def test_answers_of_another_kind_are_a_sentence(unlocked, training, monkeypatch):
    at = unlocked()
    monkeypatch.setitem(training_stub.OPTIONS, "tables", None)
    assert "returned an unexpected answer" in words(at.run())
