"""The report of evaluations: JSON for programs, Markdown for a repository, one HTML page for people.

Every number of a leaky protocol is marked as such: `Evaluation.title` and `Evaluation.protocol_title` carry
the word into every row, heading and figure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from genrescope.evaluation import (
    LEAKY,
    MIN_ANSWERS,
    CalibrationReport,
    Evaluation,
    Interval,
    LevelResult,
    Threshold,
    mean_std,
)
from genrescope.reporting import figures
from genrescope.reporting.blocks import Block, Figure, Paragraph, Section, Table, iter_figures
from genrescope.reporting.figures import Curve
from genrescope.reporting.formatting import (
    MISSING,
    as_sentence,
    format_count,
    format_interval,
    format_percent,
    format_percent_interval,
)
from genrescope.reporting.label_results import label_results, label_sections
from genrescope.reporting.markdown import render_markdown
from genrescope.reporting.pages import render_sections
from genrescope.utils import write_atomic

# The data set of the publication that reports compare with.
_PAPER_DATA = "gtzan"

Provenance = Mapping[str, str | int | float | bool]

LEAKY_NOTE = (
    f"Rows marked ({LEAKY}): parts of one recording, or recordings of one artist, are in both the training"
    " and the test part. Such numbers say how well a model recognizes what it was trained on, not how well it"
    " does on new music."
)


@dataclass(frozen=True)
class MeasuredAccuracy:
    """An accuracy measured here, as the comparison with a publication shows it.

    Attributes
    ----------
    protocol : str
        The protocol's title, marked where it is leaky.
    leaky : bool
        Whether parts of one recording, or of one artist, are in training and test.
    unit : str
        What was scored: ``track`` or ``segment``.
    accuracy : Interval
    repeats : tuple of float
        The accuracies of repeated splits, if there were several.
    """

    protocol: str
    leaky: bool
    unit: str
    accuracy: Interval
    repeats: tuple[float, ...] = ()


@dataclass(frozen=True)
class PaperComparison:
    """A published accuracy, and what was measured here.

    Attributes
    ----------
    model, setting : str
        What was published, and how it was split.
    paper, literature : float
        The accuracy of the paper, and the highest one that it quotes from others or None; in percent.
    replicated : MeasuredAccuracy or None
        Measured here under the paper's protocol.
    clean : MeasuredAccuracy or None
        Measured here under a protocol that is not leaky.
    """

    model: str
    setting: str
    paper: float
    literature: float | None
    replicated: MeasuredAccuracy | None
    clean: MeasuredAccuracy | None


@dataclass(frozen=True)
class EvaluationReport:
    """What a report contains.

    Attributes
    ----------
    title : str
        The heading.
    evaluations : tuple of Evaluation
        In the order of the sections.
    curves : mapping of str to Curve
        The training runs, keyed by ``"model"`` or ``"model, protocol"``, as the evaluations are named.
    pictures : tuple of Figure
        Such as spectrograms of each genre.
    published : tuple of PaperComparison
        Accuracies of a publication and those measured here, as from
        `genrescope.experiments.compare_with_paper`; shown where GTZAN was measured, the publication's data.
    published_f1 : mapping of str to mapping of str to float
        F1 per genre of the publication's models; shown where GTZAN was measured and all genres are the same.
    published_notes : tuple of str
        What a reader must know of the publication's figures; the first is shown as a warning.
    provenance : mapping of str to str or number
        Data, seed, version, commit, date.
    """

    title: str
    evaluations: tuple[Evaluation, ...]
    curves: Mapping[str, Curve] = field(default_factory=dict)
    pictures: tuple[Figure, ...] = ()
    published: tuple[PaperComparison, ...] = ()
    published_f1: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    published_notes: tuple[str, ...] = ()
    provenance: Provenance = field(default_factory=dict)

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
    """Where a report was written.

    Attributes
    ----------
    json, markdown, html : Path
        The file of each form. The figures of the Markdown file are in the folder ``figures`` beside it, those
        of the HTML file are part of it.
    """

    json: Path
    markdown: Path
    html: Path


def write_report(report: EvaluationReport, folder: str | Path) -> ReportPaths:
    """Write report.json, report.md with its figures, and report.html, each of them atomically.

    All figures are drawn before the first file is written.

    Parameters
    ----------
    report : EvaluationReport
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
    return write_sections(report.title, _lead(report), _sections(report), report.to_json(), Path(folder))


