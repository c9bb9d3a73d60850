"""Pages of files in Chromium: details, sorting, filters and search; on a phone, in the dark, by keyboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from genrescope.reporting import Section, Table, classification_page, render_sections
from genrescope.types import FailedFile, Prediction, Timeline
from helpers.browser import chromium

GENRES = ("blues", "jazz", "rock")
TEXTS = """
const found = [...document.querySelectorAll(arguments[0])].filter((one) => one.offsetWidth);
return found.map((one) => one.innerText.trim());
"""
# Contrast of WCAG 2.1, of all visible text against the nearest ground that is painted.
CONTRAST = """
const channels = (color) => (color.match(/[\\d.]+/g) ?? []).map(Number);
const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
  .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (element) => {
  const [r, g, b, a = 1] = channels(getComputedStyle(element).backgroundColor);
  return a ? [r, g, b] : element.parentElement ? ground(element.parentElement) : [255, 255, 255];
};
const low = [];
const hasText = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
for (const element of document.querySelectorAll("main *")) {
  if (!hasText(element) || !element.offsetWidth) continue;
  const [one, other] = [light(channels(getComputedStyle(element).color)), light(ground(element))];
  const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  if (ratio < 4.5) low.push(`${element.tagName} ${element.innerText}: ${ratio.toFixed(2)}`);
}
return low;
"""


def prediction(number: int) -> Prediction:
    """Return file ``number``: rock with a score that rises with the number, and every third one jazz."""
    scores = np.array([0.1, 0.1, 0.3 + 0.002 * number]) if number % 3 else np.array([0.1, 0.8, 0.1])
    timeline = Timeline(
        GENRES, np.array([0.0, 5.0]), np.array([5.0, 10.0]), np.array([scores] * 2, np.float32)
    )
    ranked = {GENRES[place]: float(scores[place]) for place in np.argsort(-scores, kind="stable")}
    path = f"/m/Album {number // 100}/song {number}.mp3"
    return Prediction(path, ranked, 60.0 + number, "m", {}, threshold=0.6, set_level=0.9, timeline=timeline)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def show(driver: webdriver.Chrome, address: str, *, width: int = 1200, dark: bool = False) -> None:
    """Open a page as a device of a width, in pixels, has it."""
    device = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", device)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    driver.get(address)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    rows = [
        *map(prediction, range(300)),
        FailedFile("/m/x.mp3", code="audio_empty", message="empty", hint="copy it"),
    ]
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(classification_page(rows, title="Genres", model="m"), encoding="utf8")
    return file.as_uri()


@pytest.fixture
def page(browser: webdriver.Chrome, address: str) -> Iterator[webdriver.Chrome]:
    show(browser, address)
    yield browser
    # Also what the page's policy forbids.
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]


def names(page: webdriver.Chrome) -> list[str]:
    found: list[str] = page.execute_script(TEXTS, "#files .name")
    return found


def status(page: webdriver.Chrome) -> str:
    return page.find_element(By.ID, "status").text


def header(page: webdriver.Chrome, name: str) -> Callable[[], str | None]:
    """Click on a header, and return what tells its order."""
    (cell,) = (
        one for one in page.find_elements(By.CSS_SELECTOR, "#files thead th") if one.text.startswith(name)
    )
    cell.find_element(By.TAG_NAME, "button").click()
    return lambda: cell.get_attribute("aria-sort")


def test_columns_are_sorted_by_what_they_mean(page: webdriver.Chrome) -> None:
    assert names(page)[:2] == ["song 0.mp3", "song 1.mp3"]
    assert header(page, "Score")() == "descending"
    assert names(page)[:3] == ["song 299.mp3", "song 298.mp3", "song 296.mp3"]
    assert header(page, "Score")() == "ascending"
    assert names(page)[:2] == ["song 1.mp3", "song 2.mp3"]
    # 5:59 is more than 1:00, and comes before 10:00, of which text knows nothing.
    order = header(page, "Length")
    assert (order(), names(page)[0]) == ("descending", "song 299.mp3")
    # Numbers in names count as numbers.
    order = header(page, "File")
    assert (order(), names(page)[8:11]) == ("ascending", ["song 8.mp3", "song 9.mp3", "song 10.mp3"])


def test_files_are_filtered_by_genre_and_by_state(page: webdriver.Chrome) -> None:
    assert status(page) == "300 of 300 files"
    Select(page.find_element(By.ID, "genre")).select_by_value("jazz")
    assert status(page) == "100 of 300 files"
    assert names(page)[:2] == ["song 0.mp3", "song 3.mp3"]
    Select(page.find_element(By.ID, "state")).select_by_value("unsure")
    assert (status(page), names(page)) == ("0 of 300 files", [])
    Select(page.find_element(By.ID, "genre")).select_by_value("")
    # Rock from a score of 0.3 + 0.002 * 150.
    assert status(page) == "100 of 300 files"
    page.find_element(By.CSS_SELECTOR, "#all button").click()
    WebDriverWait(page, 20).until(lambda _: status(page) == "300 of 300 files")
    assert not page.find_element(By.ID, "all").is_displayed()
    # A genre of the summary filters as well.
    page.find_element(By.CSS_SELECTOR, "#genres button").click()
    assert (status(page), names(page)[0]) == ("200 of 300 files", "song 1.mp3")


def test_search_finds_all_words_in_any_order(page: webdriver.Chrome) -> None:
    field = page.find_element(By.ID, "search")
    field.send_keys("SONG 2/ album")
    assert status(page) == "100 of 300 files"
    assert names(page)[:2] == ["song 200.mp3", "song 201.mp3"]
    field.clear()
    field.send_keys("song 299 rock")
    assert (names(page), status(page)) == (["song 299.mp3"], "1 of 300 files")
    assert page.find_element(By.CSS_SELECTOR, "#files .folder").text == "Album 2/"
    field.send_keys("x")
    assert names(page) == []


def test_rows_come_as_the_reader_needs_them(page: webdriver.Chrome) -> None:
    assert len(names(page)) == 200
    more = page.find_element(By.CSS_SELECTOR, "button.more")
    assert more.text == "Show 100 more of 100"
    page.execute_script("scrollTo(0, document.body.scrollHeight)")
    WebDriverWait(page, 20).until(lambda _: len(names(page)) == 300)
    assert not more.is_displayed()


def test_details_open_by_keyboard_and_stay_open_when_sorted(page: webdriver.Chrome) -> None:
    button = page.find_element(By.CSS_SELECTOR, "#files button.name")
    assert button.get_attribute("aria-expanded") == "false"
    button.send_keys(Keys.ENTER)
    assert button.get_attribute("aria-expanded") == "true"
    details = page.find_element(By.CSS_SELECTOR, "tr.details")
    rows = [row.text.replace("\n", " ") for row in details.find_elements(By.CSS_SELECTOR, ".bars tr")]
    assert rows == ["jazz 80 %", "blues 10 %", "rock 10 %"]
    assert len(details.find_elements(By.TAG_NAME, "path")) == 3
    drawing = details.find_element(By.TAG_NAME, "svg")
    assert drawing.get_attribute("aria-label") == "Genres over time: 0:00 to 0:10 jazz"
    header(page, "File")
    header(page, "Score")
    header(page, "File")
    assert page.find_elements(By.CSS_SELECTOR, "tr.details") == [details]
    button.send_keys(Keys.ENTER)
    assert page.find_elements(By.CSS_SELECTOR, "tr.details") == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 768, 1440])
def test_the_genre_is_visible_and_text_is_legible(
    browser: webdriver.Chrome, address: str, width: int, dark: bool
) -> None:
    show(browser, address, width=width, dark=dark)
    browser.find_element(By.CSS_SELECTOR, "#files button.name").click()
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    ends = "return [...document.querySelectorAll('.genre')].map((one) => one.getBoundingClientRect().right)"
    assert max(browser.execute_script(ends)) < width - 40
    assert browser.execute_script(TEXTS, "#files .genre")[0] == "jazz"
    assert browser.execute_script(CONTRAST) == []


def test_tables_of_sections_are_sorted_and_long_ones_searched(
    browser: webdriver.Chrome, tmp_path: Path
) -> None:
    rows = tuple((f"g{number}", f"{number / 100:+.2f} [0, 1]", "\u2013") for number in (*range(60, -60, -1),))
    tables = (
        Table("Long", ("Genre", "Difference", "None"), rows),
        Table("Short", ("Genre", "F1"), (("a", "1"),)),
    )
    file = tmp_path / "report.html"
    file.write_text(render_sections("T", "", [Section("One", tables)], sortable=True), encoding="utf8")
    show(browser, file.as_uri())
    first = "return [...document.querySelectorAll('tbody')].map((body) => body.rows[0]?.cells[0].innerText)"
    assert browser.execute_script(first) == ["g60", "a"]
    buttons = browser.find_elements(By.CSS_SELECTOR, "button.sort")
    assert [button.text for button in buttons] == ["Genre", "Difference", "None"]
    buttons[1].click()
    buttons[1].click()
    assert browser.execute_script(first) == ["g-59", "a"]
    browser.find_element(By.CSS_SELECTOR, "input[type=search]").send_keys("g12")
    assert browser.execute_script(first) == ["g12", "a"]
    assert browser.find_element(By.CSS_SELECTOR, ".status").text == "1 of 120 rows"
    assert browser.get_log("browser") == []  # type: ignore[no-untyped-call]
