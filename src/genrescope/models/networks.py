"""The networks: the paper's LSTM and parallel CNN + RNN, a sequential CRNN, and a plain CNN.

Every network takes features as ``features.extract`` gives them and returns logits, shape (segments, classes).
Normalization is the first layer of each, fitted on training data only, so it travels inside the model file.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from genrescope.errors import ConfigError
from genrescope.models.initialization import Initialization, initialize_weights
from genrescope.models.layer_sizes import LAYERS_OF_FAMILY, LayerSizes, check_pooled, convolution_sizes, sized
from genrescope.models.recurrent import build_gru, build_lstm
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


class Identity(nn.Identity):
    """The normalization of networks that take features as they are computed."""

    def fit(self, batch: Tensor) -> None:
        """Do nothing: no statistics are taken of ``batch``."""


class BatchScaling(nn.BatchNorm1d):
    """Batch normalization of each feature of a sequence, over segments and frames (Ioffe and Szegedy, 2015).

    Unlike `Standardize` it has a learned scale and shift for each feature, and in training the statistics of
    the batch. Shape: (segments, frames, features) -> the same.

    Parameters
    ----------
    features : int
        Of a frame.
    """

    def __init__(self, features: int) -> None:
        super().__init__(features)

    def fit(self, batch: Tensor) -> None:
        """Do nothing: statistics are taken in training, not of ``batch``."""

    def forward(self, batch: Tensor) -> Tensor:
        """Return the normalized features of ``batch``."""
        return super().forward(batch.transpose(1, 2)).transpose(1, 2)


class StandardizeRows(nn.Module):
    """Standardize each row of a feature over time, where it is no level in dB.

    Shape: (segments, rows, frames) -> the same.

    Parameters
    ----------
    rows : int
        Values per frame.
    """

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.standardize = Standardize(rows)

    def fit(self, batch: Tensor) -> None:
        """Take the statistics of ``batch``, training data only."""
        self.standardize.fit(batch.transpose(1, 2))

    def forward(self, batch: Tensor) -> Tensor:
        """Return the standardized rows of ``batch``."""
        standard: Tensor = self.standardize(batch.transpose(1, 2))
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


class NetworkOptions(NamedTuple):
    """How networks differ from those of their family; the defaults give these.

    Attributes
    ----------
    layers : LayerSizes
        Sizes of other layers than the family's own.
    recurrent_normalization : {"none", "batch"}
        Of the recurrent layers, see `genrescope.models.recurrent`.
    scaling : {"per-feature", "none", "batch"}
        Of the input of the LSTM: `Standardize`, nothing, or `BatchScaling`.
    initialization : {"default", "pytorch", "xavier", "he", "orthogonal"}
        As `initialize_weights` takes it.
    """

    layers: LayerSizes = LAYERS_OF_FAMILY
    recurrent_normalization: Literal["none", "batch"] = "none"
    scaling: Literal["per-feature", "none", "batch"] = "per-feature"
    initialization: Initialization = "default"

    @property
    def normalized(self) -> bool:
        """Whether the recurrent layers have batch normalization."""
        return self.recurrent_normalization == "batch"


DEFAULT_OPTIONS = NetworkOptions()
SCALINGS: dict[str, Callable[[int], Normalization]] = {
    "per-feature": Standardize,
    "none": lambda _: Identity(),
    "batch": BatchScaling,
}


class OwnNetwork(Network):
    """A network of the user behind a normalization of this package.

    Parameters
    ----------
    network : torch.nn.Module
        From normalized features to logits, (segments, classes).
    normalizer : Normalization
        Fitted on training data.
    """

    def __init__(self, network: nn.Module, normalizer: Normalization) -> None:
        super().__init__()
        self.normalizer = normalizer
        self.network = network

    def forward_features(self, batch: Tensor) -> Tensor:
        """Return logits of ``batch``, normalized features."""
        logits: Tensor = self.network(batch)
        return logits


class Lstm(Network):
    """The paper's vanilla LSTM (its Figure 6): 128 units, 64 units, one output per genre.

    Input (segments, frames, features).

    Parameters
    ----------
    features, classes : int
        Numbers per frame, and of genres.
    dropout : float
        Share of units that are dropped in training.
    frames : int
        Frames of a segment; only recurrent normalization needs it.
    options : NetworkOptions
        Units of other layers than the paper's two, recurrent normalization, scaling and initialization.
    """

    def __init__(
        self,
        features: int,
        classes: int,
        *,
        dropout: float = 0.0,
        frames: int = 0,
        options: NetworkOptions = DEFAULT_OPTIONS,
    ) -> None:
        super().__init__()
        self.normalizer = SCALINGS[options.scaling](features)
        # Several layers and not one of several: the paper's have different widths.
        units = sized("network.units", options.layers.units, (128, 64), options.layers.count)
        self.layers = nn.ModuleList(
            build_lstm(inputs, outputs, steps=frames, normalized=options.normalized)
            for inputs, outputs in zip((features, *units[:-1]), units, strict=True)
        )
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(units[-1], classes)
        initialize_weights(self, options.initialization)

    def forward_features(self, batch: Tensor) -> Tensor:
        """Return logits of the last state of the last layer for ``batch``, normalized features."""
        for index, layer in enumerate(self.layers):
            batch, (last, _) = layer(self.dropout(batch) if index else batch)
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
    options : NetworkOptions
        Sizes of other layers than these, recurrent normalization and initialization.
    """

    def __init__(
        self,
        mels: int,
        frames: int,
        classes: int,
        *,
        dropout: float = 0.0,
        options: NetworkOptions = DEFAULT_OPTIONS,
    ) -> None:
        super().__init__()
        self.normalizer = RelativeLevel(mels)
        layers = options.layers
        filters, pools = convolution_sizes(layers, (24, 48, 64, 64), ((2, 2), (2, 2), (4, 2), (4, 2)))
        self.convolutions = nn.Sequential(*_blocks(filters, pools, layers.kernel))
        # The family's pools leave mels / 64 bands and frames / 16 time steps; the bands of a step are one
        # input.
        bands = mels // math.prod(pool[0] for pool in pools)
        steps = frames // math.prod(pool[1] for pool in pools)
        check_pooled(bands, steps)
        units = sized("network.units", layers.units, (64,))
        self.recurrences = _gru_layers(filters[-1] * bands, units, steps, options)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(2 * units[-1], classes)
        initialize_weights(self, options.initialization)

    def forward_features(self, batch: Tensor) -> Tensor:
        """Return logits of the last states of both directions for ``batch``, normalized features."""
        maps = self.convolutions(batch.unsqueeze(1))
        columns = maps.flatten(1, 2).transpose(1, 2)
        logits: Tensor = self.output(self.dropout(_last_states(self.recurrences, columns)))
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
    options : NetworkOptions
        Sizes of other layers than these, recurrent normalization and initialization.
    """

    def __init__(
        self,
        mels: int,
        frames: int,
        classes: int,
        *,
        dropout: float = 0.0,
        options: NetworkOptions = DEFAULT_OPTIONS,
    ) -> None:
        super().__init__()
        self.normalizer = RelativeLevel(mels)
        layers = options.layers
        filters, pools = convolution_sizes(
            layers, (16, 32, 64, 64, 64), ((2, 2), (2, 2), (2, 2), (4, 4), (1, 1))
        )
        stack: list[nn.Module] = []
        for inputs, outputs, pool in zip((1, *filters[:-1]), filters, pools, strict=True):
            stack += [
                nn.Conv2d(inputs, outputs, layers.kernel or (3, 1)),
                nn.ReLU(),
                nn.MaxPool2d(pool) if pool != (1, 1) else nn.Identity(),
            ]
        self.convolutions = nn.Sequential(*stack, nn.Flatten())
        self.pool = nn.MaxPool2d((2, 4))
        units = sized("network.units", layers.units, (64,))
        self.recurrences = _gru_layers(mels // 2, units, frames // 4, options)
        self.dropout = nn.Dropout(dropout)
        # The width of the flattened maps depends on bands and frames; one forward pass finds it.
        with torch.no_grad():
            width = self.branches(torch.zeros(1, mels, frames))[0].shape[1]
        self.output = nn.Linear(width + 2 * units[-1], classes)
        initialize_weights(self, options.initialization)

    def branches(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs of CNN (segments, 384) and GRU (segments, 128) for ``batch``, normalized."""
        maps = self.convolutions(batch.unsqueeze(1))
        return maps, _last_states(self.recurrences, self.pool(batch.unsqueeze(1)).squeeze(1).transpose(1, 2))

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
    options : NetworkOptions
        Sizes of other convolutions than the five, and initialization.
    """

    def __init__(
        self, mels: int, classes: int, *, dropout: float = 0.3, options: NetworkOptions = DEFAULT_OPTIONS
    ) -> None:
        super().__init__()
        self.normalizer = RelativeLevel(mels)
        # The last map is pooled over all of it instead.
        filters, pools = convolution_sizes(
            options.layers, (24, 48, 96, 144, 192), ((2, 2), (2, 2), (2, 2), (2, 2), (1, 1))
        )
        self.convolutions = nn.Sequential(*_blocks(filters, pools, options.layers.kernel))
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(2 * filters[-1], classes)
        initialize_weights(self, options.initialization)

    def embed(self, batch: Tensor) -> Tensor:
        """Return embeddings, shape (segments, 2 x last width), of ``batch``, normalized features."""
        # The mean says how much of a pattern there is, the maximum whether it occurs at all.
        columns = self.convolutions(batch.unsqueeze(1)).mean(2)
        return torch.cat([columns.mean(2), columns.amax(2)], dim=1)

    def forward_features(self, batch: Tensor) -> Tensor:
        """Return logits of the embedding of ``batch``."""
        logits: Tensor = self.output(self.dropout(self.embed(batch)))
        return logits


def _blocks(
    filters: Sequence[int], pools: Sequence[tuple[int, int]], kernel: tuple[int, int] | None
) -> Iterator[nn.Module]:
    """Yield convolutions that keep the size of the map, each with batch normalization, ReLU and a pool."""
    kernel = kernel or (3, 3)
    if kernel[0] % 2 == 0 or kernel[1] % 2 == 0:
        raise ConfigError("invalid_config", f"network.kernel is {kernel}", "give odd numbers")
    padding = (kernel[0] // 2, kernel[1] // 2)
    for inputs, outputs, pool in zip((1, *filters[:-1]), filters, pools, strict=True):
        yield nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False)
        yield nn.BatchNorm2d(outputs)
        yield nn.ReLU()
        if pool != (1, 1):
            yield nn.MaxPool2d(pool)


def _gru_layers(inputs: int, units: Sequence[int], steps: int, options: NetworkOptions) -> nn.ModuleList:
    """Return GRUs of two directions, each on the states of the one before."""
    sizes = (inputs, *(2 * size for size in units[:-1]))
    return nn.ModuleList(
        build_gru(size, own, steps=steps, normalized=options.normalized)
        for size, own in zip(sizes, units, strict=True)
    )


def _last_states(recurrences: nn.ModuleList, batch: Tensor) -> Tensor:
    """Return the last states of both directions of the last layer, (segments, 2 x units), of a sequence."""
    for recurrence in recurrences:
        batch, last = recurrence(batch)
    return torch.cat([last[0], last[1]], dim=1)


class NetworkFamily(NamedTuple):
    """A kind of network.

    Attributes
    ----------
    build : callable
        From (bands or features, frames, classes, dropout, options) to a network.
    input : {"sequence", "log_mel"}
        What it takes.
    """

    build: Callable[[int, int, int, float, NetworkOptions], Network]
    input: Literal["sequence", "log_mel"]


NETWORK_FAMILIES: dict[str, NetworkFamily] = {
    "lstm": NetworkFamily(lambda n, t, k, p, o: Lstm(n, k, dropout=p, frames=t, options=o), "sequence"),
    "crnn": NetworkFamily(lambda n, t, k, p, o: SequentialCrnn(n, t, k, dropout=p, options=o), "log_mel"),
    "parallel": NetworkFamily(lambda n, t, k, p, o: ParallelCnnRnn(n, t, k, dropout=p, options=o), "log_mel"),
    "cnn": NetworkFamily(lambda n, _, k, p, o: Cnn(n, k, dropout=p, options=o), "log_mel"),
}


def build_network(
    name: str,
    *,
    features: int,
    frames: int,
    classes: int,
    dropout: float,
    options: NetworkOptions = DEFAULT_OPTIONS,
) -> Network:
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
    options : NetworkOptions
        Sizes of layers, recurrent normalization, scaling and initialization.

    Raises
    ------
    ConfigError
        ``invalid_config``: no network of that name, segments too short for its pools or too long for
        recurrent normalization, or sizes that do not fit together.
    """
    if name not in NETWORK_FAMILIES:
        raise ConfigError(
            "invalid_config", f"no network is named {name!r}", "choose one of: " + ", ".join(NETWORK_FAMILIES)
        )
    try:
        return NETWORK_FAMILIES[name].build(features, frames, classes, dropout, options)
    except RuntimeError as reason:
        raise ConfigError(
            "invalid_config",
            f"{name}: {frames} frames of {features} bands are too few for its layers ({reason})",
            "use longer segments, more bands, fewer layers or smaller pools",
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
