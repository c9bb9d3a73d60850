"""The options ``--quiet`` and ``--progress``, and progress as JSON lines for programs."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from typing import Annotated

import typer

SECONDS_BETWEEN_JSON_LINES = 1.0


class ProgressForm(StrEnum):
    """How the progress of a command is shown."""

    auto = "auto"
    json = "json"
    none = "none"


Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print results alone: no progress, and no summary.")
]
ProgressOption = Annotated[
    ProgressForm,
    typer.Option(
        "--progress",
        help="On standard error: auto, a bar on a terminal; json, a line a second for programs; or none.",
    ),
]


class JsonProgress:
    """Prints how far a command is as JSON lines, see the schema ``progress``: one a second, and a last one.

    Parameters
    ----------
    what : str
        What is counted, such as ``files``.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._started = time.monotonic()
        self._printed = -float("inf")

    def update(self, done: int, total: int | None, failed: int = 0, *, finished: bool = False) -> None:
        """Print a line where a second has passed since the last one, or where it is the end.

        Parameters
        ----------
        done : int
            How many are done.
        total : int or None
            How many there are; None where that is not known yet.
        failed : int
            How many of those that are done failed.
        finished : bool
            Whether this is the end.
        """
        now = time.monotonic()
        if not finished and now - self._printed < SECONDS_BETWEEN_JSON_LINES:
            return
        self._printed = now
        row = {
            "what": self._what,
            "done": done,
            "total": total,
            "failed": failed,
            "seconds": round(now - self._started, 3),
            "finished": finished,
        }
        typer.echo(json.dumps(row), err=True)
