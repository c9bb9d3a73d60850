"""EfficientAT's network: MobileNetV3 with squeeze-and-excitation, on log-mel, at any width.

Source: Schmid, Koutini and Widmer, "Efficient large-scale audio tagging via transformer-to-CNN knowledge
distillation", ICASSP 2023 (arXiv 2211.04772); the blocks are MobileNetV3-Large's (Howard et al., ICCV 2019,
Table 1). Modules bear the names of the authors' state dicts, so that their weight files fit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

AUDIOSET_CLASSES = 527

# The width of a name, as a factor of MobileNetV3-Large's channels.
WIDTHS = {
    "mn01": 0.1,
    "mn02": 0.2,
    "mn04": 0.4,
    "mn05": 0.5,
    "mn10": 1.0,
    "mn20": 2.0,
    "mn30": 3.0,
    "mn40": 4.0,
}

Activation = Callable[[], nn.Module]


class Block(NamedTuple):
    """An inverted residual block at width 1, a row of the authors' table.

    Attributes
    ----------
    kernel : int
        Side of the depthwise filters.
    expanded, out : int
        Channels within the block and after it.
    squeeze : bool
        Whether channels are weighed by squeeze and excitation.
    activation : type
        Of torch.nn: ReLU or Hardswish.
    stride : int
        Along bands and frames.
    """

    kernel: int
    expanded: int
    out: int
    squeeze: bool
    activation: Activation
    stride: int


STEM_CHANNELS = 16
HEAD_CHANNELS = 1280
BLOCKS = (
    Block(3, 16, 16, False, nn.ReLU, 1),
    Block(3, 64, 24, False, nn.ReLU, 2),
    Block(3, 72, 24, False, nn.ReLU, 1),
    Block(5, 72, 40, True, nn.ReLU, 2),
    Block(5, 120, 40, True, nn.ReLU, 1),
    Block(5, 120, 40, True, nn.ReLU, 1),
    Block(3, 240, 80, False, nn.Hardswish, 2),
    Block(3, 200, 80, False, nn.Hardswish, 1),
    Block(3, 184, 80, False, nn.Hardswish, 1),
    Block(3, 184, 80, False, nn.Hardswish, 1),
    Block(3, 480, 112, True, nn.Hardswish, 1),
    Block(3, 672, 112, True, nn.Hardswish, 1),
    Block(5, 672, 160, True, nn.Hardswish, 2),
    Block(5, 960, 160, True, nn.Hardswish, 1),
    Block(5, 960, 160, True, nn.Hardswish, 1),
)


class EfficientAt(nn.Module):
    """Log-mel as ``features.EFFICIENTAT`` gives it -> embedding, and one logit per class.

    Input (segments, mels, frames), any number of frames; trained on 128 bands and 10 s, 1000 frames.

    Parameters
    ----------
    width : float
        Factor of all channel counts; ``WIDTHS`` has those that were published.
    classes : int
        Number of logits.

    Attributes
    ----------
    size : int
        Length of the embedding: 384 for mn04, 960 for mn10, 3840 for mn40.
    """

    def __init__(self, width: float, classes: int = AUDIOSET_CLASSES) -> None:
        super().__init__()
        channels = scaled(STEM_CHANNELS, width)
        layers: list[nn.Module] = [_convolution(1, channels, nn.Hardswish, kernel=3, stride=2)]
        for block in BLOCKS:
            layers.append(InvertedResidual(channels, block, width))
            channels = scaled(block.out, width)
        self.size = embedding_size(width)
        layers.append(_convolution(channels, self.size, nn.Hardswish))
        self.features = nn.Sequential(*layers)
        hidden = scaled(HEAD_CHANNELS, width)
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(self.size, hidden),
            nn.Hardswish(),
            nn.Dropout(0.2),
            nn.Linear(hidden, classes),
        )

    def embed(self, batch: Tensor) -> Tensor:
        """Return the mean of the last maps of ``batch`` over time and frequency, shape (segments, size)."""
        embedding: Tensor = self.features(batch.unsqueeze(1)).mean((2, 3))
        return embedding

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return embedding (segments, size) and logits (segments, classes) of ``batch``, log-mel."""
        maps = self.features(batch.unsqueeze(1))
        return maps.mean((2, 3)), self.classifier(maps)


class InvertedResidual(nn.Module):
    """Expand the channels, filter each of them, weigh them, project; add the input where shapes allow.

    Parameters
    ----------
    channels : int
        Of the input.
    block : Block
        What the block is at width 1.
    width : float
        Factor of its channels.
    """

    def __init__(self, channels: int, block: Block, width: float) -> None:
        super().__init__()
        expanded, out = scaled(block.expanded, width), scaled(block.out, width)
        layers: list[nn.Module] = []
        if expanded != channels:
            layers.append(_convolution(channels, expanded, block.activation))
        layers.append(
            _convolution(
                expanded,
                expanded,
                block.activation,
                kernel=block.kernel,
                stride=block.stride,
                groups=expanded,
            )
        )
        if block.squeeze:
            layers.append(SqueezeExcitation(expanded))
        layers.append(_convolution(expanded, out, None))
        self.block = nn.Sequential(*layers)
        self.residual = block.stride == 1 and channels == out

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (segments, out, bands / stride, frames / stride) for ``maps`` of the block before."""
        result: Tensor = self.block(maps)
        return result + maps if self.residual else result


class SqueezeExcitation(nn.Module):
    """Multiply every channel by a gate computed from the means of all (Hu et al., CVPR 2018).

    Parameters
    ----------
    channels : int
        Of the maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        # The authors allow several gates, over time and frequency too; the published networks have this one.
        self.conc_se_layers = nn.ModuleList([Gate(channels, divisible(channels // 4))])

    def forward(self, maps: Tensor) -> Tensor:
        """Return the weighed ``maps``, of the same shape."""
        gates: Tensor = self.conc_se_layers[0](maps.mean((2, 3)))
        return maps * gates[:, :, None, None]


class Gate(nn.Module):
    """Means of channels -> factors between 0 and 1, both (segments, channels).

    Parameters
    ----------
    channels, squeezed : int
        Channels, and units of the layer between.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, squeezed)
        self.fc2 = nn.Linear(squeezed, channels)

    def forward(self, means: Tensor) -> Tensor:
        """Return one factor per channel for ``means`` over time and frequency."""
        factors: Tensor = self.fc2(self.fc1(means).relu()).sigmoid()
        return factors


def embedding_size(width: float) -> int:
    """Return the number of channels of the last maps, six times those of the last block.

    Parameters
    ----------
    width : float
        Factor of all channel counts.
    """
    return 6 * scaled(BLOCKS[-1].out, width)


def scaled(channels: int, width: float) -> int:
    """Return a number of channels at another width.

    Parameters
    ----------
    channels : int
        At width 1.
    width : float
        Factor of all channel counts.
    """
    return divisible(channels * width)


def divisible(channels: float) -> int:
    """Round to a multiple of 8, at least 8, and never down by more than a tenth (MobileNet's rule).

    Parameters
    ----------
    channels : float
        Number of channels, not rounded yet.
    """
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _convolution(
    channels: int,
    out: int,
    activation: Activation | None,
    *,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out, eps=1e-3, momentum=0.01),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))