def write_sections(
    title: str, lead: str, sections: tuple[Section, ...], content: Mapping[str, Any], folder: Path
) -> ReportPaths:
    """Write the three forms of a report, each of them atomically.

    Parameters
    ----------
    title, lead : str
        The heading and the line below it.
    sections : tuple of Section
        For Markdown and HTML.
    content : mapping of str to object
        For JSON.
    folder : Path
        Created where it does not exist.

    Returns
    -------
    ReportPaths
        The three files.

    Raises
    ------
    WriteError
        ``write_failed``.
    """
    texts: dict[Path, str | bytes] = {
        folder / "figures" / figure.file_name: figure.image for figure in iter_figures(sections)
    }
    paths = ReportPaths(folder / "report.json", folder / "report.md", folder / "report.html")
    texts[paths.json] = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    texts[paths.markdown] = render_markdown(title, lead, sections)
    texts[paths.html] = render_sections(title, lead, sections, footer="Made by genrescope.", sortable=True)
    for path, text in texts.items():
        write_atomic(path, text)
    return paths


def _sections(report: EvaluationReport) -> tuple[Section, ...]:
    """Return the whole report as sections, without empty ones."""
    named = _name_evaluations(report.evaluations)
    sections = (
        Section("Results", tuple(_results(named))),
        Section("Comparison with the paper", tuple(_paper_comparison(report))),
        Section("Results per genre", tuple(_genres(named, report.published_f1))),
        *(Section(name, tuple(_evaluation_section(name, one))) for name, one in named.items()),
        Section("Learning curves", tuple(_curves(report))),
        Section("Examples of the input", report.pictures),
        Section("Provenance", tuple(_provenance(report.provenance))),
    )
    return tuple(section for section in sections if section.blocks)


def _lead(report: EvaluationReport) -> str:
    """Return the line below the title."""
    data = " and ".join(sorted({one.data for one in report.evaluations if one.data}))
    models = format_count(len({one.model for one in report.evaluations}), "model")
    what = f"{models}{f' on {data}' if data else ''}"
    return f"{what}. Brackets hold 95 % intervals, from a bootstrap over groups (artists or recordings)."


def _name_evaluations(evaluations: tuple[Evaluation, ...]) -> dict[str, Evaluation]:
    """Name each evaluation by its title; where titles repeat, by its seed, then by its number too."""
    named: dict[str, Evaluation] = {}
    titles = [one.title for one in evaluations]
    for place, one in enumerate(evaluations, 1):
        name = one.title if titles.count(one.title) == 1 else f"{one.title}, seed {one.seed}"
        named[name if name not in named else f"{name}, number {place}"] = one
    return named


# Results of all models


def _results(named: Mapping[str, Evaluation]) -> Iterator[Block]:
    """Yield the main table and its figure."""
    if any(one.leaky for one in named.values()):
        yield Paragraph(LEAKY_NOTE, warning=True)
    results = [
        (f"{name}, by {level.unit}", one, level) for name, one in named.items() for level in one.levels
    ]
    yield from label_results(named)
    if not results:
        return
    headers = (
        *("Model", "Protocol", "Accuracy", "Macro F1", "Majority"),
        *("Scored by", "Tested", "Groups", "Seed"),
    )
    rows = tuple(_result_row(one, level) for _, one, level in results)
    yield Table("All models and protocols", headers, rows, _leaky_rows([one for _, one, _ in results]))
    intervals = {name: level.accuracy for name, _, level in results}
    hollow = [name for name, one, _ in results if one.leaky]
    title = f"Accuracy with 95 % intervals{f', hollow where {LEAKY}' if hollow else ''}"
    picture = figures.intervals_figure(
        {name: (one.value, one.low, one.high) for name, one in intervals.items()}, title, hollow=hollow
    )
    text = "; ".join(f"{name}: {format_percent_interval(one)}" for name, one in intervals.items())
    yield Figure("accuracy", picture, f"{title}.", f"{title}. {text}")
    yield from _calibration_table(named.values())


def _result_row(one: Evaluation, level: LevelResult) -> tuple[str, ...]:
    """Return one row of the main table."""
    baseline = level.majority_baseline
    return (
        one.model,
        one.protocol_title,
        format_percent_interval(level.accuracy),
        format_interval(level.macro_f1),
        MISSING if baseline is None else format_percent(baseline, 1),
        level.unit,
        str(level.n),
        str(level.groups),
        str(one.seed),
    )


