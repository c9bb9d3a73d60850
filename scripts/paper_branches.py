"""Steps from the CNN branch of the paper's network to the package's CNN, for scripts/findings.toml."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from genrescope.models.networks import ParallelCnnRnn

FILTERS = (16, 32, 64, 64, 64)
POOLS = (2, 2, 2, 4, 1)


class Branch(ParallelCnnRnn):
    """One branch of the paper's network, and changes to the CNN.

    Parameters
    ----------
    features, frames, classes : int
        Mel bands and frames of a segment, and number of genres.
    branch : {"cnn", "gru"}
        Which of the two the last layer reads.
    normalized : bool
        Whether the convolutions of the CNN have kernels of 3 x 3 and batch normalization, in place of 3 x 1
        and neither; the same filters and pools.
    pooled : bool
        Whether the last layer reads mean and maximum of the CNN's maps over time, in place of all columns.
    dropout : float
        Share of units that are dropped in training.
    """

    def __init__(
        self,
        features: int,
        frames: int,
        classes: int,
        branch: Literal["cnn", "gru"] = "cnn",
        normalized: bool = False,
        pooled: bool = False,
        dropout: float = 0.3,
    ) -> None:
        super().__init__(features, frames, classes, dropout=dropout)
        self.branch, self.pooled = branch, pooled
        if normalized:
            self.convolutions = nn.Sequential(*_normalized_convolutions(), nn.Flatten())
        with torch.no_grad():
            width = self.embed(torch.zeros(2, features, frames)).shape[1]
        self.output = nn.Linear(width, classes)

    def embed(self, batch: Tensor) -> Tensor:
        """Return what the last layer reads, of ``batch``, normalized features."""
        if self.branch == "gru":
            return self.branches(batch)[1]
        if not self.pooled:
            flat: Tensor = self.convolutions(batch.unsqueeze(1))
            return flat
        # (segments, filters, bands, columns): without the last step, which flattens.
        columns = self.convolutions[:-1](batch.unsqueeze(1)).mean(2)
        return torch.cat([columns.mean(2), columns.amax(2)], dim=1)

    def forward_features(self, batch: Tensor) -> Tensor:
        """Return logits of ``batch``, normalized features."""
        logits: Tensor = self.output(self.dropout(self.embed(batch)))
        return logits


def _normalized_convolutions() -> list[nn.Module]:
    layers: list[nn.Module] = []
    for inputs, outputs, pool in zip((1, *FILTERS[:-1]), FILTERS, POOLS, strict=True):
        layers += [
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.MaxPool2d(pool) if pool > 1 else nn.Identity(),
        ]
    return layers
