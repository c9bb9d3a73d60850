"""The command ``library watch``: keep a library up to date while files come and go."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genrescope.cli.options import DEFAULT_MODEL, Db, Excerpts, FileTimeout, Model, Workers

if TYPE_CHECKING:
    from rich.console import Console

    from genrescope.library import ScanResult


def watch(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER", help="Folders to watch.")],
    db: Db = None,
    model: Model = DEFAULT_MODEL,
    excerpts: Excerpts = True,
    workers: Workers = None,
    timeout: FileTimeout = 1800.0,
    settle: Annotated[
        float,
        typer.Option(
            min=0,
            help="Seconds that a file must be unchanged before it is classified; ten times as long while it"
            " is open for writing.",
        ),
    ] = 2.0,
    poll: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            help="Compare the folders every so many seconds: for network disks that others write to.",
        ),
    ] = None,
    rescan: Annotated[
        float, typer.Option(min=0, help="Scan everything again after so many hours; 0: never.")
    ] = 6.0,
) -> None:
    """Scan folders, then classify each new or changed file within seconds, until it is stopped.

    Files that move keep their results, files that go are marked as missing. SIGTERM and Ctrl-C end it, with
    exit status 0; the next start catches up with what happened in between.
    """
    from rich.console import Console

    from genrescope.cli.progress import ScanProgress
    from genrescope.library import Library, ScanOptions, Watcher, WatchOptions

    # As Ctrl-C: what runs is left at once, workers are ended, and the database has every finished file.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    scanning = ScanOptions(model=model, excerpts=excerpts, workers=workers, timeout=timeout)
    watching = WatchOptions(settle_seconds=settle, poll_seconds=poll, rescan_seconds=3600 * rescan)
    progress = ScanProgress(folders, Console(stderr=True))
    console = Console()
    try:
        with Library(db) as library, Watcher(library, folders, scanning, watching) as watcher:
            for _ in progress.track(watcher.scan()):
                pass
            typer.echo(f"{progress.summary()}\nwatching; Ctrl-C ends it", err=True)
            for result in watcher.changes():
                _render(result, console)
    except KeyboardInterrupt:
        typer.echo("stopped; the next start goes on from here", err=True)


def _render(result: ScanResult, console: Console) -> None:
    """Print one line about a file, at once also into a pipe or a log."""
    from genrescope.cli import output

    entry = result.entry
    if entry is None or result.status == "missing":
        words: str = result.status
    elif entry.failure is not None:
        words = f"failed: {entry.message}"
    else:
        words = output.answer_line(entry)
        words += "" if result.status == "classified" else f" ({result.status})"
    line = (
        words if words.startswith("failed") else f"{output.fitted_path(result.path, words, console)}: {words}"
    )
    console.print(output.printable(line), markup=False, highlight=False, soft_wrap=True)
    console.file.flush()
