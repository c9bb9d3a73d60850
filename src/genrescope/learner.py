"""One network in training, as Lightning drives it: batches, optimiser, schedule, curves.

Every random choice is drawn from (seed, epoch), so a run that was killed and resumed makes the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor

from genrescope import augment
from genrescope.config import Config, OptimiserConfig
from genrescope.examples import Examples
from genrescope.networks import Network, smoothed_cross_entropy
from genrescope.records import Integers

VALIDATION_BATCH = 128
FITTING_SEGMENTS = 1024


class TrainingBatches:
    """Shuffled, augmented batches of the training segments; a fresh epoch each time it is iterated.

    With ``augment.random_crops`` = k, an epoch is k crops from anywhere in each training track; otherwise
    it is every training segment once.
    """

    def __init__(
        self, examples: Examples, targets: Integers, chosen: Integers, classes: int, config: Config
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
        generator = np.random.default_rng([self._config.train.seed, self.epoch])
        tracks, starts = self._epoch(generator)
        size = self._config.train.batch_size
        for first in range(0, len(tracks), size):
            yield self._batch(tracks[first : first + size], starts[first : first + size], generator)

    def _items(self) -> int:
        crops = self._config.augment.random_crops
        return crops * len(self._training_tracks()) if crops else len(self._chosen)

    def _training_tracks(self) -> Integers:
        return np.unique(self._examples.track[self._chosen])

    def _epoch(self, generator: np.random.Generator) -> tuple[Integers, Integers]:
        crops = self._config.augment.random_crops
        if not crops:
            order = generator.permutation(self._chosen)
            return self._examples.track[order], self._examples.start[order]
        # Each track once before any comes again: batches stay varied.
        tracks = np.concatenate([generator.permutation(self._training_tracks()) for _ in range(crops)])
        return tracks, self._examples.random_starts(tracks, generator)

    def _batch(
        self, tracks: Integers, starts: Integers, generator: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        settings, spec = self._config.augment, self._examples.spec
        batch = self._examples.crop(tracks, starts)
        targets = np.eye(self._classes, dtype=np.float32)[self._targets[tracks]]
        targets = (
            targets * (1 - self._config.train.label_smoothing)
            + self._config.train.label_smoothing / self._classes
        )
        if settings.recolour_db > 0 and spec.kind == "log_mel":
            batch = augment.recolour(batch, generator, decibels=settings.recolour_db)
        if settings.band_limit and spec.kind == "log_mel":
            batch = augment.band_limit(batch, generator, share=settings.band_limit)
        if settings.masks and spec.kind == "log_mel":
            frames = round(settings.mask_seconds * spec.sample_rate / spec.hop_length)
            batch = augment.mask(
                batch, generator, masks=settings.masks, bands=settings.mask_bands, frames=frames
            )
        if settings.mix_up > 0:
            batch, targets = augment.mix_up(batch, targets, generator, strength=settings.mix_up)
        return torch.from_numpy(np.ascontiguousarray(batch)), torch.from_numpy(targets)


class ValidationBatches:
    """The validation segments, in order and as they are."""

    def __init__(self, examples: Examples, targets: Integers, chosen: Integers) -> None:
        self._examples, self._targets, self._chosen = examples, targets, chosen

    def __len__(self) -> int:
        return -(-len(self._chosen) // VALIDATION_BATCH)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for first in range(0, len(self._chosen), VALIDATION_BATCH):
            chosen = self._chosen[first : first + VALIDATION_BATCH]
            batch = np.ascontiguousarray(self._examples.gather(chosen))
            yield torch.from_numpy(batch), torch.from_numpy(self._targets[self._examples.track[chosen]])


def fit_normalisation(network: Network, examples: Examples, chosen: Integers, seed: int) -> None:
    """Fit the network's first layer on a sample of the training segments."""
    generator = np.random.default_rng([seed, 0xF17])
    sample = generator.permutation(chosen)[:FITTING_SEGMENTS]
    network.fit(torch.from_numpy(np.ascontiguousarray(examples.gather(sample))))


class Learner(lightning.LightningModule):
    """A network, how its weights move, and the curves so far; ``on_epoch`` is told each new row of them."""

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
        self.settings = config
        self.batches = batches
        self.curves: list[dict[str, float]] = []
        self._sums: dict[str, list[float]] = {}

    def on_train_epoch_start(self) -> None:
        """Draw this epoch's random choices from (seed, epoch)."""
        self.batches.epoch = self.current_epoch
        torch.manual_seed(1_000_003 * self.settings.train.seed + self.current_epoch)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Return the loss of one batch."""
        features, targets = batch
        logits = self.network(features)
        loss = smoothed_cross_entropy(logits, targets)
        hits = (logits.argmax(1) == targets.argmax(1)).sum().item()
        self._note("train", loss.item() * len(features), hits, len(features))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Count losses and hits on validation segments."""
        features, targets = batch
        logits = self.network(features).float()
        loss = torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()
        self._note("validation", loss, (logits.argmax(1) == targets).sum().item(), len(features))

    def _note(self, part: str, loss: float, hits: float, items: int) -> None:
        sums = self._sums.setdefault(part, [0.0, 0.0, 0.0])
        for index, value in enumerate((loss, hits, items)):
            sums[index] += value

    def on_validation_epoch_end(self) -> None:
        """Publish validation accuracy, which checkpoints, stopping and the plateau schedule watch."""
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
        optimiser: Any = self.optimizers()
        return float(optimiser.param_groups[0]["lr"])

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the curves with the weights."""
        checkpoint["curves"] = self.curves

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the curves up where they were left."""
        self.curves = list(checkpoint["curves"])

    def configure_optimizers(self) -> Any:
        """Build optimiser and schedule from the settings."""
        settings = self.settings.optimiser
        optimiser = _optimiser(self.network, self.settings)
        if settings.schedule == "one-cycle":
            steps = len(self.batches) * self.settings.train.epochs
            peaks = [group["lr"] for group in optimiser.param_groups]
            cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, peaks, total_steps=steps, pct_start=0.2)
            return {"optimizer": optimiser, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}
        if settings.schedule == "plateau":
            plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimiser, mode="max", factor=settings.plateau_factor, patience=settings.plateau_patience
            )
            return {
                "optimizer": optimiser,
                "lr_scheduler": {"scheduler": plateau, "monitor": "validation_accuracy"},
            }
        return optimiser


def _optimiser(network: Network, config: Config) -> torch.optim.Optimizer:
    settings = config.optimiser
    groups = _groups(network, settings)
    if settings.name == "rmsprop":
        # Keras' smoothing and epsilon, which the paper trained with.
        return torch.optim.RMSprop(
            groups, settings.learning_rate, alpha=0.9, eps=1e-7, weight_decay=settings.weight_decay
        )
    return torch.optim.AdamW(groups, settings.learning_rate, weight_decay=settings.weight_decay)


def _groups(network: Network, settings: OptimiserConfig) -> list[dict[str, Any]]:
    """Divide what moves: the network's own weights first, and a backbone's at a smaller rate."""
    own: list[Tensor] = []
    borrowed: list[Tensor] = []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            (borrowed if name.startswith("backbone.") else own).append(parameter)
    groups: list[dict[str, Any]] = [{"params": own, "lr": settings.learning_rate}]
    if borrowed:
        groups.append({"params": borrowed, "lr": settings.learning_rate * settings.backbone_rate})
    return groups
