"""MSD musicnn: log-mel patches of 3 s -> 200 features, and the logits of 50 tags of Last.fm listeners.

Source: Pons and Serra, "musicnn: pre-trained convolutional neural networks for music audio tagging", 2019
(arXiv 1909.06654); ISC license. The weights are those of ``MSD_musicnn``, trained on the Million Song
Dataset, as NumPy arrays under the names that TensorFlow gave them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from genrescope.errors import ModelError

# 3 s of `features.MUSICNN`: the length that the network was trained on.
PATCH_FRAMES: Final = 187
SIZE: Final = 200

TAGS: Final = (
    *("rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s"),
    *("alternative rock", "jazz", "beautiful", "metal", "chillout", "male vocalists", "classic rock"),
    *("soul", "indie rock", "Mellow", "electronica", "80s", "folk", "90s", "chill", "instrumental"),
    *("punk", "oldies", "blues", "hard rock", "ambient", "acoustic", "experimental", "female vocalist"),
    *("guitar", "Hip-Hop", "70s", "party", "country", "easy listening", "sexy", "catchy", "funk"),
    *("electro", "heavy metal", "Progressive rock", "60s", "rnb", "indie pop", "sad", "House", "happy"),
)
"""The tags, in the order of the logits."""

_EPS = 1e-3
_TIMBRAL_HEIGHTS, _TIMBRAL_FILTERS, _TIMBRAL_FRAMES = (38, 67), 204, 7
_TEMPORAL_FRAMES, _TEMPORAL_FILTERS = (128, 64, 32), 51
_MIDDLE_FILTERS, _MIDDLE_FRAMES = 64, 7
_FRONT = len(_TIMBRAL_HEIGHTS) * _TIMBRAL_FILTERS + len(_TEMPORAL_FRAMES) * _TEMPORAL_FILTERS
_POOLED = 2 * (_FRONT + 3 * _MIDDLE_FILTERS)

# TensorFlow numbers its layers as they were built.
_LAYERS: Final = {
    "normalized": "batch_normalization",
    "timbral.0.convolution": "conv2d",
    "timbral.0.normalization": "batch_normalization_1",
    "timbral.1.convolution": "conv2d_1",
    "timbral.1.normalization": "batch_normalization_2",
    "temporal.0.convolution": "conv2d_2",
    "temporal.0.normalization": "batch_normalization_3",
    "temporal.1.convolution": "conv2d_3",
    "temporal.1.normalization": "batch_normalization_4",
    "temporal.2.convolution": "conv2d_4",
    "temporal.2.normalization": "batch_normalization_5",
    "middle.0.convolution": "conv2d_5",
    "middle.0.normalization": "batch_normalization_6",
    "middle.1.convolution": "conv2d_6",
    "middle.1.normalization": "batch_normalization_7",
    "middle.2.convolution": "conv2d_7",
    "middle.2.normalization": "batch_normalization_8",
    "pooled": "batch_normalization_9",
    "dense": "dense",
    "embedded": "batch_normalization_10",
    "tags": "dense_1",
}
_NORMALIZATION: Final = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


class Musicnn(nn.Module):
    """Log-mel as ``features.MUSICNN`` gives it -> features, and one logit per tag.

    Input (patches, 96, frames); trained on 187 frames. The outputs of a recording are the
    means over its patches.

    Attributes
    ----------
    size : int
        Length of the embedding: 200.
    """

    size = SIZE

    def __init__(self) -> None:
        super().__init__()
        self.normalized = nn.BatchNorm2d(1, eps=_EPS)
        self.timbral = nn.ModuleList(Timbral(height) for height in _TIMBRAL_HEIGHTS)
        self.temporal = nn.ModuleList(Temporal(frames) for frames in _TEMPORAL_FRAMES)
        widths = (_FRONT, _MIDDLE_FILTERS, _MIDDLE_FILTERS)
        self.middle = nn.ModuleList(Middle(width) for width in widths)
        self.pooled = nn.BatchNorm1d(_POOLED, eps=_EPS)
        self.dense = nn.Linear(_POOLED, SIZE)
        self.embedded = nn.BatchNorm1d(SIZE, eps=_EPS)
        self.tags = nn.Linear(SIZE, len(TAGS))

    def embed(self, batch: Tensor) -> Tensor:
        """Return the features of ``batch``, (patches, 96, frames), shape (patches, 200)."""
        maps = self.normalized(batch.unsqueeze(1))
        front = torch.cat([filters(maps) for filters in (*self.timbral, *self.temporal)], 1)
        layers = [front, self.middle[0](front)]
        for block in (self.middle[1], self.middle[2]):
            layers.append(layers[-1] + block(layers[-1]))
        joined = torch.cat(layers, 1)
        # Maximum and mean take turns: feature by feature, not all maxima first.
        pooled = torch.stack([joined.amax(2), joined.mean(2)], 2).flatten(1)
        features: Tensor = self.embedded(self.dense(self.pooled(pooled)).relu())
        return features

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (patches, 200) and logits of ``TAGS`` (patches, 50) of ``batch``."""
        features = self.embed(batch)
        return features, self.tags(features)


