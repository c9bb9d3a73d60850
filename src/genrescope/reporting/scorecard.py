"""One level of an evaluation as blocks of a document: its sentences, table and figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from genrescope.evaluation import MIN_ANSWERS, CalibrationReport, Evaluation, Interval, LevelResult, Threshold
from genrescope.reporting import figures
from genrescope.reporting.document import Block, Figure, Paragraph, Table

NONE = "–"


def level_section(name: str, one: Evaluation, level: LevelResult) -> Iterator[Block]:
    """Yield one level's sentence, table and figures; ``name`` is the evaluation's in this report."""
    title = f"{name}, by {level.unit}"
    facts = f"accuracy {percent(level.accuracy)}, macro F1 {share(level.macro_f1)}{_error(level)}"
    yield Paragraph(f"{title}: {facts}; {level.n} tested, from {level.groups} groups.")
    rows = tuple(
        (row.genre, f"{row.precision:.2f}", f"{row.recall:.2f}", f"{row.f1:.2f}", str(row.support))
        for row in level.per_genre
    )
    marked = frozenset(range(len(rows))) if one.leaky else frozenset()
    yield Table(f"Per genre: {title}", ("Genre", "Precision", "Recall", "F1", "Support"), rows, marked)
    picture = figures.confusion_figure(level.confusion, one.classes, title)
    caption = f"Confusion matrix: {title}. Numbers are counts, shading is the share of the true genre."
    yield Figure(f"confusion {title}", picture, caption, f"{caption} {_confusions(level, one.classes)}")
    if level.calibration is not None:
        yield _reliability(title, level.calibration)
        yield Paragraph(" ".join(_threshold_text(level.calibration)))
        yield _coverage(title, level.calibration)


def calibration_table(evaluations: Iterable[Evaluation]) -> Iterator[Block]:
    """Yield a table of calibration and coverage, a row per evaluation that knows them."""
    known = [(one, level) for one in evaluations for level in one.levels if level.calibration is not None]
    if known:
        errors = ("Calibration error", "By chance alone")
        headers = ("Model", "Protocol", *errors, "Answered, best threshold", "Answered, own threshold")
        marked = frozenset(place for place, (one, _) in enumerate(known) if one.leaky)
        rows = tuple(_calibration_row(one, level) for one, level in known)
        yield Table("Trust and doubt, by track", headers, rows, marked)


def percent(interval: Interval) -> str:
    """Return a share and its bounds in percent."""
    return f"{100 * interval.value:.1f} % [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def share(interval: Interval) -> str:
    """Return a share and its bounds with two decimals."""
    return f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def _calibration_row(one: Evaluation, level: LevelResult) -> tuple[str, ...]:
    """Return one line of the table of trust."""
    doubt, error = level.calibration, level.calibration_error
    assert doubt is not None  # asked for by the caller
    assert error is not None  # known wherever doubt is
    errors = f"{error:.3f}", f"{doubt.expected_ece:.3f}"
    return (
        one.model,
        one.protocol_title,
        *errors,
        _outcome(doubt.best_threshold),
        _outcome(doubt.model_threshold),
    )


def _outcome(threshold: Threshold | None) -> str:
    """Return in short what comes of a threshold: share answered, from which score, and right of these."""
    if threshold is None:
        return NONE
    answered, right = 100 * threshold.coverage, 100 * threshold.accuracy
    return f"{answered:.1f} % from {threshold.score:.2f}, {right:.1f} % right"


def _error(level: LevelResult) -> str:
    """Return the end of a sentence: the calibration error, where it is known."""
    if level.calibration_error is None:
        return ""
    chance = "" if level.calibration is None else f" (by chance alone {level.calibration.expected_ece:.3f})"
    return f", calibration error {level.calibration_error:.3f}{chance}"


def _reliability(title: str, doubt: CalibrationReport) -> Figure:
    """Return the reliability diagram."""
    caption = (
        f"Reliability: {title}. Dots on the dashed line mean that a score of 0.8 is right 80 % of the time;"
        " below it the model is too sure. The lower bars count tracks."
    )
    words = "; ".join(
        f"scores {one.low:.1f} to {one.high:.1f}: {one.n} tracks, mean {one.confidence:.2f},"
        f" right {one.accuracy:.2f}"
        for one in doubt.bins
    )
    picture = figures.reliability_figure(doubt.bins, f"Reliability\n{title}")
    return Figure(f"reliability {title}", picture, caption, f"Reliability: {title}. {words}")


def _coverage(title: str, doubt: CalibrationReport) -> Figure:
    """Return the curve of accuracy against coverage."""
    marks = {"best threshold": doubt.best_threshold, "own threshold": doubt.model_threshold}
    drawn = {name: point for name, point in marks.items() if point is not None}
    picture = figures.coverage_figure(
        doubt.curve, f"Coverage\n{title}", asked=doubt.target_accuracy, marks=drawn
    )
    caption = (
        f"Accuracy against coverage: {title}. The fewer tracks are answered, the surest first, the more of"
        f" them should be right; dashed: {100 * doubt.target_accuracy:g} %."
    )
    whole = doubt.curve[-1]
    words = "; ".join(f"{name}: {_outcome(point)}" for name, point in drawn.items())
    return Figure(
        f"coverage {title}",
        picture,
        caption,
        f"{caption} All answered: {100 * whole.accuracy:.1f} %. {words}",
    )


def _threshold_text(doubt: CalibrationReport) -> Iterator[str]:
    """Yield in words what answering only at high scores would bring."""
    asked = f"{100 * doubt.target_accuracy:g} %"
    if doubt.best_threshold is None:
        yield f"No threshold leaves {MIN_ANSWERS} tracks or more that are answered with {asked} right."
    else:
        answered, right = 100 * doubt.best_threshold.coverage, 100 * doubt.best_threshold.accuracy
        yield (
            f"Answering only at a score of {doubt.best_threshold.score:.2f} or more, the model would answer"
            f" {answered:.1f} % of the tracks and be right in {right:.1f} % of these. The threshold is the"
            f" lowest that reaches {asked} on these very tracks, so new ones may do worse."
        )
    if doubt.model_threshold is not None:
        answered, right = 100 * doubt.model_threshold.coverage, 100 * doubt.model_threshold.accuracy
        yield (
            f"With its own threshold, {doubt.model_threshold.score:.2f}, chosen on other tracks, it answers"
            f" {answered:.1f} % and is right in {right:.1f} % of these."
        )


def _confusions(level: LevelResult, classes: tuple[str, ...]) -> str:
    """Return the three most frequent confusions in words."""
    places = range(len(classes))
    pairs = [(level.confusion[i][j], classes[i], classes[j]) for i in places for j in places if i != j]
    worst = sorted((pair for pair in pairs if pair[0]), reverse=True)[:3]
    return "; ".join(f"{true} taken for {guess}: {count}" for count, true, guess in worst)
