"""The paper's figures beside ours."""

from __future__ import annotations

from collections.abc import Iterator

from genrescope.evaluation import LEAKY, Evaluation
from genrescope.experiments.paper import HEADLINES, PAPER_FIGURE_12, Headline
from genrescope.labels import GTZAN_GENRES
from genrescope.reporting import MeasuredAccuracy, PaperComparison


def compare_with_paper(evaluations: tuple[Evaluation, ...]) -> tuple[PaperComparison, ...]:
    """Set the paper's accuracies beside ours, matched by model and protocol: a row per model of ours."""
    return tuple(
        _published(line, name, evaluations)
        for line in HEADLINES
        for name in _replicas(line, evaluations) or line.models[:1]
    )


def _replicas(line: Headline, evaluations: tuple[Evaluation, ...]) -> tuple[str, ...]:
    """Return which of our models were measured under the protocol of one of the paper's accuracies."""
    measured = {one.model for one in evaluations if one.protocol == line.protocol}
    return tuple(name for name in line.models if name in measured)


def _published(line: Headline, name: str, evaluations: tuple[Evaluation, ...]) -> PaperComparison:
    """Find what stands beside one of the paper's accuracies."""
    ours = [one for one in evaluations if one.model == name]
    return PaperComparison(
        model=line.name if len(line.models) == 1 else f"{line.name} ({name})",
        setting=f"{line.setting}; {line.protocol} ({LEAKY})",
        paper=line.accuracy,
        literature=line.literature,
        replicated=_ours(one for one in ours if one.protocol == line.protocol),
        clean=_ours(one for one in ours if not one.leaky),
    )


def paper_f1() -> dict[str, dict[str, float]]:
    """Return the lines of the paper's Figure 12: F1 by genre, for each of its models."""
    return {
        f"paper, Figure 12 ({LEAKY}): {name}": dict(zip(GTZAN_GENRES, values, strict=True))
        for name, values in PAPER_FIGURE_12.items()
    }


def _ours(found: Iterator[Evaluation]) -> MeasuredAccuracy | None:
    """Return the first evaluation's accuracy, of tracks where there are any."""
    for one in found:
        for level in one.levels[:1]:
            return MeasuredAccuracy(one.protocol_title, one.leaky, level.unit, level.accuracy, one.repeats)
    return None
