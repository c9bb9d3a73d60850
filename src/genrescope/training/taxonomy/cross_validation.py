"""Leave one collection out: heads are fitted without a collection, and scored on it.

A collection brings its own sound, selection and understanding of genres. Accuracy within collections says
little about music from elsewhere; accuracy on collections that were left out estimates it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from genrescope.evaluation import Interval, calibration_error
from genrescope.labels import Genre
from genrescope.models import DistilledHead, PriorRegression
from genrescope.training.taxonomy import calibration
from genrescope.training.taxonomy.calibration import SegmentScores
from genrescope.training.taxonomy.data import LabeledClips, TargetWindows, average_outputs, take_rows
from genrescope.training.taxonomy.heads import (
    HeadSettings,
    Targets,
    clip_weights,
    fit_distilled_head,
    fit_prior_regression,
)
from genrescope.types import BoolArray, Float64Array, IntArray

SUREST_SHARE = 0.45
# The coverage at an accuracy is not read off fewer answers than this.
_MIN_COVERED = 20
_RESAMPLES = 1000
logger = logging.getLogger(__name__)


class Fold(NamedTuple):
    """One collection left out.

    Attributes
    ----------
    collection : str
    train, test : ndarray of int
        Indices of clips.
    """

    collection: str
    train: IntArray
    test: IntArray


def leave_one_collection_out(collections: Sequence[str], artists: Sequence[str]) -> list[Fold]:
    """Return one fold for each collection; its artists' clips in other collections are in neither part.

    Parameters
    ----------
    collections, artists : sequence of str
        Of each clip; an artist that is an empty text is unknown, and shared by no clips.
    """
    collection, artist = np.asarray(collections), np.asarray(artists)
    folds = []
    for name in np.unique(collection):
        test = collection == name
        known = [one for one in np.unique(artist[test]) if one]
        train = ~test & ~np.isin(artist, known)
        folds.append(Fold(str(name), np.flatnonzero(train), np.flatnonzero(test)))
    return folds


class GenreHeads(NamedTuple):
    """The two heads whose log probabilities are averaged.

    Attributes
    ----------
    prior : PriorRegression
    distilled : DistilledHead
    """

    prior: PriorRegression
    distilled: DistilledHead

    @torch.inference_mode()
    def logits(self, clips: LabeledClips, rows: IntArray) -> Float64Array:
        """Return the averaged log probabilities of segments, shape (rows, genres).

        Parameters
        ----------
        clips : LabeledClips
        rows : ndarray of int
            Indices of segments.
        """
        outputs = take_rows(clips.outputs, rows)
        first, second = (head(outputs).double().log_softmax(1) for head in self)
        mean: Float64Array = ((first + second) / 2).numpy()
        return mean


@dataclass(frozen=True, eq=False)
class HeadTrainer:
    """Everything that heads are fitted on.

    Attributes
    ----------
    clips : LabeledClips
    windows : TargetWindows
    genres : sequence of Genre
        The scored genres, with their source classes.
    settings : HeadSettings
    seed : int
    device : torch.device
    """

    clips: LabeledClips
    windows: TargetWindows
    genres: Sequence[Genre]
    settings: HeadSettings
    seed: int
    device: torch.device

    def fit(self, train: IntArray, held_out: str | None = None) -> GenreHeads:
        """Fit both heads of genres.

        Parameters
        ----------
        train : ndarray of int
            Indices of the clips to train on.
        held_out : str, optional
            The collection of which no window may be used either.
        """
        weights = np.zeros(len(self.clips))
        weights[train] = clip_weights(
            self.clips.genre[train], self.clips.collection[train].tolist(), self.settings
        )
        return GenreHeads(self._fit_prior(weights), self._fit_distilled(weights, held_out))

    def _fit_prior(self, weights: Float64Array) -> PriorRegression:
        clips = self.clips
        rows = np.flatnonzero(weights[clips.clip] > 0)
        owner = clips.clip[rows]
        # A clip counts once, however many segments it has.
        share = weights[owner] / np.bincount(clips.clip, minlength=len(clips))[owner]
        targets = Targets(clips.genre[owner], clips.mask[owner], share)
        return fit_prior_regression(take_rows(clips.outputs, rows), targets, self.genres, self.settings)

    def _fit_distilled(self, weights: Float64Array, held_out: str | None) -> DistilledHead:
        """Label windows by a regression on the teachers' outputs, and fit the head to these labels."""
        windows = self.windows
        owner = self._window_clips()
        used = windows.kind != "not_music"
        if held_out is not None:
            used &= (windows.source != held_out) & (windows.mixed_source != held_out)
            # Neither windows of clips that share an artist with the collection.
            used &= (owner < 0) | (weights[owner] > 0)
        teacher = self._fit_teacher(weights, owner)
        with torch.inference_mode():
            probabilities = teacher(take_rows(windows.teachers, used)).softmax(1)
        return fit_distilled_head(
            take_rows(windows.student, used),
            probabilities.clone(),
            self.genres,
            self.settings,
            seed=self.seed,
            device=self.device,
        )

    def _fit_teacher(self, weights: Float64Array, owner: IntArray) -> PriorRegression:
        """Fit the regression on the teachers' mean outputs for the clips."""
        windows, count = self.windows, len(self.clips)
        usable = (owner >= 0) & (windows.mixed_source == "")
        # Undistorted windows where a clip has one.
        clean = usable & ~windows.is_distorted
        has_clean = np.isin(np.arange(count), owner[clean])
        chosen = clean | (usable & ~has_clean[owner])
        rows = np.flatnonzero((weights > 0) & np.isin(np.arange(count), owner[chosen]))
        means = average_outputs(take_rows(windows.teachers, chosen), owner[chosen], count)
        targets = Targets(self.clips.genre[rows], self.clips.mask[rows], weights[rows])
        return fit_prior_regression(take_rows(means, rows), targets, self.genres, self.settings)

    def _window_clips(self) -> IntArray:
        """Return the index of each window's clip, -1 for windows of other tracks."""
        index = {
            (collection, track): place
            for place, (collection, track) in enumerate(
                zip(self.clips.collection.tolist(), self.clips.track.tolist(), strict=True)
            )
        }
        names = zip(self.windows.source.tolist(), self.windows.track.tolist(), strict=True)
        return np.array([index.get(name, -1) for name in names], np.int64)


