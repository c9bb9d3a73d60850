"""Networks on a pre-trained backbone.

`LinearHead` puts a linear layer on the backbone's embedding: fitted as logistic regression (family
``frozen``), or trained together with the backbone (``fine-tuned``). `ParallelPretrained` is the paper's
parallel network with the backbone as its CNN branch, beside the GRU (``parallel-pretrained``).
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from genrescope.labels import STYLES
from genrescope.models.backbones.registry import Backbone
from genrescope.models.initialization import initialize_weights
from genrescope.models.networks import (
    DEFAULT_OPTIONS,
    Identity,
    Network,
    NetworkOptions,
    Normalization,
    RelativeLevel,
)
from genrescope.models.recurrent import build_gru
from genrescope.types import FloatArray

EMBEDDING_BATCH_SIZE = 16


class EmbeddingMemory:
    """Embeddings of segments that a frozen backbone has computed before, found by the segments' content.

    Where nothing random changes the segments, each epoch and each training of a comparison asks a frozen
    backbone for the same embeddings, and these are nearly all of its computation.

    Parameters
    ----------
    max_bytes : int
        When what is kept is larger than this, the oldest embeddings are forgotten.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: dict[bytes, Tensor] = {}

    def embed(self, backbone: Backbone, identity: bytes, batch: Tensor) -> Tensor:
        """Return the embeddings of ``batch``, computed for those segments only that are not known.

        Parameters
        ----------
        backbone : Backbone
            In evaluation mode, its weights frozen.
        identity : bytes
            Digest of these weights, see `digest_of_weights`.
        batch : Tensor, shape (segments, mels, frames)
            As ``backbone.info.spec`` says.

        Returns
        -------
        Tensor, shape (segments, size)
        """
        # Under autocast embeddings are rounded, and those of training are not those of inference.
        prefix = identity + bytes([torch.is_autocast_enabled(batch.device.type)])
        keys = [prefix + _digest(segment) for segment in batch]
        unknown = [place for place, key in enumerate(keys) if key not in self._kept]
        if not unknown:
            return torch.stack([self._kept[key] for key in keys]).to(batch.device)
        with torch.no_grad():
            computed = dict(zip(unknown, backbone.embed(batch[unknown]).detach().cpu(), strict=True))
        rows = torch.stack(
            [computed[place] if place in computed else self._kept[key] for place, key in enumerate(keys)]
        )
        for place, embedding in computed.items():
            self._keep(keys[place], embedding.clone())
        return rows.to(batch.device)

    def _keep(self, key: bytes, embedding: Tensor) -> None:
        if key in self._kept:  # a segment that is twice in a batch
            return
        self._kept[key] = embedding
        self._bytes += embedding.nbytes
        while self._bytes > self._max_bytes:
            self._bytes -= self._kept.pop(next(iter(self._kept))).nbytes


# Of the process, since the trainings of a comparison follow each other in it.
_MEMORY = EmbeddingMemory(256 << 20)


