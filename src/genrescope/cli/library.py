"""The commands about a whole library: parse, one call, print."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genrescope.library import Filter

if TYPE_CHECKING:
    from genrescope.library import Library

app = typer.Typer(
    help="Genres for a whole collection, kept in a database.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class ExportFormat(StrEnum):
    """What ``library export`` writes."""

    csv = "csv"
    jsonl = "jsonl"
    parquet = "parquet"
    m3u8 = "m3u8"


_SUFFIXES = {
    ExportFormat.csv: (".csv", ".txt"),
    ExportFormat.jsonl: (".jsonl", ".json", ".ndjson", ".txt"),
    ExportFormat.parquet: (".parquet",),
}


class GroupBy(StrEnum):
    """What makes a playlist."""

    genre = "genre"
    style = "style"


class UncertainPolicyOption(StrEnum):
    """What ``library tag`` writes for doubtful answers."""

    nothing = "nothing"
    styles = "styles"
    all = "all"


class OutputFormat(StrEnum):
    """How ``library show`` prints."""

    table = "table"
    jsonl = "jsonl"


Db = Annotated[Path | None, typer.Option("--db", help="The library's file. Default: in your data folder.")]
Genres = Annotated[list[str] | None, typer.Option("--genre", "-g", help="Only this genre; repeatable.")]
Styles = Annotated[list[str] | None, typer.Option("--style", help="Only tracks with this style; repeatable.")]
MinScore = Annotated[
    float | None, typer.Option(min=0, max=1, help="Only tracks whose genre has this score or more.")
]
MaxScore = Annotated[
    float | None, typer.Option(min=0, max=1, help="Only tracks whose genre has this score or less.")
]
Under = Annotated[Path | None, typer.Option(help="Only files in this folder.")]
Unsure = Annotated[bool | None, typer.Option("--unsure/--sure", help="Only doubtful, or only sure answers.")]


@app.command()
def scan(
    paths: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders, or files.")],
    db: Db = None,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A name from 'genrescope models', or a .onnx file.")
    ] = "default",
    excerpts: Annotated[
        bool,
        typer.Option("--excerpts/--full", help="Hear some places of long tracks, or all of every track."),
    ] = True,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes. Default: one for each core.")
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try files again that failed before.")] = False,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds that one file may take.")] = 1800.0,
) -> None:
    """Hear what is new or changed, and keep the answers. Stop it as you please: the same command goes on.

    Exit status: 0 all done, 1 some files failed (the others are there), 2 bad use, 130 interrupted.
    """
    from rich.console import Console

    from genrescope.cli.progress import ScanProgress
    from genrescope.library import Library, ScanOptions

    plan = ScanOptions(model=model, excerpts=excerpts, workers=workers, retry_failed=retry, timeout=timeout)
    watch = ScanProgress(paths, Console(stderr=True))
    with Library(db) as library:
        try:
            for _ in watch.track(library.scan(paths, plan)):
                pass
        except KeyboardInterrupt:
            typer.echo(f"interrupted: {watch.summary()}; the same command goes on from here", err=True)
            raise typer.Exit(130) from None
        typer.echo(f"{watch.summary()}\nlibrary: {library.database.path}", err=True)
    if watch.counts["failed"]:
        raise typer.Exit(1)


@app.command()
def show(
    db: Db = None,
    genre: Genres = None,
    style: Styles = None,
    min_score: MinScore = None,
    max_score: MaxScore = None,
    under: Under = None,
    unsure: Unsure = None,
    errors: Annotated[bool, typer.Option("--errors", help="Only files that could not be read.")] = False,
    gone: Annotated[bool, typer.Option("--gone", help="Only files that are no longer there.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many.")] = None,
    format: Annotated[
        OutputFormat | None,
        typer.Option("--format", "-f", help="Default: table on a terminal, jsonl otherwise."),
    ] = None,
) -> None:
    """Print the answers that a library keeps."""
    from itertools import islice

    from rich.console import Console

    from genrescope.cli import output
    from genrescope.library import as_answer

    wanted = _filter(genre, style, min_score, max_score, under, unsure, failed=errors or None, gone=gone)
    with _library(db) as library:
        rows = map(as_answer, islice(library.rows(wanted), limit))
        if (
            format or (OutputFormat.table if sys.stdout.isatty() else OutputFormat.jsonl)
        ) is OutputFormat.table:
            output.render_table(rows, Console())
        else:
            output.render_jsonl(rows, sys.stdout)


@app.command()
def stats(
    db: Db = None,
    min_score: MinScore = None,
    under: Under = None,
) -> None:
    """Count tracks by genre, style and format, with bars."""
    from rich.console import Console

    from genrescope.cli import output
    from genrescope.library import count_by

    with _library(db) as library:
        counts = count_by(library.rows(_filter(None, None, min_score, None, under, None)))
    output.render_counts(counts, Console())


@app.command()
def export(
    format: Annotated[ExportFormat, typer.Option("--format", "-f", help="What to write.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A file; for m3u8 a folder. Default: standard output."),
    ] = None,
    by: Annotated[GroupBy, typer.Option(help="One playlist for each of these (m3u8).")] = GroupBy.genre,
    db: Db = None,
    genre: Genres = None,
    style: Styles = None,
    min_score: MinScore = None,
    max_score: MaxScore = None,
    under: Under = None,
    unsure: Unsure = None,
) -> None:
    """Write the answers for other programs: tables, or playlists by genre or style."""
    import io

    from genrescope import library as collection
    from genrescope import utils
    from genrescope.errors import ConfigError

    if output is not None and format is not ExportFormat.m3u8:
        utils.check_output(output, *(_SUFFIXES[format]))
    if output is None and format in (ExportFormat.parquet, ExportFormat.m3u8):
        kind = "folder" if format is ExportFormat.m3u8 else "file"
        raise ConfigError(
            "invalid_argument", f"{format} needs a place to be written to", f"name a {kind} with --output"
        )
    with _library(db) as library:
        rows = library.rows(_filter(genre, style, min_score, max_score, under, unsure))
        if format is ExportFormat.m3u8 and output is not None:
            for path in collection.write_playlists(rows, output, by=by.value):
                typer.echo(f"playlist: {path}", err=True)
        elif format is ExportFormat.parquet and output is not None:
            collection.write_parquet(rows, output)
        else:
            write = collection.write_csv if format is ExportFormat.csv else collection.write_jsonl
            stream = sys.stdout if output is None else io.StringIO()
            write(rows, stream)
            if output is not None and isinstance(stream, io.StringIO):
                utils.write_atomic(output, stream.getvalue())


@app.command()
def report(
    output: Annotated[Path, typer.Argument(help="An .html file to write.")],
    db: Db = None,
    under: Under = None,
) -> None:
    """Write one page: charts, uncertain tracks, and what could not be read."""
    from genrescope import reporting, utils

    utils.check_output(output, ".html", ".htm")
    with _library(db) as library:
        page = reporting.library_page(
            library.rows(_filter(None, None, None, None, under, None)), title="Library"
        )
    utils.write_atomic(output, page)
    typer.echo(f"report: {output}", err=True)


@app.command()
def tag(
    db: Db = None,
    write: Annotated[bool, typer.Option("--write", help="Do it. Without: show what would change.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace genres that files have already.")
    ] = False,
    vocabulary: Annotated[
        Path | None, typer.Option(help="Your own words for genres: a .toml file, see docs/tagging.md.")
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Every genre with this score or more. Default: the best one."),
    ] = None,
    styles: Annotated[
        float | None, typer.Option(min=0, max=1, help="Also every style with this probability or more.")
    ] = None,
    most: Annotated[int | None, typer.Option(min=1, help="So many genres at most.")] = None,
    unsure: Annotated[
        UncertainPolicyOption, typer.Option(help="What to write for doubtful answers.")
    ] = UncertainPolicyOption.nothing,
    keep_mtime: Annotated[
        bool, typer.Option("--keep-mtime", help="Files keep their time of modification.")
    ] = False,
    genre: Genres = None,
    style: Styles = None,
    under: Under = None,
) -> None:
    """Write genres into the files' tags: first a dry run, with --write in earnest. 'untag' takes it back."""
    from rich.console import Console

    from genrescope.cli import output
    from genrescope.library import TagOptions

    wording = TagOptions(vocabulary, min_score, styles, most, unsure.value)
    with _library(db) as library:
        found = library.tag(
            _filter(genre, style, None, None, under, None),
            wording,
            write=write,
            overwrite=overwrite,
            keep_mtime=keep_mtime,
        )
        changed, failed = output.render_tagged(found, Console(soft_wrap=True))
    done = "changed" if write else "would change; --write does it"
    typer.echo(f"{changed} files {done}" + (f", {failed} failed" if failed else ""), err=True)
    if failed:
        raise typer.Exit(1)


