"""The network behind the default model: a student of two teachers, and heads for genres, styles and music.

Genres are scored by two heads whose log probabilities are averaged. One is a logistic regression on labeled
recordings, with the teachers' own genre classes as a fixed prior: what few labels say is added to what the
teachers know. The other is a small multilayer perceptron that learned from the same regression on the
teachers themselves, applied to many hours of unlabeled music.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from genrescope.labels import Genre, Style
from genrescope.models.backbones.efficientat import AUDIOSET_CLASSES
from genrescope.models.student import MUSICNN_SIZE, MUSICNN_TAGS, TeacherOutputs, TwoTeacherStudent

# AudioSet's classes "Speech" and "Music".
SPEECH, MUSIC = 0, 137
# Logits vary more than the standardized embeddings that they stand beside.
_LOGIT_SCALE = 0.5
# Share of the inputs of the distilled head's linear layer that are dropped in training.
_LINEAR_DROPOUT = 0.1
# Floors of the probabilities whose logarithms are a prior, for EfficientAT's classes and musicnn's tags.
_PRIOR_FLOORS = (1e-4, 1e-3)


class TaxonomyOutputs(NamedTuple):
    """The outputs of a model file, in their order.

    Attributes
    ----------
    scores : Tensor, shape (segments, genres)
        Probabilities that sum to one.
    styles : Tensor, shape (segments, styles)
        Probabilities that do not exclude each other.
    music : Tensor, shape (segments, 1)
        Probability of music, against speech, noise, tones and effects.
    embedding : Tensor, shape (segments, 384)
    """

    scores: Tensor
    styles: Tensor
    music: Tensor
    embedding: Tensor


class PriorRegression(nn.Module):
    """Multinomial logistic regression on both embeddings, added to the teachers' own genre classes.

    Parameters
    ----------
    genres : int
        How many.
    audioset, tags : sequence of sequences of int
        Of each genre, the AudioSet classes and the tags that name it; the likeliest of them counts.
    """

    mean: Tensor
    scale: Tensor
    centers: Tensor
    weights: Tensor

    def __init__(self, genres: int, audioset: Sequence[Sequence[int]], tags: Sequence[Sequence[int]]) -> None:
        super().__init__()
        size = TwoTeacherStudent().student.size + MUSICNN_SIZE
        self.regression = nn.Linear(size, genres)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))
        self.register_buffer("centers", torch.zeros(2, genres))
        self.register_buffer("weights", torch.ones(2))
        self.sources = (tuple(map(tuple, audioset)), tuple(map(tuple, tags)))

    @classmethod
    def for_genres(cls, genres: Sequence[Genre]) -> PriorRegression:
        """Return one for genres of the taxonomy, with their source classes.

        Parameters
        ----------
        genres : sequence of Genre
        """
        audioset, tags = (
            [[source.index for source in genre.sources if source.network == network] for genre in genres]
            for network in ("audioset", "lastfm")
        )
        return cls(len(genres), audioset, tags)

    def forward(self, outputs: TeacherOutputs) -> Tensor:
        """Return logits of the ``outputs`` of a student, shape (segments, genres)."""
        logits: Tensor = self.regression(self.standardize(outputs))
        for index, prior in enumerate(self.log_priors(outputs)):
            logits = logits + self.weights[index] * (prior - self.centers[index])
        return logits

    def standardize(self, outputs: TeacherOutputs) -> Tensor:
        """Return what the regression is fed: both embeddings of ``outputs``, shape (segments, 584)."""
        return (torch.cat([outputs.embedding, outputs.musicnn], 1) - self.mean) / self.scale

    def log_priors(self, outputs: TeacherOutputs) -> tuple[Tensor, Tensor]:
        """Return both teachers' log probabilities of the genres in ``outputs``, shape (segments, genres)."""
        first, second = (
            self._prior(values.sigmoid(), self.sources[index], _PRIOR_FLOORS[index])
            for index, values in enumerate((outputs.logits, outputs.tags))
        )
        return first, second

    @staticmethod
    def _prior(chances: Tensor, sources: Sequence[Sequence[int]], floor: float) -> Tensor:
        columns = [
            chances[:, list(classes)].amax(1) if classes else torch.zeros_like(chances[:, 0])
            for classes in sources
        ]
        return (torch.stack(columns, 1) + floor).log()


