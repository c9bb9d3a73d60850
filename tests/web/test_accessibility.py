"""The page for everyone: axe-core finds nothing in any state, it works by keyboard, and nothing jumps.

axe-core is in helpers/data/axe-core, since tests use no network.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from helpers.browser import NO_ANSWER, Page, open_state

AXE = Path(__file__).resolve().parents[1] / "helpers" / "data" / "axe-core" / "axe.min.js.gz"
STATES = ("empty", "working", "answer", "unsure", "not music", "error", "several", "opened")
WIDTHS = ((390, 844), (768, 1024), (1440, 900))
# The size of targets is no part of axe's default rules.
RUN_AXE = """
const done = arguments[0];
const brief = ({ id, help, nodes }) => ({ id, help, nodes: nodes.map((node) => node.html.slice(0, 200)) });
axe.run(document, { rules: { "target-size": { enabled: true } } })
  .then((found) => done(JSON.stringify(found.violations.map(brief))));
"""
# The sum of the scores of unexpected shifts of the layout, as browsers define it (CLS).
WATCH_SHIFTS = """
window.shifts = 0;
const { prototype } = OfflineAudioContext;
const decode = prototype.decodeAudioData;
// The spectrogram comes when the test says so.
const released = new Promise((resolve) => (window.release = resolve));
prototype.decodeAudioData = function (...content) {
  return released.then(() => decode.apply(this, content));
};
const add = (one) => (window.shifts += one.hadRecentInput ? 0 : one.value);
new PerformanceObserver((list) => list.getEntries().forEach(add)).observe({ type: "layout-shift" });
"""


@cache
def axe() -> str:
    return gzip.decompress(AXE.read_bytes()).decode("utf8")


def violations(page: Page) -> list[dict[str, Any]]:
    """Return what axe-core finds; it runs past the page's policy, as scripts of the driver do."""
    page.driver.execute_script(axe())
    found: list[dict[str, Any]] = json.loads(page.driver.execute_async_script(RUN_AXE))
    return found


def show(page: Page, state: str, demo_music: Path, page_sounds: Path) -> None:
    """Bring the page into a state; ``opened``: an answer with all explanations."""
    files = {
        "unsure": [page_sounds / "one & <b>two.wav"],
        "not music": [demo_music / "Waves on a beach, generated.ogg"],
        "error": [page_sounds / "words.mp3"],
        "several": [demo_music / "Muldjord - Chaos God.mp3", page_sounds / "words.mp3"],
    }
    open_state(page, "answer" if state == "opened" else state, files)
    if state == "opened":
        for summary in page.driver.find_elements(By.TAG_NAME, "summary"):
            summary.click()


@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing(page: Page, demo_music: Path, page_sounds: Path, state: str) -> None:
    show(page, state, demo_music, page_sounds)
    for width, height in WIDTHS:
        for scheme in ("light", "dark"):
            page.window(width, height, scheme, reduced_motion=True)
            assert violations(page) == [], f"{width} px, {scheme}"
            overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.driver.execute_script(f"return {overflow}") <= 0, width
    if state in ("error", "several"):
        assert any("415" in line for line in page.browser_errors())


def test_axe_finds_what_is_wrong(page: Page) -> None:
    page.driver.execute_script(
        "document.querySelector('main').innerHTML += '<img src=\"/static/icon.svg\"><button></button>'"
    )
    assert {one["id"] for one in violations(page)} >= {"image-alt", "button-name"}


def test_everything_is_reached_by_keyboard(page: Page) -> None:
    page.driver.execute_script("document.getElementById('example').focus()")
    keys = ActionChains(page.driver)
    keys.send_keys(Keys.ENTER).perform()
    page.wait_for_answers()
    reached = []
    for _ in range(9):
        keys.send_keys(Keys.TAB).perform()
        focused = page.driver.switch_to.active_element
        reached.append(focused.get_attribute("id") or focused.text)
        # A visible ring, and not that of the mouse.
        assert focused.value_of_css_property("outline-width") == "3px", reached
        if focused.tag_name == "summary":
            keys.send_keys(Keys.ENTER).perform()
    expected = ["What does this mean?", "play", "seek", "The course as text", "save-csv", "save-json"]
    assert [one for one in reached if one in expected] == expected
    assert page.find("meaning").get_attribute("open")
    assert "0:00 to 0:24: electronic" in page.find("words").text


def test_nothing_moves_for_those_who_prefer_it(page: Page) -> None:
    page.driver.execute_script(NO_ANSWER)
    page.find("example").click()
    page.wait_for("working", "Analyzing")
    moving = "document.getAnimations().length"
    assert page.driver.execute_script(f"return {moving}") > 0
    page.window(1440, 900, reduced_motion=True)
    page.wait_until(f"{moving} === 0")


def test_the_layout_does_not_jump_when_pictures_come(page: Page) -> None:
    """The spectrogram and the cover have their place before they are there."""
    page.driver.execute_script(WATCH_SHIFTS)
    page.find("example").click()
    page.wait_for("verdict", "%")
    top = "return document.getElementById('course').getBoundingClientRect().top"
    before = page.driver.execute_script(top)
    page.driver.execute_script("release()")
    page.wait_for_answers()
    page.wait_until("!document.getElementById('cover').hidden")
    assert page.driver.execute_script(top) == before
    # 0.1 is the bound of what counts as good (https://web.dev/articles/cls).
    assert page.driver.execute_script("return window.shifts") < 0.1


def test_a_screen_reader_is_told_the_answer_and_the_failure(page: Page, page_sounds: Path) -> None:
    page.find("example").click()
    page.wait_for_answers()
    status = page.find("status")
    assert status.get_attribute("aria-live") == "polite"
    assert status.get_attribute("textContent") == f"Ambient (excerpt): {page.find('verdict').text}"
    page.choose(page_sounds / "words.mp3")
    page.wait_until("document.getElementById('status').textContent.includes('failed')")
    assert "What to do" not in (status.get_attribute("textContent") or "")
    assert "check that it plays" in (status.get_attribute("textContent") or "")
    assert page.browser_errors()
