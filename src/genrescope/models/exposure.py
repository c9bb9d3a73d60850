"""What a model's network was exposed to without labels of genres, as its file states it.

A network that was distilled or pre-trained on a recording has seen it, though not its genre: scores on that
recording are no leak, but a reader should know.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genrescope.errors import ModelError
from genrescope.utils import parse_json, write_atomic

# In the provenance of a model file: a list of entries.
UNLABELED_EXPOSURE = "unlabeled_exposure"
# Of the file beside a file of weights.
EXPOSURE_SUFFIX = ".exposure.json"
MAX_EXPOSURE_NAME = 200
_FIELDS = {"data", "tracks", "hours", "content"}


@dataclass(frozen=True)
class UnlabeledExposure:
    """Audio that a network was exposed to without labels, or with labels that are no genres.

    Attributes
    ----------
    data : str
        Name of the data set.
    tracks : int or None
        Number of its tracks; None where it is not known.
    hours : float or None
        Their length together, in hours; None where it is not known.
    content : tuple of str
        Digests of the tracks' files, see `genrescope.datasets.content_digests`; empty where the tracks are
        not known.
    """

    data: str
    tracks: int | None = None
    hours: float | None = None
    content: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the entry as plain values."""
        return {**asdict(self), "content": list(self.content)}

    @classmethod
    def from_json(cls, value: object) -> UnlabeledExposure:
        """Read an entry.

        Parameters
        ----------
        value : object
            Parsed from JSON.

        Raises
        ------
        ValueError
            It is none; the message says what is wrong.
        """
        if not isinstance(value, dict) or "data" not in value or not set(value) <= _FIELDS:
            raise ValueError(f"an entry has other fields than {', '.join(sorted(_FIELDS))}, or no data")
        # Only the name is required: genres-1 was written before digests of the content were.
        data, tracks, hours = value["data"], value.get("tracks"), value.get("hours")
        content = value.get("content", [])
        if not (isinstance(data, str) and 0 < len(data) <= MAX_EXPOSURE_NAME and data.isprintable()):
            raise ValueError(f"data is no name of up to {MAX_EXPOSURE_NAME} printable characters")
        if tracks is not None and (type(tracks) is not int or tracks < 0):
            raise ValueError("tracks is no count")
        if hours is not None and not (_is_number(hours) and hours >= 0):
            raise ValueError("hours is no length")
        if not isinstance(content, list) or not all(isinstance(digest, str) for digest in content):
            raise ValueError("content is no list of digests")
        return cls(data, tracks, None if hours is None else float(hours), tuple(content))


def exposures_from_json(values: object) -> tuple[UnlabeledExposure, ...]:
    """Read a list of entries.

    Parameters
    ----------
    values : object
        Parsed from JSON.

    Raises
    ------
    ValueError
        It is no list of entries.
    """
    if not isinstance(values, list):
        raise ValueError("it is no list")
    return tuple(map(UnlabeledExposure.from_json, values))


def write_exposures(exposures: Iterable[UnlabeledExposure], weights: Path) -> None:
    """Write what a network was exposed to beside its weights, from where `read_exposures` takes it.

    Parameters
    ----------
    exposures : iterable of UnlabeledExposure
    weights : Path
        The file of weights.

    Raises
    ------
    WriteError
        ``write_failed``.
    """
    text = json.dumps([one.to_json() for one in exposures], indent=1)
    write_atomic(weights.with_suffix(EXPOSURE_SUFFIX), text)


def read_exposures(weights: Path) -> tuple[UnlabeledExposure, ...] | None:
    """Read what stands beside a file of weights.

    Parameters
    ----------
    weights : Path
        The file of weights, such as ``student.pt``; what is read is ``student.exposure.json``.

    Returns
    -------
    tuple of UnlabeledExposure, or None
        None where there is no such file.

    Raises
    ------
    ModelError
        ``model_corrupt``: the file beside it is not what `write_exposures` wrote.
    """
    path = weights.with_suffix(EXPOSURE_SUFFIX)
    try:
        return exposures_from_json(parse_json(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as reason:
        raise ModelError(
            "model_corrupt",
            f"{path}: not a list of what the network was exposed to: {str(reason)[:120]}",
            "restore the file that distill wrote, or remove it",
        ) from None


def _is_number(value: object) -> bool:
    # An int beyond float64 cannot be one, and isfinite raises for it.
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and value < 1 << 53)
