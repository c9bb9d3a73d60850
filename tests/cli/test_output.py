"""Tables on terminals of several widths, and in pipes."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pytest
from rich.console import Console

from genrescope import evaluation
from genrescope.cli import output
from genrescope.library import TagResult
from genrescope.tagging import TagChangePreview
from genrescope.types import FailedFile, Prediction, Timeline

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


def test_a_table_has_a_column_for_the_runner_up() -> None:
    assert "runner-up" in printed(80, terminal=True, names=["a.mp3"])[0]


@pytest.mark.parametrize("width", [60, 80])
def test_a_failed_file_has_its_reason_behind_a_shortened_name(width: int) -> None:
    path = "/music/" + "a very long name of a folder/" * 4 + "song.mp3"
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system=None)
    output.render_table([FailedFile(path, "audio_empty", f"{path}: empty", "copy it again")], console)
    first, second = stream.getvalue().splitlines()
    assert first.startswith("failed ")
    assert first.rstrip().endswith("song.mp3: empty")
    assert len(first.rstrip()) <= width
    assert second.strip() == "copy it again"


def test_a_long_timeline_is_summarized() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.8]] * 20, np.float32)
    starts = np.arange(40.0)
    course = Timeline(("jazz", "rock"), starts, starts + 1, scores)
    result = Prediction("a.mp3", {"jazz": 0.6, "rock": 0.4}, 40.0, "m", timeline=course)
    stream = io.StringIO()
    output.render_table([result], Console(file=stream, width=80, force_terminal=True, color_system=None))
    lines = stream.getvalue().splitlines()
    assert len(lines) <= 2 + output.MAX_SPANS + 1
    assert "(40 spans, summarized)" in lines[-1]
    assert lines[2].split()[:2] == ["0:00", "to"]
    assert lines[-2].split()[2] == "0:40"


def test_counts_have_shares_and_fit() -> None:
    counts = {"genre": Counter(jazz=3, rock=1), "result": Counter(sure=2, unsure=1, **{"not music": 1})}
    counts["style"] = Counter({"a style with a name that is far too long for a table": 2})
    stream = io.StringIO()
    output.render_counts(counts, Console(file=stream, width=60, force_terminal=True, color_system=None))
    lines = stream.getvalue().splitlines()
    assert all(len(line) <= 60 for line in lines)
    shares = {line.split("  ")[1].strip(): line.split()[-2] for line in lines if line.startswith("  ")}
    assert (shares["sure"], shares["unsure"], shares["not music"]) == ("50.0%", "25.0%", "25.0%")
    # Two of four tracks have the style.
    assert list(shares.values())[-1] == "50.0%"


@pytest.mark.parametrize("width", [60, 80])
def test_a_change_of_tags_is_one_line(width: int) -> None:
    path = "/music/" + "a long name [live]/" * 8 + "song.mp3"
    results = [TagResult(path, TagChangePreview(path, (), ("Rock",))), TagResult("/b.mp3", status="kept")]
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system=None, soft_wrap=True)
    counts = output.render_tagged(results, console)
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("song.mp3: no genre -> Rock")
    assert len(line) <= width
    assert output.tag_account(counts).split()[:2] == ["2", "files"]


def test_genres_that_are_not_in_the_test_part_have_no_row(capsys: pytest.CaptureFixture[str]) -> None:
    scores = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1]])
    numbers = np.arange(2)
    found = evaluation.evaluate_scores(
        scores,
        np.array([0, 1]),
        classes=["blues", "jazz", "reggae"],
        tracks=numbers,
        groups=numbers,
        model="m",
        protocol="given",
        leaky=False,
    )
    output.render_evaluation(found)
    shown = capsys.readouterr().out
    assert "left out, as no track of them was tested: reggae" in shown
    assert [line.split()[0] for line in shown.splitlines() if line.endswith(" 1")] == ["blues", "jazz"]
