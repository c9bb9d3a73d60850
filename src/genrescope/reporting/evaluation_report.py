"""Scores to a report: JSON for machines, Markdown for a repository, one HTML page for people.

Wherever a number of a leaky protocol stands, the word stands beside it: `Evaluation.title` and
`Evaluation.protocol_title` carry it into every row, heading and figure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from genrescope.evaluation import LEAKY, Evaluation, Interval, LevelResult, mean_std
from genrescope.reporting import document, figures, scorecard
from genrescope.reporting.document import Block, Figure, Paragraph, Section, Table
from genrescope.reporting.figures import Curve
from genrescope.reporting.scorecard import NONE, percent, share
from genrescope.utils import write_atomic

LEAKY_NOTE = (
    f"Rows marked ({LEAKY}): pieces of one recording, or of one artist, stand on both sides of the split."
    " Such numbers tell how well a model knows again what it has heard, not how it does on new music."
)


@dataclass(frozen=True)
class MeasuredAccuracy:
    """One of our own accuracies, as it stands beside the paper's."""

    protocol: str
    leaky: bool
    unit: str
    accuracy: Interval
    repeats: tuple[float, ...] = ()


@dataclass(frozen=True)
class PaperComparison:
    """A figure of the paper, and what genrescope reaches; accuracies of the paper in percent.

    ``replicated`` is ours under the paper's protocol, ``clean`` ours under one that is not leaky.
    """

    model: str
    setting: str
    paper: float
    literature: float | None
    replicated: MeasuredAccuracy | None
    clean: MeasuredAccuracy | None


