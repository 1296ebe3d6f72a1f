"""Settings from the environment: what is taken, and the sentence for what is not."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flask_app.settings import Settings, SettingsError


def test_defaults_are_those_of_the_docs() -> None:
    defaults = {
        "bind_address": "127.0.0.1",
        "api_port": 5000,
        "web_concurrency": 2,
        "threads": 4,
        "model_store": "artifacts",
        "model_poll_seconds": 1.0,
        "graceful_timeout_seconds": 20,
        "keepalive_seconds": 75,
        "log_format": "json",
        "log_level": "info",
    }
    assert defaults.items() <= msgspec.structs.asdict(Settings.from_env({})).items()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("API_PORT", "1", 1),
        ("API_PORT", "65535", 65535),
        ("API_PORT", " 8000\n", 8000),
        ("MODEL_POLL_SECONDS", "0.05", 0.05),
        ("MODEL_POLL_SECONDS", "2", 2.0),
        ("LOG_FORMAT", "text", "text"),
        ("LOG_LEVEL", "debug", "debug"),
        ("MODEL_STORE", "/a folder/ä", "/a folder/ä"),
        ("MODEL_STORE", "8080", "8080"),
        ("BIND_ADDRESS", "::1", "::1"),
        ("THREADS", "", 4),
    ],
)
def test_a_good_value_is_taken(name: str, text: str, value: Any) -> None:
    taken = getattr(Settings.from_env({name: text}), name.lower())
    assert taken == value and type(taken) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("API_PORT", "0", ">= 1"),
        ("API_PORT", "65536", "<= 65535"),
        ("API_PORT", "http", "int"),
        ("API_PORT", "tcp://10.0.0.1:5000", "int"),
        ("WEB_CONCURRENCY", "0", ">= 1"),
        ("THREADS", "-1", ">= 1"),
        ("THREADS", "2.5", "int"),
        ("MAX_BODY_BYTES", "1m", "int"),
        ("KEEPALIVE_SECONDS", "0", ">= 1"),
        ("GRACEFUL_TIMEOUT_SECONDS", "soon", "int"),
        ("MODEL_POLL_SECONDS", "0", "> 0"),
        ("MODEL_POLL_SECONDS", "-1", "> 0"),
        ("MODEL_POLL_SECONDS", "nan", "> 0"),
        ("LOG_FORMAT", "xml", "xml"),
        ("LOG_LEVEL", "loud", "loud"),
    ],
)
def test_a_bad_value_is_named_in_one_sentence(name: str, text: str, expected: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_env({name: text})
    sentence = str(error.value)
    assert sentence.startswith(f"{name}={text!r} cannot be used: ")
    assert expected in sentence
    assert sentence.endswith(".") and "\n" not in sentence


@pytest.mark.parametrize(
    ("name", "text", "choices"), [("LOG_FORMAT", "xml", "json text"), ("LOG_LEVEL", "loud", "info")]
)
def test_a_wrong_choice_is_told_the_right_ones(name: str, text: str, choices: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_env({name: text})
    assert all(choice in str(error.value) for choice in choices.split())


def test_a_level_may_be_written_as_python_writes_it() -> None:
    """LOG_LEVEL=INFO is what most programs take."""
    assert Settings.from_env({"LOG_LEVEL": "INFO"}).log_level == "info"


@pytest.mark.parametrize("text", ["inf", "1e300"])
def test_a_poll_interval_that_no_clock_can_wait_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        Settings.from_env({"MODEL_POLL_SECONDS": text})


def test_only_its_own_variables_are_read() -> None:
    assert Settings.from_env({"PORT": "x", "api_port": "x", "PATH": "/bin"}) == Settings()


def test_settings_do_not_change_after_the_start() -> None:
    with pytest.raises((AttributeError, dataclasses.FrozenInstanceError)):
        Settings().threads = 5  # type: ignore[misc]


def test_every_setting_is_documented(repository: Path) -> None:
    """Each field has its own docstring, which says what it is."""
    source = (repository / "flask_app" / "settings.py").read_text()
    for name in Settings.__struct_fields__:
        assert re.search(rf'^    {name}: .+\n    """.+"""$', source, re.MULTILINE), name
