"""The command ``serve``: the web page and the HTTP API."""

from __future__ import annotations

from typing import Annotated

import typer

from genrescope.web import Settings


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen at; the default can be reached from this machine only.")
    ] = Settings.host,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen at; 0: any free one.")
    ] = Settings.port,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="A name from 'genrescope models list', or a .onnx file; repeatable, default first.",
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="GENRESCOPE_TOKEN",
            help="A secret that requests must send: 'Authorization: Bearer TOKEN'. Default: none.",
        ),
    ] = Settings.token,
    proxy_headers: Annotated[
        bool, typer.Option("--proxy-headers", help="Trust X-Forwarded-For from a proxy on this machine.")
    ] = Settings.proxy_headers,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Files classified at a time. Default: one for each core."),
    ] = None,
    max_queue: Annotated[
        int, typer.Option(min=0, help="Further requests that may upload or wait; the next is refused.")
    ] = Settings.max_queue,
    max_upload_mb: Annotated[float, typer.Option(help="Largest upload, in MiB.")] = Settings.max_upload_mb,
    max_audio_seconds: Annotated[
        float, typer.Option(help="Longest audio of one upload, in seconds.")
    ] = Settings.max_audio_seconds,
    upload_timeout: Annotated[
        float, typer.Option(help="Seconds that one upload may take.")
    ] = Settings.upload_timeout,
    job_timeout: Annotated[
        float, typer.Option(help="Seconds that the work on one file may take.")
    ] = Settings.job_timeout,
    job_memory_mb: Annotated[
        int, typer.Option(help="Memory that one file may need, in MiB.")
    ] = Settings.job_memory_mb,
    rate_limit: Annotated[
        float, typer.Option(help="Requests a minute of one client; 0: no limit.")
    ] = Settings.rate_limit,
    burst: Annotated[
        int, typer.Option(help="Requests of one client that may come at once.")
    ] = Settings.burst,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(help="Further name of this server, as of a reverse proxy; repeatable; '*': any name."),
    ] = None,
    header_timeout: Annotated[
        float, typer.Option(help="Seconds that the header of a request may take.")
    ] = Settings.header_timeout,
    keep_alive_timeout: Annotated[
        float, typer.Option(help="Seconds after which an idle connection is closed.")
    ] = Settings.keep_alive_timeout,
    min_upload_rate: Annotated[
        float, typer.Option(help="Slowest upload, in KiB a second; 0: no such limit.")
    ] = Settings.min_upload_rate,
    response_timeout: Annotated[
        float, typer.Option(help="Seconds that a client may take to receive a response.")
    ] = Settings.response_timeout,
    max_connections_per_client: Annotated[
        int, typer.Option(min=0, help="Open connections of one client; 0: no limit.")
    ] = Settings.max_connections_per_client,
    shutdown_timeout: Annotated[
        float, typer.Option(help="Seconds for requests in progress to end when the server is told to end.")
    ] = Settings.shutdown_timeout,
) -> None:
    """Serve a web page and an HTTP API for classification."""
    from genrescope import web

    # The defaults of all options are those of the fields, read from the class above, so that they stand
    # once.
    settings = Settings(
        models=tuple(model or Settings.models),
        token=token,
        host=host,
        port=port,
        proxy_headers=proxy_headers,
        workers=workers or web.default_workers(),
        max_queue=max_queue,
        max_upload_mb=max_upload_mb,
        max_audio_seconds=max_audio_seconds,
        upload_timeout=upload_timeout,
        job_timeout=job_timeout,
        job_memory_mb=job_memory_mb,
        rate_limit=rate_limit,
        burst=burst,
        allowed_hosts=tuple(allowed_host or ()),
        header_timeout=header_timeout,
        keep_alive_timeout=keep_alive_timeout,
        min_upload_rate=min_upload_rate,
        response_timeout=response_timeout,
        max_connections_per_client=max_connections_per_client,
        shutdown_timeout=shutdown_timeout,
    )
    web.serve(settings, echo=lambda line: typer.echo(line, err=True))
