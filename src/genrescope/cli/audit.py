"""The command ``audit``: parse, audit once, print and write."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genrescope.cli.training import Data, DataInput

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from genrescope.audit import AuditProgress, AuditReport, AuditResult

_SECONDS_BETWEEN_LINES = 10.0


def audit(
    data: Data,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write all findings as JSON to this file.")
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write all findings as CSV to this file.")] = None,
    groups: Annotated[
        Path | None,
        typer.Option(
            help="Write a CSV with a group for each track, for artist-grouped: from tags, folders and copies."
        ),
    ] = None,
    apply: Annotated[
        Path | None,
        typer.Option(
            help="Write a cleaned CSV of the data set: without the tracks that findings suggest to drop, with"
            " new labels and groups. Audio is never touched."
        ),
    ] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kinds", help="Only findings of these kinds, separated by commas; repeatable."),
    ] = None,
    min_score: Annotated[
        float, typer.Option(min=0, max=1, help="Only findings with this score or more.")
    ] = 0.0,
    apply_score: Annotated[
        float, typer.Option(min=0, max=1, help="--apply follows findings with this score or more.")
    ] = 0.5,
    protocol: Annotated[
        str,
        typer.Option(help="The split that is examined. Default: that of the data set, else artist-grouped."),
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Seed of that split.")] = 0,
    folds: Annotated[int, typer.Option(help="Number of folds of artist-grouped.")] = 5,
    fold: Annotated[int, typer.Option(help="Which fold is the test part, counted from 0.")] = 0,
    unlabeled: Annotated[
        bool,
        typer.Option("--unlabeled", help="Folders are folders, not genres; any folder of music will do."),
    ] = False,
    labels: Annotated[
        bool,
        typer.Option(
            "--labels/--no-labels",
            help="Look for labels that are likely wrong, by how tracks sound. Takes up to half as long"
            " again. Without effect where tracks have no labels.",
        ),
    ] = True,
    input: Annotated[
        DataInput, typer.Option(help="What to read where DATA has several kinds of files.")
    ] = DataInput.auto,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Number of worker processes. Default: one for each core."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds that one file may take.")] = 1800.0,
    near_duplicates: Annotated[
        bool,
        typer.Option(
            help="Compute fingerprints, and search for the same recording in another coding, cut or speed."
        ),
    ] = True,
    journal: Annotated[
        Path | None,
        typer.Option(help="Where results are kept, to resume. Default: a file in your cache folder."),
    ] = None,
) -> None:
    """Find what is wrong with a data set or a folder of music.

    Files, sound, copies, labels and splits. Nothing is changed or deleted. An audit may be interrupted at any
    time: the same command continues it.

    Exit status: 0 done, whatever was found; 2 invalid arguments; 130 interrupted.
    """
    from rich.console import Console

    from genrescope import audit as package
    from genrescope.utils import check_output

    for path, suffixes in ((output, (".json",)), (csv, (".csv",)), (groups, (".csv",)), (apply, (".csv",))):
        if path is not None:
            check_output(path, *suffixes)
    options = package.AuditOptions(
        kinds=_split(kinds or ()),
        split=package.ProtocolOptions(protocol, seed, folds, fold),
        unlabeled=unlabeled,
        check_labels=labels and not unlabeled and _reports_suspects(_split(kinds or ())),
        input=input.value,
        workers=workers,
        timeout=timeout,
        journal=journal,
        near_duplicates=near_duplicates,
    )
    progress = _AuditProgress(Console(stderr=True))
    try:
        with progress:
            result = package.audit(data, options, on_progress=progress.update)
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on from here", err=True)
        raise typer.Exit(130) from None
    report = result.report.only(min_score=min_score)
    render_audit(report)
    _write(report, result, output, csv, groups, apply, apply_score)


def _split(kinds: list[str] | tuple[()]) -> tuple[str, ...]:
    return tuple(name for text in kinds for one in text.split(",") if (name := one.strip()))


def _reports_suspects(kinds: tuple[str, ...]) -> bool:
    return not kinds or not {"label_suspect", "label_noise"}.isdisjoint(kinds)


def _write(
    report: AuditReport,
    result: AuditResult,
    output: Path | None,
    csv: Path | None,
    groups: Path | None,
    apply: Path | None,
    apply_score: float,
) -> None:
    from genrescope.audit import write_cleaned

    if output is not None:
        report.write_json(output)
        typer.echo(f"findings: {output}")
    if csv is not None:
        report.write_csv(csv)
        typer.echo(f"findings: {csv}")
    proposed = result.groups() if groups is not None or apply is not None else None
    if groups is not None and proposed is not None:
        proposed.write_csv(groups)
        typer.echo(f"groups: {groups}: {proposed.summary()}")
    if apply is not None:
        tracks, dataset = result.collection.tracks, result.collection.dataset
        done = write_cleaned(report, tracks, apply, dataset=dataset, groups=proposed, min_score=apply_score)
        typer.echo(
            f"cleaned: {done.path}: {done.kept} tracks kept, {done.dropped} left out, {done.relabeled} with"
            f" another label, {done.regrouped} with another group"
        )


def render_audit(report: AuditReport, console: Console | None = None) -> None:
    """Print a table of the findings by kind: number, highest score, an example, and what is suggested.

    Parameters
    ----------
    report : AuditReport
    console : rich.console.Console, optional
        What is printed to; standard output by default.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from genrescope.audit import KINDS
    from genrescope.cli.output import printable

    console = console or Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("kind", "found", "score"):
        table.add_column(name, no_wrap=True, justify="left" if name == "kind" else "right")
    table.add_column("suggested", no_wrap=True)
    table.add_column("example")
    for kind, count in report.counts.items():
        worst = next(finding for finding in report.findings if finding.kind == kind)
        where = f"{worst.tracks[0]}: " if len(worst.tracks) == 1 else ""
        example = where + worst.message.removeprefix(f"{worst.paths[0]}: " if worst.paths else "")
        cells = (kind, str(count), f"{worst.score:.2f}", KINDS[kind].action, printable(example))
        table.add_row(*(escape(cell) for cell in cells))
    if report.findings:
        console.print(table)
    if note := report.settings.get("label_check"):
        console.print(f"labels: {note}", highlight=False, soft_wrap=True, markup=False)
    dropped = len(report.dropped())
    console.print(
        f"{len(report.findings)} finding{'s' * (len(report.findings) != 1)} in {report.tracks} tracks;"
        f" {dropped} tracks are suggested to be left out (train --exclude, audit --apply)",
        highlight=False,
        soft_wrap=True,
    )


class _AuditProgress:
    """A bar on a terminal, a line every ten seconds elsewhere. For ``with``."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._last_line = time.monotonic()

    def __enter__(self) -> _AuditProgress:
        if self._console.is_terminal:
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            words = "{task.completed} of {task.total} files, {task.fields[found]} findings"
            self._bar = Progress(
                BarColumn(),
                TextColumn(words),
                TimeRemainingColumn(),
                TextColumn("left"),
                console=self._console,
            )
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, progress: AuditProgress) -> None:
        """Show how far the audit is."""
        if self._bar is not None:
            if self._task is None:
                self._task = self._bar.add_task("", total=progress.total, found=0)
            self._bar.update(self._task, completed=progress.done, found=progress.findings)
        elif time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            reused = f", {progress.reused} known from before" if progress.reused else ""
            self._console.print(
                f"so far: {progress.done} of {progress.total} files{reused}, {progress.findings} findings",
                highlight=False,
                soft_wrap=True,
            )
