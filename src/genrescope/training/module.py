"""Training of a network with Lightning: batches, optimizer, schedule, curves.

Every random choice is drawn from (seed, epoch), so a run that was killed and resumed makes the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor

from genrescope import augmentation
from genrescope.datasets import SegmentDataset
from genrescope.models import Network
from genrescope.training.config import Config
from genrescope.training.losses import balanced_weights, create_loss
from genrescope.training.optimizers import create_optimizer, create_schedule
from genrescope.types import Float64Array, IntArray

VALIDATION_BATCH_SIZE = 128
# Means and deviations of the first layer are accurate enough with this many segments.
NORMALIZATION_SEGMENTS = 1024


class TrainingBatches:
    """Shuffled, augmented batches of the training segments; a fresh epoch each time it is iterated.

    With ``augment.crops_per_track`` = k, an epoch is k crops from anywhere in each training track; otherwise
    it is every training segment once.

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
        Seed, batch size, label smoothing and augmentation.

    Attributes
    ----------
    epoch : int
        Number of the epoch to draw next; set by `GenreModule`, also after a resume.
    """

    def __init__(
        self, examples: SegmentDataset, targets: IntArray, chosen: IntArray, classes: int, config: Config
    ) -> None:
        self._examples = examples
        self._targets = targets
        self._chosen = chosen
        self._classes = classes
        self._config = config
        self.epoch = 0

    def __len__(self) -> int:
        return -(-self._items() // self._config.train.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        # A generator for each epoch, not one for the run: a resumed run has no state to restore.
        generator = np.random.default_rng([self._config.train.seed, self.epoch])
        tracks, starts = self._epoch(generator)
        size = self._config.train.batch_size
        for first in range(0, len(tracks), size):
            yield self._batch(tracks[first : first + size], starts[first : first + size], generator)

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

    def _batch(
        self, tracks: IntArray, starts: IntArray, generator: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        settings, spec = self._config.augment, self._examples.spec
        batch = self._examples.window(tracks, starts)
        targets = np.eye(self._classes, dtype=np.float32)[self._targets[tracks]]
        targets = (
            targets * (1 - self._config.train.label_smoothing)
            + self._config.train.label_smoothing / self._classes
        )
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
    """

    def __init__(self, examples: SegmentDataset, targets: IntArray, chosen: IntArray) -> None:
        self._examples, self._targets, self._chosen = examples, targets, chosen

    def __len__(self) -> int:
        return -(-len(self._chosen) // VALIDATION_BATCH_SIZE)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for first in range(0, len(self._chosen), VALIDATION_BATCH_SIZE):
            chosen = self._chosen[first : first + VALIDATION_BATCH_SIZE]
            batch = np.ascontiguousarray(self._examples.take(chosen))
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
    on_epoch : callable
        Called with each new row of the curves.

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
        on_epoch: Callable[[dict[str, float]], None],
    ) -> None:
        super().__init__()
        self.network = network
        self.on_epoch = on_epoch
        self.config = config
        self.batches = batches
        self.loss = create_loss(config.train, batches.class_weights)
        self.curves: list[dict[str, float]] = []
        self._sums: dict[str, list[float]] = {}

    def on_train_epoch_start(self) -> None:
        """Draw this epoch's random choices from (seed, epoch)."""
        self.batches.epoch = self.current_epoch
        # A prime larger than any number of epochs, so that no two (seed, epoch) share a torch seed.
        torch.manual_seed(1_000_003 * self.config.train.seed + self.current_epoch)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Return the loss of one ``batch``: features, and targets of shape (items, classes)."""
        features, targets = batch
        logits = self.network(features)
        # Targets are distributions: smoothed labels (Szegedy et al., CVPR 2016), perhaps mixed.
        loss = self.loss(logits, targets)
        hits = (logits.argmax(1) == targets.argmax(1)).sum().item()
        self._accumulate("train", loss.item() * len(features), hits, len(features))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Count losses and hits on a ``batch``: features, and indices of genres of shape (items,)."""
        # Losses are summed in float32: bfloat16 keeps two or three digits.
        features, targets = batch
        logits = self.network(features).float()
        loss = torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()
        self._accumulate("validation", loss, (logits.argmax(1) == targets).sum().item(), len(features))

    def _accumulate(self, part: str, loss: float, hits: float, items: int) -> None:
        # Sums over segments, not means over batches: the last batch of an epoch may be smaller.
        sums = self._sums.setdefault(part, [0.0, 0.0, 0.0])
        for index, value in enumerate((loss, hits, items)):
            sums[index] += value

    def on_validation_epoch_end(self) -> None:
        """Log validation accuracy, which checkpoints, early stopping and the plateau schedule monitor."""
        loss, hits, items = self._sums.get("validation", [0.0, 0.0, 1.0])
        self.log("validation_accuracy", hits / items, prog_bar=True)
        self.log("validation_loss", loss / items)

    def on_train_epoch_end(self) -> None:
        """Add this epoch to the curves."""
        row = {"epoch": float(self.current_epoch + 1), "learning_rate": self._rate()}
        for part, (loss, hits, items) in self._sums.items():
            row |= {f"{part}_loss": loss / items, f"{part}_accuracy": hits / items}
        self.curves.append(row)
        self._sums.clear()
        self.on_epoch(row)

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
        schedule = create_schedule(optimizer, self.config, len(self.batches))
        return optimizer if schedule is None else {"optimizer": optimizer, "lr_scheduler": schedule}
