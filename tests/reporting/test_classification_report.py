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
from genrescope.reporting.classification_report import classification_page
from genrescope.reporting.formatting import common_folder, format_clock
from genrescope.types import FailedFile, Prediction, Timeline
from helpers.pages import SCRIPTS, chart_data, drawn

NASTY = "</article><script>x</script> & \"'.mp3"


def answer(
    path: str, scores: dict[str, float], *, flags: tuple[str, ...] = (), timeline: Timeline | None = None
) -> Prediction:
    return Prediction(path, scores, 30.0, "m", flags=flags, timeline=timeline)


def test_styles_and_uncertainty_are_shown_with_the_genre() -> None:
    scores, styles = {"rock": 0.4, "blues": 0.35}, {"punk rock": 0.31, "grunge": 0.12, "opera": 0.01}
    page = shown([Prediction("a.mp3", scores, 30.0, "m", styles, 0.6)])
    assert rows_of(page) == ["a.mp3 rock unsure 40 % blues 35 % punk rock 31 %, grunge 12 % 0:30"]
    assert chart_data(page)["files"]["files"][0]["styles"] == {"punk rock": 0.31, "grunge": 0.12}
    assert "opera" not in page
    sure = shown([Prediction("a.mp3", scores, 30.0, "m", {}, 0.3)])
    assert rows_of(sure) == ["a.mp3 rock 40 % blues 35 % 0:30"]
    assert "Styles" not in words(sure)


def test_what_is_not_music_has_no_genres() -> None:
    scores = {"rock": 0.6, "blues": 0.4}
    speech = Prediction(
        "a.mp3", scores, 30.0, "m", timeline=timed([[0.4, 0.6]]), music=0.02, music_threshold=0.7
    )
    page = shown([speech])
    assert rows_of(page) == ["a.mp3 not music 98 % 0:30"]
    assert chart_data(page)["files"]["files"] == [{"scores": {}}]
    assert "rock" not in words(page)


def test_genres_are_named_as_people_write_them() -> None:
    row = Prediction(
        "a.mp3", {"rnb_soul": 0.5, "hiphop": 0.4, "pop": 0.1}, 30.0, "m", threshold=0.8, set_level=0.84
    )
    assert rows_of(shown([row])) == [
        "a.mp3 r&b & soul unsure may be r&b & soul, hip hop 50 % hip hop 40 %, pop 10 % 0:30"
    ]


def test_of_many_possible_genres_the_first_are_named() -> None:
    scores = {f"g{number}": 0.16 - number / 1000 for number in range(6)}
    page = shown([Prediction("a.mp3", scores, 30.0, "m", threshold=0.8, set_level=0.9)])
    assert "may be g0, g1, g2, g3 and 2 more" in words(page)


def timed(rows: list[list[float]], classes: tuple[str, ...] = ("blues", "rock")) -> Timeline:
    starts = np.arange(len(rows)) * 5.0
    return Timeline(classes, starts, starts + 5, np.array(rows, dtype=np.float32))


def shown(rows: Sequence[Prediction | FailedFile]) -> str:
    return classification_page(rows, title="T", model="m")


def words(page: str) -> str:
    found: list[str] = []
    parser = HTMLParser()
    parser.handle_data = found.append  # type: ignore[method-assign]
    parser.feed((page.partition("<body>")[2] or page).partition("<script")[0])
    return " ".join(" ".join(found).split())


def rows_of(page: str) -> list[str]:
    """Return the text of each row of the table of files."""
    table = page.partition('id="files"')[2].partition("</table>")[0].partition("<tbody>")[2]
    # As a browser has it: cells are apart from each other, and a no-break space is a space.
    return [words(row.replace("<td", " <td")) for row in table.split("</tr>")[:-1]]


def areas(page: str) -> dict[str, list[int]]:
    """Return each genre's height over the track of the first file, in thousandths, from the page."""
    chart = chart_data(page)["files"]["files"][0]["timeline"]
    assert all(len(values) == len(chart["edges"]) - 1 for _, values in chart["layers"])
    return dict(chart["layers"])


def drawn_areas(page: str) -> dict[str, np.ndarray]:
    """Return each genre's height over the track, in percent, from the outlines that a browser has drawn."""
    found = {}
    for outline, name in re.findall(r'd="M([^"]*) Z"[^>]*><title>(.*?)</title>', page):
        points = np.array([point.split(",") for point in outline.split(" L")], dtype=float)
        top, bottom = np.split(points, 2)
        np.testing.assert_allclose(top[:, 0], bottom[::-1, 0])
        found[name] = bottom[::-1, 1] - top[:, 1]
    return found


