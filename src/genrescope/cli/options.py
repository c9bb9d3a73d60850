"""Options that several commands have, each with its one help text."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

# `genrescope.models.DEFAULT`, which ``--help`` does not load that package for; a test compares the two.
DEFAULT_MODEL = "default"

Model = Annotated[
    str, typer.Option("--model", "-m", help="A name from 'genrescope models list', or a .onnx file.")
]


class InferenceDevice(StrEnum):
    """What computes the network of a model; `genrescope.models.DEVICES`."""

    cpu = "cpu"
    cuda = "cuda"
    auto = "auto"


Excerpts = Annotated[
    bool,
    typer.Option(
        "--excerpts/--full",
        help="Classify excerpts of long tracks, which is several times faster, or all of every track.",
    ),
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Refuse truncated files instead of flagging them; other flags stay flags."),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, help="Below this score a result is uncertain. Default: the model's own threshold."
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, max=256, help="Number of worker processes. Default: one for each core."),
]
FileTimeout = Annotated[float, typer.Option(min=0.001, help="Seconds that one file may take.")]
Db = Annotated[
    Path | None,
    typer.Option("--db", help="The library's database file. Default: library.db in your data folder."),
]
Folder = Annotated[Path | None, typer.Option(help="Only files in this folder.")]
