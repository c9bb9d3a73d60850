"""Debian's chromium, driven by selenium."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from selenium import webdriver

from helpers.pages import FLAGS


def start_browser(profile: Path) -> webdriver.Chrome:
    """Start chromium; skip where there is none, fail in CI.

    Parameters
    ----------
    profile : Path
        A folder of its own.
    """
    browser, driver_path = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver_path is None:
        what = "no browser to test the page in: apt-get install chromium chromium-driver"
        (pytest.fail if os.environ.get("GENRESCOPE_REQUIRE_BROWSER") else pytest.skip)(what)
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS.split(), "--window-size=1200,1000", f"--user-data-dir={profile}"):
        options.add_argument(flag)
    return webdriver.Chrome(options, webdriver.ChromeService(driver_path))


def show(driver: webdriver.Chrome, address: str, *, width: int = 1200, dark: bool = False) -> None:
    """Open a page as a device of a width, in pixels, has it."""
    device = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", device)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    driver.get(address)
