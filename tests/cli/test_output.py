"""Tables on terminals of several widths, and in pipes."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from genrescope.cli import output
from genrescope.types import Prediction

NAMES = [f"A folder of some length/{number:02} - 名前 A long title of [live].flac" for number in range(3)]


def printed(width: int, *, terminal: bool, names: list[str] = NAMES) -> list[str]:
    stream = io.StringIO()
    scores = {"classical": 0.6, "country": 0.3, "jazz": 0.1}
    results: list[Prediction] = [
        Prediction(
            path=name,
            scores=scores,
            styles={"progressive house": 0.9},
            seconds=200.0,
            model="m",
            threshold=0.9,
            flags=("audio_truncated",),
        )
        for name in names
    ]
    console = Console(file=stream, width=width, force_terminal=terminal, color_system=None)
    output.render_table(results, console)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80])
def test_a_file_has_one_line_on_a_terminal(width: int) -> None:
    lines = printed(width, terminal=True)
    assert len(lines) == 1 + len(NAMES)
    assert all(len(line) <= width for line in lines)
    assert all("…" in line and "classical unsure" in line and "3:20" in line for line in lines[1:])


def test_names_in_a_pipe_are_whole() -> None:
    lines = printed(60, terminal=False)
    assert len(lines) == 1 + len(NAMES)
    assert all(name.rpartition("/")[2] in line for name, line in zip(NAMES, lines[1:], strict=True))