def _leaky_rows(evaluations: Iterable[Evaluation]) -> frozenset[int]:
    """Return which rows of a table, one per evaluation, are of a leaky protocol."""
    return frozenset(place for place, one in enumerate(evaluations) if one.leaky)


def _calibration_table(evaluations: Iterable[Evaluation]) -> Iterator[Block]:
    """Yield a table of calibration and coverage, with a row per evaluation that has them."""
    rated = [
        (one, level.calibration, level.calibration_error)
        for one in evaluations
        for level in one.levels
        if level.calibration is not None and level.calibration_error is not None
    ]
    if not rated:
        return
    headers = (
        *("Model", "Protocol", "Calibration error", "Expected by chance"),
        *("Coverage, best threshold", "Coverage, the model's threshold"),
    )
    rows = tuple(
        (
            one.model,
            one.protocol_title,
            f"{error:.3f}",
            f"{calibration.expected_ece:.3f}",
            _coverage_text(calibration.best_threshold),
            _coverage_text(calibration.model_threshold),
        )
        for one, calibration, error in rated
    )
    yield Table("Calibration and coverage, by track", headers, rows, _leaky_rows(one for one, _, _ in rated))


def _coverage_text(threshold: Threshold | None) -> str:
    """Return in short the share answered, the threshold, and the share of these that is correct."""
    if threshold is None:
        return MISSING
    answered, correct = format_percent(threshold.coverage, 1), format_percent(threshold.accuracy, 1)
    return f"{answered} from {threshold.score:.2f}, {correct} correct"


# Comparison with a publication


def _paper_comparison(report: EvaluationReport) -> Iterator[Block]:
    """Yield the published accuracies, those measured here, and notes on the publication."""
    if not report.published or not any(one.data.casefold() == _PAPER_DATA for one in report.evaluations):
        return
    headers = (
        *("Model", "Setting in the paper", "Literature", "Paper"),
        *("Measured, paper's protocol", "Measured, not leaky"),
    )
    rows = tuple(
        (
            row.model,
            row.setting,
            _published_percent(row.literature),
            _published_percent(row.paper),
            _measured_text(row.replicated),
            _measured_text(row.clean),
        )
        for row in report.published
    )
    for note in report.published_notes[:1]:
        yield Paragraph(note, warning=True)
    yield Table("Accuracy in the paper and measured here", headers, rows)
    for note in report.published_notes[1:]:
        yield Paragraph(note)


def _measured_text(measured: MeasuredAccuracy | None) -> str:
    """Return an accuracy with its protocol."""
    if measured is None:
        return MISSING
    accuracy = format_percent_interval(measured.accuracy)
    if len(measured.repeats) > 1:
        mean, deviation = mean_std(measured.repeats)
        seeds = len(measured.repeats)
        accuracy = f"{100 * mean:.1f} % \u00b1 {100 * deviation:.1f} (standard deviation over {seeds} seeds)"
    return f"{accuracy} by {measured.unit}, {measured.protocol}"


def _published_percent(percent: float | None) -> str:
    """Return a percentage as it was printed, or a dash."""
    return MISSING if percent is None else f"{percent:g} %"


# Results per genre


def _genres(named: Mapping[str, Evaluation], published: Mapping[str, Mapping[str, float]]) -> Iterator[Block]:
    """Yield F1 per genre for all models, as tables and, per protocol, as bars (the paper's Figure 12)."""
    models = [one.model for one in named.values()]
    for classes in dict.fromkeys(one.classes for one in named.values()):
        alike = {name: one for name, one in named.items() if one.classes == classes and one.levels}
        tested = [
            any(one.levels[0].per_genre[i].support for one in alike.values()) for i in range(len(classes))
        ]
        lines = {f"{name}, by {one.levels[0].unit}": _f1(one) for name, one in alike.items()}
        if not lines:
            continue
        # What was published is of one data set, and says nothing beside results on another.
        if any(one.data.casefold() == _PAPER_DATA for one in alike.values()):
            lines |= {
                name: tuple(values[genre] for genre in classes)
                for name, values in published.items()
                if set(values) == set(classes)
            }
        marked = frozenset(place for place, name in enumerate(lines) if f"({LEAKY})" in name)
        rows = tuple((name, *map(_f1_text, compress(values, tested))) for name, values in lines.items())
        genres = tuple(compress(classes, tested))
        yield Table("F1 per genre", ("Model", *genres), rows, marked)
        yield from _untested(tuple(genre for genre in classes if genre not in genres))
        for protocol in dict.fromkeys(one.protocol_title for one in alike.values()):
            bars = _f1_by_model({name: one for name, one in alike.items() if one.protocol_title == protocol})
            title = f"F1 per genre, {protocol}"
            shown = {name: tuple(compress(values, tested)) for name, values in bars.items()}
            picture = figures.comparison_figure(shown, genres, title, order=models)
            yield Figure(f"{title} {len(classes)}", picture, f"{title}.", f"Bars: {title}, as in the table")