class Timbral(nn.Module):
    """Filters of some bands x 7 frames, followed by the maximum over the bands.

    Parameters
    ----------
    height : int
        Of the filters, in bands.
    """

    def __init__(self, height: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            1, _TIMBRAL_FILTERS, (height, _TIMBRAL_FRAMES), padding=(0, _TIMBRAL_FRAMES // 2)
        )
        self.normalization = nn.BatchNorm2d(_TIMBRAL_FILTERS, eps=_EPS)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (patches, 204, frames) for ``maps``, (patches, 1, bands, frames)."""
        strongest: Tensor = self.normalization(self.convolution(maps).relu()).amax(2)
        return strongest


class Temporal(nn.Module):
    """Filters of one band x some frames, the same for all bands, followed by the maximum over the bands.

    Parameters
    ----------
    frames : int
        Length of the filters.
    """

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.padding = ((frames - 1) // 2, frames // 2)
        self.convolution = nn.Conv1d(1, _TEMPORAL_FILTERS, frames)
        self.normalization = nn.BatchNorm1d(_TEMPORAL_FILTERS, eps=_EPS)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (patches, 51, frames) for ``maps``, (patches, 1, bands, frames)."""
        patches, _, bands, frames = maps.shape
        lines = functional.pad(maps.reshape(patches * bands, 1, frames), self.padding)
        filtered: Tensor = self.normalization(self.convolution(lines).relu())
        return filtered.view(patches, bands, _TEMPORAL_FILTERS, frames).amax(1)


class Middle(nn.Module):
    """64 filters over all features x 7 frames.

    Parameters
    ----------
    width : int
        Number of features.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width, _MIDDLE_FILTERS, _MIDDLE_FRAMES, padding=_MIDDLE_FRAMES // 2)
        self.normalization = nn.BatchNorm1d(_MIDDLE_FILTERS, eps=_EPS)

    def forward(self, features: Tensor) -> Tensor:
        """Return features (patches, 64, frames) for ``features``, (patches, width, frames)."""
        filtered: Tensor = self.normalization(self.convolution(features).relu())
        return filtered


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights from an ``.npz`` file; one that holds pickled objects is refused.

    Parameters
    ----------
    path : Path
        Arrays under the names of TensorFlow's variables.

    Raises
    ------
    ModelError
        ``model_not_found``, ``model_corrupt``.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return translate({name: stored[name] for name in stored.files})
    except FileNotFoundError:
        raise ModelError("model_not_found", f"{path}: no such file", "check the path") from None
    except Exception as reason:  # damage makes zipfile and NumPy raise errors of many kinds
        raise ModelError(
            "model_corrupt",
            f"{path}: cannot be read as the weights of musicnn: {str(reason)[:200]}",
            "give the file of MSD_musicnn's arrays",
        ) from None


def translate(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Tensor]:
    """Turn TensorFlow's arrays into a state dict of `Musicnn`.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        By the name of the variable.

    Raises
    ------
    KeyError
        An array is missing.
    """
    state: dict[str, Tensor] = {}
    for ours, theirs in _LAYERS.items():
        if "normalization" in theirs:
            for part, name in _NORMALIZATION.items():
                state[f"{ours}.{part}"] = _tensor(arrays[f"{theirs}.{name}"])
            state[f"{ours}.num_batches_tracked"] = torch.tensor(0)
        else:
            state[f"{ours}.weight"] = _tensor(_transposed(arrays[f"{theirs}.kernel"], ours))
            state[f"{ours}.bias"] = _tensor(arrays[f"{theirs}.bias"])
    return state


def patches(spectrogram: npt.NDArray[np.float32], hop_frames: int = PATCH_FRAMES) -> npt.NDArray[np.float32]:
    """Cut a log-mel spectrogram into patches of 187 frames; what is left at the end is dropped.

    Parameters
    ----------
    spectrogram : ndarray, shape (96, frames), float32
        At least 187 frames.
    hop_frames : int
        From the start of one patch to the start of the next.

    Returns
    -------
    ndarray, shape (patches, 96, 187), float32
    """
    starts = range(0, spectrogram.shape[1] - PATCH_FRAMES + 1, hop_frames)
    return np.stack([spectrogram[:, first : first + PATCH_FRAMES] for first in starts])


def _transposed(kernel: npt.NDArray[Any], layer: str) -> npt.NDArray[Any]:
    """Transpose the axes of a kernel to torch's order.

    TensorFlow's convolutions are (time, frequency, 1, out), dense layers (in, out). In the middle, what is
    frequency to TensorFlow is channels to torch.
    """
    match layer.partition(".")[0]:
        case "timbral":
            return kernel.transpose(3, 2, 1, 0)
        case "temporal":
            return kernel.squeeze(1).transpose(2, 1, 0)
        case "middle":
            return kernel.squeeze(2).transpose(2, 1, 0)
        case _:
            return kernel.T


def _tensor(array: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
