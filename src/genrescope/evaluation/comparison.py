"""Paired comparison of models: differences with intervals, tests against chance, correction for many pairs.

All models are tested on the same rows, so that each resample of the groups, and each test track, compares
them on the same music. What one model finds hard the other mostly does too: pairing removes that from the
difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

from genrescope.errors import ConfigError
from genrescope.evaluation.metrics import (
    Interval,
    bootstrap_draws,
    checked_labels,
    codes,
    malformed,
    precision_recall,
)
from genrescope.evaluation.predictions import LabelSets, Predictions
from genrescope.evaluation.ranking import macro_f1_of_labels, ranking_precision
from genrescope.evaluation.results import FEW_GROUPS, LEAKY, ClassMetrics, Unit
from genrescope.types import Float64Array, IntArray

Verdict = Literal["beyond chance", "unclear", "not beyond chance"]

# Significance level of both tests, after the correction.
ALPHA: Final = 0.05
# Enough for the smallest p-value of the bootstrap, 2 / (resamples + 1), to survive 200 pairs.
RESAMPLES: Final = 10_000
_METRICS = 3
METRIC_NAMES: Final = ("Accuracy", "Genre-averaged accuracy", "Macro F1")
LABEL_METRIC_NAMES: Final = ("Top genre right", "Ranking precision (LRAP)", "Macro F1")
"""What stands in the fields ``accuracy``, ``balanced_accuracy`` and ``macro_f1`` of a multi-label task."""


@dataclass(frozen=True)
class ModelSummary:
    """Results of one model over all seeds.

    Attributes
    ----------
    name : str
    accuracy : Interval
        Mean over seeds; bounds by bootstrap over groups.
    balanced_accuracy : Interval
        The same of the mean recall over genres, in which every genre counts the same (Brodersen et al., "The
        Balanced Accuracy and Its Posterior Distribution", ICPR 2010).
    macro_f1 : Interval
        The same of the mean F1 over genres.
    by_seed : tuple of float
        Accuracy of each seed.
    per_genre : tuple of ClassMetrics
        Of all seeds together; ``support`` counts a track once for each seed that tests it.
    """

    name: str
    accuracy: Interval
    balanced_accuracy: Interval
    macro_f1: Interval
    by_seed: tuple[float, ...]
    per_genre: tuple[ClassMetrics, ...]

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation of the accuracy over seeds; None of a single seed."""
        return float(np.std(self.by_seed, ddof=1)) if len(self.by_seed) > 1 else None


@dataclass(frozen=True)
class PairedDifference:
    """The first model's result less the second's, on the same rows.

    Attributes
    ----------
    first, second : str
        Names of the models.
    accuracy, balanced_accuracy, macro_f1 : Interval
        Differences of the means over seeds, with 95 % bounds by paired bootstrap over groups.
    by_seed : tuple of float
        Difference in accuracy of each seed.
    only_first, only_second : int
        Tracks, each counted once, that this model alone predicts correctly: of several seeds, in more of
        them than the other.
    p_bootstrap, p_mcnemar : float
        Of the difference in accuracy, two-sided, not corrected.
    adjusted_bootstrap, adjusted_mcnemar : float
        The same after Holm's correction over all pairs.
    """

    first: str
    second: str
    accuracy: Interval
    balanced_accuracy: Interval
    macro_f1: Interval
    by_seed: tuple[float, ...]
    only_first: int
    only_second: int
    p_bootstrap: float
    p_mcnemar: float
    adjusted_bootstrap: float
    adjusted_mcnemar: float

    @property
    def verdict(self) -> Verdict:
        """Whether both corrected tests, one of them, or neither is below `ALPHA`."""
        passed = (self.adjusted_bootstrap < ALPHA) + (self.adjusted_mcnemar < ALPHA)
        return ("not beyond chance", "unclear", "beyond chance")[passed]

    @property
    def is_consistent(self) -> bool:
        """Whether no seed has a difference of the other sign."""
        return min(self.by_seed) >= 0 or max(self.by_seed) <= 0


@dataclass(frozen=True)
class Comparison:
    """Several models under one protocol.

    Attributes
    ----------
    protocol : str
    leaky : bool
        Whether parts of one recording, or of one artist, are in both training and test part.
    protocol_note : str
        What the protocol means, in words.
    part : str
        What was scored: ``test`` or ``validation``.
    unit : {"segment", "track"}
    seeds : tuple of int
        Of the splits.
    folds : int
        How many folds were pooled for each seed; 1 where none were.
    tested : tuple of int
        Number of rows of each seed.
    distinct, groups : int
        Number of different rows, and of groups, over all seeds.
    majority_baseline : float or None
        Accuracy of always naming the most frequent genre of the training part, mean over runs.
    models : tuple of ModelSummary
    pairs : tuple of PairedDifference
    notes : tuple of str
        What a reader should know before quoting a number.
    metric_names : tuple of str
        What the three metrics of models and pairs are. Of a multi-label task: the share of rows whose
        highest score is of one of their genres (1 less the one-error), label ranking average precision, and
        macro F1 at the thresholds of the model.
    """

    protocol: str
    leaky: bool
    protocol_note: str
    part: str
    unit: Unit
    seeds: tuple[int, ...]
    folds: int
    tested: tuple[int, ...]
    distinct: int
    groups: int
    majority_baseline: float | None
    models: tuple[ModelSummary, ...]
    pairs: tuple[PairedDifference, ...]
    notes: tuple[str, ...] = ()
    metric_names: tuple[str, str, str] = METRIC_NAMES

    @property
    def title(self) -> str:
        """The protocol's name, marked where it is leaky."""
        return f"{self.protocol} ({LEAKY})" if self.leaky else self.protocol

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON-ready data."""
        pairs = [
            asdict(pair) | {"verdict": pair.verdict, "is_consistent": pair.is_consistent}
            for pair in self.pairs
        ]
        models = [asdict(model) | {"deviation": model.deviation} for model in self.models]
        return {"title": self.title} | asdict(self) | {"models": models, "pairs": pairs}


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    Under the hypothesis of no difference each row that only one of two models predicts correctly is as likely
    the first's as the second's, whence a binomial distribution (McNemar, "Note on the Sampling Error of the
    Difference Between Correlated Proportions or Percentages", Psychometrika 1947; its exact form).

    Parameters
    ----------
    only_first, only_second : int
        How many rows are predicted correctly by that model alone.

    Raises
    ------
    ConfigError
        ``invalid_argument``: negative counts.
    """
    if min(only_first, only_second) < 0:
        raise ConfigError("invalid_argument", "counts of rows are not negative", "count again")
    rows = only_first + only_second
    # Twice a tail that holds the middle is more than 1.
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), rows, 0.5)))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Correct p-values for their number.

    S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics
    1979.

    Parameters
    ----------
    p_values : sequence of float
        Of one family of tests.

    Returns
    -------
    tuple of float
        In the same order; those below a level are rejected with that family-wise error rate.
    """
    count = len(p_values)
    adjusted = [0.0] * count
    largest = 0.0
    for place, index in enumerate(sorted(range(count), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (count - place) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)


def bootstrap_p_value(draws: npt.ArrayLike) -> float:
    """Return the two-sided p-value of a difference from its bootstrap draws.

    Twice the smaller share of draws at or beyond zero, each with one added so that it is never 0 (Davison and
    Hinkley, "Bootstrap Methods and their Application", 1997, chapters 4 and 5): about the level at which
    the percentile interval first contains zero.

    Parameters
    ----------
    draws : array_like, shape (resamples,)
        Differences.
    """
    values = np.asarray(draws, dtype=np.float64)
    tail = min(np.count_nonzero(values <= 0), np.count_nonzero(values >= 0))
    return float(min(1.0, 2 * (tail + 1) / (len(values) + 1)))


def compare_predictions(
    predictions: Mapping[str, Sequence[Predictions]], *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[tuple[ModelSummary, ...], tuple[PairedDifference, ...]]:
    """Compare models by their predictions of the same rows.

    Groups, such as artists, are drawn with replacement, a group with all its rows of all seeds and all
    models: the draws of all models are paired. For McNemar's test a row that several seeds test counts once,
    for the model that was right in more of them: repeated tests of a track are not independent.

    Parameters
    ----------
    predictions : mapping of str to sequence of Predictions
        By name of the model, one for each seed, which have the same rows for all models: see `align_rows`.
    resamples : int
        Number of draws.
    seed : int
        Of the draws.

    Returns
    -------
    models : tuple of ModelSummary
        In the order of ``predictions``.
    pairs : tuple of PairedDifference
        Of each two models, the earlier one first.

    Raises
    ------
    DataError
        ``dataset_invalid``: models were tested on different rows, classes or seeds.
    """
    names = list(predictions)
    _check_paired(list(predictions.values()))
    multiple = next(iter(predictions.values()))[0].labels is not None
    counts = (_label_statistics if multiple else _class_counts)(list(predictions.values()))
    means, summarize = (_label_seed_means, _summarize_labels) if multiple else (_seed_means, _summarize)
    drawn = bootstrap_draws(counts, means, resamples=resamples, seed=seed)
    values = means(counts.sum(0)[None])[0]
    summaries = tuple(
        summarize(name, counts[:, place].sum(0), values[place], drawn[:, place], predictions[name])
        for place, name in enumerate(names)
    )
    places = list(combinations(range(len(names)), 2))
    wins = [_count_wins(predictions[names[a]], predictions[names[b]]) for a, b in places]
    bootstrap = [bootstrap_p_value(drawn[:, a, 0] - drawn[:, b, 0]) for a, b in places]
    mcnemar = [mcnemar_exact(*won) for won in wins]
    corrected = zip(holm(bootstrap), holm(mcnemar), strict=True)
    pairs = []
    for row, ((a, b), adjusted) in enumerate(zip(places, corrected, strict=True)):
        by_seed = zip(summaries[a].by_seed, summaries[b].by_seed, strict=True)
        metrics = _intervals(values[a] - values[b], drawn[:, a] - drawn[:, b])
        pairs.append(
            PairedDifference(
                names[a],
                names[b],
                *metrics,
                tuple(one - other for one, other in by_seed),
                *wins[row],
                bootstrap[row],
                mcnemar[row],
                *adjusted,
            )
        )
    return summaries, tuple(pairs)


def align_rows(predictions: Mapping[str, Predictions]) -> tuple[dict[str, Predictions], int]:
    """Keep the rows that all models were tested on, in one order.

    Parameters
    ----------
    predictions : mapping of str to Predictions
        By name of the model, of one seed.

    Returns
    -------
    aligned : dict of str to Predictions
        The same models, their rows in the order of the ids.
    left_out : int
        Number of rows that some model was not tested on.

    Raises
    ------
    DataError
        ``dataset_invalid``: no row is common to all.
    """
    known = [set(one.ids) for one in predictions.values()]
    shared = sorted(set.intersection(*known))
    if not shared:
        raise malformed("no track was tested by all models, so that nothing is paired")
    aligned = {}
    for name, one in predictions.items():
        places = {row: place for place, row in enumerate(one.ids)}
        aligned[name] = one.take(np.array([places[row] for row in shared], np.int64))
    return aligned, len(set.union(*known)) - len(shared)


def cautions(comparison: Comparison) -> tuple[str, ...]:
    """Return what limits the conclusions of a comparison.

    Parameters
    ----------
    comparison : Comparison
        Its ``notes`` are not repeated.
    """
    found = []
    if comparison.leaky:
        found.append(
            f"{comparison.title}: a difference says which model recognizes its training recordings or artists"
            " better, not which does better on new music."
        )
    if comparison.groups < FEW_GROUPS:
        found.append(
            f"Only {comparison.groups} groups were tested: the intervals are too narrow, and the tests of the"
            " bootstrap too easily passed, to be trusted."
        )
    if len(comparison.seeds) == 1:
        found.append(
            "One seed: how much of a difference is due to the draw of the split and of the weights"
            " at the start is unknown."
        )
    if comparison.protocol == "fault-filtered" and len(comparison.seeds) > 1:
        found.append("The published split is one split: seeds change the training only.")
    if comparison.protocol == "artist-grouped" and comparison.groups == comparison.distinct:
        found.append(
            "No two tested tracks share a known artist: where artists are unknown, this is as track-random."
        )
    if comparison.part == "test":
        found.append(
            "A setting that is chosen by this table is chosen on the test part: choose with"
            " split.evaluate_on=validation, and test the choice once."
        )
    return tuple(found)


def _check_paired(models: list[Sequence[Predictions]]) -> None:
    """Refuse models that were not tested on the same rows with the same truth."""
    if not models or not models[0] or len({len(one) for one in models}) > 1:
        raise malformed("models were not tested with the same seeds")
    for parts in zip(*models, strict=True):
        first = parts[0]
        same = all(
            (one.unit, one.classes, one.ids, one.groups)
            == (first.unit, first.classes, first.ids, first.groups)
            and np.array_equal(one.truth, first.truth)
            and (one.labels is None) == (first.labels is None)
            for one in parts
        )
        if not same or first.classes != models[0][0].classes:
            raise malformed("models were not tested on the same tracks and genres")


def _class_counts(models: list[Sequence[Predictions]]) -> Float64Array:
    """Count per genre what accuracy, recall and F1 follow from.

    Returns
    -------
    ndarray, shape (groups, models, seeds, classes, 3)
        Rows predicted correctly, rows of the genre, and rows predicted as it.
    """
    seeds, classes = len(models[0]), len(models[0][0].classes)
    names, group = codes([name for part in models[0] for name in part.groups], "groups")
    seed = np.repeat(np.arange(seeds), [len(part.ids) for part in models[0]])
    counts = np.zeros((len(names), len(models), seeds, classes, 3))
    for place, parts in enumerate(models):
        truth = checked_labels(np.concatenate([part.truth for part in parts]), "truth", classes)
        predicted = np.concatenate([part.predicted for part in parts])
        own = counts[:, place]
        for column, (genre, amount) in enumerate(((truth, predicted == truth), (truth, 1), (predicted, 1))):
            np.add.at(own[..., column], (group, seed, genre), amount)
    return counts


def _by_seed(counts: Float64Array) -> Float64Array:
    """Return accuracy, balanced accuracy and macro F1 of each seed.

    Parameters
    ----------
    counts : ndarray, shape (..., classes, 3)
        As of `_class_counts`.

    Returns
    -------
    ndarray, shape (..., 3)
        0 where nothing was tested.
    """
    hits, support, named = np.moveaxis(counts, -1, 0)
    # Genres without test rows would count as 0 whatever the model does.
    present = support > 0
    genres = np.maximum(present.sum(-1), 1)
    recall = hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(support + named, 1)
    overall = hits.sum(-1) / np.maximum(support.sum(-1), 1)
    return np.stack([overall, (recall * present).sum(-1) / genres, (f1 * present).sum(-1) / genres], axis=-1)


def _seed_means(counts: Float64Array) -> Float64Array:
    """Return the mean over seeds of `_by_seed`: shape (..., seeds, classes, 3) to (..., 3)."""
    # A resample of few groups may hold none that some seed tested; that seed then has no say in it.
    tested = (counts[..., 1].sum(-1) > 0)[..., None]
    means: Float64Array = (_by_seed(counts) * tested).sum(-2) / np.maximum(tested.sum(-2), 1)
    return means


def _summarize(
    name: str, counts: Float64Array, values: Float64Array, drawn: Float64Array, parts: Sequence[Predictions]
) -> ModelSummary:
    """Describe one model; ``counts`` are of shape (seeds, classes, 3), ``drawn`` (resamples, 3)."""
    hits, support, named = counts.sum(0).T
    columns = zip(
        parts[0].classes,
        hits / np.maximum(named, 1),
        hits / np.maximum(support, 1),
        2 * hits / np.maximum(support + named, 1),
        support,
        strict=True,
    )
    genres = tuple(
        ClassMetrics(genre, float(precision), float(recall), float(f1), int(rows))
        for genre, precision, recall, f1, rows in columns
    )
    by_seed = tuple(float(value) for value in _by_seed(counts)[:, 0])
    return ModelSummary(name, *_intervals(values, drawn), by_seed, genres)


def _label_statistics(models: list[Sequence[Predictions]]) -> Float64Array:
    """Sum what the metrics of a multi-label task follow from.

    Returns
    -------
    ndarray, shape (groups, models, seeds, 3 + 3 x classes)
        Rows, rows whose highest score is right, the sum of their ranking precision; then, by class, hits,
        predictions and labels.
    """
    seeds, classes = len(models[0]), len(models[0][0].classes)
    names, group = codes([name for part in models[0] for name in part.groups], "groups")
    seed = np.repeat(np.arange(seeds), [len(part.ids) for part in models[0]])
    sums = np.zeros((len(names), len(models), seeds, 3 + 3 * classes))
    for place, parts in enumerate(models):
        rows = []
        for part in parts:
            labels = _known_labels(part)
            precision = np.nan_to_num(ranking_precision(part.scores, labels.true, labels.judged), nan=1.0)
            decided = [labels.predicted & labels.true, labels.predicted, labels.true]
            sets = [(one & labels.judged).astype(np.float64) for one in decided]
            rows.append(np.column_stack([np.ones(len(precision)), part.correct, precision, *sets]))
        np.add.at(sums[:, place], (group, seed), np.concatenate(rows))
    return sums


def _known_labels(part: Predictions) -> LabelSets:
    if part.labels is None:
        raise malformed("models of a multi-label and of a single-label task cannot be compared")
    return part.labels


def _label_by_seed(sums: Float64Array) -> Float64Array:
    """Return share of right top genres, ranking precision and macro F1 of each seed: shape (..., 3)."""
    rows = np.maximum(sums[..., 0], 1)
    counts = sums[..., 3:].reshape(*sums.shape[:-1], 3, -1)
    return np.stack([sums[..., 1] / rows, sums[..., 2] / rows, macro_f1_of_labels(counts)], axis=-1)


def _label_seed_means(sums: Float64Array) -> Float64Array:
    """Return the mean over seeds of `_label_by_seed`: shape (..., seeds, columns) to (..., 3)."""
    tested = (sums[..., 0] > 0)[..., None]
    means: Float64Array = (_label_by_seed(sums) * tested).sum(-2) / np.maximum(tested.sum(-2), 1)
    return means


def _summarize_labels(
    name: str, sums: Float64Array, values: Float64Array, drawn: Float64Array, parts: Sequence[Predictions]
) -> ModelSummary:
    """Describe one model of a multi-label task; ``sums`` are of shape (seeds, 3 + 3 x classes)."""
    hits, named, support = sums[:, 3:].sum(0).reshape(3, -1)
    precision, recall = precision_recall(np.stack([hits, named, support]))
    f1 = 2 * hits / np.maximum(support + named, 1)
    columns = zip(parts[0].classes, precision, recall, f1, support, strict=True)
    genres = tuple(ClassMetrics(genre, float(p), float(r), float(f), int(n)) for genre, p, r, f, n in columns)
    by_seed = tuple(float(value) for value in _label_by_seed(sums)[:, 0])
    return ModelSummary(name, *_intervals(values, drawn), by_seed, genres)


def _intervals(values: Float64Array, drawn: Float64Array) -> tuple[Interval, Interval, Interval]:
    """Return the percentile intervals of the three metrics; ``drawn`` is of shape (resamples, 3)."""
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    accuracy, balanced, f1 = (
        Interval(float(values[metric]), float(low[metric]), float(high[metric])) for metric in range(_METRICS)
    )
    return accuracy, balanced, f1


def _count_wins(first: Sequence[Predictions], second: Sequence[Predictions]) -> tuple[int, int]:
    """Count the distinct rows that one model predicts correctly in more seeds than the other."""
    ids = codes([name for part in first for name in part.ids], "ids")[1]
    right = [np.concatenate([part.correct for part in parts]).astype(np.int64) for parts in (first, second)]
    net: IntArray = np.bincount(ids, weights=right[0] - right[1]).round().astype(np.int64)
    return int(np.count_nonzero(net > 0)), int(np.count_nonzero(net < 0))
