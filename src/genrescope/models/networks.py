"""The networks: the paper's LSTM and parallel CNN + RNN, a sequential CRNN, and a plain CNN.

Every network takes features as ``features.extract`` gives them and returns logits, shape (segments, classes).
Normalization is the first layer of each, fitted on training data only, so it travels inside the model file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from genrescope.errors import ConfigError
from genrescope.types import FloatArray

# What librosa keeps below the peak by default (`power_to_db`, top_db), and GTZAN's published spectrogram
# images with it.
DYNAMIC_RANGE_DB = 80.0


def relative_level(batch: Tensor) -> Tensor:
    """Return the level of a spectrogram below its maximum, so that gain changes nothing.

    Parameters
    ----------
    batch : Tensor, shape (segments, mels, frames)
        In dB.

    Returns
    -------
    Tensor, shape (segments, mels, frames)
        In dB below the loudest value of each segment, floored at -80.
    """
    return (batch - batch.amax(dim=(1, 2), keepdim=True)).clamp(min=-DYNAMIC_RANGE_DB)


class Standardize(nn.Module):
    """Subtract a mean and divide by a deviation, one of each per feature of a sequence.

    Shape: (segments, frames, features) -> the same.

    Parameters
    ----------
    features : int
        Of a frame.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        # Buffers, not parameters: training does not change them, and they are saved with the weights.
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))

    def fit(self, batch: Tensor) -> None:
        """Take the statistics of ``batch``, training data only."""
        flat = batch.reshape(-1, batch.shape[-1])
        self.mean.copy_(flat.mean(0))
        self.deviation.copy_(flat.std(0).clamp(min=1e-5))

    def forward(self, batch: Tensor) -> Tensor:
        """Return the standardized features of ``batch``."""
        return (batch - self.mean) / self.deviation


class RelativeLevel(nn.Module):
    """Log-mel in dB -> level below the segment's maximum, floored at -80 dB, standardized per band.

    The reference is the segment's own maximum, so gain does not change the answer.
    Shape: (segments, mels, frames) -> the same.

    Parameters
    ----------
    mels : int
        Number of bands.
    """

    def __init__(self, mels: int) -> None:
        super().__init__()
        self.standardize = Standardize(mels)

    def fit(self, batch: Tensor) -> None:
        """Take the statistics of ``batch``, training data only."""
        self.standardize.fit(relative_level(batch).transpose(1, 2))

    def forward(self, batch: Tensor) -> Tensor:
        """Return the standardized relative levels of ``batch``."""
        standard: Tensor = self.standardize(relative_level(batch).transpose(1, 2))
        return standard.transpose(1, 2)


class Normalization(Protocol):
    """A first layer: fitted on training data, then applied to every batch."""

    def fit(self, batch: Tensor) -> None:
        """Take the statistics of ``batch``."""

    def __call__(self, batch: Tensor) -> Tensor:
        """Return normalized features."""


class Network(nn.Module, ABC):
    """What all networks share: ``normalizer`` first, then `forward_features`."""

    normalizer: Normalization

    @property
    def styles(self) -> tuple[str, ...]:
        """The styles that are scored besides the genres; empty for networks without a backbone."""
        return ()

    def fit(self, batch: Tensor) -> None:
        """Fit the first layer.

        Parameters
        ----------
        batch : Tensor
            Features as computed, of training segments only.
        """
        self.normalizer.fit(batch)

    @abstractmethod
    def forward_features(self, batch: Tensor) -> Tensor:
        """Return logits, shape (segments, classes), of ``batch``, normalized features."""

    def forward(self, batch: Tensor) -> Tensor:
        """Return logits, shape (segments, classes), of ``batch``, features as computed."""
        return self.forward_features(self.normalizer(batch))


