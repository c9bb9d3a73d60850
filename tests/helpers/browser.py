"""The page of the server in Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

TIMEOUT_SECONDS = 20
FLAGS = """
--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --disable-dev-shm-usage --window-size=1200,1000
--autoplay-policy=no-user-gesture-required --use-fake-device-for-media-stream --use-fake-ui-for-media-stream
"""

# The file is sent, and the answer does not come.
NO_ANSWER = """
const send = window.fetch;
window.fetch = (address, init) => (init?.method === "POST" ? new Promise(() => {}) : send(address, init));
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

    def module(self, name: str, script: str) -> Any:
        """Run JavaScript with ``module``, one of the page's modules, and return its result."""
        return self.driver.execute_async_script(
            f"import('/static/{name}').then((module) => {{ {script} }}).then(arguments[0])"
        )

    def words(self, script: str) -> Any:
        """Run JavaScript with ``words``, the module of the page's texts, and return its result."""
        return self.module("words.js", f"const words = module; {script}")

    def download_to(self, folder: Path) -> None:
        """Keep what the page saves in a folder."""
        self.driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)}
        )

    def window(self, width: int, height: int, scheme: str = "light", *, reduced_motion: bool = False) -> None:
        """Emulate the window of another device, in a color scheme."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        # A phone has no mouse.
        self.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": width < 500})
        motion = "reduce" if reduced_motion else "no-preference"
        media = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        features = [{"name": name, "value": value} for name, value in media.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def reset_window(self) -> None:
        """End what `window` emulates."""
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    def wait_for_answers(self) -> None:
        """Wait until every file of the list has its answer or failure, and the shown one its spectrogram."""
        self.wait_until(
            "document.getElementById('list').textContent &&"
            " !/waiting|analyzing|again in/.test(document.getElementById('list').textContent)"
        )
        self.wait_until(
            "document.getElementById('answer').hidden || document.getElementById('spectrogram').width === 900"
        )


def open_state(page: Page, state: str, files: Mapping[str, Sequence[Path]]) -> None:
    """Bring the page into a state: ``empty``, ``working``, ``answer``, or one of ``files``."""
    if state == "working":
        page.driver.execute_script(NO_ANSWER)
    if state in ("working", "answer"):
        page.find("example").click()
    elif state in files:
        page.choose(*files[state])
    if state == "working":
        page.wait_for("working", "Analyzing")
    elif state != "empty":
        page.wait_for_answers()


@contextmanager
def chromium(profile: Path) -> Iterator[webdriver.Chrome]:
    """Start Debian's Chromium; skip where there is none, fail in CI."""
    browser, driver_path = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver_path is None:
        what = "no browser to test the page in: apt-get install chromium chromium-driver"
        (pytest.fail if os.environ.get("GENRESCOPE_REQUIRE_BROWSER") else pytest.skip)(what)
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS.split(), f"--user-data-dir={profile}"):
        options.add_argument(flag)
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver_path))
    try:
        yield chrome
    finally:
        chrome.quit()
