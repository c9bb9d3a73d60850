"""Size of the page of `genrescope classify --report`, and what a browser needs to show and to use it.

    python benchmarks/report_pages.py 200 1000 10000

Synthetic results of files of four minutes, with 16 genres in 24 segments. Times are seconds of Chromium's
main thread, which depend less on what else a machine does than seconds of a clock, and ratios to the loading
of the first page; each the least of three. Needs chromium, chromedriver and selenium.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from selenium import webdriver

from genrescope.reporting import classification_page
from genrescope.types import Prediction, Timeline

GENRES = tuple(f"genre {number}" for number in range(16))
SEGMENTS = 24
SEGMENT_SECONDS = 10.0
ACTIONS = {
    "search": "const s = get('search'); s.value = 'album 0001'; s.dispatchEvent(new Event('input'))",
    "all again": "const s = get('search'); s.value = ''; s.dispatchEvent(new Event('input'))",
    "filter": "const s = get('genre'); s.value = 'genre 3'; s.dispatchEvent(new Event('change'))",
    "no filter": "const s = get('genre'); s.value = ''; s.dispatchEvent(new Event('change'))",
    "sort": "document.querySelectorAll('button.sort')[2].click()",
    "open": "document.querySelectorAll('button.name')[5].click()",
}
# Until what an action changed has been laid out.
SETTLED = """
const [get, done] = [(id) => document.getElementById(id), arguments[0]];
{}; requestAnimationFrame(() => setTimeout(done));
"""


def synthetic_prediction(number: int, generator: np.random.Generator) -> Prediction:
    """Return a result with random scores, of which one genre is the highest most of the time."""
    alpha = np.full(len(GENRES), 0.15)
    scores = 0.7 * generator.dirichlet(alpha) + 0.3 * generator.dirichlet(alpha, SEGMENTS)
    starts = SEGMENT_SECONDS * np.arange(SEGMENTS)
    mean = scores.mean(axis=0)
    return Prediction(
        path=f"/music/Artist {number // 60:03}/Album {number // 12:04}/{number % 12 + 1:02} {number}.flac",
        scores={GENRES[place]: float(mean[place]) for place in np.argsort(-mean)},
        seconds=SEGMENTS * SEGMENT_SECONDS,
        model="synthetic",
        styles={name: float(generator.random()) for name in ("techno", "house", "trance")},
        threshold=0.5,
        set_level=0.8,
        timeline=Timeline(GENRES, starts, starts + SEGMENT_SECONDS, scores.astype(np.float32)),
    )


def start_browser() -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for flag in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-dev-shm-usage",
        "window-size=1440,1000",
    ):
        options.add_argument(f"--{flag}")
    browser = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    browser.set_script_timeout(300)
    return browser


def thread_seconds(browser: webdriver.Chrome) -> float:
    """Return how long the main thread of the page's process has worked."""
    metrics = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return next(float(one["value"]) for one in metrics if one["name"] == "TaskDuration")


def measure(address: str) -> dict[str, float]:
    """Return the seconds that loading a page and each action take, in a browser of its own."""
    browser = start_browser()
    try:
        browser.get(address)
        taken = {"load": thread_seconds(browser)}
        for name, action in ACTIONS.items():
            before = thread_seconds(browser)
            browser.execute_async_script(SETTLED.format(action))
            taken[name] = thread_seconds(browser) - before
        return taken
    finally:
        browser.quit()


def main() -> None:
    generator = np.random.default_rng(0)
    unit = 0.0
    for number in map(int, sys.argv[1:] or ["200", "1000", "10000"]):
        results = [synthetic_prediction(place, generator) for place in range(number)]
        page = classification_page(results, title="Genres", model="synthetic")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "page.html"
            file.write_text(page, encoding="utf8")
            runs = [measure(file.as_uri()) for _ in range(3)]
        print(f"{number} files: {len(page.encode()) / 1e6:.2f} MB")
        for name in runs[0]:
            least = min(run[name] for run in runs)
            unit = unit or least
            print(f"    {name}: {least / unit:.2f} ({1000 * least:.0f} ms)")


if __name__ == "__main__":
    main()