def _untested(genres: Sequence[str]) -> Iterator[Paragraph]:
    """Yield which genres of a model are left out, if any."""
    if genres:
        yield Paragraph(f"Left out, as no track of them was tested: {', '.join(genres)}.")


def _f1_by_model(named: Mapping[str, Evaluation]) -> dict[str, tuple[float, ...]]:
    """Return F1 per genre by model; where a model occurs twice, by the evaluation's name."""
    repeated = len({one.model for one in named.values()}) < len(named)
    return {name if repeated else one.model: _f1(one) for name, one in named.items()}


def _f1(one: Evaluation) -> tuple[float, ...]:
    """Return the F1 of every genre, of tracks where there are any; NaN where none of it was tested."""
    return tuple(genre.f1 if genre.support else math.nan for genre in one.levels[0].per_genre)


def _f1_text(value: float) -> str:
    """Return an F1 with two digits, or a dash for one that is not defined."""
    return MISSING if math.isnan(value) else f"{value:.2f}"


# One evaluation


def _evaluation_section(name: str, one: Evaluation) -> Iterator[Block]:
    """Yield what is known of one evaluation; a second level is folded."""
    if one.leaky:
        reason = (
            one.protocol_note.removeprefix(f"{LEAKY}: ")
            or "the same recordings or artists are in the training and in the test part"
        )
        yield Paragraph(f"This protocol is {LEAKY}: {reason}.", warning=True)
    for note in (*([] if one.leaky else [one.protocol_note]), *one.notes):
        if note:
            yield Paragraph(as_sentence(note))
    yield from label_sections(name, one)
    for place, level in enumerate(one.levels):
        blocks = tuple(_level_section(name, one, level))
        yield from blocks if place == 0 else (Section(f"The same by {level.unit}", blocks, folded=True),)


def _level_section(name: str, one: Evaluation, level: LevelResult) -> Iterator[Block]:
    """Yield one level's sentence, table and figures; ``name`` is the evaluation's in this report."""
    title = f"{name}, by {level.unit}"
    accuracy, macro_f1 = format_percent_interval(level.accuracy), format_interval(level.macro_f1)
    facts = f"accuracy {accuracy}, macro F1 {macro_f1}{_calibration_error_text(level)}"
    yield Paragraph(f"{title}: {facts}; {level.n} tested, from {level.groups} groups.")
    rows = tuple(
        (row.genre, *(f"{value:.2f}" for value in (row.precision, row.recall, row.f1)), str(row.support))
        for row in level.per_genre
        if row.support
    )
    marked = frozenset(range(len(rows))) if one.leaky else frozenset()
    yield Table(f"Per genre: {title}", ("Genre", "Precision", "Recall", "F1", "Support"), rows, marked)
    yield from _untested(tuple(row.genre for row in level.per_genre if not row.support))
    yield _confusion(title, level, one.classes)
    if level.calibration is not None:
        yield _reliability(title, level.calibration)
        yield _coverage(title, level.calibration)
        yield Paragraph(" ".join(_threshold_text(level.calibration)))


def _confusion(title: str, level: LevelResult, classes: tuple[str, ...]) -> Figure:
    """Return the confusion matrix, without rows of untested genres and columns of these without a count."""
    counts = np.array(level.confusion).reshape(len(classes), len(classes))
    true = [place for place, row in enumerate(level.per_genre) if row.support]
    named = [place for place in range(len(classes)) if place in true or counts[:, place].any()]
    rows, columns = ([classes[place] for place in places] for places in (true, named))
    picture = figures.confusion_figure(counts[np.ix_(true, named)].tolist(), rows, title, predicted=columns)
    caption = f"Confusion matrix: {title}. Numbers are counts, shading is the share of the true genre."
    return Figure(f"confusion {title}", picture, caption, f"{caption} {_most_confused(level, classes)}")


def _calibration_error_text(level: LevelResult) -> str:
    """Return the end of a sentence: the calibration error, where it is known."""
    if level.calibration_error is None:
        return ""
    chance = (
        "" if level.calibration is None else f" ({level.calibration.expected_ece:.3f} expected by chance)"
    )
    return f", calibration error {level.calibration_error:.3f}{chance}"


