"""Write the reference pages of docs/reference from the code: command line, error codes, Python API.

Run: python scripts/write_reference.py
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.testing import CliRunner

from genrescope.cli import app
from genrescope.errors import OUTCOMES

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
# The public names of the package by subject; a page lists them in this order.
PYTHON = {
    "Classification": ["Classifier", "AsyncClassifier", "Prediction", "Timeline", "types.FailedFile"],
    "Audio and features": ["load_audio", "find_audio", "extract_features", "features.FeatureSpec"],
    "Library": ["Library", "LibraryEntry", "library.ScanOptions", "library.TagOptions", "library.Watcher"],
    "Tags": [
        "Vocabulary",
        "tagging.preview",
        "tagging.write_genres",
        "tagging.read_genres",
        "tagging.undo",
        "tagging.TagChange",
    ],
    "Models": ["list_models", "models.load_model", "models.ModelInfo"],
    "Data sets": ["datasets.load_dataset", "datasets.Dataset", "datasets.split_dataset", "types.Track"],
    "Training and evaluation": [
        "GenreClassifier",
        "training.load_config",
        "training.train",
        "training.TrainingRun",
        "evaluation.evaluate_model",
        "evaluation.Evaluation",
        "experiments.compare_models",
    ],
    "Audit": ["audit.audit", "audit.AuditOptions", "audit.AuditReport", "audit.Finding"],
    "Service and agents": ["web.serve", "web.Settings", "mcp_server.McpOptions", "mcp_server.create_server"],
    "Clusters": [
        "distributed.classify_source",
        "distributed.ClusterOptions",
        "distributed.ClusterResult",
        "distributed.classify_dataset",
        "distributed.GenreActor",
        "distributed.ActorOptions",
    ],
    "Errors": ["GenrescopeError"],
}


def command_line() -> Iterator[str]:
    """Yield the lines of the page about the command line: the help of every command."""
    yield from ("# Command line", "", "The help of every command, on one page.", "")
    yield from _command(typer.main.get_command(app), ())


def _command(command: Any, names: tuple[str, ...]) -> Iterator[str]:
    for name, one in sorted(getattr(command, "commands", {}).items()):
        if not one.hidden:
            yield from _command(one, (*names, name))
    if not hasattr(command, "commands"):
        # Of a width of its own, so that the page does not depend on the terminal that writes it.
        environment = {"COLUMNS": "100", "TERMINAL_WIDTH": "100"}
        shown = CliRunner(env=environment).invoke(app, [*names, "--help"], prog_name="genrescope")
        yield from (f"## genrescope {' '.join(names)}", "", "```text", shown.stdout.strip(), "```", "")


def errors() -> Iterator[str]:
    """Yield the lines of the page of error codes."""
    yield from (
        "# Error codes",
        "",
        "The `code` of a `genrescope.GenrescopeError`, of an error row, and of a failure of the HTTP",
        "service, with the exit status of a command that ends with it. Where a command works on several",
        "files, it goes on after the failure of one.",
        "",
        "| code | meaning | exit status | HTTP status |",
        "|---|---|---|---|",
    )
    for code, outcome in OUTCOMES.items():
        yield f"| `{code}` | {outcome.meaning} | {outcome.exit_status} | {outcome.http_status} |"


def python_api() -> Iterator[str]:
    """Yield the lines of the page of the Python API, which mkdocstrings fills."""
    yield from ("# Python API", "", "Examples: [Python](../python.md). All names are typed.", "")
    for subject, names in PYTHON.items():
        yield from (f"## {subject}", "")
        for name in names:
            yield from (f"::: genrescope.{name}", "    options:", "      heading_level: 3", "")


PAGES = {"command-line.md": command_line, "errors.md": errors, "python-api.md": python_api}


def texts() -> dict[str, str]:
    """Return the pages by name."""
    return {name: "\n".join(page()).rstrip() + "\n" for name, page in PAGES.items()}


if __name__ == "__main__":
    for name, text in texts().items():
        (FOLDER / name).write_text(text, encoding="utf8")
