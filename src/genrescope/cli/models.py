"""The commands about models: ``models list``, ``models show`` and ``models download``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The models that come with the package.", no_args_is_help=True)


@app.command("list")
def list_models() -> None:
    """List the models that come with the package."""
    from genrescope import models

    for model in models.list_models().values():
        size = f"{model.path.stat().st_size / 1e6:5.1f} MB" if model.path.exists() else "download"
        typer.echo(f"{model.name:12} {size}  {model.summary}")


@app.command("show")
def show_model(
    name: Annotated[
        str, typer.Argument(metavar="MODEL", help="A name from 'genrescope models list', or a .onnx file.")
    ],
) -> None:
    """Print what a model file states about itself, as JSON.

    Its genres and styles, features, training data, license, and its scores with intervals.
    """
    import json

    from genrescope import models

    typer.echo(json.dumps(models.load_model(name).info.to_json(), indent=2, ensure_ascii=False))


@app.command("download")
def download_model(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="A model that 'genrescope models list' marks 'download'."),
    ],
    weights: Annotated[
        Path | None,
        typer.Option(help="A file with the backbone's weights, in place of the one on the network."),
    ] = None,
) -> None:
    """Download what a model needs, once.

    The pretrained network that the model is built on. Afterwards 'classify --model NAME' works offline.
    """
    from genrescope import models

    typer.echo(f"model: {models.assemble(name, weights=weights)}")