def test_results_come_first_then_failures_and_all_are_in_the_contents() -> None:
    error = {"code": "audio_empty", "message": "x/b.wav: empty", "hint": "copy it again"}
    results = [
        FailedFile("x/b.wav", **error),
        answer("x/y/a.mp3", {"rock": 0.7, "blues": 0.3}, flags=("truncated",)),
        answer("x/c.mp3", {"blues": 1.0}),
    ]
    page = shown(results)
    text = words(page)
    assert "2 files classified, 1:00 of music, 1 not readable" in text
    assert rows_of(page) == ["y/ a.mp3 truncated rock 70 % blues 30 % 0:30", "c.mp3 blues 100 % 0:30"]
    for word in ("b.wav", *error.values()):
        assert word in text
    links = re.findall(r'<a href="#([\w-]+)">(.*?)</a>', page)
    assert links == [("summary", "Summary"), ("files-title", "Files (2)"), ("failed", "Not classified (1)")]
    places = [page.index(f'id="{name}"') for name, _ in links]
    assert places == sorted(places)


def test_paths_are_relative_to_the_folder_that_all_files_have_in_common() -> None:
    results = [answer(f"/music/a/{name}", {"rock": 1.0}) for name in ("one.mp3", "b/two.mp3")]
    error = FailedFile("/music/a/c/three.mp3", code="audio_empty", message="empty", hint="copy it again")
    page = shown([*results, error])
    text = words(page)
    assert text.count("/music/a/") == 1
    assert "Folder: /music/a/" in text
    assert "c/three.mp3 audio_empty" in text
    windows = words(shown([answer(f"C:\\music\\{name}", {"rock": 1.0}) for name in ("a.mp3", "b.mp3")]))
    assert windows.count("C:\\music\\") == 1


@pytest.mark.parametrize(
    ("paths", "folder"),
    [
        ([], ""),
        (["a.mp3"], ""),
        (["x/a.mp3"], "x/"),
        (["/a/x.mp3", "/b/x.mp3"], ""),
        (["x/ab/1.mp3", "x/ac/1.mp3"], "x/"),
        (["x/a/1.mp3", "x/a.mp3"], "x/"),
        (["x/a", "x/a/b"], "x/"),
        (["C:\\m\\a.mp3", "C:\\m\\n\\b.mp3"], "C:\\m\\"),
        (["s3://bucket/a/1.mp3", "s3://bucket/b/1.mp3"], "s3://bucket/"),
    ],
)
def test_the_common_folder_ends_with_a_separator(paths: list[str], folder: str) -> None:
    assert common_folder(paths) == folder
    assert common_folder(paths[::-1]) == folder


def test_text_is_escaped_and_nothing_is_fetched() -> None:
    error = {"code": NASTY, "message": NASTY, "hint": NASTY}
    row = answer(NASTY, {NASTY: 1.0}, flags=(NASTY,), timeline=timed([[1.0]], (NASTY,)))
    page = classification_page([row, FailedFile(NASTY, **error)], title=NASTY, model=NASTY)
    assert re.findall("<script[^>]*>", page) == SCRIPTS
    assert page.count("<script") == page.count("</script>") == len(SCRIPTS)
    assert "</article>" not in page
    policy = unescape(page.partition("<title>")[0])
    assert "default-src 'none'; style-src 'sha256-" in policy
    assert "unsafe" not in policy
    assert not re.search(r"https?:|url\(|@import|src=|<link", page)
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r"\sstyle=|\son\w+=", page.partition("<body>")[2].partition("<script")[0])


def test_scores_are_in_the_details_and_as_a_bar_in_the_row() -> None:
    page = shown([answer("a.mp3", {"rock": 0.7, "blues": 0.25, "jazz": 0.05})])
    # The order is that of the bars.
    assert list(chart_data(page)["files"]["files"][0]["scores"].items()) == [
        ("rock", 0.7), ("blues", 0.25), ("jazz", 0.05)
    ]  # fmt: skip
    assert re.findall(r'<rect width="([\d.]+)%"', page) == ["70.0"]


@pytest.mark.parametrize(("score", "text"), [(0.994, "99 %"), (0.9951, "> 99 %"), (1.0, "100 %")])
def test_what_is_not_quite_sure_is_not_called_so(score: float, text: str) -> None:
    assert rows_of(shown([answer("a", {"rock": score})])) == [f"a rock {text} 0:30"]


def test_a_browser_draws_bars_and_areas_from_the_data_of_the_page(tmp_path: Path) -> None:
    timeline = timed([[0.5, 0.5], [0.3, 0.7]])
    rows = [answer(f"a{NASTY}", {"rock": 0.6, "blues": 0.4}, flags=(NASTY,), timeline=timeline)]
    page = drawn(shown(rows), tmp_path)
    details = page.partition('<tr class="details">')[2]
    assert re.findall(r"width: ([\d.]+)%", details)[:2] == ["60", "40"]
    heights = drawn_areas(details)
    assert list(heights) == ["rock", "blues"]
    # Steps: each value from where its segment begins to where it ends.
    np.testing.assert_allclose(heights["rock"], [50, 50, 70, 70], atol=0.11)
    np.testing.assert_allclose(heights["rock"] + heights["blues"], 100, atol=0.2)
    assert re.findall(r'<span class="(?:first|last)?" style="left: ([\d.]+)%', details)[-1] == "100"
    assert '0:05 to 0:10</th><td class="text">rock' in details
    assert NASTY in unescape(page)
    assert re.findall("<script[^>]*>", page) == SCRIPTS


