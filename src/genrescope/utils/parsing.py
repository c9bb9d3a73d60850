"""Reading of files that somebody else may have written: bounded in size and depth, with one kind of error.

The parsers of the standard library recurse, and end in a RecursionError on nested input; NumPy allocates what
a header states. Every function here raises ValueError instead, whatever is wrong with the content.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tomllib
import types
import typing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_JSON_BYTES = 64 << 20
MAX_TOML_CHARACTERS = 1 << 20
MAX_DEPTH = 32
# tomllib takes quadratic time for a dotted key of many parts.
_LONG_KEY = re.compile(r"""(?<![\w-])(?:(?:"[^"\n]*"|'[^'\n]*'|[\w-]++)[ \t]*+\.[ \t]*+){50}""")


def parse_json(text: str | bytes) -> Any:
    """Parse JSON; no NaN or Infinity, no number beyond float64, no deep nesting.

    Parameters
    ----------
    text : str or bytes
        In UTF-8, where it is bytes.

    Raises
    ------
    ValueError
        It is none, is larger than 64 MB, or is nested more than 32 levels deep.
    """
    if len(text) > MAX_JSON_BYTES:
        raise ValueError(f"larger than {MAX_JSON_BYTES >> 20} MB")
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep") from None
    _check_depth(value)
    return value


def parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML, without deep nesting.

    Parameters
    ----------
    text : str

    Raises
    ------
    ValueError
        It is none, is longer than a million characters, or is nested more than 32 levels deep.
    """
    if len(text) > MAX_TOML_CHARACTERS:
        raise ValueError(f"longer than {MAX_TOML_CHARACTERS} characters")
    if _LONG_KEY.search(text):
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    try:
        value = tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep") from None
    _check_depth(value)
    return value


def check_types(value: object, expected: Any, name: str = "value") -> None:
    """Check that a value built from parsed JSON has the types that its annotations state, in every part.

    Parameters
    ----------
    value : object
        Such as an instance of a dataclass.
    expected : type or type expression
        A dataclass or named tuple, tuple, union, Literal or scalar type; int is accepted for float.
    name : str
        What the error calls the value.

    Raises
    ------
    TypeError
        A part is of another type; the error names it.
    """
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin in {typing.Union, types.UnionType}:
        _check_union(value, arguments, name)
    elif origin is typing.Literal:
        _require(value in arguments, value, expected, name)
    elif origin is tuple:
        parts = typing.cast("tuple[object, ...]", value)
        _require(isinstance(value, tuple), value, expected, name)
        if arguments[-1:] == (...,):
            arguments = arguments[:1] * len(parts)
        _require(len(parts) == len(arguments), value, expected, name)
        for number, (part, kind) in enumerate(zip(parts, arguments, strict=True)):
            check_types(part, kind, f"{name}[{number}]")
    elif dataclasses.is_dataclass(expected) or hasattr(expected, "_fields"):
        _require(isinstance(value, typing.cast("type", expected)), value, expected, name)
        for field, kind in typing.get_type_hints(expected).items():
            check_types(getattr(value, field), kind, f"{name}.{field}")
    else:
        kinds = (int, float) if expected is float else expected
        # A bool is an int to Python.
        fits = isinstance(value, kinds) and (expected is bool or not isinstance(value, bool))
        _require(fits, value, expected, name)


def _check_union(value: object, kinds: tuple[Any, ...], name: str) -> None:
    reasons = []
    for kind in kinds:
        try:
            check_types(value, kind, name)
        except TypeError as reason:
            reasons.append(reason)
        else:
            return
    # That of the first kind is the most telling: the others are None or less common forms.
    raise reasons[0]


def _require(fits: bool, value: object, expected: Any, name: str) -> None:
    if not fits:
        kind = getattr(expected, "__name__", expected)
        raise TypeError(f"{name} is {type(value).__name__}, not {kind}")


def load_array(path: Path, *, max_bytes: int) -> npt.NDArray[Any]:
    """Read a ``.npy`` file without pickle, after comparing what its header states with its size.

    Parameters
    ----------
    path : Path
    max_bytes : int
        The largest file that is read.

    Returns
    -------
    ndarray
        Of any type but objects.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is no ``.npy`` file, has another size than its header states, or is too large.
    """
    header = np.lib.format
    with path.open("rb") as stream:
        try:
            version = header.read_magic(stream)
            if version not in ((1, 0), (2, 0)):
                raise ValueError(f"version {version} of the format")
            read = header.read_array_header_1_0 if version == (1, 0) else header.read_array_header_2_0
            shape, _, dtype = read(stream)
        # A header is a Python literal: a damaged or nested one makes its parser raise errors of many kinds.
        except Exception as reason:
            raise ValueError(f"its header cannot be read: {type(reason).__name__}") from None
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        start = stream.tell()
        stated = math.prod(shape) * dtype.itemsize
        size = stream.seek(0, 2) - start
        if min(shape, default=0) < 0 or stated != size:
            raise ValueError(f"its header states {stated} bytes, shape {_short(shape)}, and {size} follow")
        if size > max_bytes:
            raise ValueError(f"larger than {max_bytes >> 20} MB")
        stream.seek(0)
        array: npt.NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _short(shape: tuple[int, ...]) -> str:
    text = str(shape)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _check_depth(value: object) -> None:
    """Refuse deep nesting, which later code could not print or copy; without recursion of its own."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                below += item.values()
            elif isinstance(item, list):
                below += item
        level = below