class Lstm(Network):
    """The paper's vanilla LSTM (its Figure 6): 128 units, 64 units, one output per genre.

    Input (segments, frames, features).

    Parameters
    ----------
    features, classes : int
        Numbers per frame, and of genres.
    dropout : float
        Share of units that are dropped in training.
    """

    def __init__(self, features: int, classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.normalizer = Standardize(features)
        # Two layers and not one of two: the paper's have different widths.
        self.first = nn.LSTM(features, 128, batch_first=True)
        self.second = nn.LSTM(128, 64, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(64, classes)
        initialize_weights(self)

    def forward_features(self, batch: Tensor) -> Tensor:
        """Return logits of the last state of the second layer for ``batch``, normalized features."""
        states, _ = self.first(batch)
        _, (last, _) = self.second(self.dropout(states))
        logits: Tensor = self.output(self.dropout(last[-1]))
        return logits


class SequentialCrnn(Network):
    """Convolutions over time and frequency, then a GRU over their maps (Choi et al., ICASSP 2017).

    Input (segments, mels, frames).

    Parameters
    ----------
    mels, frames, classes : int
        Bands and frames of a segment, and number of genres.
    dropout : float
        Share of units that are dropped in training.
    """

    def __init__(self, mels: int, frames: int, classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.normalizer = RelativeLevel(mels)
        self.convolutions = nn.Sequential(
            *_block(1, 24, (2, 2)), *_block(24, 48, (2, 2)), *_block(48, 64, (4, 2)), *_block(64, 64, (4, 2))
        )
        # The four pools leave mels / 64 bands and frames / 16 time steps; the bands of a step are one input.
        self.recurrence = nn.GRU(64 * (mels // 64), 64, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(128, classes)
        initialize_weights(self)

    def forward_features(self, batch: Tensor) -> Tensor:
        """Return logits of the last states of both directions for ``batch``, normalized features."""
        maps = self.convolutions(batch.unsqueeze(1))
        columns = maps.flatten(1, 2).transpose(1, 2)
        _, last = self.recurrence(columns)
        logits: Tensor = self.output(self.dropout(torch.cat([last[0], last[1]], dim=1)))
        return logits


class ParallelCnnRnn(Network):
    """The paper's network (its Figure 7, after Dwivedi 2018): a CNN and a GRU side by side.

    For 128 bands x 194 frames the branches give 384 and 128 numbers. Convolutions are (3, 1): three bands,
    one frame, unpadded along the bands; pools 2, 2, 2, 4 and none after the fifth. The GRU reads the
    spectrogram pooled by 2 bands and 4 frames. Input (segments, mels, frames).

    Parameters
    ----------
    mels, frames, classes : int
        Bands and frames of a segment, and number of genres.
    dropout : float
        Share of units that are dropped in training.
    """

    def __init__(self, mels: int, frames: int, classes: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.normalizer = RelativeLevel(mels)
        layers: list[nn.Module] = []
        for inputs, outputs, pool in ((1, 16, 2), (16, 32, 2), (32, 64, 2), (64, 64, 4), (64, 64, 1)):
            layers += [
                nn.Conv2d(inputs, outputs, (3, 1)),
                nn.ReLU(),
                nn.MaxPool2d(pool) if pool > 1 else nn.Identity(),
            ]
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        self.pool = nn.MaxPool2d((2, 4))
        self.recurrence = nn.GRU(mels // 2, 64, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        # The width of the flattened maps depends on bands and frames; one forward pass finds it.
        with torch.no_grad():
            width = self.branches(torch.zeros(1, mels, frames))[0].shape[1]
        self.output = nn.Linear(width + 128, classes)
        initialize_weights(self)

    def branches(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs of CNN (segments, 384) and GRU (segments, 128) for ``batch``, normalized."""
        maps = self.convolutions(batch.unsqueeze(1))
        _, last = self.recurrence(self.pool(batch.unsqueeze(1)).squeeze(1).transpose(1, 2))
        return maps, torch.cat([last[0], last[1]], dim=1)

    def forward_features(self, batch: Tensor) -> Tensor:
        """Return logits of both branches, joined, for ``batch``, normalized features."""
        logits: Tensor = self.output(self.dropout(torch.cat(self.branches(batch), dim=1)))
        return logits


class Cnn(Network):
    """Five convolutions of growing width, mean and maximum over time, one dense layer.

    Input (segments, mels, frames), any number of frames from 16.

    Parameters
    ----------
    mels, classes : int
        Bands of a segment, and number of genres.
    dropout : float
        Share of units that are dropped in training.
    widths : sequence of int
        Channels of the five convolutions.
    """

    def __init__(
        self, mels: int, classes: int, *, dropout: float = 0.3, widths: Sequence[int] = (24, 48, 96, 144, 192)
    ) -> None:
        super().__init__()
        self.normalizer = RelativeLevel(mels)
        layers: list[nn.Module] = []
        for inputs, outputs in zip((1, *widths[:-1]), widths, strict=True):
            layers += _block(inputs, outputs, (2, 2))
        self.convolutions = nn.Sequential(*layers[:-1])  # the last map is pooled over all of it instead
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(2 * widths[-1], classes)
        initialize_weights(self)

    def embed(self, batch: Tensor) -> Tensor:
        """Return embeddings, shape (segments, 2 x last width), of ``batch``, normalized features."""
        # The mean says how much of a pattern there is, the maximum whether it occurs at all.
        columns = self.convolutions(batch.unsqueeze(1)).mean(2)
        return torch.cat([columns.mean(2), columns.amax(2)], dim=1)

    def forward_features(self, batch: Tensor) -> Tensor:
        """Return logits of the embedding of ``batch``."""
        logits: Tensor = self.output(self.dropout(self.embed(batch)))
        return logits


def _block(inputs: int, outputs: int, pool: tuple[int, int]) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.MaxPool2d(pool),
    ]


def initialize_weights(network: nn.Module) -> None:
    """Start from weights that keep variance: He for convolutions, orthogonal for recurrences.

    He et al., ICCV 2015; Saxe et al., ICLR 2014. Forget gates start open: Jozefowicz et al., ICML 2015.

    Parameters
    ----------
    network : torch.nn.Module
        Its weights are drawn anew, from the current random state of torch.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            # Normal, not uniform, and for the fan-in: as in the paper for rectifiers.
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.LSTM | nn.GRU):
            _initialize_recurrence(layer)


def _initialize_recurrence(layer: nn.LSTM | nn.GRU) -> None:
    for name, weight in layer.named_parameters():
        if name.startswith("weight_hh"):
            # PyTorch keeps the matrices of all gates in one; each is to be orthogonal by itself.
            for gate in torch.split(weight.data, layer.hidden_size):
                nn.init.orthogonal_(gate)
        elif name.startswith("weight_ih"):
            nn.init.xavier_uniform_(weight)
        else:
            nn.init.zeros_(weight)
            # Gates: input, forget, cell, output. The other bias stays 0, so that the sum is 1.
            if isinstance(layer, nn.LSTM) and name.startswith("bias_ih"):
                weight.data[layer.hidden_size : 2 * layer.hidden_size] = 1.0


class NetworkFamily(NamedTuple):
    """A kind of network.

    Attributes
    ----------
    build : callable
        From (bands or features, frames, classes, dropout) to a network.
    input : {"sequence", "log_mel"}
        What it takes.
    """

    build: Callable[[int, int, int, float], Network]
    input: Literal["sequence", "log_mel"]


NETWORK_FAMILIES: dict[str, NetworkFamily] = {
    "lstm": NetworkFamily(lambda n, _, k, p: Lstm(n, k, dropout=p), "sequence"),
    "crnn": NetworkFamily(lambda n, t, k, p: SequentialCrnn(n, t, k, dropout=p), "log_mel"),
    "parallel": NetworkFamily(lambda n, t, k, p: ParallelCnnRnn(n, t, k, dropout=p), "log_mel"),
    "cnn": NetworkFamily(lambda n, _, k, p: Cnn(n, k, dropout=p), "log_mel"),
}


def build_network(name: str, *, features: int, frames: int, classes: int, dropout: float) -> Network:
    """Build a network with random weights, drawn from the current random state of torch.

    Parameters
    ----------
    name : str
        A key of ``NETWORK_FAMILIES``.
    features : int
        Mel bands, or features of a frame.
    frames : int
        Frames of a segment.
    classes : int
        Number of genres.
    dropout : float
        Share dropped in training, before the last layer.

    Raises
    ------
    ConfigError
        ``invalid_config``: no network of that name, or segments too short for its pools.
    """
    if name not in NETWORK_FAMILIES:
        raise ConfigError(
            "invalid_config", f"no network is named {name!r}", "choose one of: " + ", ".join(NETWORK_FAMILIES)
        )
    try:
        return NETWORK_FAMILIES[name].build(features, frames, classes, dropout)
    except RuntimeError as reason:
        raise ConfigError(
            "invalid_config",
            f"{name}: {frames} frames are too few for its pools ({reason})",
            "use longer segments",
        ) from None


def network_logits(network: Network, features: FloatArray) -> FloatArray:
    """Return the logits of a trained network, as its exported graph computes them: on the CPU, in float32.

    Parameters
    ----------
    network : Network
        Set to evaluation mode, float32 and the CPU by this.
    features : ndarray, float32
        Of segments, as the network takes them.

    Returns
    -------
    ndarray, shape (segments, classes), float32
    """
    network.eval().float().to("cpu")
    with torch.inference_mode():
        logits: FloatArray = network(torch.from_numpy(np.ascontiguousarray(features, np.float32))).numpy()
    return logits


def smoothed_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy, computed in float32 also under bfloat16 autocast.

    Parameters
    ----------
    logits : Tensor, shape (segments, classes)
    targets : Tensor, shape (segments, classes)
        Probabilities: smoothed or mixed labels.
    """
    return -(targets * functional.log_softmax(logits.float(), dim=1)).sum(dim=1).mean()


def label_cross_entropy(logits: Tensor, evidence: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of what is known, in float32 also under bfloat16 autocast.

    Parameters
    ----------
    logits : Tensor, shape (segments, classes)
    evidence : Tensor, shape (segments, 2 x classes)
        How much speaks for each class, and then how much against it; 0 and 0 where nothing is known. With
        mixup both halves are mixed, so that what is known of one recording only counts in its share.
    """
    pro, contra = evidence.float().chunk(2, dim=1)
    wide = logits.float()
    total = -(pro * functional.logsigmoid(wide) + contra * functional.logsigmoid(-wide)).sum()
    return total / evidence.float().sum().clamp(min=1e-6)
