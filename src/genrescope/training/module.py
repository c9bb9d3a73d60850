"""Training of a network with Lightning: batches, optimizer, schedule, curves.

Every random choice is drawn from (seed, epoch), so a run that was killed and resumed makes the same ones.
"""

from __future__ import annotations

import copy
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from genrescope import augmentation
from genrescope.datasets import LabelMatrix, SegmentDataset
from genrescope.errors import GenrescopeError
from genrescope.evaluation import ranking_precision
from genrescope.models import Network, label_cross_entropy
from genrescope.training.config import Config
from genrescope.training.losses import balanced_weights, create_loss
from genrescope.training.optimizers import create_optimizer, create_schedule
from genrescope.training.options import EpochObserver, Row
from genrescope.types import Float64Array, FloatArray, IntArray

VALIDATION_BATCH_SIZE = 128
# Means and deviations of the first layer are accurate enough with this many segments.
NORMALIZATION_SEGMENTS = 1024


def monitored_metric(config: Config) -> str:
    """Return the name of what checkpoints, early stopping and the plateau schedule monitor, to be large.

    Parameters
    ----------
    config : Config
        Of a multi-label task it is the label ranking average precision, otherwise the accuracy.
    """
    return f"validation_{_metric(config)}"


def _metric(config: Config) -> str:
    return "lrap" if config.data.task == "multi-label" else "accuracy"


def label_evidence(labels: LabelMatrix, tracks: IntArray, smoothing: float = 0.0) -> FloatArray:
    """Return how much speaks for and against each class, as `genrescope.models.label_cross_entropy` takes it.

    Parameters
    ----------
    labels : LabelMatrix
        Of all tracks.
    tracks : ndarray of int, shape (items,)
        Whose rows are wanted.
    smoothing : float
        Share of each label that is replaced by an even chance.

    Returns
    -------
    ndarray, shape (items, 2 x classes), float32
        0 for and against what was not judged.
    """
    values = labels.values[tracks] * (1 - smoothing) + smoothing / 2
    known = labels.judged[tracks]
    evidence: FloatArray = np.concatenate([values * known, (1 - values) * known], axis=1, dtype=np.float32)
    return evidence


def _ranking_precision(logits: Tensor, evidence: Tensor) -> float:
    """Return the sum of the items' label ranking average precision; mixed items are of what prevails."""
    pro, contra = evidence.float().chunk(2, dim=1)
    scores = logits.detach().float().cpu().numpy()
    found = ranking_precision(scores, (pro > contra).cpu().numpy(), (pro + contra > 0).cpu().numpy())
    return float(np.nan_to_num(found).sum())


Batch = tuple[Tensor, Tensor]  # features and targets


class _NumberedBatches(Dataset[Batch]):
    """Batches by (epoch, number), for loader workers."""

    def __init__(self, batches: TrainingBatches) -> None:
        self._batches = copy.copy(batches)
        self._batches._loader = None

    def __getitem__(self, numbers: tuple[int, int]) -> Batch:
        return self._batches.numbered(*numbers)


class _BatchNumbers(Sampler[tuple[int, int]]):
    """The (epoch, number) of each batch of the epoch that comes next."""

    def __init__(self, batches: TrainingBatches) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter([(self._batches.epoch, index) for index in range(len(self))])


