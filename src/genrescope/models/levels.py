"""Levels of spectrograms as the networks see them: below the loudest band, so that gain changes nothing."""

from __future__ import annotations

from torch import Tensor

DYNAMIC_RANGE_DB = 80.0


def relative_level(batch: Tensor) -> Tensor:
    """Return dB below the loudest band of each segment, floored at -80; shape (segments, mels, frames)."""
    return (batch - batch.amax(dim=(1, 2), keepdim=True)).clamp(min=-DYNAMIC_RANGE_DB)
