"""The command ``mcp``: tools for agents, over standard input and output."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genrescope.cli.options import DEFAULT_MODEL, FileTimeout, Model


def mcp(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER", help="Music that the agent may use; nothing outside of it."),
    ],
    model: Model = DEFAULT_MODEL,
    db: Annotated[
        Path | None, typer.Option(help="Library file. Default: that of 'genrescope library'.")
    ] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Leave out the tools that write tags, and their preview.")
    ] = False,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Files classified at a time, each in its own process.")
    ] = 1,
    max_audio_seconds: Annotated[float, typer.Option(min=1, help="Longest audio.")] = 1800,
    job_timeout: FileTimeout = 60,
    job_memory_mb: Annotated[int, typer.Option(min=1, help="MiB of memory that one file may take.")] = 512,
) -> None:
    """Serve tools for agents (Model Context Protocol): classify, search the library, write and restore tags.

    For the settings of a client: command "genrescope", arguments "mcp" and the folders. Standard input and
    output are the connection. Needs the extra 'mcp'.
    """
    from genrescope.mcp_server import McpOptions, run_server

    run_server(
        McpOptions(
            roots=tuple(folders),
            model=model,
            database=db,
            read_only=read_only,
            workers=workers,
            max_audio_seconds=max_audio_seconds,
            job_timeout=job_timeout,
            job_memory_mb=job_memory_mb,
        )
    )
