"""A visit with a real browser, through Nginx and TLS, on a desktop and on a phone."""

import base64
import csv
import functools
import hashlib
import json
import re
import shlex
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import numpy
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from playwright.sync_api import Browser, BrowserContext, Error, Locator, Page, Playwright, expect, sync_playwright

SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
# The first visit after a start waits for the UI's imports, on a small machine for seconds.
PATIENCE_MS = 20_000
ROWS = 200_000
# The browser's own traffic would hide the page's.
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def spki_pin(url: str, ca_cert: str) -> str:
    """Return the hash of the public key of a server's certificate, verified with `ca_cert`."""
    address = urlsplit(url)
    context = ssl.create_default_context(cafile=ca_cert)
    with (
        socket.create_connection((address.hostname, address.port or 443), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=address.hostname) as secure,
    ):
        certificate = x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


def launch(playwright: Playwright, *more: str) -> Browser:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next(filter(None, map(shutil.which, names)), None)
    if not program:
        pytest.skip("No Chromium for the browser tests: apt install chromium")
    return playwright.chromium.launch(executable_path=program, args=[*ARGUMENTS, *more])


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright, target) -> Iterator[Browser]:
    # Chromium reads no CA file, but accepts the hash of the only valid key.
    pin = spki_pin(target.base_url, target.ca_cert) if target.ca_cert else ""
    browser = launch(playwright, f"--ignore-certificate-errors-spki-list={pin}")
    yield browser
    browser.close()


class Visits:
    """Open the UI, each time as a new visitor; record failures and requests to other hosts."""

    def __init__(self, browser: Browser, target: Any) -> None:
        self.browser, self.target = browser, target
        self.contexts: list[BrowserContext] = []
        self.problems: list[str] = []

    def __call__(
        self, query: dict[str, Any] | None = None, size: str = "desktop", path: str = "", **options: Any
    ) -> Page:
        width, height = SIZES[size]
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, ignore_https_errors=not self.target.ca_cert, **options
        )
        self.contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("request", lambda request: self.watch(request.url))
        page.on("websocket", lambda websocket: self.watch(websocket.url))
        page.on("pageerror", lambda error: self.note(f"uncaught: {error}"))
        page.on("console", lambda line: self.note(f"{line.text} {line.location}") if line.type == "error" else None)
        page.on("requestfailed", lambda request: self.note(f"{request.failure}: {request.url}"))
        page.goto(f"{self.target.base_url}/{path}" + (f"?{urlencode(query)}" if query else ""))
        settle(page)
        return page

    def watch(self, url: str) -> None:
        address = urlsplit(url)
        if address.scheme not in {"data", "blob"} and address.netloc != urlsplit(self.target.base_url).netloc:
            self.problems.append(f"request to another host: {url}")

    def note(self, problem: str) -> None:
        # A reload aborts the page's running requests. Streamlit looks for its server below a page's address
        # first, and for it at the root when that is not found.
        if "ERR_ABORTED" not in problem and not re.search(r"404 .*/[a-z-]+/_stcore/(health|host-config)", problem):
            self.problems.append(problem)

    def end(self) -> list[str]:
        """Close all windows; return the problems since the last call."""
        for context in self.contexts:
            context.close()
        problems = self.problems
        self.contexts, self.problems = [], []
        return problems


@pytest.fixture
def visit(browser, target) -> Iterator[Visits]:
    visits = Visits(browser, target)
    yield visits
    visits.end()


