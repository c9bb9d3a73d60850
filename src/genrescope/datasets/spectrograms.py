"""Spectrograms kept as files: 8-bit gray pictures as GTZAN's circulate, or NumPy arrays."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from genrescope.errors import ConfigError, DataError, missing_extra
from genrescope.types import Float64Array, FloatArray, IntArray, UInt8Array
from genrescope.utils import load_array

SPECTROGRAM_SUFFIXES: Final = frozenset({".png", ".npy"})

SPECTROGRAM_SAMPLES: Final = 661_794
"""Samples, at 22,050 Hz, of the clip behind a GTZAN picture (two thirds of them; the rest differ by 2 %)."""

MAX_PIXELS: Final = 1 << 26
"""Of a picture or an array: 128 mel bands of three hours. A GTZAN picture has 92,544."""

_HINT = "give 8-bit gray pictures with the highest mel band on top, or .npy arrays (mels, frames) in dB"


def load_spectrogram(path: Path) -> FloatArray:
    """Read a log-mel spectrogram from a picture or an array.

    A picture is 8-bit gray, row 0 the highest band; ``dB = value / 255 * 80 - 80``, relative to the clip's
    maximum. A ``.npy`` array is taken as it is: (mels, frames) in dB, band 0 first.

    Parameters
    ----------
    path : Path
        A ``.png`` (128 x 723 for GTZAN: 24.1 columns a second) or ``.npy`` file.

    Returns
    -------
    ndarray, shape (mels, columns), float32
        Decibels, lowest band first.

    Raises
    ------
    DataError
        ``dataset_not_found``, or ``dataset_invalid`` for color plots, damaged files, wrong shapes, NaN.
    MissingDependencyError
        ``missing_dependency`` where Pillow is not installed.
    """
    if not path.is_file():
        raise DataError("dataset_not_found", f"{path}: no such spectrogram", "check the path in the data set")
    if path.suffix.lower() == ".npy":
        return _checked(_read_array(path), path)
    # Rows of a picture run downwards, bands upwards.
    return _checked(decode_db(_read_image(path)[::-1]), path)


def decode_db(picture: UInt8Array) -> FloatArray:
    """Turn the gray values of a ``picture``, of any shape, into decibels: 0 is -80 dB, 255 is 0 dB."""
    return picture.astype(np.float32) / np.float32(255) * np.float32(80) - np.float32(80)


def encode_db(decibels: FloatArray) -> UInt8Array:
    """Turn ``decibels``, of any shape, into gray values, in steps of 0.31 dB, clipped to -80 to 0 dB."""
    return np.round(np.clip(decibels / 80 + 1, 0, 1) * 255).astype(np.uint8)


def column_frames(columns: int, total_frames: int) -> IntArray:
    """Return the frame of the hop-512 spectrogram that each column of a GTZAN picture shows.

    The pictures keep 723 of about 1293 frames. Column ``w`` is frame
    ``round((1.78522 w + 2.80027) T / 1293)``; the constants were fitted to the clips they show.

    Parameters
    ----------
    columns : int
        Width of the picture; a whole one has 723.
    total_frames : int
        Frames ``T`` of the whole clip: ``1 + samples // 512``, 1293 for 661,794 samples.

    Returns
    -------
    ndarray, shape (columns,), int64
    """
    return np.round(_positions(columns, total_frames)).astype(np.int64)


def interpolate_columns(spectrogram: FloatArray, frames: int) -> FloatArray:
    """Bring a whole GTZAN picture back to a regular raster, linearly along time.

    Parameters
    ----------
    spectrogram : ndarray, shape (mels, columns)
        A whole picture, as `load_spectrogram` gives it.
    frames : int
        Frames that the clip has on the wanted raster: ``1 + samples // hop_length``.

    Returns
    -------
    ndarray, shape (mels, frames), float32
        The first and the last column are held beyond their places.

    Raises
    ------
    ConfigError
        ``invalid_argument`` for fewer than two columns or frames.
    """
    columns = spectrogram.shape[1]
    if columns < 2 or frames < 2:
        raise ConfigError(
            "invalid_argument",
            f"cannot interpolate {columns} columns to {frames} frames",
            "give a whole picture and at least two frames",
        )
    # A column shows one whole frame of its own raster; rounding recovers which, as long as no two coincide.
    places = np.round(_positions(columns, frames))
    if np.any(np.diff(places) < 1):
        # A raster coarser than the picture: columns lie between frames.
        places = _positions(columns, frames)
    right = np.clip(np.searchsorted(places, np.arange(frames), side="right"), 1, columns - 1)
    step = (np.arange(frames) - places[right - 1]) / (places[right] - places[right - 1])
    share = np.clip(step, 0, 1).astype(np.float32)
    mixed = spectrogram[:, right - 1] * (1 - share) + spectrogram[:, right] * share
    return np.asarray(mixed, dtype=np.float32)


def _positions(columns: int, frames: int) -> Float64Array:
    return (1.78522 * np.arange(columns) + 2.80027) * frames / 1293


def _read_image(path: Path) -> UInt8Array:
    try:
        from PIL import Image
    except ImportError:
        raise missing_extra("train", "pillow") from None
    try:
        with warnings.catch_warnings():
            # Pillow warns of a large picture and decodes it; here it is refused, three lines below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(path)
        with picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise DataError(
                    "dataset_invalid",
                    f"{path}: {picture.width} x {picture.height} pixels; {MAX_PIXELS} are allowed",
                    _HINT,
                )
            if picture.mode != "L":
                raise DataError(
                    "dataset_invalid", f"{path}: a picture in {picture.mode}, not 8-bit gray", _HINT
                )
            return np.asarray(picture)
    except DataError:
        raise
    except Exception as reason:  # a damaged picture makes Pillow's readers raise errors of many kinds
        raise DataError("dataset_invalid", f"{path}: not a picture: {reason}", _HINT) from None


def _read_array(path: Path) -> npt.NDArray[Any]:
    try:
        # Without pickle: an array file from anywhere must not be able to run code.
        return load_array(path, max_bytes=4 * MAX_PIXELS)
    except (OSError, ValueError) as reason:
        raise DataError("dataset_invalid", f"{path}: not a NumPy array: {reason}", _HINT) from None


def _checked(values: npt.NDArray[Any], path: Path) -> FloatArray:
    if values.ndim != 2 or 0 in values.shape or not np.issubdtype(values.dtype, np.floating):
        raise DataError("dataset_invalid", f"{path}: {values.dtype} array of shape {values.shape}", _HINT)
    if not np.isfinite(values).all():
        raise DataError("dataset_invalid", f"{path}: holds values that are not numbers", _HINT)
    return np.ascontiguousarray(values, dtype=np.float32)
