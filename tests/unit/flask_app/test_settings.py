"""The API's settings; tests/unit/http_service has the tests of how they are read."""

import re
from pathlib import Path

import msgspec
import pytest

from flask_app.settings import ApiSettings
from http_service.settings import ServiceSettings, SettingsError
from training_service.settings import TrainingServiceSettings


def test_defaults_are_as_documented() -> None:
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
    assert defaults.items() <= msgspec.structs.asdict(ApiSettings.from_env({})).items()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("API_PORT", "0"),
        ("WEB_CONCURRENCY", "0"),
        ("THREADS", "-1"),
        ("MAX_BODY_BYTES", "1m"),
        ("KEEPALIVE_SECONDS", "0"),
        ("MODEL_POLL_SECONDS", "inf"),
        ("MODEL_TRACK", "a b"),
    ],
)
def test_an_invalid_value_is_rejected(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}="):
        ApiSettings.from_env({name: text})


@pytest.mark.parametrize("settings", [ServiceSettings, ApiSettings, TrainingServiceSettings])
def test_every_setting_has_a_docstring(repository: Path, settings: type[ServiceSettings]) -> None:
    source = (repository / (settings.__module__.replace(".", "/") + ".py")).read_text()
    for name in settings.__annotations__:
        assert re.search(rf'^    {name}: .+\n    """[^"]+"""$', source, re.MULTILINE), name
