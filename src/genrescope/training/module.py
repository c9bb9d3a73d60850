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
from genrescope.datasets import LabelMatrix, SegmentDataset
from genrescope.evaluation import ranking_precision
from genrescope.models import Network, label_cross_entropy
from genrescope.training.config import Config
from genrescope.training.losses import balanced_weights, create_loss
from genrescope.training.optimizers import create_optimizer, create_schedule
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
    labels : LabelMatrix, optional
        In place of ``targets``: any number of genres of each track, or shares of several.

    Attributes
    ----------
    epoch : int
        Number of the epoch to draw next; set by `GenreModule`, also after a resume.
    """

    def __init__(
        self,
        examples: SegmentDataset,
        targets: IntArray,
        chosen: IntArray,
        classes: int,
        config: Config,
        labels: LabelMatrix | None = None,
    ) -> None:
        self._examples = examples
        self._targets = targets
        self._labels = labels
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
    """

    def __init__(
        self,
        examples: SegmentDataset,
        targets: IntArray,
        chosen: IntArray,
        evidence: FloatArray | None = None,
    ) -> None:
        self._examples, self._chosen = examples, chosen
        self._targets = targets if evidence is None else evidence

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
        self._multilabel = config.data.task == "multi-label"
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
        if self._multilabel:
            loss = label_cross_entropy(logits, targets)
            precision = _ranking_precision(logits, targets)
            self._accumulate("train", loss.item() * len(features), precision, len(features))
            return loss
        # Targets are distributions: smoothed labels (Szegedy et al., CVPR 2016), perhaps mixed.
        loss = self.loss(logits, targets)
        hits = (logits.argmax(1) == targets.argmax(1)).sum().item()
        self._accumulate("train", loss.item() * len(features), hits, len(features))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Count losses and hits on a ``batch``: features, and targets as `ValidationBatches` gives them."""
        # Losses are summed in float32: bfloat16 keeps two or three digits.
        features, targets = batch
        logits = self.network(features).float()
        if self._multilabel:
            loss = label_cross_entropy(logits, targets).item() * len(features)
            self._accumulate("validation", loss, _ranking_precision(logits, targets), len(features))
            return
        loss = torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()
        genres = targets if targets.ndim == 1 else targets.argmax(1)
        self._accumulate("validation", loss, (logits.argmax(1) == genres).sum().item(), len(features))

    def _accumulate(self, part: str, loss: float, hits: float, items: int) -> None:
        # Sums over segments, not means over batches: the last batch of an epoch may be smaller.
        sums = self._sums.setdefault(part, [0.0, 0.0, 0.0])
        for index, value in enumerate((loss, hits, items)):
            sums[index] += value

    def on_validation_epoch_end(self) -> None:
        """Log what checkpoints, early stopping and the plateau schedule monitor: see `monitored_metric`."""
        loss, hits, items = self._sums.get("validation", [0.0, 0.0, 1.0])
        self.log(monitored_metric(self.config), hits / items, prog_bar=True)
        self.log("validation_loss", loss / items)

    def on_train_epoch_end(self) -> None:
        """Add this epoch to the curves."""
        row = {"epoch": float(self.current_epoch + 1), "learning_rate": self._rate()}
        for part, (loss, hits, items) in self._sums.items():
            row |= {f"{part}_loss": loss / items, f"{part}_{_metric(self.config)}": hits / items}
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
