"""JSON schemas of what the commands print and write, for programs that read it.

The files are written by ``scripts/write_schemas.py``; tests hold them against real output.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, Final

from genrescope.errors import ConfigError

__all__ = ["SCHEMAS", "load_schema"]

SCHEMAS: Final = {
    "classify": "a row of 'classify --format jsonl', of 'library list', of the HTTP API and of 'mcp'",
    "progress": "a line of '--progress json', on standard error",
    "album": "a row of 'library albums --format jsonl'",
    "tag-comparison": "a row of 'library compare --format jsonl'",
    "audit": "the file of 'audit --output'",
    "evaluation": "evaluation.json of a training run, and of 'evaluate --output'",
    "predictions": "predictions.json of a training run",
    "comparison": "report.json of 'compare'",
}
"""From the name of each schema to what it describes."""


def load_schema(name: str) -> dict[str, Any]:
    """Return a JSON schema (draft 2020-12).

    Parameters
    ----------
    name : str
        Of `SCHEMAS`.

    Raises
    ------
    ConfigError
        ``invalid_argument``: there is none of this name.
    """
    if name not in SCHEMAS:
        raise ConfigError(
            "invalid_argument", f"no schema is named {name!r}", "choose one of: " + ", ".join(SCHEMAS)
        )
    text = resources.files("genrescope.schemas").joinpath(f"{name}.json").read_text(encoding="utf8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded
