"""Training of a student on the outputs of its teacher, by the same engine as all other training.

The loss is the sum of two mean squared errors, of embeddings and of style logits, each number in units of its
standard deviation over the examples, so that all count alike. The student that is kept is the exponential
moving average of the weights (Polyak and Juditsky, 1992, averaged them first), which is smoother than the
weights of any single step.

The engine's epoch is a *chunk* here, a few shards, because a whole pass over the shards takes hours: a
checkpoint and a validation follow each chunk. Every random choice is drawn from (seed, chunk), so an
interrupted run that is resumed makes the same ones as if it had never stopped.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from genrescope.augmentation import random_lowpass
from genrescope.errors import ConfigError, GenrescopeError
from genrescope.labels import STYLE_INDICES
from genrescope.models import Student
from genrescope.training.distillation.targets import TeacherTargets, load_shards
from genrescope.training.trainer import create_trainer, fit, last_checkpoint
from genrescope.types import FloatArray, IntArray

SHARDS_PER_CHUNK = 8
VALIDATION_BATCH_SIZE = 64
# Least standard deviation of a target: one that hardly varies over the examples must not outweigh the others.
MIN_DEVIATION = 1e-2
# Share of the steps in which the learning rate rises.
WARMUP_FRACTION = 0.1
# The key of the checkpoint under which the schedule is stored.
_SCHEDULE_KEY = "distill_schedule"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DistillSchedule:
    """How a student is trained.

    Attributes
    ----------
    shards : Path
        Folder of ``targets.build_shards``.
    train, validation : range
        Numbers of the shards to train on, and of those to validate on.
    epochs : int
        How often each shard is used.
    batch_size : int
        Examples per step.
    learning_rate : float
        Its peak; the rate rises over the first tenth of the steps and falls to nothing (one-cycle, AdamW).
    weight_decay : float
        Of AdamW.
    ema_decay : float
        Share of the averaged weights that stays from step to step.
    lowpass_probability : float
        Share of the examples of which the student does not get the highest bands, as at a low sample rate,
        while the target stays the teacher's output for the whole audio.
    seed : int
        Of all random choices.
    """

    shards: Path
    train: range
    validation: range
    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    ema_decay: float = 0.999
    lowpass_probability: float = 0.0
    seed: int = 0

    def steps(self, examples_per_shard: int) -> int:
        """Count the steps of the whole training, chunk by chunk.

        Parameters
        ----------
        examples_per_shard : int
            Number of examples in each shard.
        """
        return sum(self.chunk_steps(chunk, examples_per_shard) for chunk in self.chunks())

    def chunk_steps(self, chunk: list[int], examples_per_shard: int) -> int:
        """Count the steps of a chunk: whole batches, but at least one.

        Parameters
        ----------
        chunk : list of int
            Numbers of its shards.
        examples_per_shard : int
            Number of examples in each shard.
        """
        return max(1, len(chunk) * examples_per_shard // self.batch_size)

    def chunks(self) -> list[list[int]]:
        """Return the shards of each chunk: first in the order of their numbers, in later epochs shuffled."""
        orders = [np.array(self.train)]
        for epoch in range(1, self.epochs):
            orders.append(np.random.default_rng([self.seed, epoch]).permutation(orders[0]))
        return [
            [int(number) for number in order[first : first + SHARDS_PER_CHUNK]]
            for order in orders
            for first in range(0, len(order), SHARDS_PER_CHUNK)
        ]

    def identity(self) -> dict[str, str]:
        """Return what a resumed run must share with the interrupted one: all but where the shards lie."""
        return {name: str(value) for name, value in asdict(self).items() if name != "shards"}


class Batch(NamedTuple):
    """One batch of the chunk.

    Attributes
    ----------
    features : Tensor, shape (batch, mels, frames)
        Of the student.
    embeddings : Tensor, shape (batch, size)
        Of the teacher.
    logits : Tensor, shape (batch, styles)
        Of the teacher.
    """

    features: Tensor
    embeddings: Tensor
    logits: Tensor


class ChunkBatches:
    """Shuffled batches of one chunk; its shards are read when it is iterated, and no earlier.

    Parameters
    ----------
    schedule : DistillSchedule
        Shards, batch size, augmentation and seed.
    chunk : int
        Index of the chunk.
    examples_per_shard : int
        Number of examples in each shard.
    """

    def __init__(self, schedule: DistillSchedule, chunk: int, examples_per_shard: int) -> None:
        self._schedule = schedule
        self._chunk = chunk
        self._shards = schedule.chunks()[chunk]
        self._steps = schedule.chunk_steps(self._shards, examples_per_shard)

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[Batch]:
        schedule = self._schedule
        targets = load_shards(schedule.shards, self._shards)
        # The constant keeps these draws apart from others of the same seed.
        generator = np.random.default_rng([schedule.seed, 0x1E55, self._chunk])
        order, size = generator.permutation(len(targets.spectrograms)), schedule.batch_size
        for step in range(self._steps):
            chosen = order[step * size : (step + 1) * size]
            log_mel = random_lowpass(targets.log_mel(chosen), generator, share=schedule.lowpass_probability)
            yield _batch(log_mel, targets, chosen)


class ValidationBatches:
    """The validation examples in order, as they are.

    Parameters
    ----------
    targets : TeacherTargets
        All of them.
    """

    def __init__(self, targets: TeacherTargets) -> None:
        self._targets = targets

    def __len__(self) -> int:
        return -(-len(self._targets.spectrograms) // VALIDATION_BATCH_SIZE)

    def __iter__(self) -> Iterator[Batch]:
        rows = np.arange(len(self._targets.spectrograms))
        for first in range(0, len(rows), VALIDATION_BATCH_SIZE):
            chosen = rows[first : first + VALIDATION_BATCH_SIZE]
            yield _batch(self._targets.log_mel(chosen), self._targets, chosen)


def _batch(log_mel: FloatArray, targets: TeacherTargets, chosen: IntArray) -> Batch:
    styles = targets.logits[chosen][:, list(STYLE_INDICES.values())]
    return Batch(
        torch.from_numpy(log_mel),
        torch.from_numpy(targets.embeddings[chosen].astype(np.float32)),
        torch.from_numpy(styles.astype(np.float32)),
    )


class ShardData(lightning.LightningDataModule):
    """The batches of the chunk that comes next, and the validation batches.

    Parameters
    ----------
    schedule : DistillSchedule
        Shards and batches.
    examples_per_shard : int
        Number of examples in each shard.
    """

    def __init__(self, schedule: DistillSchedule, examples_per_shard: int) -> None:
        super().__init__()
        self.schedule = schedule
        self.examples_per_shard = examples_per_shard
        self.validation = ValidationBatches(load_shards(schedule.shards, schedule.validation))

    def train_dataloader(self) -> ChunkBatches:
        """Return the batches of the chunk that comes next; the trainer asks anew for each."""
        assert self.trainer is not None
        return ChunkBatches(self.schedule, self.trainer.current_epoch, self.examples_per_shard)

    def val_dataloader(self) -> ValidationBatches:
        """Return the validation batches."""
        return self.validation


class _TargetScaler(nn.Module):
    """Errors of the student in units of the standard deviation of the teacher's outputs."""

    embedding: Tensor
    logits: Tensor

    def __init__(self, sample: TeacherTargets) -> None:
        super().__init__()
        styles = sample.logits[:, list(STYLE_INDICES.values())]
        for name, outputs in (("embedding", sample.embeddings), ("logits", styles)):
            deviation = torch.from_numpy(outputs.astype(np.float32).std(0)).clamp(min=MIN_DEVIATION)
            # Buffers move to the accelerator with the module; these are computed anew, not stored.
            self.register_buffer(name, deviation, persistent=False)

    def forward(self, embeddings: Tensor, logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the mean squared errors of embeddings and of style logits."""
        return (
            (((embeddings - batch.embeddings) / self.embedding) ** 2).mean(),
            (((logits - batch.logits) / self.logits) ** 2).mean(),
        )


class DistillModule(lightning.LightningModule):
    """A student in training: its loss, optimizer, schedule and progress.

    Parameters
    ----------
    student : Student
        Trained in place.
    schedule : DistillSchedule
        Learning rate, weight decay and seed; checkpoints of another schedule are refused.
    sample : TeacherTargets
        Examples from which the deviations of the targets are taken.
    """

    def __init__(self, student: Student, schedule: DistillSchedule, sample: TeacherTargets) -> None:
        super().__init__()
        self.student = student
        self.schedule = schedule
        self.scaler = _TargetScaler(sample)
        self.chunk_count = len(schedule.chunks())
        self.total_steps = schedule.steps(len(sample.spectrograms))
        self._losses: list[float] = []
        self._validation: list[tuple[float, float, int]] = []

    def on_train_epoch_start(self) -> None:
        """Seed torch, whose random choices are those of dropout, from (seed, chunk)."""
        # A prime larger than any number of chunks, so that no two (seed, chunk) share a torch seed.
        torch.manual_seed(1_000_003 * self.schedule.seed + self.current_epoch)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Return the loss of one ``batch``."""
        embedding_error, style_error = self.scaler(*self.student(batch.features), batch)
        loss: Tensor = embedding_error + style_error
        self._losses.append(loss.item())
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Note both errors of a ``batch``; the student has the averaged weights meanwhile."""
        embedding_error, style_error = self.scaler(*self.student(batch.features), batch)
        self._validation.append((embedding_error.item(), style_error.item(), len(batch.features)))

    def on_train_epoch_end(self) -> None:
        """Log the chunk's errors; refuse to continue from a loss that is not finite.

        Raises
        ------
        GenrescopeError
            ``training_failed``.
        """
        losses, self._losses = self._losses, []
        validation, self._validation = np.array(self._validation), []
        if not math.isfinite(losses[-1]):
            raise GenrescopeError(
                "training_failed",
                f"the loss is {losses[-1]} in chunk {self.current_epoch + 1}",
                "lower the learning rate and begin again; the checkpoint of the chunk before is kept",
            )
        # Weighted by their sizes: the last batch may be smaller.
        embedding_error, style_error = np.average(validation[:, :2], axis=0, weights=validation[:, 2])
        logger.info(
            "chunk %d/%d: loss %.4f, validation: embeddings %.4f, styles %.4f",
            self.current_epoch + 1,
            self.chunk_count,
            np.mean(losses),
            embedding_error,
            style_error,
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the schedule with the weights in ``checkpoint``."""
        checkpoint[_SCHEDULE_KEY] = self.schedule.identity()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a ``checkpoint`` of another schedule: the result would be of neither.

        Raises
        ------
        ConfigError
            ``invalid_config``.
        """
        if checkpoint.get(_SCHEDULE_KEY) != self.schedule.identity():
            raise ConfigError(
                "invalid_config",
                "the checkpoint in this folder is of another schedule",
                "choose another folder, or delete the checkpoint",
            )

    def configure_optimizers(self) -> Any:
        """Build AdamW and a one-cycle schedule over all steps."""
        optimizer = torch.optim.AdamW(
            self.student.parameters(), self.schedule.learning_rate, weight_decay=self.schedule.weight_decay
        )
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            self.schedule.learning_rate,
            # One more than there are: the rate of the step after the last one is nothing.
            total_steps=self.total_steps + 1,
            pct_start=WARMUP_FRACTION,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}


def train_student(
    student: Student, schedule: DistillSchedule, folder: Path, *, progress_bar: bool = False
) -> Student:
    """Train ``student``, from the last checkpoint in ``folder`` if there is one.

    Progress, a line per chunk, is logged at level INFO.

    Parameters
    ----------
    student : Student
        With the weights to start from; trained in place.
    schedule : DistillSchedule
        How it is trained.
    folder : Path
        Of the checkpoint, ``last.ckpt``.
    progress_bar : bool
        Whether to show the progress of a chunk on standard error.

    Returns
    -------
    Student
        With the averaged weights, in eval mode.

    Raises
    ------
    ConfigError
        ``invalid_config``: ``folder`` holds a checkpoint of another schedule.
    DataError
        ``dataset_not_found``, ``dataset_invalid``: a shard is missing or damaged.
    GenrescopeError
        ``training_failed``: the loss is not finite.
    KeyboardInterrupt
        The user interrupted it.
    """
    # On a CPU, convolutions are faster with the channels last in memory.
    student = student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sample = load_shards(schedule.shards, [schedule.train[0]])
    module = DistillModule(student.train(), schedule, sample)
    # Lightning's EMAWeightAveraging updates tensor by tensor; torch's function for many tensors is faster.
    average = get_ema_multi_avg_fn(schedule.ema_decay)  # type: ignore[no-untyped-call]
    trainer = create_trainer(
        epochs=module.chunk_count,
        precision="32-true",
        callbacks=[WeightAveraging(multi_avg_fn=average), last_checkpoint(folder)],
        progress_bar=progress_bar,
        reload_each_epoch=True,
    )
    last = folder / "last.ckpt"
    fit(trainer, module, last, data=ShardData(schedule, len(sample.spectrograms)))
    # The checkpoint's weights are the averaged ones. Those of the module are too after training, but not when
    # the run was finished before and there was nothing left to do.
    stored = torch.load(last, weights_only=True, map_location="cpu")
    module.load_state_dict(stored["state_dict"])
    return student.eval()
