"""Sizes of the layers of a network, as the settings of a run give them in place of the family's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from genrescope.errors import ConfigError

Pool = tuple[int, int]
T = TypeVar("T")


@dataclass(frozen=True)
class LayerSizes:
    """Sizes of layers; what is empty is as the network's family has it.

    Attributes
    ----------
    count : int
        Number of convolutions, of the LSTM of recurrent layers; 0: as many as sizes are given.
    units : int or tuple of int
        Units of the recurrent layers, in each direction; an integer is for all of them.
    filters : int or tuple of int
        Channels of the convolutions.
    kernel : tuple of int, optional
        Bands and frames of their kernels.
    pooling : int or tuple of (int, int)
        Bands and frames that are pooled after each convolution; (1, 1): none.
    """

    count: int = 0
    units: int | tuple[int, ...] = ()
    filters: int | tuple[int, ...] = ()
    kernel: Pool | None = None
    pooling: int | tuple[Pool, ...] = ()


LAYERS_OF_FAMILY: Final = LayerSizes()


def sized(key: str, given: int | tuple[int, ...], default: Sequence[int], count: int = 0) -> tuple[int, ...]:
    """Return one size per layer.

    Parameters
    ----------
    key : str
        The setting, for messages.
    given : int or tuple of int
        One size for all layers, or one for each; empty: the default.
    default : sequence of int
        The family's own. Where more layers are wanted, they have the last of these.
    count : int
        Number of layers; 0: as ``given`` and ``default`` have.

    Raises
    ------
    ConfigError
        ``invalid_config``: another number of sizes than of layers.
    """
    if isinstance(given, int):
        return (given,) * (count or len(default))
    if given and count:
        _check_count(key, len(given), count)
    return given or _extended(default, count or len(default), default[-1])


def convolution_sizes(
    layers: LayerSizes, filters: Sequence[int], pools: Sequence[Pool]
) -> tuple[tuple[int, ...], tuple[Pool, ...]]:
    """Return channels and pools of convolutions.

    Parameters
    ----------
    layers : LayerSizes
    filters, pools : sequence
        The family's own.

    Returns
    -------
    filters : tuple of int
    pools : tuple of (int, int)
        One for each convolution.

    Raises
    ------
    ConfigError
        ``invalid_config``: another number of sizes than of layers.
    """
    count = layers.count or (len(layers.pooling) if isinstance(layers.pooling, tuple) else 0)
    if isinstance(layers.filters, tuple) and layers.filters and not layers.count:
        count = len(layers.filters)
    chosen = sized("network.filters", layers.filters, filters, count)
    if isinstance(layers.pooling, int):
        return chosen, ((layers.pooling, layers.pooling),) * len(chosen)
    if layers.pooling:
        _check_count("network.pooling", len(layers.pooling), len(chosen))
    return chosen, layers.pooling or _extended(pools, len(chosen), (1, 1))


def check_pooled(bands: int, frames: int) -> None:
    """Refuse pools that leave nothing.

    Parameters
    ----------
    bands, frames : int
        What is left.

    Raises
    ------
    RuntimeError
        As torch raises it for a convolution of nothing.
    """
    if not bands or not frames:
        raise RuntimeError(f"the pools leave {bands} bands and {frames} frames")


def _extended(sizes: Sequence[T], count: int, last: T) -> tuple[T, ...]:
    return (*sizes[:count], *(last,) * (count - len(sizes)))


def _check_count(key: str, found: int, layers: int) -> None:
    if found != layers:
        raise ConfigError(
            "invalid_config",
            f"{key} has {found} entries for {layers} layers",
            "give one entry per layer, or a number for all layers",
        )
