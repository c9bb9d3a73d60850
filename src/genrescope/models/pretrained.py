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

from genrescope.errors import ConfigError
from genrescope.labels import STYLES
from genrescope.models.backbones.registry import Backbone
from genrescope.models.networks import Network, Normalization, RelativeLevel, initialize_weights
from genrescope.types import FloatArray

PRETRAINED_FAMILIES = {
    "frozen": "logistic regression on the embedding of a frozen backbone",
    "fine-tuned": "a backbone that moves slowly, and a linear layer on its embedding",
    "parallel-pretrained": "the paper's parallel network with a pre-trained CNN branch",
}
EMBEDDING_BATCH = 16


class Identity(nn.Module):
    """Features that a backbone brings on its own scale: nothing to fit."""

    def fit(self, batch: Tensor) -> None:
        """Leave everything as it is."""

    def forward(self, batch: Tensor) -> Tensor:
        """Return the batch."""
        return batch


class PretrainedNetwork(Network):
    """What these networks share: a backbone, whose embedding decides, and whose styles they pass on."""

    backbone: Backbone

    @property
    def styles(self) -> tuple[str, ...]:
        """The styles that ``answer`` names besides the genres; empty where the backbone has none."""
        return STYLES if self.backbone.info.styles else ()

    def forward_with_styles(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of genres (segments, classes) and of styles (segments, styles)."""
        batch = self.normalizer(batch)
        embedding, styles = self.backbone.embed_with_styles(batch)
        return self.head(batch, embedding), styles

    def forward_features(self, batch: Tensor) -> Tensor:
        """Return logits of genres."""
        return self.head(batch, self.backbone.embed(batch))

    @abstractmethod
    def head(self, batch: Tensor, embedding: Tensor) -> Tensor:
        """Return logits of genres from a batch and its embedding."""

    def train(self, mode: bool = True) -> Any:
        """Switch modes; a frozen backbone stays as it was measured."""
        super().train(mode)
        if not any(parameter.requires_grad for parameter in self.backbone.parameters()):
            self.backbone.eval()
        return self


class LinearHead(PretrainedNetwork):
    """A backbone and a linear layer on its embedding. Input as the backbone's ``facts.spec`` says."""

    def __init__(self, backbone: Backbone, classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.normalizer = Identity()
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(backbone.info.size, classes)

    def head(self, batch: Tensor, embedding: Tensor) -> Tensor:
        """Return logits of the embedding."""
        logits: Tensor = self.output(self.dropout(embedding))
        return logits

    def load_head(self, weights: FloatArray, biases: FloatArray) -> None:
        """Take over a fitted linear layer: ``weights`` (classes, size), ``biases`` (classes,)."""
        with torch.no_grad():
            self.output.weight.copy_(torch.from_numpy(np.asarray(weights, np.float32)))
            self.output.bias.copy_(torch.from_numpy(np.asarray(biases, np.float32)))


class ParallelPretrained(PretrainedNetwork):
    """The paper's parallel network, its CNN branch pre-trained: embedding and GRU states side by side.

    With mn04 the branches give 384 and 128 numbers, as in the paper. Input as ``facts.spec`` says.
    """

    def __init__(self, backbone: Backbone, mels: int, classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.normalizer = Identity()
        # The backbone has a level of its own; decibels as they are would drown the GRU.
        in_decibels = backbone.info.spec is not None and backbone.info.spec.log == "db"
        self.level: Normalization = RelativeLevel(mels) if in_decibels else Identity()
        self.pool = nn.MaxPool2d((2, 4))
        self.recurrence = nn.GRU(mels // 2, 64, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(backbone.info.size + 128, classes)
        initialize_weights(self)
        self.backbone = backbone  # after initialize, which would forget what it learned

    def fit(self, batch: Tensor) -> None:
        """Fit the level that the GRU sees."""
        self.level.fit(batch)

    def head(self, batch: Tensor, embedding: Tensor) -> Tensor:
        """Join both branches; one dense layer decides."""
        levels = self.level(batch)
        _, last = self.recurrence(self.pool(levels.unsqueeze(1)).squeeze(1).transpose(1, 2))
        logits: Tensor = self.output(self.dropout(torch.cat([embedding, last[0], last[1]], dim=1)))
        return logits


def build_pretrained(
    name: str, backbone: Backbone, *, mels: int, classes: int, dropout: float, frozen: bool
) -> Network:
    """Build a network on top of a backbone.

    Raises
    ------
    ConfigError
        ``invalid_config``: no such family, or a backbone that takes samples, which no model file can.
    """
    if backbone.info.spec is None:
        raise ConfigError(
            "invalid_config",
            f"{backbone.info.name} takes samples, not spectrograms",
            "choose mn04, vgg16 or inception-v3",
        )
    backbone.requires_grad_(not frozen)
    if name != "parallel-pretrained":
        return LinearHead(backbone, classes, dropout=0.0 if name == "frozen" else dropout)
    return ParallelPretrained(backbone, mels, classes, dropout=dropout)


def embed_segments(backbone: Backbone, features: FloatArray) -> FloatArray:
    """Return the embeddings of segments, shape (segments, size), a batch at a time."""
    with torch.inference_mode():
        parts = [
            backbone.embed(torch.from_numpy(np.ascontiguousarray(features[first : first + EMBEDDING_BATCH])))
            for first in range(0, len(features), EMBEDDING_BATCH)
        ]
        embeddings: FloatArray = torch.cat(parts).numpy()
    return embeddings
