"""The page that shows what was heard: one card per file, built without a plotting library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from genrescope.errors import DataError
from genrescope.reporting.document import format_clock, html_page
from genrescope.reporting.theme import SERIES

Reals = npt.NDArray[np.float64]
Row = Mapping[str, Any]

OTHER = "other"
MOST_CARDS = 200
MOST_BARS = 10
STYLE_COLOR = "var(--muted)"
_MOST_SPANS = 40
_MOST_POINTS = 400
_MOST_TICKS = 6
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800)

STYLE_SHEET = """
.card { border: 1px solid var(--rule); border-radius: .75rem; padding: 1.25rem 1.5rem; margin: 1.25rem 0;
  content-visibility: auto; contain-intrinsic-size: auto 24rem; }
.card h3 { margin: 0; font-size: 1.05rem; font-weight: 600; }
.card .path { font-size: .8rem; margin: 0; }
.verdict { font-size: 1.35rem; margin: .5rem 0 .75rem; }
.verdict .share { color: var(--muted); font-size: 1rem; }
.flag { display: inline-block; font-size: .75rem; padding: .05rem .55rem; margin-left: .4rem;
  border-radius: 1rem; background: var(--warn-ground); color: var(--warn); vertical-align: middle; }
.answers { display: flex; flex-wrap: wrap; gap: 0 3rem; align-items: flex-start; }
table.bars { flex: 1 1 18rem; width: 100%; max-width: 34rem; margin: .5rem 0; }
table.bars caption { text-align: left; color: var(--muted); font-size: .8rem; }
table.bars th, table.bars td { border: 0; padding: .12rem .75rem .12rem 0; font-weight: 400;
  text-align: left; }
table.bars th { width: 1%; }
table.bars td.value { width: 1%; text-align: right; padding-left: .75rem; color: var(--muted); }
.track { height: .7rem; border-radius: .35rem; background: var(--panel); overflow: hidden; }
.track span { display: block; height: 100%; border-radius: .35rem; min-width: 1px; }
.course { margin: 1.25rem 0 0; }
.course svg { width: 100%; height: 9rem; border-radius: .35rem; background: var(--panel); }
.course path { stroke: var(--ground); stroke-width: 1; vector-effect: non-scaling-stroke; }
.axis { position: relative; height: 1.4rem; font-size: .75rem; color: var(--muted);
  font-variant-numeric: tabular-nums; }
.axis span { position: absolute; transform: translateX(-50%); }
.axis span:first-child { transform: none; }
.axis span.last { transform: translateX(-100%); }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .15rem 1rem; margin: .25rem 0 0; padding: 0;
  font-size: .8rem; }
.legend i { display: inline-block; width: .75rem; height: .75rem; border-radius: .2rem; margin-right: .4rem;
  vertical-align: -.05rem; }
.course details { font-size: .85rem; margin: .75rem 0 0; }
.failure { background: var(--bad-ground); border-left: 4px solid var(--bad); border-radius: 0 .4rem .4rem 0;
  padding: .75rem 1rem; margin: .75rem 0; overflow-wrap: anywhere; }
.failure p { margin: .15rem 0; }
.failure code { color: var(--bad); }
@media (max-width: 40rem) { .card { padding: 1rem; } }
"""


def classification_page(rows: Sequence[Row], *, title: str, model: str) -> str:
    """Return the answers for many files as one self-contained HTML page.

    Parameters
    ----------
    rows : sequence of mapping
        As from `genrescope.types.Prediction.row`, or ``{"path", "error": {code, message, hint}}``.
        Beyond `MOST_CARDS` files the rest stand in a table.
    model : str
        The name of the model that answered.

    Raises
    ------
    DataError
        ``dataset_invalid``: a row holds neither scores nor an error.
    """
    answers = [_checked(row) for row in rows if "error" not in row]
    failures = [row for row in rows if "error" in row]
    colors = _colors(answers)
    parts = (
        _summary(answers, colors),
        _failures(failures),
        _cards(answers[:MOST_CARDS], colors),
        _rest(answers[MOST_CARDS:]),
    )
    seconds = sum(float(row.get("seconds", 0)) for row in answers)
    lead = f"{_count(len(answers), 'file')} classified, {format_clock(seconds)} of music"
    lead += f", {len(failures)} not readable" if failures else ""
    footer = f"Model: {model}. Made by genrescope."
    return html_page(
        title, f"{lead}. Model: {model}.", "\n".join(parts), footer=footer, extra_style=STYLE_SHEET
    )


def _checked(row: Row) -> Row:
    """Return a row that holds a path and scores; refuse any other."""
    if isinstance(row.get("path"), str) and isinstance(row.get("scores"), Mapping) and row["scores"]:
        return row
    raise DataError(
        "dataset_invalid",
        f"a row for {row.get('path', 'a file without path')!r} holds neither scores nor an error",
        "pass rows as `genrescope classify --format jsonl` prints them",
    )


def _colors(answers: Sequence[Row]) -> dict[str, str]:
    """Give every genre its color for the page; where there are many, rare ones share the last."""
    totals: Counter[str] = Counter()
    for row in answers:
        totals.update(row["scores"])
    names = sorted(totals)
    if len(names) > len(SERIES):
        names = [name for name, _ in totals.most_common(len(SERIES) - 1)]
    colors = dict.fromkeys(totals, f"var(--s{len(SERIES) - 1})")
    return colors | {name: f"var(--s{place})" for place, name in enumerate(names)}


def _summary(answers: Sequence[Row], colors: Mapping[str, str]) -> str:
    """Return how many files fell to each genre, as bars."""
    if not answers:
        return '<section><h2>Genres</h2><p class="muted">No file was classified.</p></section>'
    counts = Counter(_genre(row) for row in answers).most_common()
    most = counts[0][1]
    lines = [(name, number / most, str(number), colors[name]) for name, number in counts]
    return f"<section><h2>Genres</h2>{score_bars(lines, 'Files per genre')}</section>"


def _failures(failures: Sequence[Row]) -> str:
    """Return the files that could not be classified, with what to do about each."""
    if not failures:
        return ""
    return f"<section><h2>Not classified</h2>{''.join(map(_failure, failures))}</section>"


def _failure(row: Row) -> str:
    """Return one failure."""
    error = row["error"]
    name, message, hint = (
        escape(str(text)) for text in (row.get("path", ""), error["message"], error["hint"])
    )
    code = escape(str(error["code"]))
    return (
        f'<div class="failure"><p><strong>{name}</strong> <code>{code}</code></p>'
        f'<p>{message}</p><p class="muted">What to do: {hint}</p></div>'
    )


def _cards(answers: Sequence[Row], colors: Mapping[str, str]) -> str:
    """Return a card for each file."""
    if not answers:
        return ""
    return f"<section><h2>Files</h2>{''.join(_card(row, colors) for row in answers)}</section>"


def _card(row: Row, colors: Mapping[str, str]) -> str:
    """Return one file: its genre, all scores, and its course where there is one."""
    path, genre = row["path"], _genre(row)
    scores = sorted(row["scores"].items(), key=lambda pair: -pair[1])[:MOST_BARS]
    lines = [(name, float(score), f"{100 * score:.1f} %", colors[name]) for name, score in scores]
    name = path.replace("\\", "/").rpartition("/")[2]
    unsure = '<span class="flag">unsure</span>' if row.get("unsure") else ""
    seconds = f" · {format_clock(float(row['seconds']))}" if "seconds" in row else ""
    flags = "".join(f'<span class="flag">{escape(str(flag))}</span>' for flag in row.get("flags", ()))
    return (
        f'<article class="card"><h3>{escape(name or path)}{flags}</h3>'
        f'<p class="path muted">{escape(path)}{seconds}</p>'
        f'<p class="verdict">{escape(genre)} <span class="share">{100 * scores[0][1]:.0f} %</span>'
        f"{unsure}</p>"
        f'<div class="answers">{score_bars(lines, f"Scores of {name}")}'
        f"{_styles(row)}</div>{_course(row, colors)}</article>"
    )


def _styles(row: Row) -> str:
    """Return the styles of a file, which do not exclude each other, as bars; "" without any."""
    styles = list(row.get("styles", {}).items())[:MOST_BARS]
    lines = [(name, float(share), f"{100 * share:.0f} %", STYLE_COLOR) for name, share in styles]
    return score_bars(lines, f"Styles of {row['path']}", "Styles") if lines else ""


def score_bars(rows: Sequence[tuple[str, float, str, str]], label: str, caption: str = "") -> str:
    """Return (name, share, text, color) as a table of bars, with a caption where there is one."""
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td><div class="track">'
        f'<span style="width:{100 * min(1.0, max(0.0, share)):.1f}%;background:{color}"></span></div></td>'
        f'<td class="value">{escape(text)}</td></tr>'
        for name, share, text, color in rows
    )
    head = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<table class="bars" aria-label="{escape(label)}">{head}<tbody>{lines}</tbody></table>'


def _rest(answers: Sequence[Row]) -> str:
    """Return the files beyond the cards as a table."""
    if not answers:
        return ""
    lines = "".join(
        f'<tr><th scope="row">{escape(row["path"])}</th><td class="words">{escape(_genre(row))}</td>'
        f"<td>{100 * max(row['scores'].values()):.0f} %</td></tr>"
        for row in answers
    )
    head = '<tr><th scope="col">File</th><th scope="col">Genre</th><th scope="col">Score</th></tr>'
    table = f"<table><thead>{head}</thead><tbody>{lines}</tbody></table>"
    return f'<section><h2>Further files</h2><div class="scroll">{table}</div></section>'


def _course(row: Row, colors: Mapping[str, str]) -> str:
    """Return the genres over the track as stacked areas, with legend, time axis and words; "" without one."""
    timeline = row.get("timeline")
    if not timeline:
        return ""
    names, shares = _stack(timeline)
    starts = [float(piece["start"]) for piece in timeline]
    begin, end = starts[0], float(timeline[-1]["end"])
    shades = {OTHER: f"var(--s{len(SERIES) - 1})"} | dict(colors)
    middles = np.array([(piece["start"] + piece["end"]) / 2 for piece in timeline])
    times, heights = _thinned((middles - begin) / max(end - begin, 1e-9), shares)
    paths = "".join(_area(name, shades[name], times, heights, place) for place, name in enumerate(names))
    legend = "".join(
        f'<li><i style="background:{shades[name]}"></i>{escape(name)} {100 * mean:.0f} %</li>'
        for name, mean in zip(names, shares.mean(0), strict=True)
        if mean >= 0.005
    )
    spans = list(_spans(timeline))
    words = "".join(f"<li>{escape(span)}</li>" for span in spans[:_MOST_SPANS])
    more = f"<li>and {len(spans) - _MOST_SPANS} more</li>" if len(spans) > _MOST_SPANS else ""
    alt = escape(f"Genres over time: {'; '.join(spans[:_MOST_SPANS])}")
    return (
        f'<figure class="course"><svg viewBox="0 0 1000 100" preserveAspectRatio="none" role="img"'
        f' aria-label="{alt}">{paths}</svg>{_axis(begin, end)}<ul class="legend">{legend}</ul>'
        f"<details><summary>In words</summary><ul>{words}{more}</ul></details></figure>"
    )


def _stack(timeline: Sequence[Row]) -> tuple[list[str], Reals]:
    """Return genres by falling mean, and their shares, shape (segments, genres), rows of at most 1."""
    names = list(timeline[0]["scores"])
    scores = np.array([[float(piece["scores"].get(name, 0)) for name in names] for piece in timeline])
    shares = np.clip(scores, 0, None) / np.maximum(1, np.clip(scores, 0, None).sum(1, keepdims=True))
    order = np.argsort(-shares.mean(0), kind="stable")
    names, shares = [names[place] for place in order], shares[:, order]
    kept = len(SERIES) - 1
    if len(names) <= len(SERIES):
        return names, shares
    rest = shares[:, kept:].sum(1, keepdims=True)
    return [*names[:kept], OTHER], np.hstack([shares[:, :kept], rest])


def _thinned(times: Reals, shares: Reals) -> tuple[Reals, Reals]:
    """Average neighbors until few enough points are left, then reach out to both ends."""
    step = -(-len(times) // _MOST_POINTS)
    edges = np.arange(0, len(times), step)
    sizes = np.diff([*edges, len(times)])
    fewer = np.add.reduceat(times, edges) / sizes
    means = np.add.reduceat(shares, edges, axis=0) / sizes[:, None]
    return np.concatenate([[0], fewer, [1]]), np.vstack([means[:1], means, means[-1:]])


def _area(name: str, color: str, times: Reals, heights: Reals, place: int) -> str:
    """Return one genre's area between those before it and itself, in a field of 1000 by 100."""
    lower = 100 - 100 * heights[:, :place].sum(1)
    upper = lower - 100 * heights[:, place]
    there = [f"{1000 * time:.1f},{height:.1f}" for time, height in zip(times, upper, strict=True)]
    back = [f"{1000 * time:.1f},{height:.1f}" for time, height in zip(times, lower, strict=True)][::-1]
    return f'<path style="fill:{color}" d="M{" L".join(there + back)} Z"><title>{escape(name)}</title></path>'


def _axis(begin: float, end: float) -> str:
    """Return the time axis: few round times, each at its place."""
    length = max(end - begin, 1e-9)
    step = next((step for step in _STEPS if length / step <= _MOST_TICKS), 86400)
    ticks = np.arange(np.ceil(begin / step), np.floor(end / step) + 1) * step
    places = [(tick, (tick - begin) / length) for tick in ticks]
    marks = "".join(
        f'<span{" class=last" if share > 0.97 else ""} style="left:{100 * share:.2f}%">'
        f"{format_clock(tick)}</span>"
        for tick, share in places
    )
    return f'<div class="axis" aria-hidden="true">{marks}</div>'


def _spans(timeline: Sequence[Row]) -> Iterator[str]:
    """Yield in words which genre leads from when to when."""
    leaders = [max(piece["scores"], key=piece["scores"].get) for piece in timeline]
    turns = [place for place in range(len(leaders)) if place == 0 or leaders[place] != leaders[place - 1]]
    for turn, following in zip(turns, [*turns[1:], None], strict=True):
        until = timeline[-1]["end"] if following is None else timeline[following]["start"]
        yield f"{format_clock(timeline[turn]['start'])} to {format_clock(until)} {leaders[turn]}"


def _genre(row: Row) -> str:
    """Return the genre with the highest score."""
    scores: Mapping[str, float] = row["scores"]
    return max(scores, key=lambda name: scores[name])


def _count(number: int, thing: str) -> str:
    """Return a number with its noun."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
