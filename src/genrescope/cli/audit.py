"""The command ``audit``: parse, audit once, print and write."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genrescope.cli.audit_page import write_page
from genrescope.cli.options import FileTimeout, Workers
from genrescope.cli.training import Data, DataInput

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from genrescope import audit as package
    from genrescope.audit import AuditReport, AuditResult

_SECONDS_BETWEEN_LINES = 10.0
# Columns of a terminal below which the example needs the place of what is suggested.
_NARROW = 72
_LONGEST_EXAMPLE = 150


Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write all findings as JSON to this file.")
]
Csv = Annotated[Path | None, typer.Option("--csv", help="Write all findings as CSV to this file.")]
Html = Annotated[
    Path | None,
    typer.Option("--html", help="Write a page with all findings, players and spectrograms to this file."),
]
Pictures = Annotated[
    int,
    typer.Option(
        min=0,
        help="With --html: draw spectrograms for this number of findings of each kind, which decodes their"
        " files.",
    ),
]
Kinds = Annotated[
    list[str] | None,
    typer.Option("--kinds", help="Only findings of these kinds, separated by commas; repeatable."),
]
MinFindingScore = Annotated[
    float, typer.Option("--min-score", min=0, max=1, help="Only findings with this score or more.")
]
JournalFile = Annotated[
    Path | None,
    typer.Option(
        "--journal", help="Where results are kept, to resume. Default: a file in your cache folder."
    ),
]


def audit(
    data: Data,
    output: Output = None,
    csv: Csv = None,
    html: Html = None,
    pictures: Pictures = 10,
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
    kinds: Kinds = None,
    min_score: MinFindingScore = 0.0,
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
    workers: Workers = None,
    timeout: FileTimeout = 1800.0,
    near_duplicates: Annotated[
        bool,
        typer.Option(
            help="Compute fingerprints, and search for the same recording in another coding, cut or speed."
        ),
    ] = True,
    journal: JournalFile = None,
) -> None:
    """Find what is wrong with a data set or a folder of music.

    Files, sound, copies, labels and splits. Nothing is changed or deleted. An audit may be interrupted at any
    time: the same command continues it.

    Exit status: 0 done, whatever was found; 2 invalid arguments; 130 interrupted.
    """
    from rich.console import Console

    from genrescope import audit as package
    from genrescope.utils import check_output

    check_outputs(output, csv, html)
    for path in (groups, apply):
        if path is not None:
            check_output(path, ".csv")
    options = package.AuditOptions(
        kinds=split_kinds(kinds or ()),
        split=package.ProtocolOptions(protocol, seed, folds, fold),
        unlabeled=unlabeled,
        check_labels=labels and not unlabeled and _reports_suspects(split_kinds(kinds or ())),
        input=input.value,
        workers=workers,
        timeout=timeout,
        journal=journal,
        near_duplicates=near_duplicates,
    )
    errors = Console(stderr=True)
    with interruptible(), AuditProgress(errors) as progress:
        result = package.audit(data, options, on_progress=progress.update)
    report = result.report.only(min_score=min_score)
    render_audit(report)
    write_findings(report, output, csv)
    if html is not None:
        write_html(html, report, result, "Audit", pictures, workers)
    _write(report, result, groups, apply, apply_score)


def check_outputs(output: Path | None, csv: Path | None, html: Path | None) -> None:
    """Refuse to write findings over files of another kind.

    Parameters
    ----------
    output, csv, html : Path or None
        For JSON, CSV and the page.

    Raises
    ------
    ConfigError
        ``invalid_argument``.
    """
    from genrescope.utils import check_output

    for path, suffixes in ((output, (".json",)), (csv, (".csv",)), (html, (".html", ".htm"))):
        if path is not None:
            check_output(path, *suffixes)


def write_html(
    path: Path,
    report: AuditReport,
    result: AuditResult,
    title: str,
    pictures: int,
    workers: int | None,
    *,
    owner: bool = False,
) -> None:
    """Write the page of an audit, and name it.

    Parameters
    ----------
    path : Path
    report : AuditReport
        What the page shows.
    result : AuditResult
        Where it is from.
    title : str
    pictures : int
        Of how many findings of each kind spectrograms are drawn.
    workers : int or None
        Processes that draw them.
    owner : bool
        Whether advice is for the owner of a collection.
    """
    from rich.console import Console

    with interruptible(), AuditProgress(Console(stderr=True)) as progress:
        drawn = write_page(
            path,
            report,
            result.collection.tracks,
            title=title,
            pictures=pictures,
            workers=workers or os.cpu_count() or 1,
            owner=owner,
            on_progress=progress.update_pictures,
        )
    typer.echo(f"page: {path} ({drawn} files decoded for spectrograms)")


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """End the command with status 130 at Ctrl-C, and say that it can be continued."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on from here", err=True)
        raise typer.Exit(130) from None