@app.command()
def untag(
    db: Db = None,
    under: Under = None,
    keep_mtime: Annotated[
        bool, typer.Option("--keep-mtime", help="Bring the old time of modification back too.")
    ] = False,
) -> None:
    """Take back what 'tag --write' wrote: byte for byte where the files were not edited since."""
    from rich.console import Console

    from genrescope.cli import output

    with _library(db) as library:
        done, failed = output.render_untagged(
            library.untag(under, keep_mtime=keep_mtime), Console(soft_wrap=True)
        )
    typer.echo(f"{done} changes taken back" + (f", {failed} failed" if failed else ""), err=True)
    if failed:
        raise typer.Exit(1)


def _library(db: Path | None) -> Library:
    """Open a library that is there."""
    from genrescope.errors import DataError
    from genrescope.library import Library, default_path

    path = db or default_path()
    if not path.exists():
        raise DataError(
            "dataset_not_found", f"{path}: no library is there", "begin one: genrescope library scan DIR"
        )
    return Library(path)


def _filter(
    genre: list[str] | None,
    style: list[str] | None,
    min_score: float | None,
    max_score: float | None,
    under: Path | None,
    unsure: bool | None,
    *,
    failed: bool | None = None,
    gone: bool = False,
) -> Filter:
    return Filter(tuple(genre or ()), tuple(style or ()), min_score, max_score, under, unsure, failed, gone)