def visiting(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test in which nothing may fail in the browser; repeat it if a network of the machine changed."""

    @functools.wraps(test)
    def run(visit: Visits, **fixtures: Any) -> None:
        for attempt in (1, 2, 3):
            failure: Exception | None = None
            try:
                test(visit=visit, **fixtures)
            except (Error, AssertionError) as error:
                failure = error
            problems = visit.end()
            # Chromium aborts running requests when a network, such as a container's, appears or disappears.
            if attempt < 3 and "ERR_NETWORK_CHANGED" in f"{problems} {failure}":
                continue
            if failure:
                raise failure
            assert problems == []
            return

    return run


@pytest.fixture
def card(http, target) -> dict[str, Any]:
    return http.get(f"{target.base_url}/model", timeout=10).json()


def sliders(page: Page):
    return page.get_by_role("slider")


def settle(page: Page) -> None:
    """Wait until the page's script has ended and the browser has its lazily loaded parts."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning", timeout=PATIENCE_MS)
    page.get_by_role("heading", level=1).wait_for()


def answered(page: Page) -> None:
    """Wait until a prediction is shown, with its charts."""
    settle(page)
    expect(page.get_by_text("response time")).to_be_visible(timeout=PATIENCE_MS)
    expect(chart(page, "Probabilities")).to_be_visible(timeout=PATIENCE_MS)


def chart(page: Page, words: str) -> Locator:
    """Return the chart whose text for screen readers starts with this."""
    return page.locator(f'[data-testid=stVegaLiteChart][aria-label^="{words}"]')


def press(page: Page, slider: Locator, key: str, times: int = 1) -> None:
    """Move a slider by keyboard, and wait for the result."""
    before = page.url
    slider.focus()
    for _ in range(times):
        slider.press(key)
    page.wait_for_function("before => location.href !== before", arg=before, timeout=PATIENCE_MS)
    answered(page)


def inputs(page: Page) -> list[float]:
    return [float(slider.input_value()) for slider in sliders(page).all()]


def shown_class(page: Page) -> str:
    return page.get_by_role("heading", level=2).inner_text().strip()


def row_of_the_address(page: Page) -> dict[str, float]:
    return {name: float(value) for name, value in parse_qsl(urlsplit(page.url).query) if not name.startswith("_")}


def check_against_api(page: Page, http, target) -> None:
    """Compare the page with the API's answer for the values in the page's address."""
    answer = http.post(f"{target.base_url}/explain", json=row_of_the_address(page), timeout=10).json()
    expect(page.get_by_role("heading", level=2)).to_have_text(answer["class_name"])
    expect(chart(page, "Probabilities")).to_be_visible()
    for name in answer["probabilities"]:
        assert name in chart(page, "Probabilities").inner_html()
    share = re.search(r"([\d.]+)%", page.get_by_text(re.compile("^Probability ")).inner_text())
    assert share and abs(float(share[1]) / 100 - max(answer["probabilities"].values())) < 0.002
    strongest = max(answer["contributions"][answer["class_name"]].items(), key=lambda item: abs(item[1]))[0]
    spoken = page.get_by_test_id("stMain").get_by_role("listitem").first.inner_text().lower()
    assert spoken.startswith(strongest.replace("_", " "))


def luminance(page: Page) -> float:
    """Return the brightness of the page's background, 0 to 1."""
    colour = page.get_by_test_id("stApp").evaluate("node => getComputedStyle(node).backgroundColor")
    red, green, blue = (int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")[:3])
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255


@pytest.mark.parametrize("size", SIZES)
@visiting
def test_move_a_slider_and_predict(visit, card, http, target, size):
    page = visit(size=size)
    answered(page)
    expect(page.get_by_role("heading", level=1)).to_have_text(card["model_name"], ignore_case=True)
    assert "Streamlit" not in page.title()
    assert sliders(page).count() == len(card["features"])
    before = inputs(page)

    press(page, sliders(page).first, "ArrowRight", 3)
    assert inputs(page)[1:] == before[1:]
    moved = inputs(page)[0]
    assert moved > before[0]

    # Each key press runs the script, and the address has the last value.
    first = card["features"][0]["name"]
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while row_of_the_address(page)[first] != pytest.approx(moved) and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    row = row_of_the_address(page)
    assert list(row) == [feature["name"] for feature in card["features"]]
    assert row[first] == pytest.approx(moved)
    answered(page)
    check_against_api(page, http, target)
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]


@visiting
def test_reload_keeps_the_inputs(visit, http, target):
    page = visit()
    answered(page)
    press(page, sliders(page).last, "ArrowLeft")
    before, found = inputs(page), shown_class(page)
    page.reload()
    answered(page)
    assert inputs(page) == before
    assert shown_class(page) == found
    check_against_api(page, http, target)


@visiting
def test_links_predict_as_in_the_card(visit, card, http, target):
    names = [feature["name"] for feature in card["features"]]
    by_class = {}
    for golden in card["golden_rows"]:
        shares = golden["probabilities"]
        by_class[card["classes"][shares.index(max(shares))]] = golden["features"]
    assert len(by_class) > 1
    for expected, row in by_class.items():
        page = visit(dict(zip(names, row, strict=True)))
        answered(page)
        assert shown_class(page) == expected
        check_against_api(page, http, target)


@visiting
def test_value_outside_the_training_range_is_predicted_with_a_warning(visit, card):
    feature = card["features"][0]
    page = visit({feature["name"]: feature["maximum"] * 2})
    answered(page)
    expect(page.get_by_test_id("stAlert")).to_contain_text("training range")


@visiting
def test_garbage_in_the_address_is_harmless(visit, card):
    page = visit({feature["name"]: "<img src=x onerror=alert(1)>" for feature in card["features"]} | {"x": "nan"})
    answered(page)
    assert shown_class(page) in card["classes"]


@visiting
def test_copied_curl_command_gives_the_pages_result(visit, target):
    page = visit()
    answered(page)
    page.get_by_text("Copy as curl").click()
    command = page.get_by_test_id("stCode").inner_text()
    assert f"{target.base_url}/explain" in command
    trust = ["--cacert", target.ca_cert] if target.ca_cert else ["-k"]
    words = [*shlex.split(command.replace("\\\n", " ")), "-fsS", "--noproxy", "*", *trust]
    answer = json.loads(subprocess.run(words, capture_output=True, check=True).stdout)
    assert answer["class_name"] == shown_class(page)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
@visiting
def test_every_page_in_both_themes(visit, card, size, scheme, dark):
    page = visit(size=size, color_scheme=scheme)
    answered(page)
    label = page.get_by_test_id("stVegaLiteChart").locator("svg text").first
    colour = label.evaluate("node => getComputedStyle(node).fill")
    assert sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(",")) > 380 or not dark
    headings = {
        "Batch": "Batch prediction",
        "Model": f"{card['model_name'].capitalize()} model",
        "Train": "Train",
        "Status": "Status",
        "Predict": card["model_name"].capitalize(),
    }
    for name, heading in headings.items():
        if size == "phone":
            page.get_by_test_id("stExpandSidebarButton").click()
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
        settle(page)
        if size == "phone":
            page.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()
        assert (luminance(page) < 0.2) == dark
        assert "Streamlit" not in page.title()
        assert "svg" in (page.locator("link[rel~=icon]").first.get_attribute("href") or "")
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
        assert page.get_by_test_id("stException").count() == 0
        for picture in page.get_by_test_id("stVegaLiteChart").all():
            assert picture.get_attribute("aria-label")


