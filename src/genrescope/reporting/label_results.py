"""Parts of the evaluation report for multi-label tasks: areas under curves, rankings, F1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from genrescope.evaluation import Evaluation, LabelLevelResult
from genrescope.reporting import figures
from genrescope.reporting.blocks import Block, Figure, Paragraph, Section, Table
from genrescope.reporting.formatting import MISSING, format_interval


def label_results(named: Mapping[str, Evaluation]) -> Iterator[Block]:
    """Yield the main table of multi-label evaluations; nothing where there are none.

    Parameters
    ----------
    named : mapping of str to Evaluation
        By the name that each has in the report.
    """
    levels = [(one, level) for one in named.values() for level in one.label_levels]
    if not levels:
        return
    names = list(dict.fromkeys(name for _, level in levels for name in level.summary))
    headers = ("Model", "Protocol", "Scored by", "Tested", "Groups", *names, "PR-AUC by chance", "Seed")
    rows = tuple(
        (
            one.model,
            one.protocol_title,
            level.unit,
            str(level.n),
            str(level.groups),
            *(format_interval(level.summary[name]) if name in level.summary else MISSING for name in names),
            f"{level.prevalence:.2f}",
            str(one.seed),
        )
        for one, level in levels
    )
    leaky = frozenset(place for place, (one, _) in enumerate(levels) if one.leaky)
    yield Table("Multi-label results of all models and protocols", headers, rows, leaky)


def label_sections(name: str, one: Evaluation) -> Iterator[Block]:
    """Yield the levels of a multi-label evaluation; a second one is folded.

    Parameters
    ----------
    name : str
        Of the evaluation in the report.
    one : Evaluation
    """
    for place, level in enumerate(one.label_levels):
        blocks = tuple(_level(f"{name}, by {level.unit}", one, level))
        yield from blocks if place == 0 else (Section(f"The same by {level.unit}", blocks, folded=True),)


def _level(title: str, one: Evaluation, level: LabelLevelResult) -> Iterator[Block]:
    facts = ", ".join(f"{name} {format_interval(value)}" for name, value in level.summary.items())
    yield Paragraph(
        f"{title}: {facts}; calibration error {level.calibration_error:.3f}; {level.n} tested, from"
        f" {level.groups} groups. By chance the macro PR-AUC would be {level.prevalence:.2f}."
    )
    picture = figures.intervals_figure(
        {name: (value.value, value.low, value.high) for name, value in level.summary.items()},
        f"{title}\n95 % intervals",
        hollow=list(level.summary) if one.leaky else (),
    )
    yield Figure(f"metrics {title}", picture, f"Metrics with 95 % intervals: {title}.", f"{title}: {facts}")
    headers = ("Genre", "ROC-AUC", "PR-AUC", "Precision", "Recall", "F1", "Threshold", "Support", "Judged")
    rows = tuple(
        (
            label.genre,
            *(_decimal(value) for value in (label.roc_auc, label.pr_auc, label.precision, label.recall)),
            *(_decimal(value) for value in (label.f1, label.threshold)),
            str(label.support),
            str(label.judged),
        )
        for label in level.per_label
        if label.support
    )
    marked = frozenset(range(len(rows))) if one.leaky else frozenset()
    yield Table(f"Per genre: {title}", headers, rows, marked)
    points = tuple(
        (f"{point.threshold:.1f}", f"{point.micro_f1:.2f}", f"{point.macro_f1:.2f}") for point in level.f1_at
    )
    marked = frozenset(range(len(points))) if one.leaky else frozenset()
    yield Table(
        f"F1 with one threshold for all genres: {title}", ("Threshold", "Micro", "Macro"), points, marked
    )


def _decimal(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"
