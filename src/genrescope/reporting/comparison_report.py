"""The report of a comparison of models, in the forms of `genrescope.reporting.evaluation_report`.

Every number of a leaky protocol stands in a section, table and figure whose title says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genrescope.evaluation import ALPHA, LEAKY, METRIC_NAMES, Comparison, Interval, PairedDifference, cautions
from genrescope.reporting import figures
from genrescope.reporting.blocks import Block, Figure, Paragraph, Section, Table
from genrescope.reporting.evaluation_report import LEAKY_NOTE, Provenance, ReportPaths, write_sections
from genrescope.reporting.figures import Curve
from genrescope.reporting.formatting import (
    MISSING,
    as_sentence,
    format_count,
    format_interval,
    format_percent,
    format_percent_interval,
)

_METHOD = (
    "Brackets hold 95 % intervals, from a bootstrap that draws whole groups (artists or recordings) with all"
    " their tracks, for all models at once: intervals of differences are paired. They hold what chance does"
    " in the choice of the music, not in the training: for that see the accuracy of each seed."
)
_TESTS = (
    "Two tests of each difference in accuracy: the paired bootstrap over groups, and McNemar's exact test, in"
    " which each track counts once and which takes tracks for independent. Both are corrected by"
    f" Holm's method over the pairs of a protocol. A difference is called beyond chance where both are"
    f" below {ALPHA:g}, and unclear where one is."
)


@dataclass(frozen=True)
class ComparisonReport:
    """What a report of a comparison contains.

    Attributes
    ----------
    title : str
        The heading.
    data : str
        Name of the data set.
    comparisons : tuple of Comparison
        One for each protocol.
    curves : mapping of str to mapping of str to tuple of Curve
        By title of the comparison and name of the model: a curve for each run that has epochs.
    runs : mapping of str to mapping of str to tuple of str
        By title of the comparison and name of the model: the folder of each run.
    settings : mapping of str to mapping of str to str
        By name of the model, the value of each setting as ``section.key``.
    provenance : mapping of str to str or number
        Data, seeds, version.
    """

    title: str
    data: str
    comparisons: tuple[Comparison, ...]
    curves: Mapping[str, Mapping[str, tuple[Curve, ...]]] = field(default_factory=dict)
    runs: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-ready data."""
        return {
            "title": self.title,
            "data": self.data,
            "provenance": dict(self.provenance),
            "settings": {name: dict(values) for name, values in self.settings.items()},
            "comparisons": [
                one.to_json() | {"critical_view": list(critical_view(one))} for one in self.comparisons
            ],
            "runs": {
                title: {name: list(folders) for name, folders in models.items()}
                for title, models in self.runs.items()
            },
            "curves": {
                title: {name: [curve.to_json() for curve in runs] for name, runs in models.items()}
                for title, models in self.curves.items()
            },
        }


def write_comparison(report: ComparisonReport, folder: str | Path) -> ReportPaths:
    """Write report.json, report.md with its figures, and report.html, each of them atomically.

    Parameters
    ----------
    report : ComparisonReport
        The content.
    folder : str or Path
        Created where it does not exist.

    Returns
    -------
    ReportPaths
        The three files.

    Raises
    ------
    WriteError, MissingDependencyError
        ``write_failed``; ``missing_dependency`` without matplotlib.
    """
    models = len(report.comparisons[0].models)
    lead = f"{format_count(models, 'configuration')} on {report.data}. {_METHOD}"
    return write_sections(report.title, lead, tuple(_sections(report)), report.to_json(), Path(folder))


def critical_view(comparison: Comparison) -> Iterator[str]:
    """Yield in sentences which differences are beyond chance, which are not, and what limits both.

    Parameters
    ----------
    comparison : Comparison
        Of one protocol.

    Yields
    ------
    str
        One or more sentences on each pair, the clearest first, then the limits.
    """
    order = ("beyond chance", "unclear", "not beyond chance")
    marked = f" ({LEAKY})" if comparison.leaky else ""
    for pair in sorted(comparison.pairs, key=lambda pair: order.index(pair.verdict)):
        yield f"{_pair_sentence(pair, marked)}{_reservations(pair, comparison)}"
    yield from cautions(comparison)


def _pair_sentence(pair: PairedDifference, marked: str) -> str:
    """Return the verdict on one pair, the better model first."""
    points = format_points(pair.accuracy, absolute=True)
    better, other = (pair.first, pair.second) if pair.accuracy.value >= 0 else (pair.second, pair.first)
    tests = (
        f"bootstrap p {format_p(pair.adjusted_bootstrap)}, McNemar p {format_p(pair.adjusted_mcnemar)},"
        " corrected"
    )
    if pair.verdict == "beyond chance":
        return f"{better} is better than {other} by {points} points{marked}: beyond chance ({tests})."
    if pair.verdict == "unclear":
        return (
            f"{better} is ahead of {other} by {points} points{marked}: unclear, as one of the two tests finds"
            f" it beyond chance and the other does not ({tests})."
        )
    width = 100 * (pair.accuracy.high - pair.accuracy.low) / 2
    return (
        f"{better} and {other} differ by {points} points{marked}: not beyond chance ({tests}). That"
        f" is no proof that they are equal: with these tracks a difference of less than about"
        f" {width:.1f} points is not seen."
    )


