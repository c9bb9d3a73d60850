"""Training of a student on the outputs of its teacher, by the same engine as all other training.

The loss is the sum of mean squared errors, of embeddings and of logits, each number in units of its standard
deviation over the examples, so that all count alike; of two teachers it is the sum of both, in which the
classes of the taxonomy's genres, speech and music weigh more. The student that is kept is the exponential
moving average of the weights (Polyak and Juditsky, 1992, averaged them first), which is smoother than the
weights of any single step.

The engine's epoch is a *chunk* here, a few shards, because a whole pass over the shards takes hours: a
checkpoint and a validation follow each chunk. Every random choice is drawn from (seed, chunk), so an
interrupted run that is resumed makes the same ones as if it had never stopped. On a GPU all shards are held
in its memory.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from genrescope.augmentation import random_lowpass
from genrescope.errors import ConfigError, GenrescopeError
from genrescope.labels import STYLE_INDICES, load_taxonomy
from genrescope.models import AUDIOSET_CLASSES, MUSICNN_TAGS, Student, TwoTeacherStudent
from genrescope.training.devices import select_device
from genrescope.training.distillation.targets import TeacherTargets, load_shards
from genrescope.training.trainer import create_trainer, fit, last_checkpoint
from genrescope.types import FloatArray, IntArray

SHARDS_PER_CHUNK = 8
VALIDATION_BATCH_SIZE = 64
# Least standard deviation of a target: one that hardly varies over the examples must not outweigh the others.
MIN_DEVIATION = 1e-2
# musicnn's features are smaller numbers.
MIN_MUSICNN_DEVIATION = 1e-3
# Gradients of two teachers are cut at this norm.
MAX_GRADIENT_NORM = 5.0
# Weights of AudioSet's classes in the loss of two teachers, before they are divided by their mean: genres,
# the branch of music, and the others; of speech and music, from which the music head is made; and of tags.
_GENRE_WEIGHT, _MUSICAL_WEIGHT, _OTHER_WEIGHT = 1.5, 0.7, 0.3
_SPEECH_WEIGHT, _MUSIC_WEIGHT = 2.0, 3.0
_GENRE_TAG_WEIGHT, _OTHER_TAG_WEIGHT = 1.3, 0.7
_SPEECH, _MUSIC, _MUSICAL = 0, 137, slice(138, 277)
# Share of the steps in which the learning rate rises.
WARMUP_FRACTION = 0.1
# The key of the checkpoint under which the schedule is stored.
_SCHEDULE_KEY = "distill_schedule"
logger = logging.getLogger(__name__)

StudentT = TypeVar("StudentT", bound=Student | TwoTeacherStudent)


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
    logits : Tensor, shape (batch, styles) or (batch, 527)
        Of the teacher: of the styles, or with a second teacher of all classes.
    musicnn, tags : Tensor, shape (batch, 200) and (batch, 50)
        Of the second teacher; no columns without.
    """

    features: Tensor
    embeddings: Tensor
    logits: Tensor
    musicnn: Tensor
    tags: Tensor


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
    resident : ResidentShards, optional
        All shards, in the memory of a GPU; None: they are read from the disk.
    """

    def __init__(
        self,
        schedule: DistillSchedule,
        chunk: int,
        examples_per_shard: int,
        resident: ResidentShards | None = None,
    ) -> None:
        self._schedule = schedule
        self._resident = resident
        self._chunk = chunk
        self._shards = schedule.chunks()[chunk]
        self._steps = schedule.chunk_steps(self._shards, examples_per_shard)

    def __len__(self) -> int:
        return self._steps

    def __iter__(self) -> Iterator[Batch]:
        schedule = self._schedule
        # The constant keeps these draws apart from others of the same seed.
        generator = np.random.default_rng([schedule.seed, 0x1E55, self._chunk])
        if self._resident is not None:
            rows = self._resident.rows(self._shards)
            order, size = rows[generator.permutation(len(rows))], schedule.batch_size
            for step in range(self._steps):
                chosen = order[step * size : (step + 1) * size]
                yield self._resident.batch(chosen, generator, schedule.lowpass_probability)
            return
        targets = load_shards(schedule.shards, self._shards)
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


class ResidentShards:
    """All shards to train on, in the memory of a device.

    Parameters
    ----------
    schedule : DistillSchedule
        Whose training shards are read.
    device : torch.device
    """

    def __init__(self, schedule: DistillSchedule, device: torch.device) -> None:
        parts = [load_shards(schedule.shards, [number]) for number in schedule.train]
        ends = np.cumsum([len(part.spectrograms) for part in parts])
        self._spans = {
            number: np.arange(end - len(part.spectrograms), end)
            for number, part, end in zip(schedule.train, parts, ends, strict=True)
        }
        self._spectrograms = torch.cat([torch.from_numpy(part.spectrograms) for part in parts]).to(device)
        columns = zip(*(_targets(part, np.arange(len(part.spectrograms))) for part in parts), strict=True)
        # In half precision, as they are stored.
        self._targets = [torch.cat(column).half().to(device) for column in columns]
        self._device = device

    def rows(self, shards: list[int]) -> IntArray:
        """Return the rows of some ``shards``, by their numbers."""
        return np.concatenate([self._spans[number] for number in shards])

    def batch(self, chosen: IntArray, generator: np.random.Generator, lowpass: float) -> Batch:
        """Return a batch, with the highest bands of some spectrograms removed, as by `random_lowpass`.

        Parameters
        ----------
        chosen : ndarray of int
            Rows.
        generator : numpy.random.Generator
            Source of all that is random.
        lowpass : float
            Share of the spectrograms that lose bands.
        """
        index = torch.from_numpy(chosen).to(self._device)
        log_mel = self._spectrograms[index].float() / 255 * 80 - 80
        mels = log_mel.shape[1]
        kept = np.where(
            generator.random(len(chosen)) < lowpass,
            generator.integers(2 * mels // 3, mels, len(chosen)),
            mels,
        )
        removed = torch.arange(mels, device=self._device) >= torch.from_numpy(kept).to(self._device)[:, None]
        floor = log_mel.amax((1, 2), keepdim=True) - 100
        log_mel = torch.where(removed[:, :, None], floor, log_mel)
        return Batch(log_mel, *(column[index].float() for column in self._targets))


def _batch(log_mel: FloatArray, targets: TeacherTargets, chosen: IntArray) -> Batch:
    return Batch(torch.from_numpy(log_mel), *_targets(targets, chosen))


def _targets(targets: TeacherTargets, chosen: IntArray) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what a student is to predict of some rows; of the first teacher alone, only the styles."""
    logits, second = targets.logits[chosen], (targets.musicnn, targets.tags)
    if not len(targets.tags):
        logits = logits[:, list(STYLE_INDICES.values())]
        empty = np.zeros((len(chosen), 0), np.float16)
        second = (empty, empty)
    else:
        second = (targets.musicnn[chosen], targets.tags[chosen])
    embeddings, classes, musicnn, tags = (
        torch.from_numpy(part.astype(np.float32)) for part in (targets.embeddings[chosen], logits, *second)
    )
    return embeddings, classes, musicnn, tags


