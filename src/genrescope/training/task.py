"""A training task: a data set's features, cut into segments and split under a protocol."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from genrescope.datasets import (
    MEMORY_LIMIT_BYTES,
    Dataset,
    LabelMatrix,
    SegmentDataset,
    Split,
    build_segments,
    get_protocol,
    label_classes,
    label_matrix,
    load_dataset,
    split_dataset,
)
from genrescope.errors import ConfigError, DataError
from genrescope.evaluation import check_task
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
        Index into ``classes`` of each track's genre; where it has several, of the one with the largest share.
    labels : LabelMatrix
        All genres of the tracks, with their shares.
    split : Split
        Tracks or segments of the three parts.
    config : Config
        Settings of the run.
    """

    dataset: Dataset
    examples: SegmentDataset
    targets: IntArray
    labels: LabelMatrix
    split: Split
    config: Config

    @property
    def is_multilabel(self) -> bool:
        """Whether a track has any number of genres."""
        return self.config.data.task == "multi-label"

    @property
    def has_distributions(self) -> bool:
        """Whether a track of a single-label task has shares of several genres."""
        return not self.is_multilabel and bool((self.labels.values.max(axis=1) < 1).any())

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


def load_data(path: Path, config: Config) -> Dataset:
    """Read a data set as the settings say: by its layout, or by a function of the user.

    Parameters
    ----------
    path : Path
        A folder or file.
    config : Config
        ``data.input``, ``data.layout``, ``data.task`` and ``data.reader``.

    Raises
    ------
    ConfigError, DataError, MissingDependencyError
        As of `genrescope.datasets.load_dataset`.
    """
    data = config.data
    return load_dataset(path, kind=data.input, layout=data.layout, task=data.task, reader=data.reader)


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
        ``invalid_argument``: an unknown protocol, or a data set that was read for another task;
        ``invalid_config``: settings that would train on the test part.
    DataError
        See `genrescope.datasets.build_segments` and `genrescope.datasets.split_dataset`.
    """
    check_protocol(config)
    _check_pictures(dataset, config)
    check_task(dataset, config.data.task)
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
    classes = label_classes(examples.tracks, dataset.annotations)
    dataset = replace(dataset, tracks=examples.tracks, classes=classes)
    targets = np.array([classes.index(track.label) for track in dataset.tracks], np.int64)
    labels = label_matrix(dataset.tracks, dataset.annotations, classes)
    return Task(dataset, examples, targets, labels, _split(dataset, examples, labels, config), config)


def _check_pictures(dataset: Dataset, config: Config) -> None:
    """Refuse features of which published pictures of spectrograms are not; arrays are taken as they are."""
    default = type(config.features)()
    changed = [
        key
        for key in ("sample_rate", "n_fft", "fmin", "fmax")
        if getattr(config.features, key) != getattr(default, key)
    ]
    for track in dataset.tracks:
        if changed and track.kind == "spectrogram" and track.path.suffix != ".npy":
            raise DataError(
                "dataset_invalid",
                f"{track.path}: a picture of a spectrogram, which has another features.{changed[0]}",
                f"leave features.{changed[0]} out, or give audio (--set data.input=audio)",
            )


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


def _split(dataset: Dataset, examples: SegmentDataset, labels: LabelMatrix, config: Config) -> Split:
    options = config.split
    parts = split_dataset(
        dataset.tracks,
        options.protocol,
        seed=config.split_seed,
        # Counted and not computed from lengths: tracks differ in length, and a limit may apply.
        segments_per_track=np.bincount(examples.track, minlength=len(dataset.tracks)),
        test_fraction=options.test_fraction,
        validation_fraction=options.validation_fraction,
        folds=options.folds,
        fold=options.fold,
        official_splits=dataset.official_splits,
        labels=labels.positive if dataset.task == "multi-label" else None,
        classes=dataset.classes,
    )
    parts = _without_excluded(parts, dataset)
    if options.train_on_validation:
        joined = np.sort(np.concatenate([parts.train, parts.validation]))
        return replace(parts, train=joined, validation=joined[:0])
    return parts


def _without_excluded(split: Split, dataset: Dataset) -> Split:
    """Return the split without the tracks that are not to be trained on; its test part stays."""
    if not dataset.not_trained:
        return split
    trained = np.array([track.id not in dataset.not_trained for track in dataset.tracks])
    train, validation = (part[trained[split.unit_tracks[part]]] for part in (split.train, split.validation))
    left = {dataset.tracks[place].label for place in split.unit_tracks[train]}
    if missing := sorted({track.label for track in dataset.tracks} - left):
        raise DataError(
            "dataset_too_small",
            f"nothing of {', '.join(missing)} is left to train on",
            "leave out fewer tracks, such as by a higher score",
        )
    return replace(split, train=train, validation=validation)
