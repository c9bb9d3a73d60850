"""The commands of ``genrescope cluster``: parse, call `genrescope.distributed` once, print."""

from __future__ import annotations

from typing import Annotated

import typer

from genrescope.cli.options import (
    DEFAULT_MODEL,
    FileTimeout,
    InferenceDevice,
    Model,
    Strict,
    Threshold,
)

app = typer.Typer(help="Classify millions of tracks on a Ray cluster.", no_args_is_help=True)


@app.callback()
def cluster() -> None:
    """Classify millions of tracks on a Ray cluster."""


@app.command()
def classify(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder, a glob, or a manifest (.csv, .parquet, .jsonl): a path, or an address of s3://,"
            " gs:// or https://.",
        ),
    ],
    output: Annotated[
        str, typer.Option("--output", "-o", help="The folder for the Parquet files: a path or an address.")
    ],
    column: Annotated[
        str | None,
        typer.Option(help="Of the manifest: holds paths or addresses. Default: path, uri, url or file."),
    ] = None,
    model: Model = DEFAULT_MODEL,
    excerpts: Annotated[
        bool,
        typer.Option(
            "--excerpts/--full",
            help="Classify excerpts of long tracks, which is several times faster and fetches a part of the"
            " bytes, or all of every track.",
        ),
    ] = True,
    strict: Strict = False,
    threshold: Threshold = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="Of the cluster: local, auto, host:6379 or ray://host:10001. Default: RAY_ADDRESS, or local."
        ),
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="The most actors. Default: one for each core of the cluster.")
    ] = None,
    workers_per_core: Annotated[
        int,
        typer.Option(
            min=1,
            max=64,
            help="Worker processes for each core, of 150 MB each. Of files in an object store, 4 to 8 keep a"
            " core busy, since each waits for requests.",
        ),
    ] = 1,
    num_gpus: Annotated[
        float, typer.Option("--num-gpus", min=0, help="Share of a GPU that Ray reserves for each actor.")
    ] = 0.0,
    device: Annotated[
        InferenceDevice | None,
        typer.Option(
            help="What computes the network: cpu, an NVIDIA GPU (cuda), or that where it works (auto)."
            " Default: cuda with --num-gpus, cpu without."
        ),
    ] = None,
    processes: Annotated[
        int,
        typer.Option(
            min=1, help="Worker processes of each actor, which decode; Ray reserves a core for each."
        ),
    ] = 1,
    batch_rows: Annotated[int, typer.Option(min=1, help="Files of a call of an actor.")] = 32,
    rows_per_file: Annotated[
        int,
        typer.Option(min=1, help="Rows of a Parquet file. A kill loses rows that are in none yet."),
    ] = 1_000,
    timeout: FileTimeout = 1800.0,
) -> None:
    """Classify files on a Ray cluster, and write Parquet.

    A run may be killed at any time: the same command continues it.

    Exit status: 0 all done, 1 some files failed (they have rows too), 2 invalid arguments, or no access to
    the cluster or the storage.
    """
    from genrescope.distributed import ActorOptions, ClusterOptions, classify_source

    actor = ActorOptions(
        model=model,
        excerpts=excerpts,
        strict=strict,
        threshold=threshold,
        timeout=timeout,
        processes=processes,
        # What is reserved is used, or the reason is told; "auto" would leave it idle where cuda fails.
        device=(device or (InferenceDevice.cuda if num_gpus else InferenceDevice.cpu)).value,
    )
    options = ClusterOptions(
        actor=actor,
        column=column,
        address=address,
        concurrency=concurrency,
        workers_per_core=workers_per_core,
        num_gpus=num_gpus,
        batch_rows=batch_rows,
        rows_per_file=rows_per_file,
    )
    done = classify_source(source, output, options)
    typer.echo(
        f"{done.rows} files classified, {done.failed} of them failed, {done.known} were there: {output}",
        err=True,
    )
    if done.bytes_total:
        typer.echo(
            f"fetched {done.bytes_read / 1e6:.1f} of {done.bytes_total / 1e6:.1f} MB"
            f" ({done.bytes_read / done.bytes_total:.0%}) in {done.requests} requests",
            err=True,
        )
    if done.failed:
        raise typer.Exit(1)