class DistilledHead(nn.Module):
    """A linear layer and a multilayer perceptron side by side, on all that the student says of a segment.

    Parameters
    ----------
    genres : int
        How many.
    classes : sequence of int
        The AudioSet classes whose logits it sees.
    hidden : int
        Units of the perceptron.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, genres: int, classes: Sequence[int], hidden: int = 256) -> None:
        super().__init__()
        size = TwoTeacherStudent().student.size + len(classes) + MUSICNN_SIZE + MUSICNN_TAGS
        self.classes = tuple(classes)
        self.linear = nn.Linear(size, genres)
        self.perceptron = nn.Sequential(
            nn.Linear(size, hidden), nn.Hardswish(), nn.Dropout(0.3), nn.Linear(hidden, genres)
        )
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    def forward(self, outputs: TeacherOutputs) -> Tensor:
        """Return logits of the ``outputs`` of a student, shape (segments, genres)."""
        standard = (self.join(outputs) - self.mean) / self.scale
        linear: Tensor = self.linear(functional.dropout(standard, _LINEAR_DROPOUT, self.training))
        logits: Tensor = linear + self.perceptron(standard)
        return logits

    def join(self, outputs: TeacherOutputs) -> Tensor:
        """Return what the head is fed, before it is standardized: all ``outputs`` side by side."""
        return torch.cat(
            [
                outputs.embedding,
                outputs.logits[:, list(self.classes)] * _LOGIT_SCALE,
                outputs.musicnn,
                outputs.tags * _LOGIT_SCALE,
            ],
            1,
        )


class MusicHead(nn.Module):
    """Logistic regression for music, on the embedding and the teacher's own classes speech and music."""

    def __init__(self) -> None:
        super().__init__()
        self.regression = nn.Linear(TwoTeacherStudent().student.size + 2, 1)

    def forward(self, outputs: TeacherOutputs) -> Tensor:
        """Return logits of the ``outputs`` of a student, shape (segments, 1)."""
        logits: Tensor = self.regression(self.join(outputs))
        return logits

    @staticmethod
    def join(outputs: TeacherOutputs) -> Tensor:
        """Return what the regression is fed: embedding and two classes of ``outputs``."""
        return torch.cat([outputs.embedding, outputs.logits[:, [SPEECH, MUSIC]] * _LOGIT_SCALE], 1)


def style_weights(styles: Sequence[Style]) -> Tensor:
    """Return how styles are computed from the teachers' classes: the geometric mean of their sources.

    Parameters
    ----------
    styles : sequence of Style

    Returns
    -------
    Tensor, shape (styles, 577)
        Columns of AudioSet's classes, then of musicnn's tags; rows sum to one.
    """
    weights = torch.zeros(len(styles), AUDIOSET_CLASSES + MUSICNN_TAGS)
    first = {"audioset": 0, "lastfm": AUDIOSET_CLASSES}
    for row, style in zip(weights, styles, strict=True):
        row[[first[source.network] + source.index for source in style.sources]] = 1 / len(style.sources)
    return weights


class TaxonomyNetwork(nn.Module):
    """Log-mel in dB -> the outputs of the default model.

    Parameters
    ----------
    student : TwoTeacherStudent
    prior : PriorRegression
    distilled : DistilledHead
    music : MusicHead
    style_weights : Tensor, shape (styles, 577)
        As of `style_weights`.
    temperature : float
        What the mean of the two heads' log probabilities is divided by.
    """

    style_weights: Tensor

    def __init__(
        self,
        student: TwoTeacherStudent,
        prior: PriorRegression,
        distilled: DistilledHead,
        music: MusicHead,
        style_weights: Tensor,
        temperature: float,
    ) -> None:
        super().__init__()
        if style_weights.shape[1] != AUDIOSET_CLASSES + MUSICNN_TAGS:
            raise ValueError(f"style_weights have {style_weights.shape[1]} columns")
        self.student, self.prior, self.distilled, self.music = student, prior, distilled, music
        self.temperature = temperature
        self.register_buffer("style_weights", style_weights)

    def forward(self, batch: Tensor) -> TaxonomyOutputs:
        """Return the outputs for ``batch``, shape (segments, 128, frames), in dB."""
        outputs = self.student(batch)
        logits = (self.prior(outputs).log_softmax(1) + self.distilled(outputs).log_softmax(1)) / 2
        classes = torch.cat([outputs.logits, outputs.tags], 1)
        # log sigmoid, without the exporter's Softplus of large values.
        chances = classes.sigmoid().clamp_min(1e-7).log()
        return TaxonomyOutputs(
            (logits / self.temperature).softmax(1),
            (chances @ self.style_weights.T).exp().clamp(0, 1),
            self.music(outputs).sigmoid(),
            outputs.embedding,
        )
