"""The page of classified files: complete, escaped, with correct charts, and self-contained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrescope.reporting import charts
from genrescope.reporting import classification_report as pages
from genrescope.reporting.classification_report import classification_page
from genrescope.reporting.formatting import format_clock
from genrescope.types import FailedFile, Prediction, Timeline
from helpers.pages import SCRIPTS, chart_data, drawn

NASTY = "</article><script>x</script> & \"'.mp3"


def answer(
    path: str, scores: dict[str, float], *, flags: tuple[str, ...] = (), timeline: Timeline | None = None
) -> Prediction:
    return Prediction(path, scores, 30.0, "m", flags=flags, timeline=timeline)


def test_styles_and_uncertainty_are_shown_with_the_genre() -> None:
    scores, styles = {"rock": 0.4, "blues": 0.35}, {"punk rock": 0.31, "grunge": 0.12, "opera": 0.01}
    row = Prediction("a.mp3", scores, 30.0, "m", styles, 0.6)
    text = words(shown([row]))
    assert "uncertain" in text
    assert "Styles punk rock 31 % grunge 12 %" in text
    assert "opera" not in text
    sure = words(shown([Prediction("a.mp3", scores, 30.0, "m", {}, 0.3)]))
    assert "uncertain" not in sure
    assert "Styles" not in sure


def test_what_is_not_music_has_no_genres() -> None:
    scores = {"rock": 0.6, "blues": 0.4}
    speech = Prediction(
        "a.mp3", scores, 30.0, "m", timeline=timed([[0.4, 0.6]]), music=0.02, music_threshold=0.7
    )
    text = words(shown([speech]))
    assert "not music 98 %" in text
    assert "rock" not in text


def test_genres_are_named_as_people_write_them() -> None:
    row = Prediction(
        "a.mp3", {"rnb_soul": 0.5, "hiphop": 0.4, "pop": 0.1}, 30.0, "m", threshold=0.8, set_level=0.84
    )
    text = words(shown([row]))
    assert "r&b & soul 50 %" in text
    assert "It may be r&b & soul, hip hop." in text


def timed(rows: list[list[float]], classes: tuple[str, ...] = ("blues", "rock")) -> Timeline:
    starts = np.arange(len(rows)) * 5.0
    return Timeline(classes, starts, starts + 5, np.array(rows, dtype=np.float32))


def shown(rows: Sequence[Prediction | FailedFile]) -> str:
    return classification_page(rows, title="T", model="m")


def words(page: str) -> str:
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_data = found.append  # type: ignore[method-assign]
    parser.feed(page)
    return " ".join(" ".join(found).split())


def areas(page: str) -> dict[str, np.ndarray]:
    """Return each genre's height over the track of the first file, in percent, from the data of the page."""
    chart = chart_data(page)["timeline-0"]
    assert all(len(layer["values"]) == len(chart["times"]) for layer in chart["layers"])
    return {layer["name"]: 100 * np.array(layer["values"]) for layer in chart["layers"]}


def drawn_areas(page: str) -> dict[str, np.ndarray]:
    """Return each genre's height over the track, in percent, from the outlines that a browser has drawn."""
    found = {}
    for outline, name in re.findall(r'd="M([^"]*) Z"[^>]*><title>(.*?)</title>', page):
        points = np.array([point.split(",") for point in outline.split(" L")], dtype=float)
        top, bottom = np.split(points, 2)
        np.testing.assert_allclose(top[:, 0], bottom[::-1, 0])
        found[name] = bottom[::-1, 1] - top[:, 1]
    return found


def test_every_answer_and_every_failure_is_on_the_page() -> None:
    error = {"code": "audio_empty", "message": "b.wav: empty", "hint": "copy it again"}
    page = shown(
        [
            answer("x/a.mp3", {"rock": 0.7, "blues": 0.3}, flags=("truncated",)),
            FailedFile("b.wav", **error),
        ]
    )
    text = words(page)
    for word in ("a.mp3", "x/a.mp3", "rock 70 %", "30.0 %", "truncated", "b.wav", *error.values()):
        assert word in text
    assert "1 file classified, 0:30 of music, 1 not readable" in text


def test_text_is_escaped_and_nothing_is_fetched() -> None:
    error = {"code": NASTY, "message": NASTY, "hint": NASTY}
    row = answer(NASTY, {NASTY: 1.0}, flags=(NASTY,), timeline=timed([[1.0]], (NASTY,)))
    page = classification_page([row, FailedFile(NASTY, **error)], title=NASTY, model=NASTY)
    assert re.findall("<script[^>]*>", page) == SCRIPTS
    assert page.count("<script") == page.count("</script>") == len(SCRIPTS)
    assert page.count("</article>") == 1
    assert not re.search(r"https?:|url\(|@import|src=|<link", page)
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r"\sstyle=|\son\w+=", page.partition("<body>")[2].partition("<script")[0])


def test_bars_are_as_long_as_their_scores() -> None:
    page = shown([answer("a.mp3", {"rock": 0.7, "blues": 0.25, "jazz": 0.05})])
    assert chart_data(page)["scores-0"]["shares"] == [0.7, 0.25, 0.05]


