"""Import of code that is not part of this package, by its dotted name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from genrescope.errors import ConfigError
from genrescope.utils.hashing import sha256_file
from genrescope.utils.suggest import did_you_mean


def import_object(name: str) -> Any:
    """Import a class or function from an installed package or the working directory. This runs its code.

    Parameters
    ----------
    name : str
        ``package.module:name``.

    Raises
    ------
    ConfigError
        ``invalid_config``: no such module or name, or the module raises an error.
    """
    module_name, _, attribute = name.partition(":")
    try:
        with _working_directory():
            module = importlib.import_module(module_name)
    except Exception as reason:  # the module's own code runs, and may raise anything
        raise ConfigError(
            "invalid_config",
            f"{name}: cannot be imported: {type(reason).__name__}: {reason}",
            f"run it in the folder that holds {module_name.partition('.')[0]}, or install that package",
        ) from reason
    if not hasattr(module, attribute):
        public = [one for one in vars(module) if not one.startswith("_")]
        hint = did_you_mean(attribute, public, otherwise="check its spelling")
        raise ConfigError("invalid_config", f"{module_name} has no {attribute!r}", hint)
    return getattr(module, attribute)


def source_digest(name: str) -> str:
    """Return the SHA-256 of the source file of an imported object; empty where it has none.

    Parameters
    ----------
    name : str
        ``package.module:name``.
    """
    file = getattr(sys.modules.get(name.partition(":")[0]), "__file__", None)
    return sha256_file(Path(file)) if file and Path(file).is_file() else ""


@contextmanager
def _working_directory() -> Iterator[None]:
    """Let imports find modules in the working directory, after all that is installed."""
    folder = str(Path.cwd())
    sys.path.append(folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        # The last one: the list may have held the folder before.
        del sys.path[len(sys.path) - 1 - sys.path[::-1].index(folder)]
