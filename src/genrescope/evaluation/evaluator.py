"""A model file against the truth: scores of a part of a task, and what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from genrescope import datasets
from genrescope.datasets import (
    PROTOCOLS,
    Dataset,
    SegmentDataset,
    build_segments,
    split_dataset,
    track_digest,
)
from genrescope.errors import ConfigError, DataError
from genrescope.evaluation.metrics import weighted_means
from genrescope.evaluation.results import Evaluation, evaluate_scores
from genrescope.models import Model
from genrescope.types import FloatArray, IntArray, Track

SCORING_BATCH = 64


def predict_segments(model: Model, examples: SegmentDataset, chosen: IntArray) -> FloatArray:
    """Return the scores of segments, shape (segments, classes), a batch at a time."""
    batches = np.split(chosen, range(SCORING_BATCH, len(chosen), SCORING_BATCH))
    return np.concatenate([model.scores(examples.take(batch)) for batch in batches])


def predict_tracks(model: Model, examples: SegmentDataset, chosen: IntArray) -> tuple[FloatArray, IntArray]:
    """Return the scores of the tracks that the chosen segments are of, (tracks, classes), and which they are.

    A track's scores are the mean of its segments', each weighted by its seconds.
    """
    owners, places = np.unique(examples.track[chosen], return_inverse=True)
    means = weighted_means(
        predict_segments(model, examples, chosen).astype(np.float64), places, examples.weights[chosen]
    )
    return means.astype(np.float32), owners


def summary_metrics(evaluation: Evaluation) -> dict[str, Any]:
    """Return the figures that travel in the model file, each with its protocol and interval."""
    figures = {
        f"{level.unit}_{name}": {"value": value.value, "low": value.low, "high": value.high, "n": level.n}
        for level in evaluation.levels
        for name, value in (("accuracy", level.accuracy), ("macro_f1", level.macro_f1))
    }
    return {"protocol": evaluation.protocol, "leaky": evaluation.leaky, "data": evaluation.data, **figures}


def _known(dataset: Dataset, model: Model) -> tuple[Track, ...]:
    tracks = tuple(track for track in dataset.tracks if track.label in model.info.classes)
    if not tracks:
        raise DataError(
            "dataset_invalid",
            f"{dataset.name}: {model.info.name} knows none of its genres ({', '.join(dataset.classes[:6])})",
            f"label tracks with: {', '.join(model.info.classes)}",
        )
    return tracks


def _test_part(tracks: Sequence[Track], protocol: str, seed: int, folds: int) -> tuple[Track, ...]:
    if protocol == "segment-random":
        raise ConfigError(
            "invalid_argument",
            "segment-random divides tracks, so no track of it is a test track",
            "choose another protocol",
        )
    return tuple(tracks[index] for index in split_dataset(tracks, protocol, seed=seed, folds=folds).test)


def evaluate_model(
    model: Model, dataset: Dataset, *, protocol: str = "all", seed: int = 0, folds: int = 5
) -> Evaluation:
    """Measure a model file on labeled music: all of it, or the test part of a protocol.

    The answer says so when some of these tracks, by their ids, were in the model's own training.

    Raises
    ------
    DataError
        ``dataset_invalid``: no label of the data set is a genre that the model knows.
    """
    info, classes = model.info, model.info.classes
    tracks = _known(dataset, model)
    notes = []
    if len(tracks) < len(dataset.tracks):
        strange = len(dataset.tracks) - len(tracks)
        notes.append(f"{strange} tracks of genres that the model does not know are not scored")
    unread: list[str] = []
    examples = build_segments(
        tracks if protocol == "all" else _test_part(tracks, protocol, seed, folds),
        info.features,
        seconds=info.segment_seconds,
        hop_seconds=info.hop_seconds,
        on_failure=lambda track, failure: unread.append(f"left out {track.id}: {failure.message}"),
        per_segment=True,
    )
    heard = set(info.provenance.get("heard", ()))
    overlap = sum(track_digest(track.id) in heard for track in examples.tracks)
    known = "no track is known to have been in the model's training"
    label = f"{overlap} of {len(examples.tracks)} tracks were in the model's training" if overlap else known
    return evaluate_scores(
        predict_segments(model, examples, np.arange(len(examples))),
        np.array([classes.index(track.label) for track in examples.tracks])[examples.track],
        classes=classes,
        tracks=[examples.tracks[owner].id for owner in examples.track],
        groups=[examples.tracks[owner].group for owner in examples.track],
        weights=examples.weights,
        model=info.name,
        min_score=info.threshold,
        protocol=protocol,
        leaky=overlap > 0 or (protocol in PROTOCOLS and PROTOCOLS[protocol].leaky),
        label=label,
        data=dataset.name,
        seed=seed,
        notes=[*notes, *unread, *_cautions(protocol, examples.tracks)],
    )


def _cautions(protocol: str, tested: Sequence[Track]) -> list[str]:
    """Say what a reader of the figures could otherwise take for granted."""
    cautions = []
    sides = datasets.load_index().fault_filtered
    published = sum(side == "test" for side in sides.values())
    if protocol == "fault-filtered" and len(tested) < published:
        cautions.append(
            f"{len(tested)} of the {published} published test tracks are here: another test than the full one"
        )
    if protocol == "artist-grouped" and len({track.group for track in tested}) == len(tested) > 1:
        cautions.append(
            "no two tracks share a known artist: where artists are unknown, this is as track-random"
        )
    return cautions
