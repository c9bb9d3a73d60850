"""A student of EfficientAT on 24 frames a second instead of 100, and the mel bands of GTZAN's spectrograms.

The student is its teacher with two changes, so that it can start with the teacher's weights: a linear map
turns its mel bands into the teacher's, and the first two strides along time, or the second alone, are left
out, because its frames are four times as far apart already. Distillation fits the rest. A second teacher,
musicnn, is predicted from the embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from genrescope.models.backbones.efficientat import AUDIOSET_CLASSES, EfficientAt
from genrescope.models.networks import relative_level
from genrescope.types import FloatArray

MELS = 128
WIDTH = 0.4
# Layers of EfficientAT whose stride along time is left out: the stem and the first block with one. A student
# that keeps the stem's stride takes 0.54 times as long.
UNSTRIDED_LAYERS = (0, 2)
# What musicnn has: its penultimate layer, and the 50 tags of the Million Song Dataset's Last.fm part.
MUSICNN_SIZE, MUSICNN_TAGS = 200, 50
_MUSICNN_HIDDEN = 512
# Ridge penalty per row, in units of the squared input.
_RIDGE = 1.0


class Student(nn.Module):
    """Log-mel in dB, as ``features.SPECTROGRAM_LOG_MEL`` gives it -> embedding, and one logit per style.

    Levels are taken relative to the loudest band of the segment, so gain does not change the scores.
    Input (segments, 128, frames), any number of frames; trained on 10 s, 242 frames.

    Parameters
    ----------
    styles : int
        Number of styles.
    unstrided : sequence of int
        Layers of EfficientAT, of `UNSTRIDED_LAYERS`, whose stride along time is left out.

    Attributes
    ----------
    size : int
        Length of the embedding.
    """

    def __init__(self, styles: int, unstrided: Sequence[int] = UNSTRIDED_LAYERS) -> None:
        super().__init__()
        self.mel_projection = nn.Linear(MELS, MELS)
        self.network = EfficientAt(WIDTH, styles)
        self.size = self.network.size
        for index in unstrided:
            strided = [
                layer
                for layer in self.network.features[index].modules()
                if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2)
            ]
            strided[0].stride = (2, 1)

    def project_mel(self, batch: Tensor) -> Tensor:
        """Return the teacher's mel bands for ``batch``, the student's, shape (segments, 128, frames)."""
        mapped: Tensor = self.mel_projection(relative_level(batch).transpose(1, 2))
        return mapped.transpose(1, 2)

    def embed(self, batch: Tensor) -> Tensor:
        """Return embeddings, shape (segments, size), of ``batch``."""
        return self.network.embed(self.project_mel(batch))

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings (segments, size) and logits of styles (segments, styles) of ``batch``."""
        embedding, logits = self.network(self.project_mel(batch))
        return embedding, logits


class TwoTeacherStudent(nn.Module):
    """A student of EfficientAT mn04 and of musicnn: one network, the outputs of both teachers.

    musicnn is Pons and Serra's network (arXiv 1909.06654), trained on the Million Song Dataset.

    Parameters
    ----------
    unstrided : sequence of int
        As of `Student`.
    """

    def __init__(self, unstrided: Sequence[int] = (2,)) -> None:
        super().__init__()
        self.student = Student(AUDIOSET_CLASSES, unstrided)
        self.tags = nn.Sequential(
            nn.Linear(self.student.size, _MUSICNN_HIDDEN),
            nn.Hardswish(),
            nn.Dropout(0.1),
            nn.Linear(_MUSICNN_HIDDEN, MUSICNN_SIZE + MUSICNN_TAGS),
        )

    def forward(self, batch: Tensor) -> TeacherOutputs:
        """Return what both teachers would say of ``batch``, log-mel in dB, shape (segments, 128, frames)."""
        embedding, logits = self.student(batch)
        musicnn = self.tags(embedding)
        return TeacherOutputs(embedding, logits, musicnn[:, :MUSICNN_SIZE], musicnn[:, MUSICNN_SIZE:])


class TeacherOutputs(NamedTuple):
    """What two teachers say of segments, or a student of them.

    Attributes
    ----------
    embedding : Tensor, shape (segments, 384)
        EfficientAT mn04's, before its classifier.
    logits : Tensor, shape (segments, 527)
        Of AudioSet's classes.
    musicnn : Tensor, shape (segments, 200)
        musicnn's penultimate layer.
    tags : Tensor, shape (segments, 50)
        Logits of musicnn's tags.
    """

    embedding: Tensor
    logits: Tensor
    musicnn: Tensor
    tags: Tensor


def init_from_teacher(teacher: EfficientAt, styles: Sequence[int]) -> Student:
    """Build a student that starts with its teacher's weights.

    Parameters
    ----------
    teacher : EfficientAt
        Of width `WIDTH`.
    styles : sequence of int
        Indices of the teacher's classes that the student keeps.
    """
    student = Student(len(styles))
    state = dict(teacher.state_dict())
    for name in ("classifier.5.weight", "classifier.5.bias"):
        state[name] = state[name][list(styles)]
    student.network.load_state_dict(state)
    return student


def fit_mel_projection(student: Student, student_mel: FloatArray, teacher_mel: FloatArray) -> None:
    """Fit the map of mel bands by ridge regression: the teacher's spectrograms from the student's.

    Parameters
    ----------
    student : Student
        Whose map is set in place.
    student_mel : ndarray, shape (segments, 128, frames)
        The student's spectrograms, in dB.
    teacher_mel : ndarray, shape (segments, 128, frames)
        The teacher's of the same audio, at the times of the student's frames.
    """
    levels = relative_level(torch.from_numpy(student_mel)).numpy()
    inputs, targets = (
        mel.transpose(0, 2, 1).reshape(-1, MELS).astype(np.float64) for mel in (levels, teacher_mel)
    )
    input_mean, target_mean = inputs.mean(0), targets.mean(0)
    inputs, targets = inputs - input_mean, targets - target_mean
    ridge = _RIDGE * len(inputs) * np.eye(MELS)
    weights = np.linalg.solve(inputs.T @ inputs + ridge, inputs.T @ targets).T
    with torch.no_grad():
        student.mel_projection.weight.copy_(torch.from_numpy(weights))
        student.mel_projection.bias.copy_(torch.from_numpy(target_mean - weights @ input_mean))
