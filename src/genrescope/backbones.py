"""Pre-trained branches: where they come from, under which licence, what they take, and loading them.

Names of the catalogue, ``BACKBONES``, are loaded from a file or fetched on demand; ``hub:NAME`` and
``hub:FOLDER`` are any audio encoder of the Hugging Face hub. All answer to ``embed``.
"""

from __future__ import annotations

import csv
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from genrescope import fetching, hub, imagenet
from genrescope.efficientat import AUDIOSET_CLASSES, WIDTHS, EfficientAt
from genrescope.errors import ConfigError, DataError, ModelError
from genrescope.features import EFFICIENTAT, PAPER_LOG_MEL, FeatureSpec

HUB = "hub:"


@dataclass(frozen=True)
class Facts:
    """What is known of a backbone without loading it.

    Attributes
    ----------
    name : str
    source : str
        URL of the weights, or the folder that they come from.
    licence : str
        Of the weights.
    sha256 : str, optional
        Of the weight file, in hexadecimal: all of it, or the first digits where no more was published. None:
        not published; the one of the first download is recorded and holds from then on.
    sample_rate : int
        In Hz.
    spec : FeatureSpec, optional
        Features that it takes; None: it takes samples.
    size : int
        Numbers of an embedding.
    classes : int
        Logits besides the embedding, on AudioSet's classes; 0 for none.
    mean_average_precision : float, optional
        On AudioSet's evaluation data, as its authors report it.
    """

    name: str
    source: str
    licence: str
    sha256: str | None
    sample_rate: int
    spec: FeatureSpec | None
    size: int
    classes: int = 0
    mean_average_precision: float | None = None

    @property
    def takes(self) -> Literal["samples", "log_mel"]:
        """What ``embed`` wants: samples (segments, n) or log-mel (segments, mels, frames)."""
        return "samples" if self.spec is None else "log_mel"

    @property
    def file(self) -> str:
        """Name of the weight file."""
        return PurePosixPath(self.source).name


class Backbone(nn.Module):
    """A pre-trained network and its facts.

    Attributes
    ----------
    facts : Facts
    network : torch.nn.Module
        The network itself, with the parameters that training may change.
    """

    def __init__(self, facts: Facts, network: nn.Module) -> None:
        super().__init__()
        self.facts = facts
        self.network = network

    def embed(self, batch: Tensor) -> Tensor:
        """Return embeddings, shape (segments, size), of what ``facts.takes`` names."""
        embedding: Tensor = self.network.embed(batch)  # type: ignore[operator]
        return embedding

    def forward(self, batch: Tensor) -> Any:
        """Return what the network returns: EfficientAT embedding and logits, others the embedding."""
        return self.network(batch)


class Entry(NamedTuple):
    """A backbone of the catalogue: its facts, its network, and how the file's names become the network's."""

    facts: Facts
    build: Callable[[], nn.Module]
    translate: Callable[[Mapping[str, Tensor]], dict[str, Tensor]] = dict


def _efficientat(name: str, precision: int, sha256: str | None = None) -> Entry:
    release = "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1"
    width = WIDTHS[name]
    with torch.device("meta"):
        size = EfficientAt(width).size
    facts = Facts(
        name,
        f"{release}/{name}_as_mAP_{precision}.pt",
        "MIT, (c) 2022 Florian Schmid",
        sha256,
        EFFICIENTAT.sample_rate,
        EFFICIENTAT,
        size,
        AUDIOSET_CLASSES,
        precision / 1000,
    )
    return Entry(facts, lambda: EfficientAt(width))


def _torchvision(name: str, file: str, sha256: str, network: type[imagenet.PictureNetwork]) -> Entry:
    facts = Facts(
        name,
        f"https://download.pytorch.org/models/{file}",
        "BSD-3-Clause, (c) Soumith Chintala 2016; trained on ImageNet, which is for non-commercial research",
        sha256,
        PAPER_LOG_MEL.sample_rate,
        PAPER_LOG_MEL,
        network.size,
    )
    return Entry(facts, network, imagenet.without_head)
