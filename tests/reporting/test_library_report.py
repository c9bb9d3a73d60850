"""The page about a library: charts of what is in it, unsure tracks, and files that failed."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from genrescope import LibraryEntry
from genrescope.errors import GenrescopeError
from genrescope.library import AlbumResult
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


def test_results_come_before_albums_and_files_and_failures_last() -> None:
    tracks = (track("/m/x/a", 0.9), track("/m/x/b", 0.9, "jazz"))
    genres = {"rock": 1, "jazz": 1}
    album = AlbumResult("/m/x", "Mixed", None, tracks, {}, {}, genres, genres)
    assert album.verdict == "disagree"
    page = library_page([failure("/m/y/d"), *tracks], title="T", albums=[album])
    headings = re.findall(r'<h2 id="([\w-]+)">(.*?)<', page)
    assert [name for name, _ in headings] == ["summary", "albums", "files-title", "failed"]
    links = re.findall(r'<a href="#([\w-]+)">(.*?)</a>', page)
    assert links == [
        ("summary", "Summary"),
        ("albums", "Albums (1)"),
        ("files-title", "Files (2)"),
        ("failed", "Not classified (1)"),
    ]
    # Paths are relative to the folder that all have in common; errors keep their own words.
    assert page.partition("<main>")[2].partition("<script")[0].count("/m/") == 2
    assert 'Folder: <span class="path">/m/</span>' in page
    assert '<td class="text">x</td>' in page


def test_states_are_counted_with_their_share() -> None:
    noise = replace(track("n", 0.9), music=0.1, not_music=True, is_uncertain=True)
    page = library_page([track("a", 0.9), track("b", 0.2), track("c", 0.8), noise], title="T")
    figures = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page)
    assert figures == [
        ("tracks", "4"),
        ("sure, 50 %", "2"),
        ("unsure, 25 %", "1"),
        ("not music, 25 %", "1"),
    ]
    assert "2 of 4 tracks are unsure" in page
    # What is not music has no score of a genre: it shows how sure that is.
    assert chart_data(page)["scores"]["shares"] == [
        0.0 if place not in {0, 1, 7} else 1.0 for place in range(10)
    ]
    row = page.partition('data-state="not music"')[2].partition("</tr>")[0]
    assert "90 %" in row
    assert "rock" not in row


def test_of_too_many_files_those_with_the_lowest_scores_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_report, "MAX_FILES", 200)
    rows = [track(f"{number:03}.mp3", 0.4 - number / 1000) for number in range(250)]
    page = library_page([*rows, track("certain.mp3", 0.9)], title="T")
    assert names(page) == [f"{number:03}.mp3" for number in range(249, 49, -1)]
    assert "These are the 200 with the lowest scores;" in page
    assert "250 of 251 tracks are unsure" in page
    assert "Not classified" not in page
    few = library_page([track("b", 0.1), track("a", 0.9)], title="T")
    assert names(few) == ["a", "b"]
    assert "These are" not in few


def names(page: str) -> list[str]:
    return re.findall(r'<span class="name">(.*?)</span>', page)


def test_a_browser_draws_the_charts(tmp_path: Path) -> None:
    nasty = "</article><script>x</script>"
    rows = [track(nasty, 0.3, nasty), *(track(name, 0.9, "jazz") for name in "bcd"), failure(nasty)]
    page = library_page(rows, title=nasty)
    assert re.findall("<script[^>]*>", page) == SCRIPTS
    body = drawn(page, tmp_path).partition("<body>")[2].partition("<script")[0]
    widths = re.findall(r"width: ([\d.]+)%", body)
    assert widths == ["100", "33.33", "100", "33.33"]
    assert "var(--s0)" in body
