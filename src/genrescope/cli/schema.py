"""The command ``schema``: what programs may expect of the output."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def schema(
    name: Annotated[str | None, typer.Argument(help="Without a name: list the schemas.")] = None,
) -> None:
    """Print the JSON schema of an output."""
    from genrescope.schemas import SCHEMAS, load_schema

    if name is None:
        width = max(map(len, SCHEMAS))
        for known, description in SCHEMAS.items():
            typer.echo(f"{known:<{width}}  {description}")
    else:
        typer.echo(json.dumps(load_schema(name), indent=1))