def _reservations(pair: PairedDifference, comparison: Comparison) -> str:
    """Return what else speaks against quoting a difference."""
    found = ""
    if not pair.is_consistent:
        found += " The seeds disagree on which is better."
    if pair.accuracy.value * pair.balanced_accuracy.value < 0:
        found += (
            " With every genre counting the same it is the other way round."
            if comparison.metric_names == METRIC_NAMES
            else f" By {comparison.metric_names[1].lower()} it is the other way round."
        )
    return found


def format_points(difference: Interval, *, absolute: bool = False) -> str:
    """Write a difference and its bounds in percentage points.

    Parameters
    ----------
    difference : Interval
        From -1 to 1.
    absolute : bool
        Whether a negative difference, with its bounds, is turned round.

    Returns
    -------
    str
        Such as ``+5.2 [+1.0, +9.3]``, and ``5.2 [1.0, 9.3]`` where it is absolute.
    """
    value, low, high = (100 * one for one in (difference.value, difference.low, difference.high))
    if not absolute:
        return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
    if value < 0:
        value, low, high = -value, -high, -low
    # Adding 0 turns a rounded -0.0 into 0.0.
    value, low, high = (round(one, 1) + 0.0 for one in (value, low, high))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def format_p(value: float) -> str:
    """Write a p-value.

    Parameters
    ----------
    value : float
        From 0 to 1.

    Returns
    -------
    str
        Three decimals, or ``< 0.001``.
    """
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _sections(report: ComparisonReport) -> Iterator[Section]:
    if any(one.leaky for one in report.comparisons) and len(report.comparisons) > 1:
        yield Section("All protocols", tuple(_overview(report.comparisons)))
    for one in report.comparisons:
        yield Section(one.title, tuple(_comparison(one, report.curves.get(one.title, {}))))
    rows = tuple(_differing_settings(report.settings))
    if rows:
        table = Table("Settings that differ", ("Setting", *report.settings), rows)
        yield Section("Settings", (table,))
    values = tuple((name, str(value)) for name, value in report.provenance.items())
    if values:
        yield Section("Provenance", (Table("Where these numbers come from", ("What", "Value"), values),))


def _overview(comparisons: Sequence[Comparison]) -> Iterator[Block]:
    """Yield accuracy by model and protocol, leaky and artist-clean ones side by side."""
    yield Paragraph(LEAKY_NOTE, warning=True)
    headers = ("Configuration", *(f"Accuracy, {one.title}" for one in comparisons))
    rows = tuple(
        (models[0].name, *(format_percent_interval(model.accuracy) for model in models))
        for models in zip(*(one.models for one in comparisons), strict=True)
    )
    yield Table("Accuracy by protocol", headers, rows)


def _comparison(one: Comparison, curves: Mapping[str, tuple[Curve, ...]]) -> Iterator[Block]:
    """Yield what is known of one protocol."""
    if one.leaky:
        reason = one.protocol_note.removeprefix(f"{LEAKY}: ")
        yield Paragraph(f"This protocol is {LEAKY}: {reason}. {LEAKY_NOTE}", warning=True)
    elif one.protocol_note:
        yield Paragraph(as_sentence(one.protocol_note))
    yield Paragraph(describe_design(one))
    for note in one.notes:
        yield Paragraph(as_sentence(note))
    yield _models_table(one)
    yield _accuracy_figure(one)
    if one.pairs:
        yield Paragraph(_TESTS)
        yield _pairs_table(one)
        yield _differences_figure(one)
    view = tuple(Paragraph(text) for text in critical_view(one))
    if view:
        yield Section(f"Critical view, {one.title}", view)
    yield Section(f"Per genre, {one.title}", (_genres_table(one),), folded=True)
    if any(curves.values()):
        title = f"Learning curves, {one.title}"
        shown = {name: runs for name, runs in curves.items() if runs}
        runs = "; ".join(f"{name}: {format_count(len(several), 'run')}" for name, several in shown.items())
        picture = figures.repeated_curves_figure(shown, title)
        yield Figure(
            title, picture, f"{title}: thin lines are runs, thick ones their mean.", f"{title}. {runs}"
        )


