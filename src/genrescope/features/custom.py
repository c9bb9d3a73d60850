"""Feature functions that are not part of this package, which a model file names but never imports by itself.

Importing code runs it. A model file is data that anyone may have written, so the name that it holds is not
enough: the function must have been registered in this process, as training does, or its exact name must stand
in the environment variable ``GENRESCOPE_ALLOW_FEATURES``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from genrescope.errors import ConfigError, GenrescopeError, MissingDependencyError, ModelError
from genrescope.features.spec import MAX_CUSTOM_ROWS, FeatureSpec
from genrescope.types import FloatArray
from genrescope.utils import import_object

ALLOW_VARIABLE = "GENRESCOPE_ALLOW_FEATURES"
FeatureFunction = Callable[[FloatArray, int, int], npt.ArrayLike]
_registered: dict[str, FeatureFunction] = {}


def register_feature(name: str, function: FeatureFunction | None = None) -> FeatureFunction:
    """Allow models to use a feature function in this process.

    Parameters
    ----------
    name : str
        ``package.module:name``, as the model file has it.
    function : callable, optional
        From samples, shape (n,), float32, their rate in Hz and the hop in samples to an array of shape (rows,
        1 + n // hop). None: the function of that name is imported, which runs the code of its module.

    Returns
    -------
    callable
        The function.

    Raises
    ------
    ConfigError
        ``invalid_config``: it cannot be imported, or is no function.
    """
    function = import_object(name) if function is None else function
    if not callable(function):
        raise ConfigError("invalid_config", f"{name} is no function", "name a function of samples")
    _registered[name] = function
    return function


def check_custom(spec: FeatureSpec) -> None:
    """Refuse features whose function may not be used here.

    Parameters
    ----------
    spec : FeatureSpec

    Raises
    ------
    ModelError
        ``model_incompatible``: the function is not allowed.
    MissingDependencyError
        ``missing_dependency``: it is allowed, and cannot be imported.
    """
    if spec.function:
        _function(spec.function)


def custom_feature(samples: FloatArray, spec: FeatureSpec) -> FloatArray:
    """Compute a feature by the function that the spec names.

    Parameters
    ----------
    samples : ndarray, shape (n,), float32
    spec : FeatureSpec

    Returns
    -------
    ndarray, shape (rows, frames), float32

    Raises
    ------
    ConfigError
        ``invalid_config``: the function raises an error, or returns another shape.
    ModelError, MissingDependencyError
        As of `check_custom`.
    """
    found = _call(spec.function, samples, spec.sample_rate, spec.hop_length)
    expected = (spec.function_rows, 1 + len(samples) // spec.hop_length)
    if found.shape != expected:
        raise _wrong_shape(spec.function, found, samples, spec.hop_length, str(expected))
    return found


def custom_rows(name: str, sample_rate: int, hop_length: int, seconds: float) -> int:
    """Return how many rows a feature function gives, by calling it with noise.

    Parameters
    ----------
    name : str
        Of a registered function.
    sample_rate, hop_length : int
        In Hz, and in samples.
    seconds : float
        Length of a segment.

    Raises
    ------
    ConfigError
        ``invalid_config``: the function raises an error, or returns no array of (rows, frames).
    """
    noise = 0.1 * np.random.default_rng(0).standard_normal(round(seconds * sample_rate)).astype(np.float32)
    found = _call(name, noise.astype(np.float32), sample_rate, hop_length)
    frames = 1 + len(noise) // hop_length
    if found.ndim != 2 or found.shape[1] != frames or not 1 <= found.shape[0] <= MAX_CUSTOM_ROWS:
        raise _wrong_shape(name, found, noise, hop_length, f"(rows, {frames})")
    return int(found.shape[0])


def _wrong_shape(
    name: str, found: FloatArray, samples: FloatArray, hop_length: int, expected: str
) -> ConfigError:
    return ConfigError(
        "invalid_config",
        f"{name} returned the shape {found.shape} for {len(samples)} samples, expected {expected}",
        f"return (rows, 1 + samples // hop), here with a hop of {hop_length} samples (data.hop_length)",
    )


def _call(name: str, samples: FloatArray, sample_rate: int, hop_length: int) -> FloatArray:
    function: Any = _function(name)
    try:
        return np.ascontiguousarray(function(samples, sample_rate, hop_length), np.float32)
    except Exception as reason:  # code of others, which may raise anything
        raise ConfigError(
            "invalid_config", f"{name}: {type(reason).__name__}: {reason}", "correct this function"
        ) from reason


def _function(name: str) -> FeatureFunction:
    if name in _registered:
        return _registered[name]
    if name not in (one.strip() for one in os.environ.get(ALLOW_VARIABLE, "").split(",")):
        raise ModelError(
            "model_incompatible",
            f"the model needs the feature function {name}, which is not part of genrescope; "
            "code that a model file names is not imported unless you allow it",
            f"if you trust that code: {ALLOW_VARIABLE}={name}, or genrescope.features.register_feature",
        )
    try:
        return register_feature(name)
    except GenrescopeError as reason:
        raise MissingDependencyError(
            "missing_dependency", f"the model needs a feature function: {reason.message}", reason.hint
        ) from reason
