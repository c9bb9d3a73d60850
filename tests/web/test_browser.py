"""The page in chromium against a running server."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from helpers.server import serving
from helpers.small_data import RATE, drone, hiss

TIMEOUT_SECONDS = 20
FLAGS = """
--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1200,1000
--autoplay-policy=no-user-gesture-required --use-fake-device-for-media-stream --use-fake-ui-for-media-stream
"""
# A drop as the browser makes it, with the files that the page's own field holds.
DROP = """
const carried = new DataTransfer();
for (const file of document.getElementById("files").files) carried.items.add(file);
document.getElementById("drop").dispatchEvent(
  new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true }));
"""
# Keeps the page from seeing that its field was filled, once.
HOLD_CHANGE = """
window.addEventListener("change", (event) => event.stopImmediatePropagation(), { capture: true, once: true });
"""


class Page:
    """The page in a browser, with the few actions that the tests need."""

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
        self.driver = driver
        driver.get(address)
        self.wait_for("limits", "MiB")

    def find(self, name: str) -> WebElement:
        return self.driver.find_element(By.ID, name)

    def wait_for(self, name: str, text: str) -> str:
        """Wait until an element is visible and contains a text, and return its whole text."""
        WebDriverWait(self.driver, TIMEOUT_SECONDS).until(
            lambda _: self.find(name).is_displayed() and text in self.find(name).text,
            f"#{name} does not show {text!r}",
        )
        return self.find(name).text

    def choose(self, *files: Path) -> None:
        self.find("files").send_keys("\n".join(map(str, files)))

    def position(self) -> float:
        return float(self.find("seek").get_attribute("aria-valuenow") or -1)

    def wait_until(self, condition: str) -> None:
        """Wait until an expression of JavaScript is true."""
        WebDriverWait(self.driver, TIMEOUT_SECONDS).until(
            lambda driver: driver.execute_script(f"return {condition}"), f"never: {condition}"
        )

    def browser_errors(self) -> list[str]:
        """Return what the browser logged: policy violations, errors, failed requests."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Start Debian's chromium; skip where there is none, fail in CI."""
    browser, driver_path = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver_path is None:
        what = "no browser to test the page in: apt-get install chromium chromium-driver"
        (pytest.fail if os.environ.get("GENRESCOPE_REQUIRE_BROWSER") else pytest.skip)(what)
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver_path))
    yield chrome
    chrome.quit()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving("--max-upload-mb", "2", "--rate-limit", "0") as (address, _):
        yield address


@pytest.fixture
def page(driver: webdriver.Chrome, server: str) -> Iterator[Page]:
    page = Page(driver, server)
    yield page
    assert page.browser_errors() == []


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    soundfile.write(folder / "one & <b>two.wav", drone(12.0, 1), RATE)
    soundfile.write(folder / "noise.flac", hiss(4.0, 1), RATE)
    (folder / "words.mp3").write_text("no sound")
    (folder / "large.wav").write_bytes(bytes(3 * 2**20))
    return folder


def test_dropped_clip_is_classified(page: Page, gtzan: Path) -> None:
    clip = gtzan / "audio" / "blues" / "blues.00000.ogg"
    page.driver.execute_script(HOLD_CHANGE)
    page.choose(clip)
    page.driver.execute_script(DROP)
    assert "blues" in page.wait_for("verdict", "%")
    assert page.find("title").text == "blues.00000.ogg"
    ranked = [row.text for row in page.find("answers").find_elements(By.CSS_SELECTOR, "table:first-child tr")]
    shares = [float(row.split()[-2]) for row in ranked]
    assert ranked[0].startswith("blues")
    assert len(ranked) == 10
    assert shares == sorted(shares, reverse=True)
    assert len(page.find("course").find_elements(By.TAG_NAME, "path")) == 10
    assert page.find("axis").text.split() == ["0:00", "0:10", "0:20", "0:30"]
    assert "blues" in (page.find("course").get_attribute("aria-label") or "")
    page.wait_until("document.getElementById('spectrogram').width === 900")
    assert "blues.00000.ogg: blues" in (page.find("status").get_attribute("textContent") or "")
    levels = (
        "new Set(document.getElementById('spectrogram').getContext('2d').getImageData(0,0,900,96).data).size"
    )
    assert page.driver.execute_script(f"return {levels}") > 100


def test_play_pause_and_seek_by_keyboard(page: Page, sounds: Path) -> None:
    page.choose(sounds / "one & <b>two.wav")
    page.wait_for("verdict", "%")
    assert page.find("title").text == "one & <b>two.wav"
    page.wait_until("document.getElementById('audio').readyState >= 2")
    page.find("play").click()
    page.wait_for("play", "Pause")
    page.wait_until("document.getElementById('audio').currentTime > 0.5")
    assert page.position() > 0.3
    assert float((page.find("head").get_attribute("style") or "").split("left: ")[1].split("%")[0]) > 2
    page.find("play").click()
    page.wait_for("play", "Play")
    bar = page.find("seek")
    bar.send_keys(Keys.HOME)
    assert page.position() == 0
    bar.send_keys(Keys.ARROW_RIGHT)
    assert page.position() == 5
    assert "0:05 of 0:12, " in (bar.get_attribute("aria-valuetext") or "")
    bar.click()
    assert page.position() == pytest.approx(6, abs=0.2)
    bar.send_keys(Keys.END)
    assert page.position() == pytest.approx(11.95, abs=0.1)