def describe_design(one: Comparison) -> str:
    """Say in a sentence what was tested.

    Parameters
    ----------
    one : Comparison
        Of one protocol.
    """
    folds = (
        f", all {one.folds} folds of each pooled, so that each track is tested once per seed"
        if one.folds > 1
        else ""
    )
    least, most = min(one.tested), max(one.tested)
    tested = str(least) if least == most else f"{least} to {most}"
    seeds = format_count(len(one.seeds), "seed")
    return (
        f"{seeds}{folds}; {tested} {one.unit}s of the {one.part} part per seed,"
        f" {one.distinct} different ones from {format_count(one.groups, 'group')}."
    )


def _all_rows(one: Comparison, rows: Sequence[object]) -> frozenset[int]:
    return frozenset(range(len(rows))) if one.leaky else frozenset()


def _models_table(one: Comparison) -> Table:
    headers = (
        *("Configuration", *one.metric_names),
        *("Deviation over seeds", f"{one.metric_names[0]} by seed"),
    )
    rows = tuple(
        (
            model.name,
            format_percent_interval(model.accuracy),
            format_percent_interval(model.balanced_accuracy),
            format_interval(model.macro_f1),
            MISSING if model.deviation is None else format_percent(model.deviation, 1),
            ", ".join(f"{100 * value:.1f}" for value in model.by_seed),
        )
        for model in one.models
    )
    if one.majority_baseline is not None:
        baseline = format_percent(one.majority_baseline, 1)
        rows += (("Always the most frequent genre", baseline, *(MISSING,) * 4),)
    return Table(f"Configurations by {one.unit}, {one.title}", headers, rows, _all_rows(one, rows))


def _accuracy_figure(one: Comparison) -> Figure:
    values = {model.name: model.accuracy for model in one.models}
    title = f"{one.metric_names[0]} with 95 % intervals, {one.title}"
    picture = figures.intervals_figure(
        {name: (value.value, value.low, value.high) for name, value in values.items()},
        title,
        hollow=list(values) if one.leaky else (),
    )
    text = "; ".join(f"{name}: {format_percent_interval(value)}" for name, value in values.items())
    return Figure(title, picture, f"{title}.", f"{title}. {text}")


def _pairs_table(one: Comparison) -> Table:
    headers = (
        *("Pair", f"{one.metric_names[0]}, points", f"{_short(one.metric_names[1])}, points"),
        *("Only first right", "Only second right"),
        *("Bootstrap p", "corrected", "McNemar p", "corrected", "Verdict"),
    )
    rows = tuple(
        (
            pair_name(pair),
            format_points(pair.accuracy),
            format_points(pair.balanced_accuracy),
            str(pair.only_first),
            str(pair.only_second),
            format_p(pair.p_bootstrap),
            format_p(pair.adjusted_bootstrap),
            format_p(pair.p_mcnemar),
            format_p(pair.adjusted_mcnemar),
            f"{pair.verdict} ({LEAKY})" if one.leaky else pair.verdict,
        )
        for pair in one.pairs
    )
    return Table(f"Differences, first less second, {one.title}", headers, rows, _all_rows(one, rows))


def _short(metric: str) -> str:
    return metric.removesuffix(" accuracy")


def pair_name(pair: PairedDifference) -> str:
    """Name a pair, the first model first.

    Parameters
    ----------
    pair : PairedDifference
        Of two models.
    """
    return f"{pair.first} – {pair.second}"


def _differences_figure(one: Comparison) -> Figure:
    metric = one.metric_names[0]
    title = f"Differences in {metric[0].lower()}{metric[1:]} with 95 % intervals, {one.title}"
    values = {
        pair_name(pair): (pair.accuracy.value, pair.accuracy.low, pair.accuracy.high) for pair in one.pairs
    }
    picture = figures.differences_figure(values, title, hollow=list(values) if one.leaky else ())
    text = "; ".join(f"{pair_name(pair)}: {format_points(pair.accuracy)} points" for pair in one.pairs)
    return Figure(title, picture, f"{title}.", f"{title}. {text}")


def _genres_table(one: Comparison) -> Table:
    genres = one.models[0].per_genre
    headers = ("Genre", *(f"{model.name}: {name}" for model in one.models for name in ("recall", "F1")))
    rows = tuple(
        (
            genre.genre,
            *(
                f"{value:.2f}"
                for model in one.models
                for value in (model.per_genre[place].recall, model.per_genre[place].f1)
            ),
        )
        for place, genre in enumerate(genres)
        if genre.support
    )
    caption = f"Recall and F1 per genre, all seeds together, {one.title}"
    return Table(caption, headers, rows, _all_rows(one, rows))


def _differing_settings(settings: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, ...]]:
    """Yield each setting whose value is not the same in all models."""
    for key in dict.fromkeys(key for values in settings.values() for key in values):
        cells = tuple(values.get(key, MISSING) for values in settings.values())
        if len(set(cells)) > 1:
            yield (key, *cells)