@pytest.mark.parametrize("path", ["batch", "model-card", "train", "status"])
@visiting
def test_pages_have_addresses_of_their_own(visit, path):
    page = visit(path=path)
    assert page.url.endswith(path)
    assert page.get_by_role("heading", level=1).count() == 1


@visiting
def test_200000_rows_are_uploaded_scored_and_downloaded(visit, card, http, target, tmp_path):
    random = numpy.random.default_rng(0)
    names = [feature["name"] for feature in card["features"]]
    columns = [random.uniform(feature["minimum"], feature["maximum"], ROWS).round(2) for feature in card["features"]]
    file = tmp_path / "rows.csv"
    lines = (",".join(map(repr, row)) for row in zip(*(column.tolist() for column in columns), strict=True))
    file.write_text("\n".join([",".join(names), *lines, ""]))
    page = visit(path="batch", accept_downloads=True)
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name=f"Predict {ROWS:,} rows").click(timeout=60_000)
    page.get_by_role("button", name="Predict another table").wait_for(timeout=120_000)
    expect(page.get_by_test_id("stMetric").first).to_contain_text(f"{ROWS:,}")
    # The browser is responsive: it shows another page of the table at once.
    page.get_by_role("button", name="Page 2", exact=True).click()
    settle(page)
    with page.expect_download(timeout=60_000) as download:
        page.get_by_role("button", name="Download CSV").click()
    download.value.save_as(tmp_path / "scored.csv")
    with (tmp_path / "scored.csv").open(newline="") as scored:
        rows = list(csv.DictReader(scored))
    assert len(rows) == ROWS
    asked = [0, 9_999, 10_000, ROWS - 1]
    given = [{name: float(rows[index][name]) for name in names} for index in asked]
    answer = http.post(f"{target.base_url}/predict", json={"instances": given}, timeout=10).json()
    assert [rows[index]["class_name"] for index in asked] == answer["class_names"]
    assert [given[0][name] for name in names] == [column[0] for column in columns]


def test_another_key_is_rejected(playwright, target):
    if not target.ca_cert:
        pytest.skip("Nothing to check certificates with: set CA_CERT")
    browser = launch(playwright, "--ignore-certificate-errors-spki-list=" + base64.b64encode(bytes(32)).decode())
    with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
        browser.new_page().goto(target.base_url)
    browser.close()