@dataclass(frozen=True)
class Figures:
    """What held-out scores are worth, with 95 % intervals over collections (percentile bootstrap).

    Attributes
    ----------
    clips, collections : int
        How many.
    top_1, top_3 : Interval
        Share of the clips whose genre is the first, or among the first three.
    surest : Interval
        Share of right answers among the surest 45 %.
    coverage_at_target : Interval
        Largest share of the clips, by falling score, of which nine of ten are right.
    answered, right : Interval
        Share of the clips above the threshold that was chosen without their collection, and of right
        answers among these.
    covered, set_size : Interval
        Share of the clips whose genre is in the conformal set, and the mean size of the sets.
    calibration_error : float
        The expected one, in ten bins.
    """

    clips: int
    collections: int
    top_1: Interval
    top_3: Interval
    surest: Interval
    coverage_at_target: Interval
    answered: Interval
    right: Interval
    covered: Interval
    set_size: Interval
    calibration_error: float


class TableRow(NamedTuple):
    """Shares of the clips of one genre or collection.

    Attributes
    ----------
    name : str
        Of the genre or collection.
    clips : int
        How many.
    top_1, top_3 : float
        Those with the right genre first, and among the first three.
    answered : float
        Those with a score above the threshold.
    right : float
        The share of these with the right genre; NaN where none is answered.
    """

    name: str
    clips: int
    top_1: float
    top_3: float
    answered: float
    right: float


@dataclass(frozen=True, eq=False)
class HeldOutScores:
    """Scores of each clip by heads that were fitted without its collection.

    Attributes
    ----------
    segments : SegmentScores
        Before the temperature, of the segments that count.
    scores : ndarray, shape (clips, genres)
        With the temperature that was fitted on the other collections.
    threshold, level : ndarray, shape (clips,)
        As chosen on the other collections; a threshold above 1 answers nothing.
    """

    segments: SegmentScores
    scores: Float64Array
    threshold: Float64Array
    level: Float64Array


def score_held_out(trainer: HeadTrainer) -> HeldOutScores:
    """Fit and score the heads once for each collection, and calibrate on the others.

    Parameters
    ----------
    trainer : HeadTrainer
    """
    clips = trainer.clips
    folds = leave_one_collection_out(clips.collection.tolist(), clips.artist.tolist())
    logits = np.zeros((len(clips.clip), len(clips.genres)))
    for number, fold in enumerate(folds):
        rows = np.flatnonzero(np.isin(clips.clip, fold.test))
        logits[rows] = trainer.fit(fold.train, fold.collection).logits(clips, rows)
        logger.info("without %s (%d of %d)", fold.collection, number + 1, len(folds))
    segments = SegmentScores(logits[clips.is_scored], clips.clip[clips.is_scored])
    return calibrate_held_out(segments, clips)


def calibrate_held_out(segments: SegmentScores, clips: LabeledClips) -> HeldOutScores:
    """Apply to each collection what is chosen on the others: temperature, threshold, conformal level.

    Parameters
    ----------
    segments : SegmentScores
        By heads that were fitted without the segment's collection.
    clips : LabeledClips
    """
    scores = np.zeros((len(clips), len(clips.genres)))
    threshold, level = np.zeros(len(clips)), np.zeros(len(clips))
    weights = calibration.collection_weights(clips.collection.tolist(), clips.is_trusted)
    for name in np.unique(clips.collection):
        test = clips.collection == name
        others = np.where(test, 0.0, weights)
        temperature = calibration.fit_collection_temperature(segments, clips.genre, others)
        scaled = segments.by_clip(len(clips), temperature)
        scores[test] = scaled[test]
        found = calibration.select_weighted_threshold(scaled, clips.genre, others)
        threshold[test] = 2.0 if found is None else found
        level[test] = calibration.conformal_level(scaled, clips.genre, others)
    return HeldOutScores(segments, scores, threshold, level)


