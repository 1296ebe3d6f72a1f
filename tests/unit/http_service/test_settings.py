"""Settings from the environment: valid values are converted, and each invalid one gets one sentence."""

import dataclasses
from typing import Annotated, Any

import msgspec
import pytest

from http_service.settings import Port, Positive, ServiceSettings, SettingsError


class Settings(ServiceSettings, frozen=True):
    """Settings of one service."""

    port: Port = 8000
    threads: Positive = 4
    poll_seconds: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 1.0
    store: str = "artifacts"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("PORT", "1", 1),
        ("PORT", "65535", 65535),
        ("PORT", " 8000\n", 8000),
        ("POLL_SECONDS", "0.05", 0.05),
        ("POLL_SECONDS", "2", 2.0),
        ("LOG_FORMAT", "text", "text"),
        ("LOG_LEVEL", "debug", "debug"),
        # As Python writes it.
        ("LOG_LEVEL", "INFO", "info"),
        ("STORE", "/a folder/ä", "/a folder/ä"),
        ("STORE", "8080", "8080"),
        ("BIND_ADDRESS", "::1", "::1"),
        ("THREADS", "", 4),
    ],
)
def test_a_valid_value_is_converted(name: str, text: str, value: Any) -> None:
    taken = getattr(Settings.from_env({name: text}), name.lower())
    assert taken == value and type(taken) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("PORT", "0", ">= 1"),
        ("PORT", "65536", "<= 65535"),
        ("PORT", "http", "int"),
        ("PORT", "tcp://10.0.0.1:5000", "int"),
        ("THREADS", "-1", ">= 1"),
        ("THREADS", "2.5", "int"),
        ("THREADS", "1m", "int"),
        ("GRACEFUL_TIMEOUT_SECONDS", "soon", "int"),
        ("POLL_SECONDS", "0", "> 0"),
        ("POLL_SECONDS", "nan", "> 0"),
        ("POLL_SECONDS", "inf", "<= 86400"),
        ("POLL_SECONDS", "1e300", "<= 86400"),
        ("LOG_FORMAT", "xml", "it is one of json, text"),
        ("LOG_LEVEL", "loud", "it is one of debug, info, warning, error"),
    ],
)
def test_an_invalid_value_is_named_in_one_sentence(name: str, text: str, expected: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_env({name: text})
    sentence = str(error.value)
    assert sentence.startswith(f"{name}={text!r} cannot be used: ")
    assert expected in sentence
    assert sentence.endswith(".") and "\n" not in sentence


def test_only_its_own_variables_are_read() -> None:
    assert Settings.from_env({"API_PORT": "x", "port": "x", "PATH": "/bin"}) == Settings()


def test_settings_are_immutable() -> None:
    with pytest.raises((AttributeError, dataclasses.FrozenInstanceError)):
        Settings().threads = 5  # type: ignore[misc]
