"""What there is to learn: a data set's features, cut into segments and split under a protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from genrescope import features, models
from genrescope.datasets import Dataset, SegmentDataset, Split, build_segments, get_protocol, split_dataset
from genrescope.errors import ConfigError, missing_extra
from genrescope.features import FeatureSpec
from genrescope.training.config import Config
from genrescope.types import IntArray


@dataclass(frozen=True)
class Task:
    """A data set, cut and split: what there is to learn."""

    dataset: Dataset
    examples: SegmentDataset
    targets: IntArray
    split: Split
    config: Config

    @property
    def classes(self) -> tuple[str, ...]:
        """The genres, in the order of the targets."""
        return self.dataset.classes

    def segments(self, part: str) -> IntArray:
        """Return the segments of a part: ``train``, ``validation`` or ``test``."""
        units: IntArray = getattr(self.split, part)
        return units if self.split.unit == "segment" else self.examples.of_tracks(units)


def feature_spec(settings: Config) -> FeatureSpec:
    """Return the features that a model family is fed, at the configured hop."""
    name = settings.model.name
    if name in models.CLASSICAL_FAMILIES:
        return features.PAPER_MEANS
    try:
        pretrained = models.PRETRAINED_FAMILIES  # loads torch: not before a network is asked for
    except ImportError as missing:
        raise missing_extra("train", missing.name or "torch") from None
    if name in pretrained:
        return models.backbone_spec(settings.model.backbone)
    if name not in models.NETWORK_FAMILIES:
        known = [*models.CLASSICAL_FAMILIES, *models.NETWORK_FAMILIES, *models.PRETRAINED_FAMILIES]
        raise ConfigError(
            "invalid_config", f"no model family is named {name!r}", "choose one of: " + ", ".join(known)
        )
    base = (
        features.PAPER_SEQUENCE
        if models.NETWORK_FAMILIES[name].input == "sequence"
        else features.PAPER_LOG_MEL
    )
    return replace(base, hop_length=settings.data.hop_length)


def prepare_task(
    dataset: Dataset,
    settings: Config,
    *,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Task:
    """Read features, lay out segments and split them. Audio that cannot be used is left out, and said.

    Raises
    ------
    ConfigError
        ``invalid_argument``: an unknown protocol; ``invalid_config``: settings that would train on the test
        part.
    DataError
        See ``examples.prepare`` and ``splits.split``.
    """
    _check(settings)
    data = settings.data
    say(f"reading {len(dataset.tracks)} tracks of {dataset.name}")
    examples = build_segments(
        dataset.tracks,
        feature_spec(settings),
        seconds=data.segment_seconds,
        hop_seconds=data.hop_seconds,
        limit=data.segments_per_track,
        cache=cache,
        on_failure=lambda track, failure: say(f"left out {track.id}: {failure.message}"),
    )
    classes = tuple(sorted({track.label for track in examples.tracks}))
    dataset = replace(dataset, tracks=examples.tracks, classes=classes)
    targets = np.array([classes.index(track.label) for track in dataset.tracks], np.int64)
    return Task(dataset, examples, targets, _split(dataset, examples, settings), settings)


def _check(settings: Config) -> None:
    """Refuse what would only fail, or deceive, after hours of reading."""
    get_protocol(settings.split.protocol)
    overlapping = 0 < settings.data.hop_seconds < settings.data.segment_seconds
    if settings.split.protocol == "segment-random" and (settings.augment.crops_per_track or overlapping):
        raise ConfigError(
            "invalid_config",
            "under segment-random, random crops or overlapping segments would train on the test part itself",
            "set augment.crops_per_track=0 and data.hop_seconds=0",
        )


def _split(dataset: Dataset, examples: SegmentDataset, settings: Config) -> Split:
    chosen = settings.split
    parts = split_dataset(
        dataset.tracks,
        chosen.protocol,
        seed=settings.train.seed,
        segments_per_track=np.bincount(examples.track, minlength=len(dataset.tracks)),
        test_fraction=chosen.test_fraction,
        validation_fraction=chosen.validation_fraction,
        folds=chosen.folds,
        fold=chosen.fold,
    )
    if chosen.train_on_validation:
        joined = np.sort(np.concatenate([parts.train, parts.validation]))
        return replace(parts, train=joined, validation=joined[:0])
    return parts
