"""Report pages as a program reads them, and as a browser draws them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = ['<script type="application/json" id="charts">', '<script type="module">']
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --disable-dev-shm-usage"
)


def chart_data(page: str) -> dict[str, Any]:
    """Return the JSON block of a page."""
    block = re.search(re.escape(SCRIPTS[0]) + "(.*?)</script>", page, flags=re.DOTALL)
    assert block is not None
    data: dict[str, Any] = json.loads(block[1])
    return data


def drawn(page: str, folder: Path, fragment: str = "") -> str:
    """Return a page as Chromium has it after the scripts; skip where there is no browser, fail in CI."""
    browser = shutil.which("chromium")
    if browser is None:
        if os.environ.get("CI"):
            pytest.fail("no browser to draw the page in: apt-get install chromium")
        pytest.skip("no browser to draw the page in: apt-get install chromium")
    file = folder / "page.html"
    file.write_text(page, encoding="utf8")
    flags = [*FLAGS.split(), f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000"]
    done = subprocess.run(
        [browser, *flags, "--dump-dom", file.as_uri() + fragment],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout
