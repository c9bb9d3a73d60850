"""VGG16 and Inception v3, image networks applied to spectrograms; torchvision's, extra ``vision``.

Sources: Simonyan and Zisserman, ICLR 2015 (VGG16); Szegedy et al., CVPR 2016 (Inception v3).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from genrescope.errors import MissingDependencyError, missing_extra
from genrescope.models.networks import DYNAMIC_RANGE_DB, relative_level

# Mean and standard deviation of ImageNet's red, green and blue, which torchvision's weights expect
# inputs to be normalized by.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)

State = Mapping[str, Tensor]


class ImageNetwork(nn.Module):
    """An image network without its last layers, fed with log-mel in dB.

    Input (segments, mels, frames), of any size. Each segment becomes an image: level below its own maximum,
    floored at -80 dB, as a gray between 0 and 1; resized bilinearly to ``side`` x ``side``, the same in three
    channels, then normalized with ImageNet's mean and deviation. Gain does not change the image.

    Parameters
    ----------
    trunk : Module
        The network, its last layers replaced by identities.

    Attributes
    ----------
    size : int
        Length of the embedding.
    side : int
        Height and width of the image, in pixels.
    """

    size: int
    side: int

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def embed(self, batch: Tensor) -> Tensor:
        """Return the mean of the last maps of ``batch`` over the image, shape (segments, size)."""
        embedding: Tensor = self.trunk(to_images(batch, self.side))
        return embedding

    def forward(self, batch: Tensor) -> Tensor:
        """Return the embedding of ``batch``; see `embed`."""
        return self.embed(batch)


class Vgg16(ImageNetwork):
    """VGG16's thirteen convolutions; its dense layers, nine tenths of its weights, are left out."""

    size, side = 512, 224

    def __init__(self) -> None:
        trunk = torchvision_models().vgg16(weights=None, init_weights=False)
        trunk.avgpool = nn.AdaptiveAvgPool2d(1)
        trunk.classifier = nn.Identity()
        super().__init__(trunk)


class InceptionV3(ImageNetwork):
    """Inception v3 up to its pooled maps, with the rescaling of colors that its published weights expect."""

    size, side = 2048, 299

    def __init__(self) -> None:
        build = torchvision_models().inception_v3
        trunk = build(weights=None, init_weights=False, aux_logits=False, transform_input=True)
        trunk.fc = nn.Identity()
        super().__init__(trunk)


def without_head(state: State) -> dict[str, Tensor]:
    """Turn a state dict of torchvision's VGG16 or Inception v3 into one of this module's networks.

    Parameters
    ----------
    state : mapping of str to Tensor
        As torchvision publishes it, with the last layers.
    """
    heads = ("classifier.", "fc.", "AuxLogits.")
    return {f"trunk.{name}": weights for name, weights in state.items() if not name.startswith(heads)}


def to_images(batch: Tensor, side: int) -> Tensor:
    """Turn spectrograms into images as torchvision's networks expect them.

    Parameters
    ----------
    batch : Tensor, shape (segments, mels, frames)
        Log-mel in dB.
    side : int
        Height and width, in pixels.

    Returns
    -------
    Tensor, shape (segments, 3, side, side)
    """
    gray = (1 + relative_level(batch) / DYNAMIC_RANGE_DB).unsqueeze(1)
    gray = functional.interpolate(gray, size=(side, side), mode="bilinear", align_corners=False)
    mean, deviation = (batch.new_tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_DEVIATION))
    return (gray - mean) / deviation


def torchvision_models() -> Any:
    """Return the module ``torchvision.models``.

    Raises
    ------
    MissingDependencyError
        ``missing_dependency``: torchvision is not installed, or is a build for another torch.
    """
    try:
        return import_module("torchvision").models
    except ModuleNotFoundError as missing:
        if missing.name == "torchvision":
            raise missing_extra("vision", "torchvision") from None
        raise _incompatible_build(missing) from None
    except (ImportError, RuntimeError, OSError) as reason:
        raise _incompatible_build(reason) from None


def _incompatible_build(reason: Exception) -> MissingDependencyError:
    return MissingDependencyError(
        "missing_dependency",
        f"torchvision is installed but does not load beside torch {torch.__version__}: {reason}",
        "install torch and torchvision from one place, for a CPU: pip install --force-reinstall torch "
        "torchvision --index-url https://download.pytorch.org/whl/cpu",
    )