def _reports_suspects(kinds: tuple[str, ...]) -> bool:
    return not kinds or not {"label_suspect", "label_noise"}.isdisjoint(kinds)


def write_findings(report: AuditReport, output: Path | None, csv: Path | None) -> None:
    """Write findings to the files that were asked for, and name these.

    Parameters
    ----------
    report : AuditReport
    output, csv : Path or None
        For JSON and CSV.
    """
    if output is not None:
        report.write_json(output)
        typer.echo(f"findings: {output}")
    if csv is not None:
        report.write_csv(csv)
        typer.echo(f"findings: {csv}")


def split_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds that options name.

    Parameters
    ----------
    kinds : sequence of str
        Names, or several separated by commas.
    """
    return tuple(name for text in kinds for one in text.split(",") if (name := one.strip()))


def _write(
    report: AuditReport,
    result: AuditResult,
    groups: Path | None,
    apply: Path | None,
    apply_score: float,
) -> None:
    from genrescope.audit import write_cleaned

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


def render_audit(report: AuditReport, console: Console | None = None, *, owner: bool = False) -> None:
    """Print a table of the findings by kind: number, highest score, an example, and what is suggested.

    Parameters
    ----------
    report : AuditReport
    console : rich.console.Console, optional
        What is printed to; standard output by default.
    owner : bool
        Whether the last line is for the owner of a collection.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from genrescope.cli.output import printable

    console = console or Console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("kind", "found", "score"):
        table.add_column(name, no_wrap=True, justify="left" if name == "kind" else "right")
    narrow = console.width < _NARROW
    if not narrow:
        table.add_column("suggested", no_wrap=True)
    table.add_column("example")
    for kind, count in report.counts.items():
        worst = next(finding for finding in report.findings if finding.kind == kind)
        where = f"{worst.tracks[0]}: " if len(worst.tracks) == 1 else ""
        example = where + worst.message.removeprefix(f"{worst.paths[0]}: " if worst.paths else "")
        shown = example if len(example) <= _LONGEST_EXAMPLE else f"{example[:_LONGEST_EXAMPLE]} ..."
        action = () if narrow else (worst.action,)
        cells = (kind, str(count), f"{worst.score:.2f}", *action, printable(shown))
        table.add_row(*(escape(cell) for cell in cells))
    if report.findings:
        console.print(table)
    if note := report.settings.get("label_check"):
        console.print(f"labels: {note}", highlight=False, soft_wrap=True, markup=False)
    dropped = len(report.dropped())
    suggested = (
        f"{dropped} files have another copy that is as good or better; nothing is deleted"
        if owner
        else f"{dropped} tracks are suggested to be left out (train --exclude, audit --apply)"
    )
    console.print(
        f"{len(report.findings)} finding{'s' * (len(report.findings) != 1)} in {report.tracks} tracks;"
        f" {suggested}",
        highlight=False,
        soft_wrap=True,
    )


class AuditProgress:
    """A bar on a terminal, a line every ten seconds elsewhere. For ``with``.

    Parameters
    ----------
    console : rich.console.Console
        Where it is shown.
    """

    def __init__(self, console: Console) -> None:
        self.done = self.reused = 0
        self._console = console
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._noun = ""
        self._last_line = time.monotonic()

    def __enter__(self) -> AuditProgress:
        if self._console.is_terminal:
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            words = "{task.completed} of {task.total} {task.fields[noun]}{task.fields[more]}"
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

    def update(self, progress: package.AuditProgress) -> None:
        """Show how far the audit is.

        Parameters
        ----------
        progress : AuditProgress
        """
        self.done, self.reused = progress.done, progress.reused
        reused = f", {progress.reused} known from before" if progress.reused else ""
        self._show(progress.done, progress.total, "files", f"{reused}, {progress.findings} findings")

    def update_pictures(self, done: int, total: int) -> None:
        """Show how many spectrograms are drawn.

        Parameters
        ----------
        done, total : int
        """
        self._show(done, total, "spectrograms", "")

    def update_tags(self, done: int, total: int) -> None:
        """Show of how many files the tags are read.

        Parameters
        ----------
        done, total : int
        """
        self._show(done, total, "files' tags", "")

    def _show(self, done: int, total: int, noun: str, more: str) -> None:
        if self._bar is not None:
            if self._task is None or noun != self._noun:
                self._noun = noun
                self._task = self._bar.add_task("", total=total, noun=noun, more=more)
            self._bar.update(self._task, completed=done, more=more)
        elif time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._console.print(f"so far: {done} of {total} {noun}{more}", highlight=False, soft_wrap=True)
