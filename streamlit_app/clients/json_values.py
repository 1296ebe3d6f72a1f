"""Values of JSON that may be missing or of another type."""

from collections.abc import Mapping
from typing import Any

import requests


def json_object(response: requests.Response) -> dict[str, Any]:
    """Return the decoded body; an empty dict if it is not a JSON object, such as a proxy's HTML page."""
    try:
        body = response.json()
    except requests.exceptions.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def mapping(value: Any) -> Mapping[str, Any]:
    """Return the value if it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def number_or_none(value: Any) -> float | None:
    """Return the value if it is a number, which a boolean is not."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