def test_uncertainty_and_styles_are_shown(page: Page, gtzan: Path) -> None:
    page.choose(gtzan / "audio" / "reggae" / "reggae.00002.ogg")
    verdict = page.wait_for("verdict", "%")
    assert verdict.startswith("disco & funk")
    assert "unsure" in verdict
    assert page.find("possible").text == "It may be disco & funk, reggae, r&b & soul."
    assert "funk" in page.find("answers").find_elements(By.TAG_NAME, "table")[1].text
    assert (page.find("status").get_attribute("textContent") or "").endswith(", unsure")


def test_what_is_not_music_is_said_so(page: Page, sounds: Path) -> None:
    page.choose(sounds / "noise.flac")
    assert page.wait_for("verdict", "%").startswith("not music")
    assert not page.find("course").is_displayed()
    assert not page.find("answers").find_elements(By.TAG_NAME, "table")
    assert "not music" in (page.find("status").get_attribute("textContent") or "")


def test_several_files_make_a_list(page: Page, sounds: Path) -> None:
    page.choose(*(sounds / name for name in ("one & <b>two.wav", "words.mp3", "noise.flac")))
    page.wait_until("document.querySelectorAll('#list button').length === 3")
    page.wait_until("!/waiting|analyzing/.test(document.getElementById('list').textContent)")
    states = [
        button.text.split("\n")[-1] for button in page.find("list").find_elements(By.TAG_NAME, "button")
    ]
    assert states[1] == "failed"
    assert "%" in states[0]
    assert "%" in states[2]
    page.find("list").find_elements(By.TAG_NAME, "button")[1].send_keys(Keys.ENTER)
    text = page.wait_for("failure", "words.mp3")
    assert "audio_unreadable" in text
    assert "What to do: check that it plays" in text
    assert not page.find("stage").is_displayed()
    assert any("415" in line for line in page.browser_errors())  # the browser notes the refusal, once


def test_too_large_file_is_not_sent(page: Page, sounds: Path) -> None:
    page.choose(sounds / "large.wav")
    text = page.wait_for("failure", "large.wav")
    assert "3.0 MiB; this server takes 2.0 MiB" in text
    assert "upload_too_large" in text


def test_recording_from_the_microphone(page: Page) -> None:
    page.find("record").click()
    page.wait_for("record", "Stop 0:02")
    page.find("record").click()
    page.wait_for("verdict", "%")
    assert page.find("title").text == "recording 1.wav"


def test_what_only_the_browser_can_decode_is_sent_as_wav(page: Page, sounds: Path) -> None:
    """The server refuses everything but WAV, to simulate formats that only the browser can decode."""
    page.driver.execute_script("""
      const originalFetch = window.fetch;
      const body = JSON.stringify({ code: "audio_unreadable", detail: "unknown", hint: "convert it" });
      window.fetch = async (address, request) => {
        const head = request.body && await request.body.get("file").slice(0, 4).text();
        if (head && head !== "RIFF") return new Response(body, { status: 415 });
        return originalFetch(address, request);
      };
    """)
    page.choose(sounds / "noise.flac")
    page.wait_for("verdict", "%")
    assert "decoded by your browser" in page.find("facts").text
    assert page.find("title").text == "noise.flac"


def test_server_that_has_ended(driver: webdriver.Chrome, sounds: Path) -> None:
    with serving() as (address, process):
        page = Page(driver, address)
        process.terminate()
        process.wait()
        page.choose(sounds / "noise.flac")
        text = page.wait_for("failure", "cannot be reached")
    assert "genrescope serve" in text
    assert page.find("failure").find_element(By.TAG_NAME, "button").text == "Try again"
    assert page.browser_errors()  # the browser's own words for it


def test_token_is_asked_for(driver: webdriver.Chrome, sounds: Path) -> None:
    with serving("--token", "correct token") as (address, _):
        driver.get(address)
        page = Page.__new__(Page)
        page.driver = driver
        page.wait_for("login", "token")
        page.find("token").send_keys("wrong", Keys.ENTER)
        page.wait_for("login-note", "That token is wrong")
        page.find("token").clear()
        page.find("token").send_keys("correct token", Keys.ENTER)
        page.wait_for("limits", "MiB")
        assert not page.find("login").is_displayed()
        page.choose(sounds / "noise.flac")
        page.wait_for("verdict", "%")
        page.browser_errors()


def test_busy_server_is_asked_again(driver: webdriver.Chrome, sounds: Path) -> None:
    # The second request is refused unless the first takes longer than the 6 s in which the bucket refills.
    with serving("--burst", "1", "--rate-limit", "10") as (address, _):
        page = Page(driver, address)
        page.choose(sounds / "noise.flac", sounds / "noise.flac")
        page.wait_for("list", "the server is busy")
        page.wait_until("document.getElementById('list').textContent.split('%').length === 3")
    assert any("429" in line for line in page.browser_errors())


def test_api_docs_page_has_its_style(page: Page) -> None:
    page.driver.get(page.driver.current_url + "docs")
    assert "POST /v1/classify" in page.driver.find_element(By.TAG_NAME, "main").text
    page.wait_until("getComputedStyle(document.body).marginTop === '0px'")


def test_page_fits_a_phone(page: Page, sounds: Path) -> None:
    page.driver.set_window_size(360, 800)
    try:
        page.choose(*(sounds / name for name in ("one & <b>two.wav", "noise.flac")))
        page.wait_for("verdict", "%")
        page.wait_until("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    finally:
        page.driver.set_window_size(1200, 1000)