class ShardData(lightning.LightningDataModule):
    """The batches of the chunk that comes next, and the validation batches.

    Parameters
    ----------
    schedule : DistillSchedule
        Shards and batches.
    examples_per_shard : int
        Number of examples in each shard.
    device : torch.device
        On a GPU, the shards to train on are read once, into its memory.
    """

    def __init__(self, schedule: DistillSchedule, examples_per_shard: int, device: torch.device) -> None:
        super().__init__()
        self.resident = ResidentShards(schedule, device) if device.type == "cuda" else None
        self.schedule = schedule
        self.examples_per_shard = examples_per_shard
        self.validation = ValidationBatches(load_shards(schedule.shards, schedule.validation))

    def train_dataloader(self) -> ChunkBatches:
        """Return the batches of the chunk that comes next; the trainer asks anew for each."""
        assert self.trainer is not None
        chunk = self.trainer.current_epoch
        return ChunkBatches(self.schedule, chunk, self.examples_per_shard, self.resident)

    def val_dataloader(self) -> ValidationBatches:
        """Return the validation batches."""
        return self.validation


class _TargetScaler(nn.Module):
    """Errors of the student in units of the standard deviation of the teachers' outputs."""

    def __init__(self, sample: TeacherTargets) -> None:
        super().__init__()
        parts = _targets(sample, np.arange(len(sample.spectrograms)))
        floors = (MIN_DEVIATION, MIN_DEVIATION, MIN_MUSICNN_DEVIATION, MIN_DEVIATION)
        weights: dict[str, Tensor] = {}
        self.names: tuple[str, ...] = ("embeddings", "styles")
        if parts[3].shape[1]:
            weights = _class_weights()
            self.names = ("embeddings", "classes", "musicnn", "tags")
        for name, part, floor in zip(self.names, parts, floors, strict=False):
            # Buffers move to the accelerator with the module; these are computed anew, not stored.
            deviation = part.std(0, correction=0).clamp(min=floor)
            self.register_buffer(f"{name}_deviation", deviation, persistent=False)
            self.register_buffer(f"{name}_weight", weights.get(name, torch.ones(())), persistent=False)

    def forward(self, outputs: tuple[Tensor, ...], batch: Batch) -> tuple[Tensor, ...]:
        """Return the mean squared errors of a student's outputs, part by part."""
        return tuple(
            (
                self.get_buffer(f"{name}_weight")
                # float32: under autocast the outputs are bfloat16.
                * ((output.float() - wanted) / self.get_buffer(f"{name}_deviation")) ** 2
            ).mean()
            for name, output, wanted in zip(self.names, outputs, batch[1 : 1 + len(self.names)], strict=True)
        )


