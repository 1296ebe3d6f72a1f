"""The address of the running system for the black-box tests.

Nothing here or in this folder imports the project: the suite needs an address and nothing else, so that the
same tests run against local processes, Docker Compose and Kubernetes.

    BASE_URL=https://localhost:8443 CA_CERT=.run/certs/ca.crt pytest tests/system

| variable | meaning |
| --- | --- |
| BASE_URL | Nginx over HTTPS; without it the suite starts the stacks that this machine can run (tests/conftest.py) |
| CA_CERT  | file of the authority that signed Nginx's certificate; without it certificates are not verified |
| HTTP_URL | Nginx over plain HTTP, for the tests of the redirect |
| API_URL  | the API itself, for the tests that compare it with what Nginx passes on |
"""

import os
from dataclasses import dataclass
from typing import Any

import pytest
import requests
import urllib3


@dataclass(frozen=True)
class Target:
    """Addresses of one running system; the optional ones are None where it does not offer them."""

    base_url: str
    ca_cert: str | None = None
    http_url: str | None = None
    api_url: str | None = None


@pytest.fixture(scope="session")
def target(stack: Any) -> Target:
    """The running system: the one of BASE_URL, else `stack` (tests/conftest.py)."""
    base_url = os.environ.get("BASE_URL")
    if not base_url:
        return Target(stack.base_url, stack.ca_cert, stack.http_url, stack.api_url)
    return Target(
        base_url=base_url.rstrip("/"),
        ca_cert=os.environ.get("CA_CERT"),
        http_url=os.environ.get("HTTP_URL", "").rstrip("/") or None,
        api_url=os.environ.get("API_URL", "").rstrip("/") or None,
    )


@pytest.fixture
def http(target: Target):
    """A requests session that trusts the target's certificate authority."""
    with requests.Session() as session:
        # trust_env would let the environment's own CA bundle win over `verify`.
        session.trust_env = False
        session.verify = target.ca_cert or False
        if not target.ca_cert:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        yield session