@dataclass(frozen=True)
class EvaluationReport:
    """What a report says.

    Attributes
    ----------
    evaluations : tuple of Evaluation
    curves : mapping of run to Curve
        Keyed by ``"model"`` or ``"model, protocol"``, as the evaluations are named.
    pictures : tuple of Figure
        Such as spectrograms of each genre.
    published : tuple of PaperComparison
        The accuracies of a publication beside ours; see `genrescope.experiments.compare_with_paper`.
    published_f1 : mapping of name to mapping of genre to float
        F1 per genre of the publication's models, shown where all genres are the same.
    published_notes : tuple of str
        What a reader must know of the publication's figures; the first is set as a warning.
    provenance : mapping of str to text or number
        Data, seed, version, commit, date.
    """

    title: str
    evaluations: tuple[Evaluation, ...]
    curves: Mapping[str, Curve] = field(default_factory=dict)
    pictures: tuple[Figure, ...] = ()
    published: tuple[PaperComparison, ...] = ()
    published_f1: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    published_notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-ready data, without its pictures."""
        return {
            "title": self.title,
            "provenance": dict(self.provenance),
            "evaluations": [evaluation.to_json() for evaluation in self.evaluations],
            "curves": {
                name: {"leaky": _is_leaky_run(name, self.evaluations)} | curve.to_json()
                for name, curve in self.curves.items()
            },
            "published": [asdict(row) for row in self.published],
            "pictures": [{"name": picture.name, "caption": picture.caption} for picture in self.pictures],
        }


class ReportPaths(NamedTuple):
    """Where a report was written."""

    json: Path
    markdown: Path
    html: Path


def write_report(report: EvaluationReport, folder: str | Path) -> ReportPaths:
    """Write report.json, report.md with its figures, and report.html into a folder, each of them whole.

    All is drawn before the first file is touched.

    Raises
    ------
    WriteError, MissingDependencyError
        ``write_failed``; ``missing_dependency`` without matplotlib.
    """
    target = Path(folder)
    sections = _sections(report)
    lead = _lead(report)
    texts: dict[Path, str | bytes] = {
        target / "figures" / figure.file_name: figure.image for figure in document.pictures(sections)
    }
    paths = ReportPaths(target / "report.json", target / "report.md", target / "report.html")
    texts[paths.json] = json.dumps(report.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    texts[paths.markdown] = document.markdown(report.title, lead, sections)
    texts[paths.html] = document.html(report.title, lead, sections, footer="Made by genrescope.")
    for path, text in texts.items():
        write_atomic(path, text)
    return paths


def _sections(report: EvaluationReport) -> tuple[Section, ...]:
    """Return the whole report as sections, empty ones left out."""
    names = _names(report.evaluations)
    sections = (
        Section("Results", tuple(_results(names))),
        Section("Beside the paper", tuple(_beside_the_paper(report))),
        Section("Genre by genre", tuple(_genres(names, report.published_f1))),
        *(Section(name, tuple(_evaluation(name, one))) for name, one in names.items()),
        Section("Learning curves", tuple(_curves(report))),
        Section("What the models see", report.pictures),
        Section("Provenance", tuple(_provenance(report.provenance))),
    )
    return tuple(section for section in sections if section.blocks)


def _lead(report: EvaluationReport) -> str:
    """Return the line below the title."""
    data = " and ".join(sorted({one.data for one in report.evaluations if one.data}))
    models = len({one.model for one in report.evaluations})
    what = f"{models} {'model' if models == 1 else 'models'}{f' on {data}' if data else ''}"
    return f"{what}. Brackets hold 95 % intervals, from a bootstrap over groups (artists or recordings)."


def _names(evaluations: tuple[Evaluation, ...]) -> dict[str, Evaluation]:
    """Name each evaluation by its title; where titles repeat, by seed, then by number too."""
    named: dict[str, Evaluation] = {}
    titles = [one.title for one in evaluations]
    for place, one in enumerate(evaluations, 1):
        name = one.title if titles.count(one.title) == 1 else f"{one.title}, seed {one.seed}"
        named[name if name not in named else f"{name}, number {place}"] = one
    return named


def _results(names: Mapping[str, Evaluation]) -> Iterator[Block]:
    """Yield the headline table and its picture."""
    if any(one.leaky for one in names.values()):
        yield Paragraph(LEAKY_NOTE, warning=True)
    pairs = [(name, one, level) for name, one in names.items() for level in one.levels]
    if not pairs:
        return
    headers = (
        "Model",
        "Protocol",
        "Scored by",
        "Tested",
        "Groups",
        "Accuracy",
        "Macro F1",
        "Majority",
        "Seed",
    )
    rows = tuple(_result_row(one, level) for _, one, level in pairs)
    marked = frozenset(place for place, (_, one, _) in enumerate(pairs) if one.leaky)
    yield Table("All models and protocols", headers, rows, marked)
    intervals = {f"{name}, by {level.unit}": level.accuracy for name, _, level in pairs}
    hollow = [f"{name}, by {level.unit}" for name, one, level in pairs if one.leaky]
    title = f"Accuracy with 95 % intervals{f', hollow where {LEAKY}' if hollow else ''}"
    values = {name: (one.value, one.low, one.high) for name, one in intervals.items()}
    words = "; ".join(f"{name}: {percent(one)}" for name, one in intervals.items())
    yield Figure(
        "accuracy", figures.intervals_figure(values, title, hollow=hollow), title + ".", f"{title}. {words}"
    )
    yield from scorecard.calibration_table(names.values())


def _result_row(one: Evaluation, level: LevelResult) -> tuple[str, ...]:
    """Return one line of the headline table."""
    baseline = NONE if level.majority_baseline is None else f"{100 * level.majority_baseline:.1f} %"
    scores = (percent(level.accuracy), share(level.macro_f1), baseline)
    return (
        one.model,
        one.protocol_title,
        level.unit,
        str(level.n),
        str(level.groups),
        *scores,
        str(one.seed),
    )


def _beside_the_paper(report: EvaluationReport) -> Iterator[Block]:
    """Yield the paper's accuracies beside ours, and where the paper contradicts itself."""
    if not report.published:
        return
    headers = (
        "Model",
        "Setting in the paper",
        "Literature",
        "Paper",
        "Ours, paper's protocol",
        "Ours, not leaky",
    )
    rows = tuple(
        (
            row.model,
            row.setting,
            _number(row.literature),
            _number(row.paper),
            _cell(row.replicated),
            _cell(row.clean),
        )
        for row in report.published
    )
    for note in report.published_notes[:1]:
        yield Paragraph(note, warning=True)
    yield Table("Accuracy: the paper's and ours", headers, rows)
    for note in report.published_notes[1:]:
        yield Paragraph(note)


