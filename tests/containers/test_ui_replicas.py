"""Two replicas of the interface under Compose: all requests of a visitor reach one of them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.containers.test_compose import addresses, docker


@pytest.fixture
def two(compose: Any) -> Iterator[Any]:
    """Compose with two replicas of the interface, and one again afterwards."""
    compose.run("up", "-d", "--no-build", "--no-recreate", "--scale", "streamlit-ui=2")
    compose.wait_until_ready()
    # An Nginx before 1.27.3 looks for replicas when it starts (nginx/render.sh).
    compose.run("restart", "nginx-server")
    compose.wait_until_ready()
    yield compose
    compose.run("up", "-d", "--no-build", "--no-recreate", "--scale", "streamlit-ui=1")
    compose.run("restart", "nginx-server")
    compose.wait_until_ready()


def test_pages_and_uploads_of_a_visitor_reach_one_replica(two: Any) -> None:
    replicas = addresses(two, "streamlit-ui")
    assert len(replicas) == 2
    marks = []
    for number in range(12):
        with requests.Session() as visitor:
            visitor.trust_env, visitor.verify = False, two.ca_cert
            visitor.headers["X-Request-ID"] = f"replica-{number}"
            assert visitor.get(two.base_url, timeout=20).ok
            assert "ui_visitor" in visitor.cookies
            visitor.headers["X-Request-ID"] = f"replica-{number}-again"
            for path in ("/_stcore/health", "/_stcore/host-config", "/batch", "/"):
                assert visitor.get(two.base_url + path, timeout=20).ok
            # Each replica rejects an unknown session; only the replica that answered matters.
            upload = visitor.put(f"{two.base_url}/_stcore/upload_file/none/none", files={"file": b"x"}, timeout=20)
            assert upload.status_code in (400, 403)
            marks.append(f"replica-{number}-again")
    [nginx] = two.containers("nginx-server")
    lines = [json.loads(line) for line in docker("logs", nginx).splitlines() if line.startswith("{")]
    served = [
        {line["upstream_addr"].rsplit(":", 1)[0] for line in lines if line["request_id"] == mark} for mark in marks
    ]
    assert all(len(seen) == 1 for seen in served), served
    assert set.union(*served) == replicas
