"""Random weights of the published shapes, and the names of what the published weights score."""

from __future__ import annotations

import csv
from pathlib import Path


def settled_weights(width: float, file: Path, *, rounds: int = 10, segments: int = 8) -> Path:
    """Write random weights of EfficientAT, with batch normalization settled, so that signals get through."""
    import torch

    from genrescope.models.backbones.efficientat import EfficientAt
    from genrescope.models.initialization import initialize_weights

    torch.manual_seed(0)
    network = EfficientAt(width).train()
    initialize_weights(network)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 0.5
    with torch.no_grad():
        for _ in range(rounds):
            network(torch.randn(segments, 128, 100))
    torch.save(network.state_dict(), file)
    return file


def audioset_labels(file: Path) -> tuple[str, ...]:
    """Read the names of AudioSet's classes, in the order of EfficientAT's logits."""
    with file.open(encoding="utf8", newline="") as stream:
        return tuple(row["display_name"] for row in csv.DictReader(stream))
