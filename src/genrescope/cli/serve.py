"""The command ``serve``: the web page and the HTTP API."""

from __future__ import annotations

from typing import Annotated

import typer

from genrescope.cli.classify import DEFAULT_MODEL


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen at; the default is open to this machine only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8000,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Model to serve; repeatable, the first is the default."),
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="GENRESCOPE_TOKEN", help="A secret that requests must show.")
    ] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="Believe X-Forwarded-For from a proxy on this machine.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Files at a time. Default: one per core.")
    ] = None,
    queue: Annotated[int, typer.Option(min=0, help="Further requests that may upload or wait.")] = 16,
    max_megabytes: Annotated[float, typer.Option(help="Size of one upload, in MiB.")] = 64,
    max_seconds: Annotated[float, typer.Option(help="Length of the sound in one upload.")] = 1800,
    upload_seconds: Annotated[float, typer.Option(help="How long one upload may take.")] = 60,
    job_seconds: Annotated[float, typer.Option(help="How long the work on one file may take.")] = 60,
    job_megabytes: Annotated[int, typer.Option(help="Memory that one file may need, in MiB.")] = 512,
    rate: Annotated[float, typer.Option(help="Requests a minute of one client; 0: any number.")] = 60,
    burst: Annotated[int, typer.Option(help="How many of them may come at once.")] = 30,
) -> None:
    """Serve a page to drop music on, and an API to build on."""
    import os

    from genrescope import web

    settings = web.Settings(
        models=tuple(model or (DEFAULT_MODEL,)),
        token=token,
        max_megabytes=max_megabytes,
        max_seconds=max_seconds,
        upload_seconds=upload_seconds,
        job_seconds=job_seconds,
        job_megabytes=job_megabytes,
        workers=workers or os.cpu_count() or 1,
        queue_length=queue,
        requests_per_minute=rate,
        burst=burst,
    )
    web.serve(
        settings, host=host, port=port, behind_proxy=behind_proxy, say=lambda line: typer.echo(line, err=True)
    )