def summarize(held_out: HeldOutScores, clips: LabeledClips, chosen: BoolArray | None = None) -> Figures:
    """Compute the figures of held-out scores.

    Parameters
    ----------
    held_out : HeldOutScores
    clips : LabeledClips
    chosen : ndarray of bool, shape (clips,), optional
        The clips to take; None: all. Those that are not trusted never count.
    """
    rows = np.flatnonzero(clips.is_trusted if chosen is None else clips.is_trusted & chosen)
    scores, genre = held_out.scores[rows], clips.genre[rows]
    order = np.argsort(-scores, axis=1, kind="stable")
    confidence, right = scores.max(1), order[:, 0] == genre
    answered = confidence >= held_out.threshold[rows]
    top_3 = (order[:, :3] == genre[:, None]).any(1)
    covered = calibration.mass_before(scores, genre) < held_out.level[rows]
    sizes = calibration.set_sizes(scores, held_out.level[rows])

    def surest(drawn: IntArray) -> float:
        count = max(1, round(SUREST_SHARE * len(drawn)))
        return float(right[drawn][np.argsort(-confidence[drawn], kind="stable")[:count]].mean())

    def coverage(drawn: IntArray) -> float:
        sorted_right = right[drawn][np.argsort(-confidence[drawn], kind="stable")]
        reached = np.cumsum(sorted_right) / np.arange(1, len(drawn) + 1) >= calibration.TARGET_ACCURACY
        found = np.flatnonzero(reached & (np.arange(len(drawn)) >= _MIN_COVERED - 1))
        return (found[-1] + 1) / len(drawn) if len(found) else 0.0

    def right_among_answered(drawn: IntArray) -> float:
        given = answered[drawn]
        return float(right[drawn][given].mean()) if given.any() else float("nan")

    def interval(measure: Callable[[IntArray], float]) -> Interval:
        return _collection_interval(measure, clips.collection[rows].tolist())

    return Figures(
        clips=len(rows),
        collections=len(np.unique(clips.collection[rows])),
        top_1=interval(lambda drawn: float(right[drawn].mean())),
        top_3=interval(lambda drawn: float(top_3[drawn].mean())),
        surest=interval(surest),
        coverage_at_target=interval(coverage),
        answered=interval(lambda drawn: float(answered[drawn].mean())),
        right=interval(right_among_answered),
        covered=interval(lambda drawn: float(covered[drawn].mean())),
        set_size=interval(lambda drawn: float(sizes[drawn].mean())),
        calibration_error=calibration_error(scores / scores.sum(1, keepdims=True), genre),
    )


def _collection_interval(measure: Callable[[IntArray], float], collections: Sequence[str]) -> Interval:
    """Return a measure of rows with its percentile bootstrap interval over collections."""
    # Not `evaluation.bootstrap_interval`: ranking the answers is no sum over collections.
    _, index = np.unique(np.asarray(collections), return_inverse=True)
    members = [np.flatnonzero(index == group) for group in range(index.max() + 1)]
    generator = np.random.default_rng(0)
    drawn = [
        measure(
            np.concatenate([members[group] for group in generator.integers(0, len(members), len(members))])
        )
        for _ in range(_RESAMPLES)
    ]
    # A draw without answers has no share of right ones.
    finite = np.array(drawn)[np.isfinite(drawn)]
    low, high = np.quantile(finite, [0.025, 0.975]) if len(finite) else (float("nan"), float("nan"))
    return Interval(measure(np.arange(len(index))), float(low), float(high))


def tabulate(held_out: HeldOutScores, clips: LabeledClips, labels: Sequence[str]) -> list[TableRow]:
    """Return a row for each label, such as the genre or the collection, of trusted clips.

    Parameters
    ----------
    held_out : HeldOutScores
    clips : LabeledClips
    labels : sequence of str
        Of each clip.
    """
    order = np.argsort(-held_out.scores, axis=1, kind="stable")
    right, top_3 = order[:, 0] == clips.genre, (order[:, :3] == clips.genre[:, None]).any(1)
    answered = held_out.scores.max(1) >= held_out.threshold
    rows = []
    for label in np.unique(np.asarray(labels)[clips.is_trusted]):
        chosen = clips.is_trusted & (np.asarray(labels) == label)
        given = chosen & answered
        rows.append(
            TableRow(
                str(label),
                int(chosen.sum()),
                float(right[chosen].mean()),
                float(top_3[chosen].mean()),
                float(answered[chosen].mean()),
                float(right[given].mean()) if given.any() else float("nan"),
            )
        )
    return rows