def test_without_javascript_the_files_are_a_plain_table() -> None:
    page = shown([answer("a", {"rock": 0.6, "blues": 0.4}, timeline=timed([[0.5, 0.5], [0.3, 0.7]]))])
    assert rows_of(page) == ["a rock 60 % blues 40 % 0:30"]
    assert '<form class="filters" id="filters" hidden>' in page
    # A row's button and its details are made by the script.
    assert "aria-expanded" not in page.partition("<tbody>")[2].partition("<script")[0]


def test_the_summary_counts_files_per_genre_and_state() -> None:
    rows = [answer(f"{i}.mp3", {"rock": 0.9, "jazz": 0.1} if i else {"jazz": 0.9}) for i in range(3)]
    rows.append(Prediction("noise.wav", {"rock": 1.0}, 3.0, "m", music=0.1, music_threshold=0.5))
    page = shown(rows)
    summary = page.partition('<h2 id="summary">')[2].partition("<h2")[0]
    assert re.findall(r'row">([\w ]+)<.*?value">(\d)<', summary) == [
        ("rock", "2"), ("jazz", "1"), ("not music", "1")
    ]  # fmt: skip
    figures = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", summary)
    assert figures == [("files", "4"), ("sure", "3"), ("unsure", "0"), ("not music", "1")]
    assert chart_data(page)["genres"]["shares"] == [1.0, 0.5, 0.5]
    assert re.findall(r"<option value=\"([^\"]+)\">", page) == [
        "rock",
        "jazz",
        "not music",
        "sure",
        "not music",
    ]


def test_areas_have_the_height_of_the_scores_and_fill_the_chart() -> None:
    page = shown([answer("a", {"rock": 0.6, "blues": 0.4}, timeline=timed([[0.5, 0.5], [0.3, 0.7]]))])
    assert areas(page) == {"rock": [500, 700], "blues": [500, 300]}
    assert chart_data(page)["files"]["files"][0]["timeline"]["edges"] == [0, 0.5, 1]


def test_a_segment_counts_until_the_next_one_begins() -> None:
    timeline = Timeline(
        ("a",), np.array([0.0, 5.0, 20.0]), np.array([10.0, 15.0, 40.0]), np.ones((3, 1), np.float32)
    )
    assert charts.timeline_data(timeline)["edges"] == [0, 5 / 40, 20 / 40, 1]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 1500), st.integers(1, 14))
def test_stacked_areas_stay_inside_the_chart(pieces: int, genres: int) -> None:
    classes = tuple(f"g{number}" for number in range(genres))
    scores = np.random.default_rng(pieces).random((pieces, genres))
    data = charts.timeline_data(timed(scores.tolist(), classes))
    total = sum(np.array(values) for _, values in data["layers"])
    assert np.all(total <= 1000 + genres / 2)
    assert len(total) <= charts.MAX_STEPS
    assert len(data["layers"]) == min(genres, 10)
    assert data["edges"] == sorted(data["edges"])
    assert (data["edges"][0], data["edges"][-1]) == (0, 1)


def test_the_genres_over_time_are_given_as_text_too() -> None:
    data = charts.timeline_data(timed([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]]))
    assert data["spans"] == [("0:00 to 0:10", "blues"), ("0:10 to 0:15", "rock")]
    assert data["more"] == 0
    long = charts.timeline_data(timed([[0.9, 0.1], [0.1, 0.9]] * 30))
    assert (len(long["spans"]), long["more"]) == (charts.MAX_SPANS, 60 - charts.MAX_SPANS)


def test_a_genre_has_one_color_on_the_page_and_ten_have_ten() -> None:
    names = [f"g{number}" for number in range(10)]
    series = charts.genre_series([dict.fromkeys(names, 0.1), {"g3": 1.0}])
    assert len(set(series.values())) == 10
    many = charts.genre_series([{f"g{number}": 1 / (number + 1) for number in range(40)}])
    assert [many[f"g{number}"] for number in (0, 8, 9, 39)] == [0, 8, 9, 9]
    assert charts.genre_colors(many)["g39"] == "var(--s9)"


def test_every_one_of_a_thousand_files_has_a_row_and_details_in_a_page_of_few_megabytes() -> None:
    scores = {f"genre {number}": 1 / 16 for number in range(16)}
    timeline = timed(np.full((24, 16), 1 / 16).tolist(), tuple(scores))
    rows = [answer(f"{number}.mp3", scores, timeline=timeline) for number in range(1000)]
    page = shown(rows)
    assert len(rows_of(page)) == len(chart_data(page)["files"]["files"]) == 1000
    assert len(page) < 3e6


def test_what_is_true_of_all_files_is_said_once() -> None:
    flags = [("excerpts",), ("excerpts", "truncated")]
    page = shown([answer(f"{i}.mp3", {"rock": 1.0}, flags=each) for i, each in enumerate(flags)])
    assert "All files: excerpts." in words(page)
    assert rows_of(page) == ["0.mp3 rock 100 % 0:30", "1.mp3 truncated rock 100 % 0:30"]


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
