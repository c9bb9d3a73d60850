"""genrescope: music in, genres out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genrescope.errors import GenrescopeError as GenrescopeError
    from genrescope.library import Library as Library
    from genrescope.predict import Classifier as Classifier
    from genrescope.records import Prediction as Prediction

__version__ = "0.1.0"
__all__ = ["Classifier", "GenrescopeError", "Library", "Prediction", "__version__"]

_ROOMS = {
    "Classifier": "predict",
    "GenrescopeError": "errors",
    "Library": "library",
    "Prediction": "records",
}


def __getattr__(name: str) -> Any:
    """Open a room on first use, so that ``import genrescope`` costs nothing."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'genrescope' has no attribute {name!r}")
    return getattr(import_module(f"genrescope.{_ROOMS[name]}"), name)
