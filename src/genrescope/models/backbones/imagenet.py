"""VGG16 and Inception v3, image networks applied to spectrograms.

Sources: Simonyan and Zisserman, ICLR 2015 (VGG16); Szegedy et al., CVPR 2016 (Inception v3). Modules bear the
names of torchvision's state dicts, so that its weight files fit; torchvision itself is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from genrescope.models.networks import DYNAMIC_RANGE_DB, relative_level

# Mean and standard deviation of ImageNet's red, green and blue, by which the inputs of torchvision's VGG16
# are normalized.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
# Inception's weights come from TensorFlow, where inputs are between -1 and 1.
_HALF = (0.5, 0.5, 0.5)

State = Mapping[str, Tensor]


class ImageNetwork(nn.Module):
    """An image network without its last layers, fed with log-mel in dB.

    Input (segments, mels, frames), of any size. Each segment becomes an image: level below its own maximum,
    floored at -80 dB, as a gray between 0 and 1; resized bilinearly to ``side`` x ``side``, the same in three
    channels, then normalized as the published weights expect. Gain does not change the image.

    Parameters
    ----------
    trunk : Module
        The network, without its last layers.

    Attributes
    ----------
    size : int
        Length of the embedding.
    side : int
        Height and width of the image, in pixels.
    mean, deviation : tuple of float
        Of the three channels, by which grays are normalized.
    """

    size: ClassVar[int]
    side: ClassVar[int]
    mean: ClassVar[tuple[float, ...]] = IMAGENET_MEAN
    deviation: ClassVar[tuple[float, ...]] = IMAGENET_DEVIATION

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def embed(self, batch: Tensor) -> Tensor:
        """Return the mean of the last maps of ``batch`` over the image, shape (segments, size)."""
        maps: Tensor = self.trunk(to_images(batch, self.side, self.mean, self.deviation))
        return maps.mean((2, 3))

    def forward(self, batch: Tensor) -> Tensor:
        """Return the embedding of ``batch``; see `embed`."""
        return self.embed(batch)


class Vgg16(ImageNetwork):
    """VGG16's thirteen convolutions; its dense layers, nine tenths of its weights, are left out."""

    size, side = 512, 224
    # Channels of each convolution, groups of which a pooling layer follows.
    groups = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        channels = 3
        for group in self.groups:
            for out in group:
                layers += [nn.Conv2d(channels, out, 3, padding=1), nn.ReLU(inplace=True)]
                channels = out
            layers.append(nn.MaxPool2d(2))
        super().__init__(nn.Sequential())
        self.trunk.add_module("features", nn.Sequential(*layers))


class Layer(NamedTuple):
    """A convolution of an Inception block, with batch normalization and rectifier.

    Attributes
    ----------
    name : str
        As torchvision names it.
    source : str
        What it is applied to: ``input`` or ``pool`` of the block, or an earlier layer.
    channels : int
        Of its output.
    kernel : tuple of int
        Height and width.
    stride : int
        With a stride of 2 there is no padding.
    """

    name: str
    source: str
    channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1


class InceptionV3(ImageNetwork):
    """Inception v3 up to its last maps, without the auxiliary classifier."""

    size, side = 2048, 299
    mean, deviation = _HALF, _HALF

    def __init__(self) -> None:
        layers = {
            "Conv2d_1a_3x3": Convolution(3, 32, (3, 3), stride=2),
            "Conv2d_2a_3x3": Convolution(32, 32, (3, 3)),
            "Conv2d_2b_3x3": Convolution(32, 64, (3, 3), padding=(1, 1)),
            "maxpool1": nn.MaxPool2d(3, 2),
            "Conv2d_3b_1x1": Convolution(64, 80, (1, 1)),
            "Conv2d_4a_3x3": Convolution(80, 192, (3, 3)),
            "maxpool2": nn.MaxPool2d(3, 2),
            **{name: Mixed(channels, rows) for name, (channels, rows) in MIXED_BLOCKS.items()},
        }
        super().__init__(nn.Sequential())
        for name, layer in layers.items():
            self.trunk.add_module(name, layer)


class Convolution(nn.Module):
    """Convolution, batch normalization and rectifier: torchvision's ``BasicConv2d``.

    Parameters
    ----------
    channels, out : int
        Of input and output.
    kernel : tuple of int
        Height and width.
    stride : int
        Along both axes.
    padding : tuple of int
        Along both axes.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        kernel: tuple[int, int],
        *,
        stride: int = 1,
        padding: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (segments, out, height, width) for the ``maps`` of the layer before."""
        return functional.relu(self.bn(self.conv(maps)), inplace=True)


class Mixed(nn.Module):
    """A block of Inception v3: branches of convolutions on the same maps, joined along the channels.

    The output of every layer that no other one is applied to is joined, in their order. Where layers have a
    stride, the block halves the maps, and their maximum over 3 x 3 is joined too; elsewhere one branch is
    applied to their mean over 3 x 3.

    Parameters
    ----------
    channels : int
        Of the input.
    layers : tuple of Layer
        All convolutions, each after its source.
    """

    def __init__(self, channels: int, layers: tuple[Layer, ...]) -> None:
        super().__init__()
        self.sources = {layer.name: layer.source for layer in layers}
        self.halves = any(layer.stride > 1 for layer in layers)
        widths = {"input": channels, "pool": channels}
        for layer in layers:
            padding = (0, 0) if layer.stride > 1 else (layer.kernel[0] // 2, layer.kernel[1] // 2)
            convolution = Convolution(
                widths[layer.source], layer.channels, layer.kernel, stride=layer.stride, padding=padding
            )
            self.add_module(layer.name, convolution)
            widths[layer.name] = layer.channels
        self.joined = [name for name in self.sources if name not in self.sources.values()]
        if self.halves:
            self.joined.append("pool")
        self.out = sum(widths[name] for name in self.joined)

    def forward(self, batch: Tensor) -> Tensor:
        """Return maps (segments, out, height, width) for those of the block before, ``batch``."""
        pooled = functional.max_pool2d(batch, 3, 2) if self.halves else functional.avg_pool2d(batch, 3, 1, 1)
        maps = {"input": batch, "pool": pooled}
        for name, layer in self.named_children():
            maps[name] = layer(maps[self.sources[name]])
        return torch.cat([maps[name] for name in self.joined], dim=1)


def _grid_35(pooled: int) -> tuple[Layer, ...]:
    """Return a block on maps of 35 x 35 (torchvision's ``InceptionA``)."""
    return (
        Layer("branch1x1", "input", 64),
        Layer("branch5x5_1", "input", 48),
        Layer("branch5x5_2", "branch5x5_1", 64, (5, 5)),
        Layer("branch3x3dbl_1", "input", 64),
        Layer("branch3x3dbl_2", "branch3x3dbl_1", 96, (3, 3)),
        Layer("branch3x3dbl_3", "branch3x3dbl_2", 96, (3, 3)),
        Layer("branch_pool", "pool", pooled),
    )


def _grid_17(inner: int) -> tuple[Layer, ...]:
    """Return a block on maps of 17 x 17 (torchvision's ``InceptionC``)."""
    return (
        Layer("branch1x1", "input", 192),
        Layer("branch7x7_1", "input", inner),
        Layer("branch7x7_2", "branch7x7_1", inner, (1, 7)),
        Layer("branch7x7_3", "branch7x7_2", 192, (7, 1)),
        Layer("branch7x7dbl_1", "input", inner),
        Layer("branch7x7dbl_2", "branch7x7dbl_1", inner, (7, 1)),
        Layer("branch7x7dbl_3", "branch7x7dbl_2", inner, (1, 7)),
        Layer("branch7x7dbl_4", "branch7x7dbl_3", inner, (7, 1)),
        Layer("branch7x7dbl_5", "branch7x7dbl_4", 192, (1, 7)),
        Layer("branch_pool", "pool", 192),
    )


# From 35 x 35 to 17 x 17, from 17 x 17 to 8 x 8, and on maps of 8 x 8 (``InceptionB``, ``D`` and ``E``).
_TO_17 = (
    Layer("branch3x3", "input", 384, (3, 3), 2),
    Layer("branch3x3dbl_1", "input", 64),
    Layer("branch3x3dbl_2", "branch3x3dbl_1", 96, (3, 3)),
    Layer("branch3x3dbl_3", "branch3x3dbl_2", 96, (3, 3), 2),
)
_TO_8 = (
    Layer("branch3x3_1", "input", 192),
    Layer("branch3x3_2", "branch3x3_1", 320, (3, 3), 2),
    Layer("branch7x7x3_1", "input", 192),
    Layer("branch7x7x3_2", "branch7x7x3_1", 192, (1, 7)),
    Layer("branch7x7x3_3", "branch7x7x3_2", 192, (7, 1)),
    Layer("branch7x7x3_4", "branch7x7x3_3", 192, (3, 3), 2),
)
_GRID_8 = (
    Layer("branch1x1", "input", 320),
    Layer("branch3x3_1", "input", 384),
    Layer("branch3x3_2a", "branch3x3_1", 384, (1, 3)),
    Layer("branch3x3_2b", "branch3x3_1", 384, (3, 1)),
    Layer("branch3x3dbl_1", "input", 448),
    Layer("branch3x3dbl_2", "branch3x3dbl_1", 384, (3, 3)),
    Layer("branch3x3dbl_3a", "branch3x3dbl_2", 384, (1, 3)),
    Layer("branch3x3dbl_3b", "branch3x3dbl_2", 384, (3, 1)),
    Layer("branch_pool", "pool", 192),
)
# Name -> channels of the input, and layers.
MIXED_BLOCKS: dict[str, tuple[int, tuple[Layer, ...]]] = {
    "Mixed_5b": (192, _grid_35(32)),
    "Mixed_5c": (256, _grid_35(64)),
    "Mixed_5d": (288, _grid_35(64)),
    "Mixed_6a": (288, _TO_17),
    "Mixed_6b": (768, _grid_17(128)),
    "Mixed_6c": (768, _grid_17(160)),
    "Mixed_6d": (768, _grid_17(160)),
    "Mixed_6e": (768, _grid_17(192)),
    "Mixed_7a": (768, _TO_8),
    "Mixed_7b": (1280, _GRID_8),
    "Mixed_7c": (2048, _GRID_8),
}


def without_head(state: State) -> dict[str, Tensor]:
    """Turn a state dict of torchvision's VGG16 or Inception v3 into one of this module's networks.

    Parameters
    ----------
    state : mapping of str to Tensor
        As torchvision publishes it, with the last layers; or without them, as `published_names` gives it.
    """
    heads = ("classifier.", "fc.", "AuxLogits.")
    return {f"trunk.{name}": weights for name, weights in state.items() if not name.startswith(heads)}


def published_names(network: ImageNetwork) -> dict[str, Tensor]:
    """Return the weights of a network under the names that torchvision publishes, without the last layers.

    Parameters
    ----------
    network : ImageNetwork
    """
    return {name.removeprefix("trunk."): value for name, value in network.state_dict().items()}


def to_images(
    batch: Tensor,
    side: int,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    deviation: tuple[float, ...] = IMAGENET_DEVIATION,
) -> Tensor:
    """Turn spectrograms into images as networks for photographs expect them.

    Parameters
    ----------
    batch : Tensor, shape (segments, mels, frames)
        Log-mel in dB.
    side : int
        Height and width, in pixels.
    mean, deviation : tuple of float
        Of the three channels, by which grays between 0 and 1 are normalized.

    Returns
    -------
    Tensor, shape (segments, 3, side, side)
    """
    gray = (1 + relative_level(batch) / DYNAMIC_RANGE_DB).unsqueeze(1)
    gray = functional.interpolate(gray, size=(side, side), mode="bilinear", align_corners=False)
    means, deviations = (batch.new_tensor(values).view(1, 3, 1, 1) for values in (mean, deviation))
    return (gray - means) / deviations
