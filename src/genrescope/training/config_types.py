"""Types of settings beyond numbers and texts, and what they accept in TOML and on the command line.

Each has a hash, as all settings have: lists become tuples, and a table becomes a tuple of pairs.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer

# All of torch.optim, but for SparseAdam, which takes sparse gradients only.
Optimizer = Literal[
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "asgd",
    "lbfgs",
    "muon",
    "nadam",
    "radam",
    "rmsprop",
    "rprop",
    "sgd",
]
MAX_WIDTH, MAX_LAYERS = 8192, 64


def _is_size(value: object) -> bool:
    return type(value) is int and 1 <= value <= MAX_WIDTH


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) <= MAX_LAYERS


def _widths(value: Any) -> Any:
    """Return sizes of layers as an integer or a tuple, from what TOML and JSON give."""
    if _is_size(value):
        return value
    if not _is_list(value) or not all(map(_is_size, value)):
        raise ValueError(
            f"must be an integer from 1 to {MAX_WIDTH}, for all layers, or a list, one per layer"
        )
    return tuple(value)


def _pair(value: Any) -> tuple[int, int] | None:
    if _is_size(value):
        return value, value
    if isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_size, value)):
        return value[0], value[1]
    return None


def _kernel(value: Any) -> Any:
    pair = _pair(value)
    if pair is None and value not in ([], ()):
        raise ValueError("must be an integer, or a list of two: bands and frames")
    return pair or ()


def _pools(value: Any) -> Any:
    if _is_size(value):
        return value
    pools = [_pair(item) for item in value] if _is_list(value) else [None]
    if None in pools:
        raise ValueError(
            "must be an integer, for all layers, or a list with one entry per layer: [[2, 2], [4, 2]]"
        )
    return tuple(pools)


def _names(value: Any) -> Any:
    names = value.split(",") if isinstance(value, str) else value
    if not _is_list(names) or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError("must be a list of names")
    return tuple(name.strip() for name in names)


def _options(value: Any) -> Any:
    """Return a table as a sorted tuple of pairs, which has a hash."""
    if not isinstance(value, dict) or not all(map(_is_option, value.values())):
        raise ValueError("must be a table of numbers, texts, booleans, and lists of these")
    for key in value:
        if not key.isidentifier():
            raise ValueError(f"holds {key!r}, which is no name of an argument")
    return tuple(sorted((key, tuple(v) if isinstance(v, list) else v) for key, v in value.items()))


def _is_option(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(not isinstance(item, list | tuple) and _is_option(item) for item in value)
    return isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))


def _dotted(value: Any) -> Any:
    """Check the form ``package.module:name``; what it names is imported only when it is used."""
    module, colon, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    parts = [*module.split("."), name]
    if value != "" and not (colon and all(part.isidentifier() for part in parts)):
        raise ValueError(f"cannot be {value!r}: write package.module:name")
    return value


Widths = Annotated[int | tuple[int, ...], BeforeValidator(_widths)]
Kernel = Annotated[tuple[int, ...], BeforeValidator(_kernel)]
Pools = Annotated[int | tuple[tuple[int, int], ...], BeforeValidator(_pools)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
DottedName = Annotated[str, BeforeValidator(_dotted)]
OptionValue = bool | int | float | str | tuple[bool | int | float | str, ...]
Options = Annotated[
    tuple[tuple[str, OptionValue], ...],
    BeforeValidator(_options),
    PlainSerializer(dict, return_type=dict[str, Any]),
]


def described(default: Any, *, values: str, description: str, alias: str | None = None) -> Any:
    """Return a field of a type that the reference page cannot describe by itself.

    Parameters
    ----------
    default : object
        Its value where none is given.
    values : str
        Which values it takes, in words.
    description : str
        What it means.
    alias : str, optional
        Its name in TOML, where that is a word of Python.
    """
    return Field(default=default, alias=alias, description=description, json_schema_extra={"values": values})
