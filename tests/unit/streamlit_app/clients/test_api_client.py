"""The client against a real server on the loopback."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from streamlit_app.clients import api_client, http_client
from streamlit_app.clients.api_client import ApiClient
from streamlit_app.clients.errors import (
    ApiAway,
    ApiError,
    ApiKeyRejected,
    ApiNotReady,
    ApiUnexpected,
    FieldNote,
    InputRejected,
    InputTooBig,
)

ROW = {"alcohol": 12.5, "ash": 2.0, "bottles": 6}
HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


@pytest.fixture
def client(api) -> Iterator[ApiClient]:
    client = ApiClient(api.url + "/")
    yield client
    client.close()


def problem(status: int, detail: str, *errors: tuple[str, str]):
    return lambda handler: handler.send_problem(status, detail, *errors)


def raw(status: int, body: bytes, content_type: str = "text/html"):
    return lambda handler: handler.send_bytes(status, body, content_type)


def test_card(client, api):
    card = client.model_card()
    assert card.model_name == "wine_quality"
    assert card.classes == ("barolo", "grignolino", "barbera")
    alcohol, _, bottles = card.features
    assert (alcohol.name, alcohol.unit, alcohol.integer) == ("alcohol", "% vol", False)
    assert (alcohol.minimum, alcohol.maximum, alcohol.median) == (11.0, 14.8, 13.05)
    assert bottles.integer and bottles.unit == ""


def test_prediction(client, api):
    prediction = client.predict(ROW)
    assert api.requests[0].body == ROW
    assert prediction.class_name == "barolo"
    assert prediction.probabilities == pytest.approx({"barolo": 0.9, "grignolino": 0.05, "barbera": 0.05})
    assert prediction.model_version == api.card["model_version"]
    assert prediction.request_id == api.requests[0].headers["X-Request-ID"]
    assert prediction.warnings == ()
    assert 0 < prediction.seconds < 5


def test_warnings_are_passed_on(client, api):
    api.replies["/predict"] = lambda handler: handler.send_json(
        200, handler.prediction(ROW) | {"warnings": [{"field": "ash", "message": "is outside"}]}
    )
    assert client.predict(ROW).warnings == (FieldNote("ash", "is outside"),)


def test_every_call_has_its_own_request_id_and_shares_one_connection(client, api):
    for _ in range(3):
        client.predict(ROW)
    assert len({request.headers["X-Request-ID"] for request in api.requests}) == 3
    assert len({request.client for request in api.requests}) == 1


def test_rejected_input_names_the_fields(client, api):
    api.replies["/predict"] = problem(422, "One field is wrong.", ("ash", "is missing"))
    with pytest.raises(InputRejected) as caught:
        client.predict(ROW)
    assert caught.value.message == "One field is wrong."
    assert caught.value.fields == (FieldNote("ash", "is missing"),)
    assert caught.value.request_id == api.requests[0].headers["X-Request-ID"]


def test_not_ready_contains_the_reason(client, api):
    api.replies["/model"] = problem(503, "No model has been trained yet.")
    with pytest.raises(ApiNotReady, match=r"not ready: No model has been trained yet\."):
        client.model_card()


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (problem(401, "Send an API key."), ApiKeyRejected),
        (raw(401, HTML), ApiKeyRejected),
        (problem(413, "too big"), InputTooBig),
        (raw(413, HTML), InputTooBig),
        (raw(502, HTML), ApiAway),
        (raw(503, HTML), ApiAway),
        (raw(504, b"{}", "application/json"), ApiAway),
        (problem(429, "slow down"), ApiAway),
        (problem(500, "Something failed."), ApiUnexpected),
        (problem(404, "no such path"), ApiUnexpected),
        (raw(422, HTML), ApiUnexpected),
        (raw(302, b""), ApiUnexpected),
        (raw(200, HTML), ApiUnexpected),
        (raw(200, b"", "application/json"), ApiUnexpected),
        (raw(200, b"[1, 2]", "application/json"), ApiUnexpected),
        (raw(200, b'{"class_name": "barolo"}', "application/json"), ApiUnexpected),
        (raw(200, b"\xff\xfe\x00broken", "application/json"), ApiUnexpected),
    ],
)
def test_every_failure_is_one_sentence_without_internals(client, api, reply, kind):
    for path, call in (("/model", client.model_card), ("/predict", lambda: client.predict(ROW))):
        api.replies[path] = reply
        with pytest.raises(ApiError) as caught:
            call()
        assert type(caught.value) is kind
        shown = f"{caught.value.message} {caught.value.advice}"
        assert shown.endswith(".")
        assert not any(sign in shown for sign in ("<", "{", "Traceback", "127.0.0.1", "Error("))
        assert caught.value.request_id == api.requests[-1].headers["X-Request-ID"]


def test_key_goes_with_every_call_and_into_no_log(api, caplog):
    with contextlib.closing(ApiClient(api.url, " s3cret\n")) as client:
        client.model_card()
        client.predict(ROW)
        api.replies["/predict"] = problem(401, "This API key is not valid.")
        with pytest.raises(ApiKeyRejected) as caught:
            client.predict(ROW)
    assert [request.headers["Authorization"] for request in api.requests] == ["Bearer s3cret"] * 3
    assert caplog.records
    assert "s3cret" not in caplog.text + str(caught.value)


def test_without_a_key_none_is_sent(client, api):
    client.predict(ROW)
    assert "Authorization" not in api.requests[0].headers


@pytest.mark.parametrize("key", ["two words", "a\nb", "schlüssel", "\u2026", "a\x00"])
def test_key_that_cannot_be_sent_is_reported_without_it(api, caplog, key):
    with (
        contextlib.closing(ApiClient(api.url, key)) as client,
        pytest.raises(ApiKeyRejected, match="API_KEY") as caught,
    ):
        client.predict(ROW)
    assert api.requests == []
    assert key not in caplog.text + str(caught.value)


def test_card_without_features_is_unexpected(client, api):
    api.card = api.card | {"features": []}
    with pytest.raises(ApiUnexpected, match="cannot read"):
        client.model_card()


def test_explanation(client, api):
    prediction = client.explain(ROW)
    assert api.requests[0].path == prediction.path == "/explain"
    assert prediction.contributions is not None
    assert prediction.contributions["barolo"] == {"alcohol": 0.5, "ash": 0.5, "bottles": 0.5}


def test_an_api_that_does_not_explain_still_predicts(client, api):
    api.replies["/explain"] = problem(404, "There is nothing at this address.")
    prediction = client.explain(ROW)
    assert (prediction.path, prediction.contributions, prediction.class_name) == ("/predict", None, "barolo")


def test_recent_calls_are_kept(client, api, running):
    client.predict(ROW)
    assert client.ready().model_version == api.card["model_version"]
    running.stop()
    with pytest.raises(ApiAway):
        client.model_card()
    assert [(call.request, call.status) for call in client.calls] == [
        ("POST /predict", 200),
        ("GET /ready", 200),
        ("GET /model", 0),
    ]
    assert all(0 < call.seconds < 5 for call in client.calls)


def test_unreachable_address(client, running):
    running.stop()
    with pytest.raises(ApiAway, match="does not answer") as caught:
        client.predict(ROW)
    assert len(caught.value.request_id) == 32


def test_a_slow_answer_times_out_and_is_not_retried(client, api, monkeypatch):
    monkeypatch.setattr(api_client, "READ_TIMEOUT_SECONDS", 0.2)
    done = threading.Event()
    api.replies["/predict"] = lambda _: done.wait(30)
    with pytest.raises(ApiAway, match="in time"):
        client.predict(ROW)
    assert len(api.predictions()) == 1
    done.set()


def test_an_address_that_drops_packets_times_out(monkeypatch):
    monkeypatch.setattr(http_client, "CONNECT_TIMEOUT_SECONDS", 0.2)
    with socket.socket() as full:
        # A listener whose backlog is full leaves further connections unanswered.
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        client = ApiClient(f"http://127.0.0.1:{address[1]}")
        sent: list[str] = []
        send = client._session.request
        monkeypatch.setattr(
            client._session, "request", lambda *args, **rest: sent.append(args[0]) or send(*args, **rest)
        )
        with pytest.raises(ApiAway, match="in time"):
            client.model_card()
        assert sent == ["GET"]
        client.close()
        for filler in fillers:
            filler.close()


def cut(times: int, before: bytes = b""):
    """A reply that breaks the connection the first `times` times, after sending `before`."""
    left = [times]

    def reply(handler) -> None:
        if left[0]:
            left[0] -= 1
            handler.wfile.write(before)
            handler.wfile.flush()
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)
        else:
            handler.send_json(200, handler.prediction(ROW))

    return reply


HALF_ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{"prediction"'


@pytest.mark.parametrize("before", [b"", HALF_ANSWER], ids=["no answer", "half an answer"])
def test_dead_connection_is_tried_once_more_with_the_same_id(client, api, before):
    client.model_card()
    api.replies["/predict"] = cut(1, before)
    assert client.predict(ROW).class_name == "barolo"
    sent = [request for request in api.requests if request.path == "/predict"]
    assert len(sent) == 2
    assert sent[0].headers["X-Request-ID"] == sent[1].headers["X-Request-ID"]


@pytest.mark.parametrize("before", [b"", HALF_ANSWER], ids=["no answer", "half an answer"])
def test_a_connection_that_breaks_twice_is_an_error(client, api, before):
    api.replies["/predict"] = cut(9, before)
    with pytest.raises(ApiAway, match="does not answer"):
        client.predict(ROW)
    assert len(api.predictions()) == 2


def test_restarted_api_is_found_again(client, running):
    client.predict(ROW)
    running.stop()
    running.start()
    assert client.predict(ROW).class_name == "barolo"


def test_the_environments_proxy_is_not_used(client, api, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert client.predict(ROW).class_name == "barolo"


@pytest.mark.parametrize("address", ["", "flask-api:5000", "ftp://127.0.0.1", "/predict"])
def test_invalid_address_names_its_setting(address):
    client = ApiClient(address)
    with pytest.raises(ApiUnexpected, match="API_BASE_URL"):
        client.model_card()
    client.close()


def test_many_threads_share_a_client(client, api):
    answers: list[str] = []

    def work() -> None:
        answers.extend(client.predict(ROW).class_name for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["barolo"] * 40