def digest_of_weights(module: nn.Module) -> bytes:
    """Return a digest of all weights and statistics of a module, with their names.

    Parameters
    ----------
    module : Module
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.digest()


def _digest(segment: Tensor) -> bytes:
    content = segment.detach().cpu().contiguous().numpy().data
    return hashlib.blake2b(content, digest_size=16).digest()


class PretrainedNetwork(Network):
    """What networks on a backbone share: its embedding as input of the head, and its styles."""

    backbone: Backbone
    _backbone_digest: bytes | None = None

    def keep_embeddings(self, keep: bool) -> None:
        """Keep what the backbone computes, and compute it once for each segment; or stop to do so.

        Parameters
        ----------
        keep : bool
            True is for frozen backbones in training, where batches hold the same segments again and again.
        """
        self._backbone_digest = digest_of_weights(self.backbone) if keep else None

    @property
    def styles(self) -> tuple[str, ...]:
        """The styles that are scored besides the genres; empty where the backbone has none."""
        return STYLES if self.backbone.info.styles else ()

    def forward_with_styles(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits of genres (segments, classes) and of styles (segments, styles).

        Parameters
        ----------
        batch : Tensor, shape (segments, mels, frames)
            Features as computed.
        """
        batch = self.normalizer(batch)
        embedding, styles = self.backbone.embed_with_styles(batch)
        return self.head(batch, embedding), styles

    def forward_features(self, batch: Tensor) -> Tensor:
        """Return logits of genres, shape (segments, classes), of ``batch``, features as computed."""
        if self._backbone_digest is None:
            return self.head(batch, self.backbone.embed(batch))
        return self.head(batch, _MEMORY.embed(self.backbone, self._backbone_digest, batch))

    @abstractmethod
    def head(self, batch: Tensor, embedding: Tensor) -> Tensor:
        """Return logits of genres, shape (segments, classes).

        Parameters
        ----------
        batch : Tensor, shape (segments, mels, frames)
            Normalized features.
        embedding : Tensor, shape (segments, size)
            What the backbone makes of them.
        """

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation mode.

        Parameters
        ----------
        mode : bool
            True for training; a frozen backbone stays in evaluation mode all the same.
        """
        super().train(mode)
        # Without gradients, batch normalization would still update its statistics in training mode.
        if not any(parameter.requires_grad for parameter in self.backbone.parameters()):
            self.backbone.eval()
        return self


class LinearHead(PretrainedNetwork):
    """A backbone and a linear layer on its embedding. Input as ``backbone.info.spec`` says.

    Parameters
    ----------
    backbone : Backbone
        With its weights.
    classes : int
        Number of genres.
    dropout : float
        Share of the embedding that is dropped in training.
    """

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
        """Set the linear layer.

        Parameters
        ----------
        weights : ndarray, shape (classes, size)
        biases : ndarray, shape (classes,)
        """
        with torch.no_grad():
            self.output.weight.copy_(torch.from_numpy(np.asarray(weights, np.float32)))
            self.output.bias.copy_(torch.from_numpy(np.asarray(biases, np.float32)))


class ParallelPretrained(PretrainedNetwork):
    """The paper's parallel network, its CNN branch pre-trained: embedding and GRU states side by side.

    With mn04 the branches give 384 and 128 numbers, as in the paper. Input as ``backbone.info.spec`` says.

    Parameters
    ----------
    backbone : Backbone
        With its weights.
    mels : int
        Number of mel bands.
    classes : int
        Number of genres.
    dropout : float
        Share of the joined branches that is dropped in training.
    frames : int
        Frames of a segment; only recurrent normalization needs it.
    options : NetworkOptions
        Recurrent normalization, and initialization of what is not the backbone.
    """

    def __init__(
        self,
        backbone: Backbone,
        mels: int,
        classes: int,
        *,
        dropout: float = 0.0,
        frames: int = 0,
        options: NetworkOptions = DEFAULT_OPTIONS,
    ) -> None:
        super().__init__()
        self.normalizer = Identity()
        # A backbone in decibels normalizes inside. The GRU has no such layer, and features of up to -80
        # would saturate its gates.
        in_decibels = backbone.info.spec is not None and backbone.info.spec.log == "db"
        self.level: Normalization = RelativeLevel(mels) if in_decibels else Identity()
        self.pool = nn.MaxPool2d((2, 4))
        self.recurrence = build_gru(mels // 2, 64, steps=frames // 4, normalized=options.normalized)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(backbone.info.size + 128, classes)
        initialize_weights(self, options.initialization)
        self.backbone = backbone  # only now: initialize_weights would overwrite its weights

    def fit(self, batch: Tensor) -> None:
        """Fit the normalization in front of the GRU, on features as computed."""
        self.level.fit(batch)

    def head(self, batch: Tensor, embedding: Tensor) -> Tensor:
        """Return logits of both branches, joined."""
        levels = self.level(batch)
        _, last = self.recurrence(self.pool(levels.unsqueeze(1)).squeeze(1).transpose(1, 2))
        logits: Tensor = self.output(self.dropout(torch.cat([embedding, last[0], last[1]], dim=1)))
        return logits


def embed_segments(backbone: Backbone, features: FloatArray) -> FloatArray:
    """Return the embeddings of segments, computed a batch at a time.

    Parameters
    ----------
    backbone : Backbone
        In evaluation mode.
    features : ndarray, shape (segments, mels, frames), float32
        As ``backbone.info.spec`` says.

    Returns
    -------
    ndarray, shape (segments, size), float32
    """
    with torch.inference_mode():
        parts = [
            backbone.embed(
                torch.from_numpy(np.ascontiguousarray(features[first : first + EMBEDDING_BATCH_SIZE]))
            )
            for first in range(0, len(features), EMBEDDING_BATCH_SIZE)
        ]
        embeddings: FloatArray = torch.cat(parts).numpy()
    return embeddings
