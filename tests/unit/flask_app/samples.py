"""Parse the output of /metrics."""

import contextlib
from collections.abc import Callable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parse(text: str) -> Samples:
    """Return every sample; output that Prometheus would reject fails the test."""
    found: Samples = {}
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families), "a family is duplicated"
    for family in families:
        assert family.documentation and family.type in ("counter", "gauge", "histogram")
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, "a sample is duplicated"
            found[key] = sample.value
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    """Return the sum of the samples with this name and these labels."""
    return sum(
        number for (found, pairs), number in samples.items() if found == name and labels.items() <= dict(pairs).items()
    )


def of_a_client(client: Any) -> Samples:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    return parse(answer.text)


def of_a_server(server: Any) -> Samples:
    with contextlib.closing(server.connect()) as connection:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, text
    return parse(text)


def change(ask: Callable[[], Any], scrape: Callable[[], Samples]) -> Callable[..., float]:
    """Return by how much `ask` increased a value."""
    before = scrape()
    ask()
    after = scrape()
    return lambda name, **labels: value(after, name, **labels) - value(before, name, **labels)
