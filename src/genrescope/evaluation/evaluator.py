"""Evaluation of a model file on labeled music."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from genrescope import datasets
from genrescope.datasets import (
    FOLDED_PROTOCOLS,
    PROTOCOLS,
    Dataset,
    LabelMatrix,
    SegmentDataset,
    build_segments,
    label_matrix,
    split_dataset,
)
from genrescope.errors import ConfigError, DataError
from genrescope.evaluation.metrics import weighted_means
from genrescope.evaluation.overlap import exposure_notes, find_overlap
from genrescope.evaluation.results import Evaluation, ScoredRows, evaluate_label_scores, evaluate_scores
from genrescope.labels import matching_class
from genrescope.models import Model
from genrescope.types import FloatArray, IntArray, TaskKind, Track

BATCH_SIZE = 64


def predict_segments(model: Model, examples: SegmentDataset, chosen: IntArray) -> FloatArray:
    """Score segments with a model file, a batch at a time.

    Parameters
    ----------
    model : Model
        An opened model file.
    examples : SegmentDataset
        Features as ``model.info.features`` says.
    chosen : ndarray of int, shape (segments,)
        Which segments.

    Returns
    -------
    ndarray, shape (segments, classes), float32
    """
    return map_segments(model.scores, examples, chosen)


def map_segments(
    function: Callable[[FloatArray], FloatArray], examples: SegmentDataset, chosen: IntArray
) -> FloatArray:
    """Apply a function to the features of segments, a batch at a time.

    Parameters
    ----------
    function : callable
        From features of segments to an array with one row per segment.
    examples : SegmentDataset
        Features of all segments.
    chosen : ndarray of int, shape (segments,)
        Which segments, at least one.

    Returns
    -------
    ndarray
        The rows of all batches, in the order of ``chosen``.
    """
    # Bounded batches, so that a large test part needs no more memory than a small one.
    batches = np.split(chosen, range(BATCH_SIZE, len(chosen), BATCH_SIZE))
    return np.concatenate([function(examples.take(batch)) for batch in batches])


def average_by_track(
    scores: FloatArray, examples: SegmentDataset, chosen: IntArray
) -> tuple[FloatArray, IntArray]:
    """Return the scores of tracks: the mean of their segments', each weighted by its seconds.

    Parameters
    ----------
    scores : ndarray, shape (segments, classes)
        Of the chosen segments.
    examples : SegmentDataset
        Tracks and weights of all segments.
    chosen : ndarray of int, shape (segments,)
        Which segments.

    Returns
    -------
    means : ndarray, shape (tracks, classes), float32
    tracks : ndarray of int, shape (tracks,)
        Indices into ``examples.tracks``, ascending.
    """
    tracks, places = np.unique(examples.track[chosen], return_inverse=True)
    means = weighted_means(scores.astype(np.float64), places, examples.weights[chosen])
    return means.astype(np.float32), tracks


def summary_metrics(evaluation: Evaluation) -> dict[str, Any]:
    """Return the metrics that are written into the model file, with their intervals and protocol.

    Parameters
    ----------
    evaluation : Evaluation
        Of the model.
    """
    figures = {
        f"{level.unit}_{name}": {"value": value.value, "low": value.low, "high": value.high, "n": level.n}
        for level in evaluation.levels
        for name, value in (("accuracy", level.accuracy), ("macro_f1", level.macro_f1))
    } | {
        f"{level.unit}_{name}": {"value": value.value, "low": value.low, "high": value.high, "n": level.n}
        for level in evaluation.label_levels
        for name in ("roc_auc", "pr_auc", "lrap", "micro_f1", "macro_f1")
        if (value := getattr(level, name)) is not None
    }
    return {"protocol": evaluation.protocol, "leaky": evaluation.leaky, "data": evaluation.data, **figures}


def _tracks_of_known_genres(dataset: Dataset, model: Model) -> tuple[Track, ...]:
    """Return the tracks of genres that the model knows, labeled as it calls them."""
    known = {label: matching_class(label, model.info.classes) for label in dataset.classes}
    tracks = tuple(
        replace(track, label=name) for track in dataset.tracks if (name := known[track.label]) is not None
    )
    if not tracks:
        raise DataError(
            "dataset_invalid",
            f"{dataset.name}: {model.info.name} knows none of its genres ({', '.join(dataset.classes[:6])})",
            f"label tracks with: {', '.join(model.info.classes)}",
        )
    return tracks


def _known_labels(dataset: Dataset, tracks: Sequence[Track], model: Model) -> LabelMatrix:
    """Return the genres of tracks as a multi-label model calls them; of its other genres nothing is known."""
    classes = model.info.classes
    known = {label: matching_class(label, classes) for label in dataset.classes}
    if not any(known.values()):
        raise DataError(
            "dataset_invalid",
            f"{dataset.name}: {model.info.name} knows none of its genres ({', '.join(dataset.classes[:6])})",
            f"label tracks with: {', '.join(classes)}",
        )
    given = label_matrix(tracks, dataset.annotations, dataset.classes)
    values = np.zeros((len(tracks), len(classes)), np.float32)
    judged = np.zeros(values.shape, np.bool_)
    for column, label in enumerate(dataset.classes):
        name = known[label]
        if name is not None:
            place = classes.index(name)
            values[:, place] = np.maximum(values[:, place], given.values[:, column] * given.judged[:, column])
            judged[:, place] |= given.judged[:, column]
    return LabelMatrix(values, judged)


def _test_part(dataset: Dataset, protocol: str, seed: int, folds: int, fold: int) -> tuple[Track, ...]:
    if protocol == "segment-random":
        raise ConfigError(
            "invalid_argument",
            "segment-random divides tracks, so no track of it is a test track",
            "choose another protocol",
        )
    tracks, splits = dataset.tracks, dataset.official_splits
    labels = (
        label_matrix(tracks, dataset.annotations, dataset.classes).positive
        if dataset.task == "multi-label"
        else None
    )
    split = split_dataset(
        tracks,
        protocol,
        seed=seed,
        folds=folds,
        fold=fold,
        official_splits=splits,
        labels=labels,
        classes=dataset.classes,
    )
    return tuple(tracks[index] for index in split.test)


def evaluate_model(
    model: Model, dataset: Dataset, *, protocol: str = "all", seed: int = 0, folds: int = 5, fold: int = 0
) -> Evaluation:
    """Evaluate a model file on labeled music: all of it, or the test part of a protocol.

    Where some of these tracks, by their ids or the content of their files, were in the model's own training,
    or others of their artists were, the result is marked as leaky. Where the network was exposed to some of
    them without labels, a note says so.

    Parameters
    ----------
    model : Model
        An opened model file.
    dataset : Dataset
        Labeled tracks; those of genres that the model does not know are left out, and noted.
    protocol : str
        ``all``, or a protocol of `genrescope.datasets`, whose test part is evaluated.
    seed : int
        Of the split and of the bootstrap.
    folds, fold : int
        Number of folds of the split, and which of them is the test part.

    Raises
    ------
    ConfigError
        ``invalid_argument``: a protocol that does not exist or that divides tracks, a fold other than 0 of
        a protocol without folds, or a data set that was read for another task than the model's.
    DataError
        ``dataset_invalid``: no label of the data set is a genre that the model knows.
    """
    if fold and protocol not in FOLDED_PROTOCOLS:
        raise ConfigError(
            "invalid_argument",
            f"{protocol} has no folds",
            f"leave out the fold, or choose {', '.join(FOLDED_PROTOCOLS)}",
        )
    info, classes = model.info, model.info.classes
    check_task(dataset, info.task)
    multiple = info.task == "multi-label"
    tracks = dataset.tracks if multiple else _tracks_of_known_genres(dataset, model)
    notes = []
    if len(tracks) < len(dataset.tracks):
        unknown = len(dataset.tracks) - len(tracks)
        notes.append(f"{unknown} tracks of genres that the model does not know are not scored")
    unreadable: list[str] = []
    if protocol != "all":
        tracks = _test_part(replace(dataset, tracks=tracks), protocol, seed, folds, fold)
    examples = build_segments(
        tracks,
        info.features,
        seconds=info.segment_seconds,
        hop_seconds=info.hop_seconds,
        # An unreadable file must not end an evaluation of thousands; it is noted in the result.
        on_failure=lambda track, failure: unreadable.append(f"left out {track.id}: {failure.message}"),
        # As `Classifier` computes features, so that the scores are those that a user of the model gets.
        per_segment=True,
    )
    overlap = find_overlap(info, examples.tracks)
    scores = predict_segments(model, examples, np.arange(len(examples)))
    described = ScoredRows(
        classes=classes,
        tracks=[examples.tracks[owner].id for owner in examples.track],
        groups=[examples.tracks[owner].group for owner in examples.track],
        weights=examples.weights,
        model=info.name,
        protocol=protocol,
        leaky=overlap.leaky or (protocol in PROTOCOLS and PROTOCOLS[protocol].leaky),
        protocol_note=overlap.describe(),
        data=dataset.name,
        seed=seed,
        notes=[
            *notes,
            *unreadable,
            *exposure_notes(info, examples.tracks),
            *_cautions(protocol, examples.tracks),
        ],
    )
    if multiple:
        labels = _known_labels(dataset, examples.tracks, model)
        truth, judged = labels.positive[examples.track], labels.judged[examples.track]
        return evaluate_label_scores(scores, truth, judged, thresholds=info.label_thresholds, **described)
    true = np.array([classes.index(track.label) for track in examples.tracks])[examples.track]
    return evaluate_scores(scores, true, threshold=info.class_thresholds, **described)


def check_task(dataset: Dataset, task: TaskKind) -> None:
    """Refuse a data set whose labels were read for another task.

    Parameters
    ----------
    dataset : Dataset
    task : {"single-label", "multi-label"}
        Of a model, or of the settings of a run.

    Raises
    ------
    ConfigError
        ``invalid_argument``.
    """
    if dataset.task != task:
        raise ConfigError(
            "invalid_argument",
            f"{dataset.name} was read for a {dataset.task} task, and this is a {task} one",
            f'read it with load_dataset(path, task="{task}"), and train with data.task={task}',
        )


def _cautions(protocol: str, tested: Sequence[Track]) -> list[str]:
    """Return what a reader of the metrics should know about the test part."""
    cautions = []
    parts = datasets.load_index().fault_filtered
    published = sum(part == "test" for part in parts.values())
    if protocol == "fault-filtered" and len(tested) < published:
        cautions.append(
            f"{len(tested)} of the {published} published test tracks are here: not the full test part"
        )
    if protocol == "artist-grouped" and len({track.group for track in tested}) == len(tested) > 1:
        cautions.append(
            "no two tracks share a known artist: where artists are unknown, this is as track-random"
        )
    return cautions