def _genres(names: Mapping[str, Evaluation], published: Mapping[str, Mapping[str, float]]) -> Iterator[Block]:
    """Yield F1 per genre for all models, as tables and, per protocol, as bars (the paper's Figure 12)."""
    models = [one.model for one in names.values()]
    for classes in dict.fromkeys(one.classes for one in names.values()):
        here = {name: one for name, one in names.items() if one.classes == classes and one.levels}
        lines = {f"{name}, by {one.levels[0].unit}": _f1(one) for name, one in here.items()}
        lines |= {
            name: tuple(values[genre] for genre in classes)
            for name, values in published.items()
            if set(values) == set(classes)
        }
        marked = frozenset(place for place, name in enumerate(lines) if f"({LEAKY})" in name)
        rows = tuple((name, *(f"{value:.2f}" for value in values)) for name, values in lines.items())
        yield Table("F1 per genre", ("Model", *classes), rows, marked)
        for protocol in dict.fromkeys(one.protocol_title for one in here.values()):
            bars = _bars({name: one for name, one in here.items() if one.protocol_title == protocol})
            title = f"F1 per genre, {protocol}"
            picture = figures.comparison_figure(bars, classes, title, order=models)
            yield Figure(f"{title} {len(classes)}", picture, f"{title}.", f"Bars: {title}, as in the table")


def _bars(names: Mapping[str, Evaluation]) -> dict[str, tuple[float, ...]]:
    """Return F1 per genre by model; where a model stands twice, by the evaluation's name."""
    repeated = len({one.model for one in names.values()}) < len(names)
    return {name if repeated else one.model: _f1(one) for name, one in names.items()}


def _f1(one: Evaluation) -> tuple[float, ...]:
    """Return the F1 of every genre, of tracks where there are any."""
    return tuple(genre.f1 for genre in one.levels[0].per_genre)


def _evaluation(name: str, one: Evaluation) -> Iterator[Block]:
    """Yield what is known of one evaluation; a second level is folded."""
    if one.leaky:
        reason = (
            one.protocol_note.removeprefix(f"{LEAKY}: ")
            or "the same recordings or artists stand on both sides"
        )
        yield Paragraph(f"This protocol is {LEAKY}: {reason}.", warning=True)
    elif one.protocol_note:
        yield Paragraph(one.protocol_note)
    for note in one.notes:
        yield Paragraph(note)
    for place, level in enumerate(one.levels):
        blocks = tuple(scorecard.level_section(name, one, level))
        yield from blocks if place == 0 else (Section(f"The same by {level.unit}", blocks, folded=True),)


def _curves(report: EvaluationReport) -> Iterator[Block]:
    """Yield a picture for each training."""
    for name, curve in report.curves.items():
        leaky = _is_leaky_run(name, report.evaluations) and LEAKY not in name
        title = f"Training of {name}{f' ({LEAKY})' if leaky else ''}"
        last = f"{len(curve.epochs)} epochs"
        if curve.validation_accuracy:
            last += f", validation accuracy at the end {100 * curve.validation_accuracy[-1]:.1f} %"
        yield Figure(title, figures.curves_figure(curve, title), f"{title}: {last}.", f"{title}: {last}")


def _is_leaky_run(name: str, evaluations: tuple[Evaluation, ...]) -> bool:
    """Tell whether a training, named by model or by model and protocol, belongs to a leaky protocol."""
    return any(
        one.leaky and name in (one.model, one.title, f"{one.model}, {one.protocol}") for one in evaluations
    )


def _provenance(provenance: Mapping[str, Any]) -> Iterator[Block]:
    """Yield where the numbers come from."""
    if provenance:
        rows = tuple((str(name), str(value)) for name, value in provenance.items())
        yield Table("Where these numbers come from", ("What", "Value"), rows)


def _cell(ours: MeasuredAccuracy | None) -> str:
    """Return an accuracy of ours with its protocol."""
    if ours is None:
        return NONE
    if len(ours.repeats) > 1:
        mean, deviation = mean_std(ours.repeats)
        spread = f"{100 * mean:.1f} % \u00b1 {100 * deviation:.1f} (deviation over {len(ours.repeats)} seeds)"
        return f"{spread} by {ours.unit}, {ours.protocol}"
    return f"{percent(ours.accuracy)} by {ours.unit}, {ours.protocol}"


def _number(percent: float | None) -> str:
    """Return a percentage as the paper prints it, or a dash."""
    return NONE if percent is None else f"{percent:g} %"
