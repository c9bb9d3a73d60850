"""The page about a whole library: what is in it, how certain that is, and which tracks are uncertain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from genrescope.reporting.blocks import Table
from genrescope.reporting.charts import Bar, BarChart
from genrescope.reporting.classification_report import FailedFile
from genrescope.reporting.formatting import format_clock, format_percent
from genrescope.reporting.pages import render_charts
from genrescope.reporting.theme import MUTED_VARIABLE, SERIES, series_variable

MAX_UNCERTAIN = 200
MAX_FAILED = 200
MAX_STYLES = 15
_BINS = 10


class _Track(NamedTuple):
    """A classified file of a library; ``scores`` and ``styles`` by falling value."""

    path: str
    genre: str
    score: float
    is_uncertain: bool
    scores: Mapping[str, float]
    styles: Mapping[str, float]
    seconds: float
    model: str


def library_page(rows: Iterable[Mapping[str, Any]], *, title: str) -> str:
    """Return a library's files as one self-contained HTML page.

    Parameters
    ----------
    rows : iterable of mapping
        As from `genrescope.library.Library.rows`.
    title : str
        The page's heading.

    Returns
    -------
    str
        The page.
    """
    entries = [_parse_row(row) for row in rows]
    tracks = [entry for entry in entries if isinstance(entry, _Track)]
    failed = [entry for entry in entries if isinstance(entry, FailedFile)]
    lead = f"{len(tracks)} tracks, {format_clock(sum(track.seconds for track in tracks))} of music"
    lead += f"; {len(failed)} files could not be read" if failed else ""
    charts = {"Genres": _genres(tracks), "Styles": _styles(tracks), "Scores": _scores(tracks)}
    if not charts["Styles"].bars:
        del charts["Styles"]
    uncertain = [track for track in tracks if track.is_uncertain]
    models = ", ".join(sorted({track.model for track in tracks}))
    return render_charts(
        "library_report.html",
        list(charts.values()),
        title=title,
        lead=f"{lead}.",
        footer=f"Model: {models}. Made by genrescope.",
        charts_by_title=charts,
        notes={
            "Scores": f"{len(uncertain)} of {len(tracks)} tracks are uncertain: their score is below the"
            " model's threshold."
        },
        tables=[
            (_uncertain_table(uncertain), len(uncertain)),
            (_failed_table(failed), len(failed)),
        ],
    )


def _parse_row(row: Mapping[str, Any]) -> _Track | FailedFile:
    """Return a row of a library as a typed object: the only place that knows the names of its columns."""
    if row["error"] is not None:
        return FailedFile(row["path"], row["error"], row["message"], row["hint"])
    return _Track(
        path=row["path"],
        genre=row["genre"],
        score=row["score"],
        is_uncertain=bool(row["unsure"]),
        scores=row["scores"],
        styles=row["styles"],
        seconds=row["seconds"],
        model=row["model_name"],
    )


def _genres(tracks: Sequence[_Track]) -> BarChart:
    """Return how many tracks have each genre."""
    counts = Counter(track.genre for track in tracks)
    colors = {name: series_variable(place % len(SERIES)) for place, name in enumerate(sorted(counts))}
    return _count_chart("genres", "Tracks per genre", counts.most_common(), colors)


def _styles(tracks: Sequence[_Track]) -> BarChart:
    """Return how many tracks have each of the most frequent styles."""
    counts = Counter(style for track in tracks for style in track.styles)
    label = "Tracks per style, of which a track may have several"
    return _count_chart("styles", label, counts.most_common(MAX_STYLES), {})


def _scores(tracks: Sequence[_Track]) -> BarChart:
    """Return how the scores are distributed."""
    bins = Counter(min(_BINS - 1, int(track.score * _BINS)) for track in tracks)
    counts = [(f"{10 * place} to {10 * place + 10} %", bins[place]) for place in reversed(range(_BINS))]
    return _count_chart("scores", "Tracks by the score of their genre", counts, {})


def _count_chart(
    chart_id: str, label: str, counts: Sequence[tuple[str, int]], colors: Mapping[str, str]
) -> BarChart:
    """Return counts as bars, the longest one for the highest count; names without a color are muted."""
    most = max((number for _, number in counts), default=0) or 1
    bars = tuple(
        Bar(name, number / most, str(number), colors.get(name, MUTED_VARIABLE)) for name, number in counts
    )
    return BarChart(chart_id, label, bars, caption=label)


def _uncertain_table(uncertain: Sequence[_Track]) -> Table:
    """Return the uncertain tracks, those with the lowest scores first."""
    chosen = sorted(uncertain, key=lambda track: (track.score, track.path))[:MAX_UNCERTAIN]
    rows = tuple(
        (
            track.path,
            ", ".join(f"{name} {format_percent(score)}" for name, score in list(track.scores.items())[:3]),
            ", ".join(list(track.styles)[:3]),
            format_clock(track.seconds),
        )
        for track in chosen
    )
    return Table("Uncertain tracks", ("File", "Genres", "Styles", "Length"), rows)


def _failed_table(failed: Sequence[FailedFile]) -> Table:
    """Return the files that could not be read, with what to do about each."""
    rows = tuple(tuple(file) for file in failed[:MAX_FAILED])
    return Table("Not read", ("File", "Error", "What happened", "What to do"), rows)
