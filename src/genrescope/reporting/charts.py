"""The charts of HTML pages: the data that ``templates/charts.js`` draws.

The templates show the same data as tables, which remain where JavaScript is off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genrescope.reporting.formatting import format_clock
from genrescope.reporting.theme import SERIES, series_variable
from genrescope.types import Float64Array, Timeline

# The layer of all genres beyond the number of colors.
OTHER = "other"
MAX_BARS = 10
MAX_SPANS = 40
# A chart is about as many pixels wide; more points would only make the page larger.
MAX_POINTS = 400
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
    caption : str
        Printed above the table where it is not empty.
    """

    id: str
    label: str
    bars: tuple[Bar, ...]
    caption: str = ""

    def to_json(self) -> dict[str, object]:
        """Return what ``charts.js`` draws."""
        return {
            "kind": "bars",
            "shares": [round(min(1.0, max(0.0, bar.share)), 4) for bar in self.bars],
            "colors": [bar.color for bar in self.bars],
        }


@dataclass(frozen=True)
class Layer:
    """One genre's area.

    Attributes
    ----------
    name : str
        The genre, or `OTHER`.
    color : str
        In CSS.
    share : float
        Mean share over the track, 0 to 1.
    values : ndarray, shape (points,), float64
        Share at each point, 0 to 1.
    """

    name: str
    color: str
    share: float
    values: Float64Array


@dataclass(frozen=True)
class AreaChart:
    """The genres over a track as stacked areas.

    Attributes
    ----------
    id : str
        Unique in its page.
    times : ndarray, shape (points,)
        From 0, the start of the track, to 1, its end.
    layers : tuple of Layer
        From the bottom to the top.
    ticks : tuple of (str, float)
        Text and place, 0 to 1, of each mark on the time axis.
    spans : tuple of (str, str)
        From when to when which genre has the highest score, as the table has it.
    """

    id: str
    times: Float64Array
    layers: tuple[Layer, ...]
    ticks: tuple[tuple[str, float], ...]
    spans: tuple[tuple[str, str], ...]

    @property
    def shown_spans(self) -> tuple[tuple[str, str], ...]:
        """The first `MAX_SPANS` spans, which the table lists."""
        return self.spans[:MAX_SPANS]

    @property
    def label(self) -> str:
        """What the chart shows, for screen readers."""
        return f"Genres over time: {'; '.join(' '.join(span) for span in self.shown_spans)}"

    def to_json(self) -> dict[str, object]:
        """Return what ``charts.js`` draws."""
        return {
            "kind": "areas",
            "times": np.round(self.times, 4).tolist(),
            "layers": [
                {
                    "name": layer.name,
                    "color": layer.color,
                    "share": round(layer.share, 4),
                    "values": np.round(layer.values, 4).tolist(),
                }
                for layer in self.layers
            ],
            "ticks": [{"text": text, "place": round(place, 4)} for text, place in self.ticks],
        }


def area_chart(chart_id: str, timeline: Timeline, colors: Mapping[str, str]) -> AreaChart:
    """Return the genres over a track as a chart.

    Parameters
    ----------
    chart_id : str
        Unique in the page.
    timeline : Timeline
        At least one segment.
    colors : mapping of str to str
        The CSS color of each genre.

    Returns
    -------
    AreaChart
        Of at most `MAX_POINTS` points and the two ends; genres beyond the number of colors are one layer,
        `OTHER`.
    """
    names, shares = _stack(timeline)
    begin, end = float(timeline.starts[0]), float(timeline.ends[-1])
    middles = (timeline.starts + timeline.ends) / 2
    times, values = _average_neighbors((middles - begin) / max(end - begin, 1e-9), shares)
    shades = {OTHER: series_variable(len(SERIES))} | dict(colors)
    layers = tuple(
        Layer(name, shades[name], float(shares[:, place].mean()), values[:, place])
        for place, name in enumerate(names)
    )
    spans = tuple(
        (f"{format_clock(span.start)} to {format_clock(span.end)}", span.genre)
        for span in timeline.leading_spans(overlapping=False)
    )
    return AreaChart(chart_id, times, layers, axis_ticks(begin, end), spans)


def genre_colors(scores: Sequence[Mapping[str, float]]) -> dict[str, str]:
    """Give every genre one color for a whole page.

    Parameters
    ----------
    scores : sequence of mapping of str to float
        The scores of each file.

    Returns
    -------
    dict of str to str
        CSS colors. Where there are more genres than colors, those with the lowest sums share the last one.
    """
    totals: dict[str, float] = {}
    for one in scores:
        for name, score in one.items():
            totals[name] = totals.get(name, 0.0) + score
    names = sorted(totals)
    if len(names) > len(SERIES):
        names = sorted(totals, key=lambda name: -totals[name])[: len(SERIES) - 1]
    last = series_variable(len(SERIES))
    return dict.fromkeys(totals, last) | {name: series_variable(place) for place, name in enumerate(names)}


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


def _average_neighbors(times: Float64Array, shares: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Average neighbors until at most `MAX_POINTS` are left, and repeat the outer ones at the ends."""
    step = -(-len(times) // MAX_POINTS)
    edges = np.arange(0, len(times), step)
    sizes = np.diff([*edges, len(times)])
    fewer = np.add.reduceat(times, edges) / sizes
    means = np.add.reduceat(shares, edges, axis=0) / sizes[:, None]
    return np.concatenate([[0], fewer, [1]]), np.vstack([means[:1], means, means[-1:]])