def _reliability(title: str, calibration: CalibrationReport) -> Figure:
    """Return the reliability diagram."""
    caption = (
        f"Reliability: {title}. Dots on the dashed line mean that a score of 0.8 is correct 80 % of the time;"
        " below it the model is overconfident. The lower bars count tracks."
    )
    text = "; ".join(
        f"scores {one.low:.1f} to {one.high:.1f}: {one.n} tracks, mean {one.confidence:.2f},"
        f" correct {one.accuracy:.2f}"
        for one in calibration.bins
    )
    picture = figures.reliability_figure(calibration.bins, f"Reliability\n{title}")
    return Figure(f"reliability {title}", picture, caption, f"Reliability: {title}. {text}")


def _coverage(title: str, calibration: CalibrationReport) -> Figure:
    """Return the curve of accuracy against coverage."""
    points = {"best threshold": calibration.best_threshold, "model's threshold": calibration.model_threshold}
    marks = {name: point for name, point in points.items() if point is not None}
    target = calibration.target_accuracy
    picture = figures.coverage_figure(
        calibration.curve, f"Coverage\n{title}", target_accuracy=target, marks=marks
    )
    caption = (
        f"Accuracy against coverage: {title}. The fewer tracks are answered, those with the highest scores"
        f" first, the more of them should be correct; dashed: {100 * target:g} %."
    )
    overall = format_percent(calibration.curve[-1].accuracy, 1)
    text = "; ".join(f"{name}: {_coverage_text(point)}" for name, point in marks.items())
    return Figure(f"coverage {title}", picture, caption, f"{caption} All answered: {overall}. {text}")


def _threshold_text(calibration: CalibrationReport) -> Iterator[str]:
    """Yield sentences on what answering only at high scores would give."""
    target = f"{100 * calibration.target_accuracy:g} %"
    best, own = calibration.best_threshold, calibration.model_threshold
    if best is None:
        yield f"No threshold leaves {MIN_ANSWERS} tracks or more that are answered with {target} correct."
    else:
        answered, correct = format_percent(best.coverage, 1), format_percent(best.accuracy, 1)
        yield (
            f"Answering only at a score of {best.score:.2f} or more, the model would answer {answered} of the"
            f" tracks and be correct in {correct} of these. The threshold is the lowest that reaches {target}"
            " on these very tracks, so that new ones may do worse."
        )
    if own is not None:
        answered, correct = format_percent(own.coverage, 1), format_percent(own.accuracy, 1)
        yield (
            f"With its own threshold, {own.score:.2f}, chosen on other tracks, it answers {answered} and is"
            f" correct in {correct} of these."
        )


def _most_confused(level: LevelResult, classes: tuple[str, ...]) -> str:
    """Return the three most frequent confusions as text."""
    places = range(len(classes))
    pairs = [(level.confusion[i][j], classes[i], classes[j]) for i in places for j in places if i != j]
    worst = sorted((pair for pair in pairs if pair[0]), reverse=True)[:3]
    return "; ".join(f"{true} taken for {predicted}: {count}" for count, true, predicted in worst)


# Training and provenance


def _curves(report: EvaluationReport) -> Iterator[Block]:
    """Yield a figure for each training run."""
    for name, curve in report.curves.items():
        leaky = _is_leaky_run(name, report.evaluations) and LEAKY not in name
        title = f"Training of {name}{f' ({LEAKY})' if leaky else ''}"
        summary = f"{len(curve.epochs)} epochs"
        if curve.validation_accuracy:
            summary += f", validation {curve.metric} at the end {100 * curve.validation_accuracy[-1]:.1f} %"
        picture = figures.curves_figure(curve, title)
        yield Figure(title, picture, f"{title}: {summary}.", f"{title}: {summary}")


def _is_leaky_run(name: str, evaluations: tuple[Evaluation, ...]) -> bool:
    """Tell whether a training run, named by model or by model and protocol, belongs to a leaky protocol."""
    return any(
        one.leaky and name in (one.model, one.title, f"{one.model}, {one.protocol}") for one in evaluations
    )


def _provenance(provenance: Provenance) -> Iterator[Block]:
    """Yield where the numbers come from."""
    if provenance:
        rows = tuple((name, str(value)) for name, value in provenance.items())
        yield Table("Where these numbers come from", ("What", "Value"), rows)
