"""A pre-trained backbone with something of one's own on top.

``frozen``: a linear layer on its embedding, fitted as logistic regression. ``fine-tuned``: the same layer by
gradient descent, the backbone moving slowly. ``parallel-pretrained``: the paper's parallel network with the
backbone as its CNN branch, beside the GRU; the backbone moves slowly, or not at all.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genrescope.audioset import STYLES
from genrescope.backbones import Backbone
from genrescope.errors import ConfigError
from genrescope.networks import Network, Normalisation, RelativeLevel, initialise
from genrescope.records import Floats

FAMILIES = {
    "frozen": "logistic regression on the embedding of a frozen backbone",
    "fine-tuned": "a backbone that moves slowly, and a linear layer on its embedding",
    "parallel-pretrained": "the paper's parallel network with a pre-trained CNN branch",
}
EMBEDDING_BATCH = 16


class AsIs(nn.Module):
    """Features that a backbone brings on its own scale: nothing to fit."""

    def fit(self, batch: Tensor) -> None:
        """Leave everything as it is."""

    def forward(self, batch: Tensor) -> Tensor:
        """Return the batch."""
        return batch


class Transferred(Network):
    """What these networks share: a backbone, whose embedding decides, and whose styles they pass on."""

    backbone: Backbone

    @property
    def styles(self) -> tuple[str, ...]:
        """The styles that ``answer`` names besides the genres; empty where the backbone has none."""
        return STYLES if self.backbone.facts.styles else ()

    def answer(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of genres (segments, classes) and of styles (segments, styles)."""
        batch = self.normalise(batch)
        embedding, styles = self.backbone.embed_and_name(batch)
        return self.decide(batch, embedding), styles

    def score(self, batch: Tensor) -> Tensor:
        """Return logits of genres."""
        return self.decide(batch, self.backbone.embed(batch))

    @abstractmethod
    def decide(self, batch: Tensor, embedding: Tensor) -> Tensor:
        """Return logits of genres from a batch and its embedding."""

    def train(self, mode: bool = True) -> Any:
        """Switch modes; a frozen backbone stays as it was measured."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.backbone.parameters()):
            self.backbone.eval()
        return self


class LinearHead(Transferred):
    """A backbone and a linear layer on its embedding. Input as the backbone's ``facts.spec`` says."""

    def __init__(self, backbone: Backbone, classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.normalise = AsIs()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(backbone.facts.size, classes)

    def decide(self, batch: Tensor, embedding: Tensor) -> Tensor:
        """Return logits of the embedding."""
        logits: Tensor = self.output(self.dropout(embedding))
        return logits

    def set_head(self, weights: Floats, biases: Floats) -> None:
        """Take over a fitted linear layer: ``weights`` (classes, size), ``biases`` (classes,)."""
        with torch.no_grad():
            self.output.weight.copy_(torch.from_numpy(np.asarray(weights, np.float32)))
            self.output.bias.copy_(torch.from_numpy(np.asarray(biases, np.float32)))


class ParallelPretrained(Transferred):
    """The paper's parallel network, its CNN branch pre-trained: embedding and GRU states side by side.

    With mn04 the branches give 384 and 128 numbers, as in the paper. Input as ``facts.spec`` says.
    """

    def __init__(self, backbone: Backbone, mels: int, classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.normalise = AsIs()
        # The backbone has a level of its own; decibels as they are would drown the GRU.
        in_decibels = backbone.facts.spec is not None and backbone.facts.spec.log == "db"
        self.level: Normalisation = RelativeLevel(mels) if in_decibels else AsIs()
        self.pool = nn.MaxPool2d((2, 4))
        self.recurrence = nn.GRU(mels // 2, 64, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(backbone.facts.size + 128, classes)
        initialise(self)
        self.backbone = backbone  # after initialise, which would forget what it learned

    def fit(self, batch: Tensor) -> None:
        """Fit the level that the GRU sees."""
        self.level.fit(batch)

    def decide(self, batch: Tensor, embedding: Tensor) -> Tensor:
        """Join both branches; one dense layer decides."""
        levels = self.level(batch)
        _, last = self.recurrence(self.pool(levels.unsqueeze(1)).squeeze(1).transpose(1, 2))
        logits: Tensor = self.output(self.dropout(torch.cat([embedding, last[0], last[1]], dim=1)))
        return logits


def build(name: str, backbone: Backbone, *, mels: int, classes: int, dropout: float, frozen: bool) -> Network:
    """Build a network on top of a backbone.

    Raises
    ------
    ConfigError
        ``bad_config``: no such family, or a backbone that takes samples, which no model file can.
    """
    if backbone.facts.spec is None:
        raise ConfigError(
            "bad_config",
            f"{backbone.facts.name} takes samples, not spectrograms",
            "choose mn04, vgg16 or inception-v3",
        )
    backbone.requires_grad_(not frozen)
    if name != "parallel-pretrained":
        return LinearHead(backbone, classes, dropout=0.0 if name == "frozen" else dropout)
    return ParallelPretrained(backbone, mels, classes, dropout=dropout)


def embed(backbone: Backbone, features: Floats) -> Floats:
    """Return the embeddings of segments, shape (segments, size), a batch at a time."""
    with torch.inference_mode():
        parts = [
            backbone.embed(torch.from_numpy(np.ascontiguousarray(features[first : first + EMBEDDING_BATCH])))
            for first in range(0, len(features), EMBEDDING_BATCH)
        ]
        embeddings: Floats = torch.cat(parts).numpy()
    return embeddings