def _class_weights() -> dict[str, Tensor]:
    """Return the weights of AudioSet's classes and of tags in the loss of two teachers; their mean is 1."""
    indices: dict[str, list[int]] = {"audioset": [], "lastfm": []}
    for genre in load_taxonomy().scored_genres:
        for source in genre.sources:
            indices[source.network].append(source.index)
    classes = torch.full((AUDIOSET_CLASSES,), _OTHER_WEIGHT)
    classes[_MUSICAL] = _MUSICAL_WEIGHT
    classes[indices["audioset"]] = _GENRE_WEIGHT
    classes[_SPEECH], classes[_MUSIC] = _SPEECH_WEIGHT, _MUSIC_WEIGHT
    tags = torch.full((MUSICNN_TAGS,), _OTHER_TAG_WEIGHT)
    tags[indices["lastfm"]] = _GENRE_TAG_WEIGHT
    return {"classes": classes / classes.mean(), "tags": tags / tags.mean()}


class DistillModule(lightning.LightningModule):
    """A student in training: its loss, optimizer, schedule and progress.

    Parameters
    ----------
    student : Student or TwoTeacherStudent
        Trained in place.
    schedule : DistillSchedule
        Learning rate, weight decay and seed; checkpoints of another schedule are refused.
    sample : TeacherTargets
        Examples from which the deviations of the targets are taken.
    """

    def __init__(
        self, student: Student | TwoTeacherStudent, schedule: DistillSchedule, sample: TeacherTargets
    ) -> None:
        super().__init__()
        self.student = student
        self.schedule = schedule
        self.scaler = _TargetScaler(sample)
        self.chunk_count = len(schedule.chunks())
        self.total_steps = schedule.steps(len(sample.spectrograms))
        self._losses: list[Tensor] = []
        self._validation: list[tuple[float, ...]] = []

    def on_train_epoch_start(self) -> None:
        """Seed torch, whose random choices are those of dropout, from (seed, chunk)."""
        # A prime larger than any number of chunks, so that no two (seed, chunk) share a torch seed.
        torch.manual_seed(1_000_003 * self.schedule.seed + self.current_epoch)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Return the loss of one ``batch``."""
        loss: Tensor = torch.stack(self.scaler(self.student(batch.features), batch)).sum()
        # Not yet as a number: that would wait for the GPU at every step.
        self._losses.append(loss.detach())
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Note the errors of a ``batch``; the student has the averaged weights meanwhile."""
        errors = self.scaler(self.student(batch.features), batch)
        self._validation.append((*(error.item() for error in errors), len(batch.features)))

    def on_train_epoch_end(self) -> None:
        """Log the chunk's errors; refuse to continue from a loss that is not finite.

        Raises
        ------
        GenrescopeError
            ``training_failed``.
        """
        losses, self._losses = [loss.item() for loss in self._losses], []
        validation, self._validation = np.array(self._validation), []
        if not math.isfinite(losses[-1]):
            raise GenrescopeError(
                "training_failed",
                f"the loss is {losses[-1]} in chunk {self.current_epoch + 1}",
                "lower the learning rate and begin again; the checkpoint of the chunk before is kept",
            )
        # Weighted by their sizes: the last batch may be smaller.
        errors = np.average(validation[:, :-1], axis=0, weights=validation[:, -1])
        named = zip(self.scaler.names, errors, strict=True)
        logger.info(
            "chunk %d/%d: loss %.4f, validation: %s",
            self.current_epoch + 1,
            self.chunk_count,
            np.mean(losses),
            ", ".join(f"{name} {error:.4f}" for name, error in named),
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
    student: StudentT,
    schedule: DistillSchedule,
    folder: Path,
    *,
    progress_bar: bool = False,
    device: str = "auto",
) -> StudentT:
    """Train ``student``, from the last checkpoint in ``folder`` if there is one.

    Progress, a line per chunk, is logged at level INFO.

    Parameters
    ----------
    student : Student or TwoTeacherStudent
        With the weights to start from; trained in place. One of two teachers needs shards of both.
    schedule : DistillSchedule
        How it is trained.
    folder : Path
        Of the checkpoint, ``last.ckpt``.
    progress_bar : bool
        Whether to show the progress of a chunk on standard error.
    device : {"auto", "cpu", "cuda"}
        Where to train, as of `select_device`. On a GPU the arithmetic is bfloat16 where it can be.

    Returns
    -------
    Student or TwoTeacherStudent
        On the CPU, with the averaged weights, in eval mode.

    Raises
    ------
    ConfigError
        ``invalid_config``: ``folder`` holds a checkpoint of another schedule; ``invalid_argument``: no such
        device.
    DataError
        ``dataset_not_found``, ``dataset_invalid``: a shard is missing or damaged.
    GenrescopeError
        ``training_failed``: the loss is not finite.
    KeyboardInterrupt
        The user interrupted it.
    """
    chosen = select_device(device)
    # Convolutions are faster with the channels last in memory, on a CPU and in a GPU's bfloat16.
    student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sample = load_shards(schedule.shards, [schedule.train[0]])
    module = DistillModule(student.train(), schedule, sample)
    # Lightning's EMAWeightAveraging updates tensor by tensor; torch's function for many tensors is faster.
    average = get_ema_multi_avg_fn(schedule.ema_decay)  # type: ignore[no-untyped-call]
    trainer = create_trainer(
        epochs=module.chunk_count,
        # On the CPUs that were tried, bfloat16 makes a step slower.
        precision="bf16-mixed" if chosen.type == "cuda" else "32-true",
        accelerator=chosen.type,
        max_gradient_norm=MAX_GRADIENT_NORM if isinstance(student, TwoTeacherStudent) else None,
        callbacks=[WeightAveraging(multi_avg_fn=average), last_checkpoint(folder)],
        progress_bar=progress_bar,
        reload_each_epoch=True,
    )
    last = folder / "last.ckpt"
    fit(trainer, module, last, data=ShardData(schedule, len(sample.spectrograms), chosen))
    # The checkpoint's weights are the averaged ones. Those of the module are too after training, but not when
    # the run was finished before and there was nothing left to do.
    stored = torch.load(last, weights_only=True, map_location="cpu")
    module.load_state_dict(stored["state_dict"])
    student.to("cpu")
    student.eval()
    return student
