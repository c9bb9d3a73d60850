"""The page of classified files: one card per file, with its scores and its genres over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from genrescope.errors import DataError
from genrescope.reporting.charts import MAX_BARS, AreaChart, Bar, BarChart, area_chart, genre_colors
from genrescope.reporting.formatting import format_clock, format_count, format_percent
from genrescope.reporting.pages import Chart, render_charts
from genrescope.reporting.theme import MUTED_VARIABLE
from genrescope.types import Timeline

Row = Mapping[str, Any]

MAX_CARDS = 200


class FailedFile(NamedTuple):
    """A file that could not be classified or read: what went wrong, and what to do."""

    path: str
    code: str
    message: str
    hint: str


class _Answer(NamedTuple):
    """A classified file; ``scores`` and ``styles`` by falling value, ``seconds`` is its length if known."""

    path: str
    scores: dict[str, float]
    styles: dict[str, float]
    is_uncertain: bool
    seconds: float | None
    flags: tuple[str, ...]
    timeline: Timeline | None

    @property
    def genre(self) -> str:
        """The genre with the highest score."""
        return max(self.scores, key=lambda name: self.scores[name])


class _Card(NamedTuple):
    """What the template shows of one file."""

    name: str
    path: str
    length: str
    genre: str
    score: str
    is_uncertain: bool
    flags: tuple[str, ...]
    scores: BarChart
    styles: BarChart | None
    timeline: AreaChart | None

    @property
    def charts(self) -> tuple[Chart, ...]:
        """The charts of the card."""
        return tuple(chart for chart in (self.scores, self.styles, self.timeline) if chart is not None)


def classification_page(rows: Sequence[Row], *, title: str, model: str) -> str:
    """Return the answers for many files as one self-contained HTML page.

    Parameters
    ----------
    rows : sequence of mapping
        As from `genrescope.types.Prediction.to_dict`, or ``{"path", "error": {code, message, hint}}``.
        Beyond `MAX_CARDS` files the rest are listed in a table.
    title : str
        The page's heading.
    model : str
        The name of the model that classified them.

    Returns
    -------
    str
        The page.

    Raises
    ------
    DataError
        ``dataset_invalid``: a row holds neither scores nor an error.
    """
    parsed = [_parse_row(row) for row in rows]
    answers = [row for row in parsed if isinstance(row, _Answer)]
    failures = [row for row in parsed if isinstance(row, FailedFile)]
    colors = genre_colors([row.scores for row in answers])
    summary = _count_genres(answers, colors)
    cards = [_card(place, row, colors) for place, row in enumerate(answers[:MAX_CARDS])]
    seconds = sum(row.seconds or 0.0 for row in answers)
    lead = f"{format_count(len(answers), 'file')} classified, {format_clock(seconds)} of music"
    lead += f", {len(failures)} not readable" if failures else ""
    return render_charts(
        "classification_report.html",
        [summary, *(chart for card in cards for chart in card.charts)],
        title=title,
        lead=f"{lead}. Model: {model}.",
        footer=f"Model: {model}. Made by genrescope.",
        summary=summary,
        failures=failures,
        cards=cards,
        further=[
            (row.path, row.genre, format_percent(max(row.scores.values()))) for row in answers[MAX_CARDS:]
        ],
    )


def _parse_row(row: Row) -> _Answer | FailedFile:
    """Return a row as a typed object; refuse one that holds neither scores nor an error."""
    error = row.get("error")
    if error is not None:
        return FailedFile(str(row.get("path", "")), str(error["code"]), error["message"], error["hint"])
    path, scores = row.get("path"), row.get("scores")
    if not (isinstance(path, str) and isinstance(scores, Mapping) and scores):
        raise DataError(
            "dataset_invalid",
            f"a row for {row.get('path', 'a file without path')!r} holds neither scores nor an error",
            "pass rows as `genrescope classify --format jsonl` prints them",
        )
    return _Answer(
        path=path,
        scores={name: float(scores[name]) for name in sorted(scores, key=lambda name: -scores[name])},
        styles={name: float(score) for name, score in row.get("styles", {}).items()},
        is_uncertain=bool(row.get("unsure")),
        seconds=float(row["seconds"]) if "seconds" in row else None,
        flags=tuple(map(str, row.get("flags", ()))),
        timeline=_parse_timeline(row.get("timeline") or ()),
    )


def _parse_timeline(segments: Sequence[Row]) -> Timeline | None:
    """Return the segments of a row, as from `Timeline.to_dicts`, as a timeline; None where there are none."""
    if not segments:
        return None
    classes = tuple(segments[0]["scores"])
    scores = [[segment["scores"].get(name, 0.0) for name in classes] for segment in segments]
    starts, ends = (np.array([float(segment[key]) for segment in segments]) for key in ("start", "end"))
    return Timeline(classes, starts, ends, np.array(scores, dtype=np.float32))


def _count_genres(answers: Sequence[_Answer], colors: Mapping[str, str]) -> BarChart:
    """Return how many files have each genre."""
    counts = Counter(row.genre for row in answers).most_common()
    most = counts[0][1] if counts else 1
    bars = tuple(Bar(name, number / most, str(number), colors[name]) for name, number in counts)
    return BarChart("genres", "Files per genre", bars)


def _card(place: int, row: _Answer, colors: Mapping[str, str]) -> _Card:
    """Return what is shown of one file: its genre, all scores, and its genres over time where known."""
    name = row.path.replace("\\", "/").rpartition("/")[2] or row.path
    scores = tuple(_score_bars(row.scores, colors, decimals=1))
    styles = tuple(_score_bars(row.styles, dict.fromkeys(row.styles, MUTED_VARIABLE)))
    return _Card(
        name=name,
        path=row.path,
        length="" if row.seconds is None else format_clock(row.seconds),
        genre=row.genre,
        score=format_percent(row.scores[row.genre]),
        is_uncertain=row.is_uncertain,
        flags=row.flags,
        scores=BarChart(f"scores-{place}", f"Scores of {name}", scores),
        styles=BarChart(f"styles-{place}", f"Styles of {row.path}", styles, "Styles") if styles else None,
        timeline=None if row.timeline is None else area_chart(f"timeline-{place}", row.timeline, colors),
    )


def _score_bars(
    scores: Mapping[str, float], colors: Mapping[str, str], *, decimals: int = 0
) -> Iterator[Bar]:
    """Yield a bar for each of the first scores."""
    for name, score in list(scores.items())[:MAX_BARS]:
        yield Bar(name, score, format_percent(score, decimals), colors[name])
