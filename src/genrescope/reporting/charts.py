"""The charts of HTML pages: the data that ``templates/charts.js`` and ``templates/files.js`` draw.

The templates show the same values as tables, which remain where JavaScript is off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genrescope.reporting.formatting import format_clock
from genrescope.reporting.theme import MUTED_VARIABLE, SERIES, series_variable
from genrescope.types import Float64Array, Timeline

# The layer of all genres beyond the number of colors.
OTHER = "other"
MAX_SPANS = 40
# A chart is about as many pixels wide; more steps would only make the page larger.
MAX_STEPS = 400
_MAX_TICKS = 6
_TICK_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800)


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes
    ----------
    name : str
        What the value is of, such as a genre.
    share : float
        Its length, from 0 to 1 of the full width.
    text : str
        Its value.
    color : str
        In CSS.
    """

    name: str
    share: float
    text: str
    color: str


@dataclass(frozen=True)
class BarChart:
    """Named values as a table with bars.

    Attributes
    ----------
    id : str
        Unique in its page.
    label : str
        What the chart shows, for screen readers.
    bars : tuple of Bar
        From the first row of the table to the last.
    """

    id: str
    label: str
    bars: tuple[Bar, ...]

    def to_json(self) -> dict[str, object]:
        """Return what ``charts.js`` draws."""
        return {
            "kind": "bars",
            "shares": [round(min(1.0, max(0.0, bar.share)), 4) for bar in self.bars],
            "colors": [bar.color for bar in self.bars],
        }


def count_chart(
    chart_id: str, label: str, counts: Sequence[tuple[str, int]], colors: Mapping[str, str]
) -> BarChart:
    """Return counts as bars, the longest one for the highest count.

    Parameters
    ----------
    chart_id : str
        Unique in the page.
    label : str
        What is counted.
    counts : sequence of (str, int)
        Name and number, in the order of the bars.
    colors : mapping of str to str
        CSS colors by name; names without one are muted.
    """
    most = max((number for _, number in counts), default=0) or 1
    bars = tuple(
        Bar(name, number / most, str(number), colors.get(name, MUTED_VARIABLE)) for name, number in counts
    )
    return BarChart(chart_id, label, bars)


def timeline_data(timeline: Timeline) -> dict[str, Any]:
    """Return the genres over a track as stacked steps, one for each segment.

    Parameters
    ----------
    timeline : Timeline
        At least one segment.

    Returns
    -------
    dict
        ``edges``: from 0, the start of the track, to 1, its end, one more than there are steps, of which
        there are at most `MAX_STEPS`. ``layers``: name and shares, in thousandths, from the bottom to the
        top; genres beyond the number of colors are one layer, `OTHER`. ``ticks``: text and place, 0 to 1, of
        each mark on the time axis. ``spans``: from when to when which genre has the highest score, at most
        `MAX_SPANS`; ``more``: the number of those left out.
    """
    names, shares = _stack(timeline)
    begin, end = float(timeline.starts[0]), float(timeline.ends[-1])
    # Where segments overlap, each counts until the next one begins, as in the spans.
    edges = (np.append(timeline.starts, end) - begin) / max(end - begin, 1e-9)
    edges, shares = _average_neighbors(np.clip(edges, 0, 1), shares)
    spans = [
        (f"{format_clock(span.start)} to {format_clock(span.end)}", span.genre)
        for span in timeline.leading_spans(overlapping=False)
    ]
    return {
        "edges": np.round(edges, 4).tolist(),
        "layers": [
            [name, np.round(1000 * shares[:, place]).astype(int).tolist()] for place, name in enumerate(names)
        ],
        "ticks": [[text, round(place, 4)] for text, place in axis_ticks(begin, end)],
        "spans": spans[:MAX_SPANS],
        "more": len(spans[MAX_SPANS:]),
    }


def genre_series(scores: Sequence[Mapping[str, float]]) -> dict[str, int]:
    """Give every genre one color for a whole page.

    Parameters
    ----------
    scores : sequence of mapping of str to float
        The scores of each file.

    Returns
    -------
    dict of str to int
        Places in `SERIES`. Where there are more genres than colors, those with the lowest sums share the last
        one.
    """
    totals: dict[str, float] = {}
    for one in scores:
        for name, score in one.items():
            totals[name] = totals.get(name, 0.0) + score
    names = sorted(totals)
    if len(names) > len(SERIES):
        names = sorted(sorted(totals, key=lambda name: -totals[name])[: len(SERIES) - 1])
    return dict.fromkeys(totals, len(SERIES) - 1) | {name: place for place, name in enumerate(names)}


def genre_colors(series: Mapping[str, int]) -> dict[str, str]:
    """Return the CSS color of each genre.

    Parameters
    ----------
    series : mapping of str to int
        As from `genre_series`.
    """
    return {name: series_variable(place) for name, place in series.items()}


def axis_ticks(begin: float, end: float) -> tuple[tuple[str, float], ...]:
    """Return few round times on an axis.

    Parameters
    ----------
    begin, end : float
        Of the axis, in seconds.

    Returns
    -------
    tuple of (str, float)
        Text and place, 0 to 1, of each.
    """
    length = max(end - begin, 1e-9)
    step = next((step for step in _TICK_SECONDS if length / step <= _MAX_TICKS), 86400)
    ticks = np.arange(np.ceil(begin / step), np.floor(end / step) + 1) * step
    return tuple((format_clock(tick), float((tick - begin) / length)) for tick in ticks)


def _stack(timeline: Timeline) -> tuple[list[str], Float64Array]:
    """Return genres by falling mean, and their shares, shape (segments, genres), in rows of at most 1."""
    scores = np.clip(np.asarray(timeline.scores, dtype=np.float64), 0, None)
    shares = scores / np.maximum(1, scores.sum(1, keepdims=True))
    order = np.argsort(-shares.mean(0), kind="stable")
    names, shares = [timeline.classes[place] for place in order], shares[:, order]
    if len(names) <= len(SERIES):
        return names, shares
    kept = len(SERIES) - 1
    return [*names[:kept], OTHER], np.hstack([shares[:, :kept], shares[:, kept:].sum(1, keepdims=True)])


def _average_neighbors(edges: Float64Array, shares: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Average neighboring steps, weighted by length, until at most `MAX_STEPS` are left."""
    step = -(-len(shares) // MAX_STEPS)
    places = np.arange(0, len(shares), step)
    lengths = np.maximum(np.diff(edges), 1e-9)[:, None]
    sums = np.add.reduceat(shares * lengths, places, axis=0)
    return edges[[*places, len(shares)]], sums / np.add.reduceat(lengths, places, axis=0)