def test_a_browser_draws_bars_and_areas_from_the_data_of_the_page(tmp_path: Path) -> None:
    timeline = timed([[0.5, 0.5], [0.3, 0.7]])
    rows = [answer(f"a{NASTY}", {"rock": 0.6, "blues": 0.4}, flags=(NASTY,), timeline=timeline)]
    page = drawn(shown(rows), tmp_path)
    card = page.partition("<article")[2]
    assert re.findall(r"width: ([\d.]+)%", card) == ["60", "40"]
    heights = drawn_areas(page)
    assert list(heights) == ["rock", "blues"]
    np.testing.assert_allclose(heights["rock"], [50, 50, 70, 70], atol=0.11)
    np.testing.assert_allclose(heights["rock"] + heights["blues"], 100, atol=0.2)
    assert re.findall(r'<span class="(?:first|last)?" style="left: ([\d.]+)%', page)[-1] == "100"
    assert '<div class="plot">' in page
    assert "<details>" in page
    assert NASTY in unescape(page)
    assert re.findall("<script[^>]*>", page) == SCRIPTS


def test_without_javascript_the_tables_have_the_same_facts() -> None:
    page = shown([answer("a", {"rock": 0.6, "blues": 0.4}, timeline=timed([[0.5, 0.5], [0.3, 0.7]]))])
    text = words(page.partition("<article")[2].partition("</article>")[0])
    assert "rock 60.0 % blues 40.0 %" in text
    assert "0:00 to 0:05 blues" in text
    assert "0:05 to 0:10 rock" in text
    assert '<div class="plot" hidden>' in page
    assert "<details open>" in page


def test_the_summary_counts_files_per_genre() -> None:
    rows = [answer(f"{i}.mp3", {"rock": 0.9, "jazz": 0.1} if i else {"jazz": 0.9}) for i in range(3)]
    summary = shown(rows).partition("<h2>Files")[0].partition("<h2>Genres")[2]
    assert re.findall(r'row">(\w+)<.*?value">(\d)<', summary) == [("rock", "2"), ("jazz", "1")]
    assert chart_data(shown(rows))["genres"]["shares"] == [1.0, 0.5]


def test_areas_have_the_height_of_the_scores_and_fill_the_chart() -> None:
    page = shown([answer("a", {"rock": 0.6, "blues": 0.4}, timeline=timed([[0.5, 0.5], [0.3, 0.7]]))])
    heights = areas(page)
    assert list(heights) == ["rock", "blues"]
    np.testing.assert_allclose(heights["rock"], [50, 50, 70, 70], atol=0.11)
    np.testing.assert_allclose(heights["rock"] + heights["blues"], 100, atol=0.2)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 1500), st.integers(1, 14))
def test_stacked_areas_stay_inside_the_chart(pieces: int, genres: int) -> None:
    classes = tuple(f"g{number}" for number in range(genres))
    scores = np.random.default_rng(pieces).random((pieces, genres))
    page = shown([answer("a", dict.fromkeys(classes, 0.5), timeline=timed(scores.tolist(), classes))])
    total = sum(areas(page).values())
    assert np.all(total <= 100.01 + 0.1 * genres)
    assert len(total) <= charts.MAX_POINTS + 2
    assert len(areas(page)) == min(genres, 10)


def test_the_genres_over_time_are_given_as_text_too() -> None:
    timeline = timed([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]])
    page = shown([answer("a", {"blues": 0.6, "rock": 0.4}, timeline=timeline)])
    assert "0:00 to 0:10 blues" in page
    assert "0:10 to 0:15 rock" in page


def test_a_genre_has_one_color_on_the_page_and_ten_have_ten() -> None:
    names = [f"g{number}" for number in range(10)]
    colors = charts.genre_colors([dict.fromkeys(names, 0.1), {"g3": 1.0}])
    assert len(set(colors.values())) == 10
    many = charts.genre_colors([{f"g{number}": 1 / (number + 1) for number in range(40)}])
    assert [many[f"g{number}"] for number in (0, 8, 9, 39)] == [f"var(--s{n})" for n in (0, 8, 9, 9)]


def test_a_whole_library_keeps_the_page_small() -> None:
    rows = [answer(f"{number}.mp3", {"rock": 1.0}) for number in range(pages.MAX_CARDS + 50)]
    page = shown(rows)
    assert page.count("<article") == pages.MAX_CARDS
    assert words(page).count(f"{pages.MAX_CARDS + 49}.mp3") == 1


def test_no_rows_give_a_page_too() -> None:
    assert "No file was classified" in shown([])


@pytest.mark.parametrize(
    ("seconds", "written"), [(0, "0:00"), (59.6, "1:00"), (75, "1:15"), (36610, "10:10:10")]
)
def test_times_are_formatted_as_minutes_and_seconds(seconds: float, written: str) -> None:
    assert format_clock(seconds) == written


def test_the_time_axis_has_few_round_ticks_inside_the_track() -> None:
    for end in (1.0, 30.0, 247.0, 36000.0, 500000.0):
        places = [100 * place for _, place in charts.axis_ticks(0.0, end)]
        assert 1 <= len(places) <= 8
        assert all(0 <= place <= 100 for place in places)
