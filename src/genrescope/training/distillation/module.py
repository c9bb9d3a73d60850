"""A student that learns from its teacher's lessons: embeddings and styles of distorted sound.

Mean squared errors of both, each number divided by its deviation over the lessons, so that all count alike.
The student kept is the running mean of its weights (Polyak and Juditsky, 1992). Work is cut into stretches of
a few files, each drawn from (seed, stretch) and followed by a checkpoint: a killed run carries on.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from genrescope.augmentation import random_lowpass
from genrescope.errors import ConfigError, GenrescopeError
from genrescope.labels import STYLE_INDICES
from genrescope.models import Student
from genrescope.training.distillation.targets import TeacherTargets, load_shards
from genrescope.types import FloatArray, IntArray
from genrescope.utils import write_atomic

SHARDS_PER_CHUNK = 8
SCORING_BATCH = 64


@dataclass(frozen=True)
class DistillSchedule:
    """How a student is taught.

    Attributes
    ----------
    lessons : Path
        Folder of ``lessons.prepare_lessons``.
    numbers, held : range
        Files to learn from, and to judge by.
    epochs : int
    batch_size : int
    learning_rate : float
        Its peak; the rate rises over the first tenth and falls to nothing (one-cycle, AdamW).
    weight_decay : float
    memory : float
        How much of the running mean of weights stays from step to step.
    band_limited : float
        Share of the lessons that the student hears without their highest bands, as at a low sample rate,
        while the teacher's answer stays the one to the whole sound.
    seed : int
    """

    shards: Path
    numbers: range
    held: range
    epochs: int = 3
    batch_size: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    ema_decay: float = 0.999
    band_limited: float = 0.0
    seed: int = 0

    def steps(self, lessons_a_file: int) -> int:
        """Count the steps of the whole course, a stretch at a time."""
        return sum(max(1, len(files) * lessons_a_file // self.batch_size) for files in self.chunks())

    def chunks(self) -> list[list[int]]:
        """Return the files of each stretch: first as they were made, in later epochs in any order."""
        orders = [np.array(self.numbers)]
        for epoch in range(1, self.epochs):
            orders.append(np.random.default_rng([self.seed, epoch]).permutation(orders[0]))
        return [
            [int(number) for number in order[first : first + SHARDS_PER_CHUNK]]
            for order in orders
            for first in range(0, len(order), SHARDS_PER_CHUNK)
        ]


class _TargetScaler:
    """What the teacher said, and how far the student is from it in units of its deviation."""

    def __init__(self, sample: TeacherTargets) -> None:
        self.styles = list(STYLE_INDICES.values())
        self.embedding = torch.from_numpy(sample.embeddings.astype(np.float32).std(0)).clamp(min=1e-2)
        self.logits = torch.from_numpy(sample.logits[:, self.styles].astype(np.float32).std(0)).clamp(
            min=1e-2
        )

    def errors(
        self, student: torch.nn.Module, heard: FloatArray, lessons: TeacherTargets, chosen: IntArray
    ) -> tuple[Tensor, Tensor]:
        """Return the mean squared errors of embeddings and of style logits for what the student heard."""
        embeddings, logits = student(torch.from_numpy(heard))
        said = torch.from_numpy(lessons.embeddings[chosen].astype(np.float32))
        styles = torch.from_numpy(lessons.logits[chosen][:, self.styles].astype(np.float32))
        return (
            (((embeddings - said) / self.embedding) ** 2).mean(),
            (((logits - styles) / self.logits) ** 2).mean(),
        )


def train_student(
    student: Student, course: DistillSchedule, folder: Path, *, say: Callable[[str], None] = lambda _: None
) -> Student:
    """Teach ``student``, from the last checkpoint in ``folder`` if there is one; returns its mean.

    Raises
    ------
    ConfigError
        ``invalid_config``: ``folder`` holds another course.
    DataError
        Lessons that are missing or damaged.
    GenrescopeError
        ``training_failed``: the loss is not finite.
    """
    student = student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    first = load_shards(course.shards, [course.numbers[0]])
    scale = _TargetScaler(first)
    pupil = DistillModule(student, course, course.steps(len(first.spectrograms)), folder / "student.ckpt")
    held = load_shards(course.shards, course.held)
    stretches = course.chunks()
    for place in range(pupil.resume(), len(stretches)):
        lessons = load_shards(course.shards, stretches[place])
        torch.manual_seed(1_000_003 * course.seed + place)
        loss = pupil.learn(lessons, scale, np.random.default_rng([course.seed, 0x1E55, place]))
        pupil.keep(place + 1)
        embedding, styles = _validate(pupil.mean.module, held, scale)
        say(
            f"stretch {place + 1}/{len(stretches)}: loss {loss:.4f},"
            f" held out: embeddings {embedding:.4f}, styles {styles:.4f}"
        )
    taught: Student = pupil.mean.module
    return taught.eval()


class DistillModule:
    """A student on its way: optimizer, schedule, running mean, checkpoint."""

    def __init__(self, student: Student, course: DistillSchedule, steps: int, checkpoint: Path) -> None:
        self.student = student
        self.course = course
        self.checkpoint = checkpoint
        self.optimizer = torch.optim.AdamW(
            student.parameters(), course.learning_rate, weight_decay=course.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, course.learning_rate, total_steps=steps + 1, pct_start=0.1
        )
        average = get_ema_multi_avg_fn(course.ema_decay)  # type: ignore[no-untyped-call]
        self.mean: Any = AveragedModel(student, multi_avg_fn=average, use_buffers=True)

    def learn(self, lessons: TeacherTargets, scale: _TargetScaler, generator: np.random.Generator) -> float:
        """Take one step per batch; return the mean loss."""
        losses = []
        self.student.train()
        for chosen in _batches(len(lessons.spectrograms), self.course.batch_size, generator):
            heard = random_lowpass(lessons.log_mel(chosen), generator, share=self.course.band_limited)
            loss = sum(scale.errors(self.student, heard, lessons, chosen), torch.zeros(()))
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            self.schedule.step()
            self.mean.update_parameters(self.student)
            losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise GenrescopeError(
                "training_failed", f"the loss is {losses[-1]}", "lower the learning rate and start anew"
            )
        return float(np.mean(losses))

    def _parts(self) -> dict[str, Any]:
        return {
            "student": self.student,
            "mean": self.mean,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
        }

    def _identity(self) -> dict[str, str]:
        return {name: str(value) for name, value in asdict(self.course).items() if name != "lessons"}

    def keep(self, place: int) -> None:
        """Write everything down, with the number of stretches done."""
        stream = io.BytesIO()
        states = {name: part.state_dict() for name, part in self._parts().items()}
        torch.save({"place": place, "course": self._identity(), **states}, stream)
        write_atomic(self.checkpoint, stream.getvalue())

    def resume(self) -> int:
        """Take up what was written down; return the number of stretches done."""
        if not self.checkpoint.exists():
            return 0
        kept = torch.load(self.checkpoint, weights_only=True, map_location="cpu")
        if kept["course"] != self._identity():
            raise ConfigError(
                "invalid_config",
                f"{self.checkpoint}: of another course",
                "choose another folder, or delete it",
            )
        for name, part in self._parts().items():
            part.load_state_dict(kept[name])
        return int(kept["place"])


def _validate(student: torch.nn.Module, held: TeacherTargets, scale: _TargetScaler) -> tuple[float, float]:
    student.eval()
    with torch.inference_mode():
        batches = list(_batches(len(held.spectrograms), SCORING_BATCH))
        errors = [
            [error.item() for error in scale.errors(student, held.log_mel(chosen), held, chosen)]
            for chosen in batches
        ]
    embedding, styles = np.average(errors, axis=0, weights=[len(chosen) for chosen in batches])
    return float(embedding), float(styles)


def _batches(rows: int, size: int, generator: np.random.Generator | None = None) -> Iterator[IntArray]:
    """Yield all row numbers in order; or with a generator shuffled, less what does not fill a batch."""
    if generator is None:
        return (np.arange(first, min(first + size, rows)) for first in range(0, rows, size))
    order, last = generator.permutation(rows), max(1, rows - size + 1)
    return (order[first : first + size] for first in range(0, last, size))
