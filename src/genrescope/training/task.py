"""A training task: a data set's features, cut into segments and split under a protocol."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from genrescope.datasets import (
    MEMORY_LIMIT_BYTES,
    Dataset,
    SegmentDataset,
    Split,
    build_segments,
    get_protocol,
    split_dataset,
)
from genrescope.errors import ConfigError
from genrescope.features import FeatureSpec
from genrescope.training.config import Config
from genrescope.types import IntArray

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """A data set, cut into segments and split.

    Attributes
    ----------
    dataset : Dataset
        The tracks that could be read; its classes are the genres that occur among them.
    examples : SegmentDataset
        Features of the segments of these tracks.
    targets : ndarray of int, shape (tracks,)
        Index into ``classes`` of each track's genre.
    split : Split
        Tracks or segments of the three parts.
    config : Config
        Settings of the run.
    """

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
        """Return the segments of a part, as indices into ``examples``.

        Parameters
        ----------
        part : {"train", "validation", "test"}
        """
        units: IntArray = getattr(self.split, part)
        return units if self.split.unit == "segment" else self.examples.of_tracks(units)


def prepare_task(
    dataset: Dataset,
    config: Config,
    spec: FeatureSpec,
    *,
    cache: Path | None = None,
    store: Path | None = None,
    memory_limit: int = MEMORY_LIMIT_BYTES,
    workers: int = 0,
) -> Task:
    """Read features, cut them into segments and split these. Tracks that cannot be read are left out.

    Progress, and the name of every track that is left out, go to this module's logger.

    Parameters
    ----------
    dataset : Dataset
        Labeled tracks.
    config : Config
        Settings of the run.
    spec : FeatureSpec
        The features that the model is fed, see `genrescope.training.builders.ModelBuilder.feature_spec`.
    cache : Path, optional
        Folder where features of audio files are kept; None keeps none.
    store : Path, optional
        Folder for the features of data sets larger than ``memory_limit``, which are memory-mapped.
    memory_limit : int
        Bytes of features that are kept in memory where there is a ``store``.
    workers : int
        Processes that read audio files; 0: threads of this process.

    Raises
    ------
    ConfigError
        ``invalid_argument``: an unknown protocol; ``invalid_config``: settings that would train on the test
        part.
    DataError
        See `genrescope.datasets.build_segments` and `genrescope.datasets.split_dataset`.
    """
    check_protocol(config)
    data = config.data
    logger.info("reading %d tracks of %s", len(dataset.tracks), dataset.name)
    examples = build_segments(
        dataset.tracks,
        spec,
        seconds=data.segment_seconds,
        hop_seconds=data.hop_seconds,
        limit=data.segments_per_track,
        cache=cache,
        store=store,
        memory_limit=memory_limit,
        workers=workers,
        on_failure=lambda track, failure: logger.info("left out %s: %s", track.id, failure.message),
    )
    # Genres of which no file could be read are left out: a network must not have a class without examples.
    classes = tuple(sorted({track.label for track in examples.tracks}))
    dataset = replace(dataset, tracks=examples.tracks, classes=classes)
    targets = np.array([classes.index(track.label) for track in dataset.tracks], np.int64)
    return Task(dataset, examples, targets, _split(dataset, examples, config), config)


def check_protocol(config: Config) -> None:
    """Refuse settings that would fail, or leak test data, only after hours of reading.

    Parameters
    ----------
    config : Config
        Settings of a run.

    Raises
    ------
    ConfigError
        ``invalid_argument``: an unknown protocol; ``invalid_config``: settings that would train on the test
        part.
    """
    get_protocol(config.split.protocol)
    overlapping = 0 < config.data.hop_seconds < config.data.segment_seconds
    if config.split.protocol == "segment-random" and (config.augment.crops_per_track or overlapping):
        raise ConfigError(
            "invalid_config",
            "under segment-random, random crops or overlapping segments would train on the test part itself",
            "set augment.crops_per_track=0 and data.hop_seconds=0",
        )


def _split(dataset: Dataset, examples: SegmentDataset, config: Config) -> Split:
    options = config.split
    parts = split_dataset(
        dataset.tracks,
        options.protocol,
        seed=config.train.seed,
        # Counted and not computed from lengths: tracks differ in length, and a limit may apply.
        segments_per_track=np.bincount(examples.track, minlength=len(dataset.tracks)),
        test_fraction=options.test_fraction,
        validation_fraction=options.validation_fraction,
        folds=options.folds,
        fold=options.fold,
        official_splits=dataset.official_splits,
    )
    if options.train_on_validation:
        joined = np.sort(np.concatenate([parts.train, parts.validation]))
        return replace(parts, train=joined, validation=joined[:0])
    return parts
