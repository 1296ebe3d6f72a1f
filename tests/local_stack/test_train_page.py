"""Train, draw, reject and roll back in a browser, while the API and the user interface keep running."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect, sync_playwright

from tests.stacks import ProcessStack
from tests.system.test_browser import PATIENCE_MS, SIZES, Visits, launch, settle, spki_pin, visiting

# A training takes seconds, or a minute on a small and busy machine.
TRAINING_MS = 180_000
SEVEN = [(0.3, 0.2), (0.65, 0.2), (0.4, 0.85)]
ZERO = [(0.5 + 0.17 * math.sin(step * math.pi / 12), 0.5 - 0.32 * math.cos(step * math.pi / 12)) for step in range(25)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessStack]:
    with ProcessStack(tmp_path_factory.mktemp("train-page")) as running:
        yield running


@pytest.fixture(scope="module")
def visit(stack: ProcessStack) -> Iterator[Visits]:
    with sync_playwright() as playwright:
        pin = spki_pin(stack.base_url, stack.ca_cert)
        browser = launch(playwright, f"--ignore-certificate-errors-spki-list={pin}")
        visits = Visits(browser, stack)
        yield visits
        visits.end()
        browser.close()


def processes(stack: ProcessStack) -> dict[int, str]:
    """Return the start time of each process of the API and the user interface, by its id."""
    found, waiting = {}, [stack.process.pid if stack.process else 0]
    while waiting:
        parent = waiting.pop()
        for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            waiting.append(int(child))
            command = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"flask_app" in command or b"streamlit" in command:
                found[int(child)] = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[19]
    return found


def model(stack: ProcessStack) -> dict[str, Any]:
    """Return the version that all workers serve; workers switch at different times."""
    answers: list[dict[str, Any]] = []
    deadline = time.monotonic() + 20
    while len(answers) < 20:
        assert time.monotonic() < deadline, "the workers do not agree"
        answer = requests.get(f"{stack.api_url}/model", timeout=10).json()
        answers = [*answers, answer] if answers[-1:] in ([], [answer]) else [answer]
        time.sleep(0.02)
    return answers[0]


def make_champion(stack: ProcessStack, version: str) -> None:
    """Switch the pointer, and wait until the API serves the version."""
    head = {"Authorization": f"Bearer {stack.admin_token_file.read_text().strip()}"}
    requests.post(f"{stack.training_url}/models/{version}/activate", headers=head, timeout=10).raise_for_status()
    deadline = time.monotonic() + 20
    while model(stack)["model_version"] != version:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def unlock(page: Page, token: str) -> None:
    page.get_by_label("Admin token", exact=True).fill(token)
    page.get_by_role("button", name="Unlock").click()
    page.get_by_role("button", name="Lock", exact=True).wait_for()
    settle(page)


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()
    settle(page)


def sheet(page: Page) -> dict[str, float]:
    page.locator("canvas.sheet").scroll_into_view_if_needed()
    box = page.locator("canvas.sheet").bounding_box()
    assert box
    return {"left": box["x"], "top": box["y"], "width": box["width"], "height": box["height"]}


def places(page: Page, stroke: list[tuple[float, float]]) -> list[tuple[float, float]]:
    at = sheet(page)
    return [(at["left"] + x * at["width"], at["top"] + y * at["height"]) for x, y in stroke]


def draw(page: Page, stroke: list[tuple[float, float]]) -> None:
    first, *others = places(page, stroke)
    page.mouse.move(*first)
    page.mouse.down()
    for place in others:
        page.mouse.move(*place, steps=4)
    page.mouse.up()


def draw_with_a_finger(page: Page, stroke: list[tuple[float, float]]) -> None:
    first, *others = places(page, stroke)
    finger = page.context.new_cdp_session(page)
    finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": first[0], "y": first[1]}]})
    for x, y in others:
        finger.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y}]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def recognised(page: Page, name: str) -> None:
    expect(page.get_by_role("heading", level=2)).to_have_text(name, timeout=PATIENCE_MS)
    settle(page)


@visiting
def test_digits_are_trained_drawn_and_rolled_back_without_a_restart(stack, visit):
    token = stack.admin_token_file.read_text().strip()
    # An earlier attempt of this test may have left another champion.
    first = min(folder.name for folder in (stack.store / "versions").iterdir())
    make_champion(stack, first)
    before, irises = processes(stack), model(stack)
    assert len(before) >= 3
    urls: list[str] = []
    page = visit(path="train")
    page.on("request", lambda request: urls.append(request.url))
    page.on("websocket", lambda websocket: urls.append(websocket.url))
    expect(page.get_by_role("tab")).to_have_count(0)
    unlock(page, token)

    # Train, watch, and wait until the new version serves.
    expect(page.get_by_text("1,797 rows, 64 features")).to_be_visible()
    page.get_by_role("button", name="Train", exact=True).click()
    page.get_by_role("button", name="Cancel").wait_for()
    expect(page.get_by_text("This version is now serving.")).to_be_visible(timeout=TRAINING_MS)
    expect(page.get_by_text("The model passes the gate.")).to_be_visible()
    digits = model(stack)
    assert digits["model_version"] != irises["model_version"] and digits["picture"]["width"] == 8

    # Draw, by mouse and by keyboard.
    page.get_by_role("link", name="Try it on the Predict page").click()
    page.locator("canvas.sheet").wait_for()
    settle(page)
    draw(page, SEVEN)
    recognised(page, "7")
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_role("heading", level=2)).to_have_count(0)
    draw(page, ZERO)
    recognised(page, "0")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("heading", level=2)).to_have_count(0)
    page.locator("canvas.sheet").focus()
    for key in ["ArrowUp"] * 4 + ["Space"] + ["Shift+ArrowDown"] * 7:
        page.keyboard.press(key)
    recognised(page, "1")
    page.reload()
    recognised(page, "1")

    # The same with a finger: the page does not scroll under it.
    phone = visit(size="phone", has_touch=True)
    phone.locator("canvas.sheet").wait_for()
    settle(phone)
    sheet(phone)
    scrolled = phone.get_by_test_id("stMain").evaluate("node => node.scrollTop")
    draw_with_a_finger(phone, SEVEN)
    recognised(phone, "7")
    assert phone.get_by_test_id("stMain").evaluate("node => node.scrollTop") == scrolled
    assert phone.evaluate("document.documentElement.scrollWidth") <= SIZES["phone"][0]

    # A worse model is rejected with the reason, and the serving version stays.
    page.get_by_role("link", name="Train", exact=True).click()
    unlock(page, token)
    page.get_by_test_id("stExpander").filter(has_text="Hyperparameters").locator("summary").click()
    for name in ("N estimators", "Max depth"):
        page.get_by_label(name, exact=True).fill("1")
        page.get_by_label(name, exact=True).press("Enter")
        settle(page)
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_text("The gate rejected the model.")).to_be_visible(timeout=TRAINING_MS)
    expect(page.get_by_text("is worse than the").first).to_be_visible()
    assert model(stack)["model_version"] == digits["model_version"]

    # Roll back to the irises.
    tab(page, "Versions")
    page.get_by_role("button", name="Roll back", exact=True).click()
    page.get_by_role("button", name="Roll back now").click()
    expect(page.get_by_text(f"Version {irises['model_version']} is now serving.")).to_be_visible()
    assert model(stack)["model_version"] == irises["model_version"]
    page.get_by_role("link", name="Predict", exact=True).click()
    expect(page.get_by_role("slider")).to_have_count(len(irises["features"]), timeout=PATIENCE_MS)

    assert processes(stack) == before
    assert urls and not any(token in url for url in urls)
    assert token not in "".join(stack.lines)


@visiting
def test_a_visitors_table_is_uploaded_and_trained_from(stack, visit, tmp_path):
    file = tmp_path / "boxes.csv"
    rows = [f"box {side},{side},{side * 2 + side % 3},{'large' if side > 20 else 'small'}" for side in range(40)]
    file.write_text("\n".join(["name,side,weight,size", *rows, ""]))
    page = visit(path="train")
    unlock(page, stack.admin_token_file.read_text().strip())
    page.get_by_text("Upload a file", exact=True).click()
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("combobox", name="Target column").click()
    page.get_by_role("option", name="size").click()
    expect(page.get_by_text("The table cannot be used for training.")).to_be_visible(timeout=PATIENCE_MS)
    page.get_by_role("combobox", name="Columns to exclude").click()
    page.get_by_role("option", name="name").click()
    page.keyboard.press("Escape")
    expect(page.get_by_text("40 rows, 2 features")).to_be_visible(timeout=PATIENCE_MS)
    settle(page)
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_text("This version is now serving.")).to_be_visible(timeout=TRAINING_MS)
    assert model(stack)["classes"] == ["large", "small"]
    page.get_by_role("link", name="Try it on the Predict page").click()
    expect(page.get_by_role("slider")).to_have_count(2, timeout=PATIENCE_MS)
