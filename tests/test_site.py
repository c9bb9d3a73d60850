"""The documentation site: it builds without a warning, and its reference pages are those of the code."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from genrescope.cli import app
from genrescope.errors import OUTCOMES

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stderr
    for page in ("index.html", "reference/python-api/index.html", "project/experiments/index.html"):
        assert (tmp_path / page).exists()
    api = (tmp_path / "reference" / "python-api" / "index.html").read_text()
    assert "genrescope.Classifier.predict" in api
    # Nothing is loaded from elsewhere.
    start = (tmp_path / "index.html").read_text()
    assert not re.search(r'<(?:script|link|img)[^>]*(?:src|href)="https?://(?!squidfunk|www\.mkdocs)', start)


def test_reference_pages_are_those_of_the_code() -> None:
    texts = runpy.run_path(str(ROOT / "scripts" / "write_reference.py"))["texts"]()
    for name in ("errors.md", "python-api.md"):
        assert (REFERENCE / name).read_text(encoding="utf8") == texts[name], "run scripts/write_reference.py"
    # Other versions of typer print the help in another form: here only what it is about counts.
    written = (REFERENCE / "command-line.md").read_text(encoding="utf8")
    for names, command in commands(typer.main.get_command(app), ()):
        heading = f"## genrescope {' '.join(names)}\n"
        assert heading in written, "run scripts/write_reference.py"
        section = written.split(heading)[1].split("\n## ")[0]
        for parameter in command.params:
            if not getattr(parameter, "hidden", False) and parameter.param_type_name == "option":
                assert parameter.opts[0] in section, "run scripts/write_reference.py"


def commands(command, names):
    for name, one in getattr(command, "commands", {}).items():
        if not one.hidden:
            yield from commands(one, (*names, name))
    if not hasattr(command, "commands"):
        yield names, command


def test_every_error_code_has_a_meaning() -> None:
    assert all(outcome.meaning.endswith(".") for outcome in OUTCOMES.values())
