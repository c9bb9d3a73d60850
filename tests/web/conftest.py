"""Fixtures of the tests in a browser: the browser, a running server, its page, some sounds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from selenium import webdriver

from helpers.browser import Page, chromium
from helpers.server import serving
from helpers.small_data import RATE, drone, hiss


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("profile")) as chrome:
        yield chrome


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving("--max-upload-mb", "2", "--rate-limit", "0") as (address, _):
        yield address


@pytest.fixture
def page(driver: webdriver.Chrome, server: str) -> Iterator[Page]:
    page = Page(driver, server)
    yield page
    page.reset_window()
    assert page.browser_errors() == []


@pytest.fixture(scope="module")
def page_sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    soundfile.write(folder / "one & <b>two.wav", drone(12.0, 1), RATE)
    soundfile.write(folder / "noise.flac", hiss(4.0, 1), RATE)
    (folder / "words.mp3").write_text("no sound")
    (folder / "large.wav").write_bytes(bytes(3 * 2**20))
    return folder


@pytest.fixture(scope="session")
def demo_music() -> Path:
    return Path(__file__).resolve().parents[2] / "examples" / "demo_music" / "music"