class TrainingBatches:
    """Shuffled, augmented batches of the training segments; a fresh epoch each time it is iterated.

    With ``augment.crops_per_track`` = k, an epoch is k crops from anywhere in each training track; otherwise
    it is every training segment once. Of several devices each gets every n-th item of a batch that is n times
    as large, so that together they make the steps of one device with that batch.

    Parameters
    ----------
    examples : SegmentDataset
        Features of all segments.
    targets : ndarray of int, shape (tracks,)
        Index of each track's genre.
    chosen : ndarray of int
        The training segments.
    classes : int
        Number of genres.
    config : Config
        Seed, batch size, label smoothing, augmentation and number of loader workers.
    labels : LabelMatrix, optional
        In place of ``targets``: any number of genres of each track, or shares of several.
    devices : int
        How many processes train together.

    Attributes
    ----------
    epoch : int
        Number of the epoch to draw next; set by `GenreModule`, also after a resume.
    rank : int
        Which of the processes this is, from 0 on; set by `GenreModule`.
    """

    def __init__(
        self,
        examples: SegmentDataset,
        targets: IntArray,
        chosen: IntArray,
        classes: int,
        config: Config,
        labels: LabelMatrix | None = None,
        devices: int = 1,
    ) -> None:
        self._examples = examples
        self._targets = targets
        self._labels = labels
        self._chosen = chosen
        self._classes = classes
        self._config = config
        self.devices = devices
        self.epoch = 0
        self.rank = 0
        self._loader: DataLoader[Batch] | None = None

    def __len__(self) -> int:
        return -(-self._items() // self._step_size)

    def __iter__(self) -> Iterator[Batch]:
        if self._config.train.loader_workers:
            # Kept for the next epochs, as a process takes seconds to start.
            self._loader = self._loader or self._worker_loader()
            yield from self._loader
            return
        # A generator for each epoch, not one for the run: a resumed run has no state to restore.
        generator = np.random.default_rng([self._config.train.seed, self.epoch])
        tracks, starts = self._epoch(generator)
        size = self._step_size
        for index, first in enumerate(range(0, len(tracks), size)):
            if self.devices == 1:
                yield self._batch(tracks[first : first + size], starts[first : first + size], generator)
            else:
                yield self._own_batch(tracks, starts, self.epoch, index)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loader": None}

    def weight(self, index: int) -> float:
        """Return what the mean loss over this process's part of a batch counts in the mean over all parts.

        Parameters
        ----------
        index : int
            Of the batch within the epoch.

        Returns
        -------
        float
            1 but for an uneven last batch.
        """
        items = min(self._step_size, self._items() - index * self._step_size)
        own = len(range(self.rank, items, self.devices))
        return own * self.devices / items

    @property
    def _step_size(self) -> int:
        return self._config.train.batch_size * self.devices

    def _worker_loader(self) -> DataLoader[Batch]:
        """Return a loader whose processes make whole batches, each from the numbers of epoch and batch."""
        return DataLoader(
            _NumberedBatches(self),
            batch_size=None,
            sampler=_BatchNumbers(self),
            num_workers=self._config.train.loader_workers,
            persistent_workers=True,
            # Fork would copy the state of threads of torch, FFmpeg and BLAS that do not exist in the copy.
            multiprocessing_context="spawn",
        )

    def numbered(self, epoch: int, index: int) -> Batch:
        """Return a batch by its numbers alone, as a loader worker does.

        Parameters
        ----------
        epoch, index : int
            Of the epoch, and of the batch within it, from 0 on.
        """
        if self._drawn is None or self._drawn[0] != epoch:
            generator = np.random.default_rng([self._config.train.seed, epoch])
            self._drawn = (epoch, *self._epoch(generator))
        return self._own_batch(*self._drawn[1:], epoch, index)

    _drawn: tuple[int, IntArray, IntArray] | None = None

    def _own_batch(self, tracks: IntArray, starts: IntArray, epoch: int, index: int) -> Batch:
        """Return this process's part of a batch, with random choices of its own."""
        first = index * self._step_size
        own = slice(first + self.rank, min(first + self._step_size, len(tracks)), self.devices)
        # Not zero, which would count for nothing at the end of a seed.
        generator = np.random.default_rng([self._config.train.seed, epoch, self.rank + 1, index + 1])
        if own.start < own.stop:
            return self._batch(tracks[own], starts[own], generator)
        # Each process has to take each step: here with an item that has no target, and so no weight.
        features, targets = self._batch(tracks[first : first + 1], starts[first : first + 1], generator)
        return features, targets[:0]

    def _items(self) -> int:
        crops = self._config.augment.crops_per_track
        return crops * len(self._training_tracks()) if crops else len(self._chosen)

    @property
    def class_weights(self) -> Float64Array | None:
        """Weights of the genres in the loss, shape (classes,); None: all alike."""
        if self._config.train.class_weights == "none":
            return None
        drawn = self._examples.track[self._chosen]
        if self._config.augment.crops_per_track:  # each track is drawn as often as any other
            drawn = self._training_tracks()
        return balanced_weights(self._targets[drawn], self._classes)

    def _training_tracks(self) -> IntArray:
        return np.unique(self._examples.track[self._chosen])

    def _epoch(self, generator: np.random.Generator) -> tuple[IntArray, IntArray]:
        crops = self._config.augment.crops_per_track
        if not crops:
            order = generator.permutation(self._chosen)
            return self._examples.track[order], self._examples.start[order]
        # Each track occurs once before any occurs again, so that batches are varied.
        tracks = np.concatenate([generator.permutation(self._training_tracks()) for _ in range(crops)])
        return tracks, self._examples.random_starts(tracks, generator)

    def _batch(self, tracks: IntArray, starts: IntArray, generator: np.random.Generator) -> Batch:
        settings, spec = self._config.augment, self._examples.spec
        batch = self._examples.window(tracks, starts)
        targets = self._smoothed(tracks)
        # From the recording to the network: equalizer and bandwidth change the sound, masks hide parts of the
        # result, and mixing comes last, so that each of the mixed items has its own masks.
        if settings.random_eq_db > 0 and spec.kind == "log_mel":
            batch = augmentation.random_eq(batch, generator, decibels=settings.random_eq_db)
        if settings.lowpass_probability and spec.kind == "log_mel":
            batch = augmentation.random_lowpass(batch, generator, share=settings.lowpass_probability)
        if settings.spec_augment_masks and spec.kind == "log_mel":
            frames = round(settings.spec_augment_max_seconds * spec.sample_rate / spec.hop_length)
            batch = augmentation.spec_augment(
                batch,
                generator,
                masks=settings.spec_augment_masks,
                bands=settings.spec_augment_max_bands,
                frames=frames,
            )
        if settings.mixup_alpha > 0:
            batch, targets = augmentation.mixup(batch, targets, generator, strength=settings.mixup_alpha)
        return torch.from_numpy(np.ascontiguousarray(batch)), torch.from_numpy(targets)

    def _smoothed(self, tracks: IntArray) -> FloatArray:
        """Return the targets of tracks, smoothed (Szegedy et al., CVPR 2016)."""
        smoothing = self._config.train.label_smoothing
        if self._labels is not None and self._config.data.task == "multi-label":
            return label_evidence(self._labels, tracks, smoothing)
        if self._labels is not None:
            targets = self._labels.values[tracks]
        else:
            targets = np.eye(self._classes, dtype=np.float32)[self._targets[tracks]]
        return targets * (1 - smoothing) + smoothing / self._classes


class ValidationBatches:
    """The validation segments in order, neither augmented nor shuffled.

    Parameters
    ----------
    examples : SegmentDataset
        Features of all segments.
    targets : ndarray of int, shape (tracks,)
        Index of each track's genre.
    chosen : ndarray of int
        The validation segments.
    evidence : ndarray, shape (tracks, columns), float32, optional
        In place of ``targets``: shares of genres, or `label_evidence`.
    devices : int
        How many processes share each batch.

    Attributes
    ----------
    rank : int
        Which of them this is, from 0 on; set by `GenreModule`.
    """

    def __init__(
        self,
        examples: SegmentDataset,
        targets: IntArray,
        chosen: IntArray,
        evidence: FloatArray | None = None,
        devices: int = 1,
    ) -> None:
        self._examples, self._chosen = examples, chosen
        self._targets = targets if evidence is None else evidence
        self._devices = devices
        self.rank = 0

    def __len__(self) -> int:
        return -(-len(self._chosen) // VALIDATION_BATCH_SIZE)

    def __iter__(self) -> Iterator[Batch]:
        for first in range(0, len(self._chosen), VALIDATION_BATCH_SIZE):
            whole = self._chosen[first : first + VALIDATION_BATCH_SIZE]
            chosen = whole[self.rank :: self._devices]
            # A process without an item has to take part too: with one that has no target.
            batch = np.ascontiguousarray(self._examples.take(chosen if len(chosen) else whole[:1]))
            yield torch.from_numpy(batch), torch.from_numpy(self._targets[self._examples.track[chosen]])


def fit_normalizer(network: Network, examples: SegmentDataset, chosen: IntArray, seed: int) -> None:
    """Fit the network's first layer on a sample of the training segments.

    Parameters
    ----------
    network : Network
        Whose normalization is set in place.
    examples : SegmentDataset
        Features of all segments.
    chosen : ndarray of int
        The training segments.
    seed : int
        Of the sample.
    """
    # The second number keeps these draws apart from those of the epochs, which have theirs in its place.
    generator = np.random.default_rng([seed, 0xF17])
    sample = generator.permutation(chosen)[:NORMALIZATION_SEGMENTS]
    network.fit(torch.from_numpy(np.ascontiguousarray(examples.take(sample))))


class EpochReporter:
    """Logs each epoch, tells the observers, and refuses to go on from a loss that is not finite.

    Parameters
    ----------
    epochs : int
        Number of epochs of the training.
    observers : sequence of EpochObserver
        Told of each epoch.
    """

    def __init__(self, epochs: int, observers: Sequence[EpochObserver] = ()) -> None:
        self._epochs = epochs
        self._observers = tuple(observers)
        self._level = logging.getLogger("genrescope").level

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set up what is logged in a process of several that train, before Lightning logs anything there."""
        self.__dict__.update(state)
        top = logging.getLogger("genrescope")
        top.setLevel(self._level)
        # Otherwise these lines would be lost, as the handlers of the process that was called are not here.
        top.addHandler(logging.StreamHandler())
        for name in ("lightning.fabric.utilities.distributed", "lightning.pytorch.utilities.rank_zero"):
            logging.getLogger(name).setLevel(logging.ERROR)
        warnings.simplefilter("ignore")

    def start(self, rows: Sequence[Row]) -> None:
        """Begin, after the epochs ``rows`` of a resumed training."""
        for observer in self._observers:
            observer.start(rows)

    def check(self, row: Row) -> None:
        """Refuse to go on from a loss that is not finite.

        Parameters
        ----------
        row : mapping
            The numbers of an epoch.

        Raises
        ------
        GenrescopeError
            ``training_failed``.
        """
        if not math.isfinite(row["train_loss"]):
            raise GenrescopeError(
                "training_failed",
                f"the loss is {row['train_loss']} in epoch {row['epoch']:.0f}",
                "lower optimizer.learning_rate; the checkpoint of the epoch before is kept",
            )

    def log_epoch(self, row: Row) -> None:
        """Log the numbers of an epoch, and pass them on.

        Parameters
        ----------
        row : mapping
            ``epoch``, from 1 on, losses, accuracies and the learning rate.
        """
        parts = [f"{name.replace('_', ' ')} {value:.4g}" for name, value in row.items() if name != "epoch"]
        # The name under which these lines have always been logged.
        line = f"epoch {row['epoch']:.0f}/{self._epochs}: {', '.join(parts)}"
        logging.getLogger("genrescope.training.trainer").info("%s", line)
        for observer in self._observers:
            observer.log_epoch(row)

    def close(self) -> None:
        """Let the observers write what is left."""
        for observer in self._observers:
            observer.close()


class GenreModule(lightning.LightningModule):
    """A network in training: its loss, optimizer, schedule and curves.

    Parameters
    ----------
    network : Network
        Trained in place.
    config : Config
        Settings of the run.
    batches : TrainingBatches
        Told the number of each epoch.
    reporter : EpochReporter
        Told of each new row of the curves.
    held_out : ValidationBatches, optional
        Of the validation part, if there is one.

    Attributes
    ----------
    curves : list of dict
        One row per epoch; they travel in the checkpoints.
    """

    def __init__(
        self,
        network: Network,
        config: Config,
        batches: TrainingBatches,
        reporter: EpochReporter,
        held_out: ValidationBatches | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.reporter = reporter
        self.config = config
        self._multilabel = config.data.task == "multi-label"
        self.batches = batches
        self.loss = create_loss(config.train, batches.class_weights)
        self.held_out = held_out
        self.curves: list[dict[str, float]] = []
        self._sums: dict[str, list[float]] = {}

    def setup(self, stage: str) -> None:
        """Tell the batches which of several processes this is.

        Parameters
        ----------
        stage : str
            Of Lightning, ``fit``.
        """
        self.batches.rank = self.global_rank
        if self.held_out is not None:
            self.held_out.rank = self.global_rank
        if self.batches.devices > 1 and self.config.train.threads:
            torch.set_num_threads(self.config.train.threads)

    def on_train_start(self) -> None:
        """Begin to report, where a checkpoint has been loaded after its epochs."""
        if self.trainer.is_global_zero:
            self.reporter.start(self.curves)

    def on_train_epoch_start(self) -> None:
        """Draw this epoch's random choices from (seed, epoch), and of several processes each its own."""
        self.batches.epoch = self.current_epoch
        # Primes larger than any number of epochs and devices, so that no two share a torch seed.
        torch.manual_seed(
            1_000_003 * self.config.train.seed + self.current_epoch + 1_000_000_007 * self.batches.rank
        )

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss of one ``batch``: features, and targets of shape (items, classes).

        Parameters
        ----------
        batch : (Tensor, Tensor)
        index : int
            Of the batch within the epoch.
        """
        features, targets = batch
        logits = self.network(features)
        if not len(targets):
            return 0 * logits.sum()  # type: ignore[no-any-return]
        if self._multilabel:
            loss = label_cross_entropy(logits, targets)
            hits = _ranking_precision(logits, targets)
        else:
            # Targets are distributions: smoothed labels (Szegedy et al., CVPR 2016), perhaps mixed.
            loss = self.loss(logits, targets)
            hits = (logits.argmax(1) == targets.argmax(1)).sum().item()
        self._accumulate("train", loss.item() * len(features), hits, len(features))
        # Gradients of processes are averaged, each counting the same whatever the size of its part.
        return loss * self.batches.weight(index) if self.batches.devices > 1 else loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Count losses and hits on a ``batch``: features, and targets as `ValidationBatches` gives them."""
        # Losses are summed in float32: bfloat16 keeps two or three digits.
        features, targets = batch
        if not len(targets):
            return
        logits = self.network(features).float()[: len(targets)]
        if self._multilabel:
            loss = label_cross_entropy(logits, targets).item() * len(targets)
            self._accumulate("validation", loss, _ranking_precision(logits, targets), len(targets))
            return
        loss = torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()
        genres = targets if targets.ndim == 1 else targets.argmax(1)
        self._accumulate("validation", loss, (logits.argmax(1) == genres).sum().item(), len(targets))

    def _accumulate(self, part: str, loss: float, hits: float, items: int) -> None:
        # Sums over segments, not means over batches: the last batch of an epoch may be smaller.
        sums = self._sums.setdefault(part, [0.0, 0.0, 0.0])
        for index, value in enumerate((loss, hits, items)):
            sums[index] += value

    def on_validation_epoch_end(self) -> None:
        """Log what checkpoints, early stopping and the plateau schedule monitor: see `monitored_metric`."""
        self._add_up("validation")
        loss, hits, items = self._sums.get("validation", [0.0, 0.0, 1.0])
        self.log(monitored_metric(self.config), hits / items, prog_bar=True)
        self.log("validation_loss", loss / items)

    def on_train_epoch_end(self) -> None:
        """Add this epoch to the curves."""
        self._add_up("train")
        row = {"epoch": float(self.current_epoch + 1), "learning_rate": self._rate()}
        for part, (loss, hits, items) in self._sums.items():
            row |= {f"{part}_loss": loss / items, f"{part}_{_metric(self.config)}": hits / items}
        self.curves.append(row)
        self._sums.clear()
        self.reporter.check(row)
        if self.trainer.is_global_zero:
            self.reporter.log_epoch(row)

    def on_fit_end(self) -> None:
        """Let observers in a process that ends here write what is left."""
        if self.trainer.is_global_zero and self.batches.devices > 1:
            self.reporter.close()

    def _add_up(self, part: str) -> None:
        """Add the sums of all processes."""
        if self.batches.devices > 1:
            own = torch.tensor(self._sums.get(part, [0.0] * 3), dtype=torch.float64, device=self.device)
            self._sums[part] = self.trainer.strategy.reduce(own, reduce_op="sum").tolist()

    def _rate(self) -> float:
        optimizer: Any = self.optimizers()
        return float(optimizer.param_groups[0]["lr"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the curves with the weights, in ``checkpoint``."""
        checkpoint["curves"] = self.curves

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue the curves of the ``checkpoint``."""
        self.curves = list(checkpoint["curves"])

    def configure_optimizers(self) -> Any:
        """Build optimizer and schedule from the settings."""
        optimizer = create_optimizer(self.network, self.config.optimizer)
        schedule = create_schedule(
            optimizer, self.config, len(self.batches), monitor=monitored_metric(self.config)
        )
        return optimizer if schedule is None else {"optimizer": optimizer, "lr_scheduler": schedule}
