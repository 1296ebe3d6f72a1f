"""Take screenshots of every page for the README (make screenshots), in a real browser with the stack of `make run`."""

import itertools
import math
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.local_stack.test_train_page import TRAINING_MS, draw, unlock
from tests.stacks import ROOT, ProcessStack
from tests.system.test_browser import PATIENCE_MS, SIZES, answered, launch, settle, spki_pin

FOLDER = ROOT / "docs" / "screenshots"
THEMES = ("light", "dark")
ROWS = 1_000


def bow(across: float, down: float, radius: float, start: int, end: int) -> list[tuple[float, float]]:
    """Return points of an arc, in degrees from the right, clockwise."""
    turns = [math.radians(start + (end - start) * step / 12) for step in range(13)]
    return [(across + radius * math.cos(turn), down + radius * math.sin(turn)) for turn in turns]


THREE = [*bow(0.48, 0.33, 0.17, -150, 90), *bow(0.48, 0.67, 0.19, -90, 150)]


def main() -> None:
    """Write docs/screenshots/PAGE-SIZE-THEME.png."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, ProcessStack(Path(folder)) as stack, sync_playwright() as playwright:
        browser = launch(playwright, f"--ignore-certificate-errors-spki-list={spki_pin(stack.base_url, stack.ca_cert)}")
        # The irises' pages first: the digits model replaces theirs.
        for walk in (walk_irises, walk_digits):
            for size, theme in itertools.product(reversed(SIZES), THEMES):
                width, height = SIZES[size]
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
                page = context.new_page()
                page.set_default_timeout(PATIENCE_MS)
                walk(page, stack, Path(folder), f"{size}-{theme}")
                context.close()
        browser.close()


def walk_irises(page: Page, stack: ProcessStack, folder: Path, suffix: str) -> None:
    """Take a screenshot of each page of the first model."""
    page.goto(f"{stack.base_url}/?petal_length=1.4&petal_width=0.3&sepal_length=5.1&sepal_width=4.5")
    answered(page)
    take(page, f"predict-{suffix}")
    page.goto(f"{stack.base_url}/batch")
    settle(page)
    page.locator("input[type=file]").set_input_files(table(folder))
    page.get_by_role("button", name=f"Predict {ROWS:,} rows").click()
    page.get_by_role("button", name="Predict another table").wait_for()
    take(page, f"batch-{suffix}")
    for path in ("model-card", "status"):
        page.goto(f"{stack.base_url}/{path}")
        settle(page)
        take(page, f"{path}-{suffix}")


def walk_digits(page: Page, stack: ProcessStack, folder: Path, suffix: str) -> None:
    """Train digits, see the gate's decision, and draw one."""
    page.goto(f"{stack.base_url}/train")
    settle(page)
    unlock(page, stack.admin_token_file.read_text().strip())
    # Compared with the version that the phone trained.
    if suffix.startswith("desktop"):
        page.get_by_test_id("stButtonGroup").get_by_text("Random forest").click()
        settle(page)
    take(page, f"train-{suffix}")
    page.get_by_role("button", name="Train", exact=True).click()
    page.get_by_text("was evaluated on").wait_for(timeout=TRAINING_MS)
    take(page, f"train-result-{suffix}")
    page.goto(stack.base_url)
    page.locator("canvas.sheet").wait_for()
    settle(page)
    draw(page, THREE)
    answered(page)
    take(page, f"predict-picture-{suffix}")


def table(folder: Path) -> Path:
    """Return rows across the irises' ranges, many of them between two species, one with a typing error."""
    lines = ["id,sepal_length,sepal_width,petal_length,petal_width"]
    for number in range(ROWS):
        share, other = number * 37 % ROWS / ROWS, number * 617 % ROWS / ROWS
        cell = "4,9" if number == 3 else f"{1.1 + 5.8 * share:.1f}"
        lines.append(f'{number},{4.5 + 3 * share:.1f},{2.2 + number % 20 / 10:.1f},"{cell}",{0.1 + 2.4 * other:.1f}')
    file = folder / "flowers.csv"
    file.write_text("\n".join([*lines, ""]))
    return file


def take(page: Page, name: str) -> None:
    """Take a screenshot of the whole page, once it no longer changes."""
    settle(page)
    size = page.viewport_size
    assert size
    block = page.get_by_test_id("stMainBlockContainer")
    # Charts show their toolbar under the pointer.
    page.mouse.move(0, 0)
    page.wait_for_timeout(1500)
    page.set_viewport_size(
        {"width": size["width"], "height": max(600, block.evaluate("node => node.scrollHeight") + 40)}
    )
    page.wait_for_timeout(1000)
    page.screenshot(path=FOLDER / f"{name}.png")
    page.set_viewport_size(size)


if __name__ == "__main__":
    main()
