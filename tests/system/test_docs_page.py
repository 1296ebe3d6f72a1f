"""Swagger UI at /docs, in a real browser through Nginx and TLS: complete, local, and able to predict."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

from tests.system.test_browser import PATIENCE_MS, launch, spki_pin


@pytest.fixture(scope="module")
def browser(target: Any) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = _launch(playwright, target)
        yield browser
        browser.close()


def _launch(playwright: Playwright, target: Any) -> Browser:
    pin = spki_pin(target.base_url, target.ca_cert) if target.ca_cert else ""
    return launch(playwright, f"--ignore-certificate-errors-spki-list={pin}")


@pytest.fixture
def problems() -> list[str]:
    """Failures in the browser, and requests to other hosts."""
    return []


@pytest.fixture(params=["/docs", "/docs/"])
def page(request: pytest.FixtureRequest, browser: Browser, target: Any, problems: list[str]) -> Iterator[Page]:
    """The page of a new visitor."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, ignore_https_errors=not target.ca_cert)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    host = urlsplit(target.base_url).netloc

    def watch(url: str) -> None:
        address = urlsplit(url)
        if address.scheme not in {"data", "blob"} and address.netloc != host:
            problems.append(f"request to another host: {url}")

    page.on("request", lambda request: watch(request.url))
    page.on("pageerror", lambda error: problems.append(f"uncaught: {error}"))
    page.on("console", lambda line: problems.append(line.text) if line.type in {"error", "warning"} else None)
    page.on("requestfailed", lambda request: problems.append(f"{request.failure}: {request.url}"))
    page.goto(target.base_url + request.param)
    yield page
    context.close()


def test_page_shows_every_path_and_predicts(page: Page, problems: list[str], http: Any, target: Any) -> None:
    document = http.get(f"{target.base_url}/openapi.json").json()
    operations = sum(len(path) for path in document["paths"].values())
    expect(page.locator(".opblock")).to_have_count(operations)
    expect(page.locator(".info .title")).to_contain_text("OAS 3.1")

    predict = page.locator("#operations-prediction-predict")
    predict.locator(".opblock-summary-control").click()
    predict.get_by_role("button", name="Try it out").click()
    with page.expect_response(lambda answer: urlsplit(answer.url).path == "/predict") as answered:
        predict.get_by_role("button", name="Execute").click()
    assert answered.value.status == 200, answered.value.text()
    assert json.loads(answered.value.body())["class_name"] in answered.value.text()
    expect(predict.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
    assert problems == []


def test_the_document_has_no_errors(page: Page, problems: list[str]) -> None:
    """Swagger UI lists unresolved references above the first operation."""
    page.locator("#operations-model-model .opblock-summary-control").click()
    expect(page.locator("#operations-model-model .responses-table").first).to_contain_text("feature_importance")
    expect(page.locator(".errors-wrapper")).to_have_count(0)
    assert problems == []


def test_page_loads_nothing_from_another_host(http: Any, target: Any) -> None:
    answer = http.get(f"{target.base_url}/docs")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src 'self';" in policy
    assert "unsafe-eval" not in policy
    assert "//" not in answer.text
