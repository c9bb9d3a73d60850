"""The paper's numbers compared with those measured here."""

from __future__ import annotations

from collections.abc import Iterable

from genrescope.evaluation import LEAKY, Evaluation
from genrescope.experiments.paper import HEADLINES, PAPER_FIGURE_12, Headline
from genrescope.labels import GTZAN_GENRES
from genrescope.reporting import MeasuredAccuracy, PaperComparison


def compare_with_paper(evaluations: tuple[Evaluation, ...]) -> tuple[PaperComparison, ...]:
    """Compare the paper's accuracies with those measured here, matched by model and protocol.

    Parameters
    ----------
    evaluations : tuple of Evaluation
        Named as the experiments of `genrescope.experiments.reproduce`.

    Returns
    -------
    tuple of PaperComparison
        One per accuracy and experiment that replicates it; one where no experiment does.
    """
    return tuple(
        _compare(headline, name, evaluations)
        for headline in HEADLINES
        for name in _replicas(headline, evaluations) or headline.models[:1]
    )


def _replicas(headline: Headline, evaluations: tuple[Evaluation, ...]) -> tuple[str, ...]:
    """Return which experiments were evaluated under the protocol of one of the paper's accuracies."""
    measured = {one.model for one in evaluations if one.protocol == headline.protocol}
    return tuple(name for name in headline.models if name in measured)


def _compare(headline: Headline, name: str, evaluations: tuple[Evaluation, ...]) -> PaperComparison:
    """Compare one of the paper's accuracies with the evaluations of one experiment."""
    own = [one for one in evaluations if one.model == name]
    return PaperComparison(
        model=headline.name if len(headline.models) == 1 else f"{headline.name} ({name})",
        setting=f"{headline.setting}; {headline.protocol} ({LEAKY})",
        paper=headline.accuracy,
        literature=headline.literature,
        replicated=_first_accuracy(one for one in own if one.protocol == headline.protocol),
        clean=_first_accuracy(one for one in own if not one.leaky),
    )


def paper_f1() -> dict[str, dict[str, float]]:
    """Return the paper's Figure 12: F1 by genre, for each of its models."""
    return {
        f"paper, Figure 12 ({LEAKY}): {name}": dict(zip(GTZAN_GENRES, values, strict=True))
        for name, values in PAPER_FIGURE_12.items()
    }


def _first_accuracy(evaluations: Iterable[Evaluation]) -> MeasuredAccuracy | None:
    """Return the first evaluation's accuracy, of tracks where there are any."""
    for one in evaluations:
        for level in one.levels[:1]:
            return MeasuredAccuracy(one.protocol_title, one.leaky, level.unit, level.accuracy, one.repeats)
    return None
