"""The page about a library: charts of what is in it, uncertain tracks, and files that failed."""

from __future__ import annotations

import re
from pathlib import Path

from genrescope import LibraryEntry
from genrescope.errors import GenrescopeError
from genrescope.reporting import library_page, library_report
from helpers.pages import SCRIPTS, chart_data, drawn


def track(
    path: str, score: float, genre: str = "rock", *, styles: dict[str, float] | None = None
) -> LibraryEntry:
    return LibraryEntry(
        path=path,
        size=1,
        mtime_ns=1,
        model="0" * 64,
        model_name="m",
        seconds=60.0,
        genre=genre,
        score=score,
        is_uncertain=score < 0.5,
        scores={genre: score, "blues": 1 - score},
        styles=styles or {},
    )


def failure(path: str) -> LibraryEntry:
    problem = GenrescopeError("audio_empty", f"{path}: empty", "copy it again")
    return LibraryEntry.from_error(
        problem, path, size=1, mtime_ns=1, hash=None, model="0" * 64, model_name="m"
    )


def test_charts_count_genres_styles_and_scores() -> None:
    rows = [track("a", 0.9), track("b", 0.85, styles={"ska": 0.5}), track("c", 1.0, "jazz"), failure("d")]
    charts = chart_data(library_page(rows, title="T"))
    assert charts["genres"]["shares"] == [1.0, 0.5]
    assert charts["styles"]["shares"] == [1.0]
    assert charts["scores"]["shares"] == [1.0, 0.5, *[0.0] * 8]
    assert "styles" not in chart_data(library_page([track("a", 0.9)], title="T"))


def test_uncertain_tracks_are_listed_from_the_lowest_score() -> None:
    rows = [track(f"{number:03}.mp3", 0.4 - number / 1000) for number in range(250)]
    page = library_page([*rows, track("certain.mp3", 0.9)], title="T")
    table = page.partition("<h2>Uncertain tracks")[2]
    names = re.findall(r'<th scope="row">(.*?)</th>', table)
    assert names == [f"{number:03}.mp3" for number in range(249, 49, -1)]
    assert len(names) == library_report.MAX_UNCERTAIN
    assert "The first 200 of 250." in page
    assert "250 of 251 tracks are uncertain" in page
    assert "Not read" not in page


def test_a_browser_draws_the_charts(tmp_path: Path) -> None:
    nasty = "</article><script>x</script>"
    page = library_page([track(nasty, 0.3, nasty), track("b", 0.9, "jazz"), failure(nasty)], title=nasty)
    assert re.findall("<script[^>]*>", page) == SCRIPTS
    body = drawn(page, tmp_path).partition("<body>")[2].partition("<script")[0]
    assert re.findall(r"width: (\d+)%", body) == ["100"] * 4
    assert "var(--s0)" in body
