"""Result rows on paper: a table for people, JSON lines and CSV for programs."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genrescope.evaluation import Evaluation, Interval
from genrescope.library import TagResult, UntagResult
from genrescope.reporting import format_clock

Row = dict[str, Any]
MOST_STYLES = 2
_WIDE = 100
ERROR_COLUMNS = ("error", "message", "hint")


def render_jsonl(rows: Iterable[Row], stream: TextIO) -> None:
    """Print one JSON object per line, each as soon as it is known."""
    for row in rows:
        stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        stream.flush()


def render_csv(rows: Iterable[Row], classes: Sequence[str], stream: TextIO) -> None:
    """Print a header and one line per row: scores in one column per genre, errors in the last three."""
    writer = csv.writer(stream, lineterminator="\n")
    head = ["path", "genre", "score", "unsure", *classes, "styles", "seconds", "model", "flags"]
    writer.writerow([*head, *ERROR_COLUMNS])
    for row in rows:
        writer.writerow(_cells(row, classes))
        stream.flush()


def _cells(row: Row, classes: Sequence[str]) -> list[Any]:
    if "error" in row:
        error = row["error"]
        blanks = [""] * (len(classes) + 7)
        return [row["path"], *blanks, error["code"], error["message"], error["hint"]]
    scores = [row["scores"][name] for name in classes]
    styles = "; ".join(f"{name} {chance:.2f}" for name, chance in row["styles"].items())
    answer = [row["path"], row["genre"], row["score"], int(row["unsure"]), *scores, styles]
    return [*answer, row["seconds"], row["model"], " ".join(row["flags"]), "", "", ""]


def render_table(rows: Iterable[Row], console: Console, *, runners_up: int = 2) -> None:
    """Print a table: file, genre, score, the next genres, styles, length; then what failed, and why."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    # On a narrow terminal what comes second gives way, not the names of files.
    few = console.width < _WIDE
    table.add_column("file", overflow="fold", min_width=min(32, console.width // 5))
    table.add_column("genre", style="cyan", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True, min_width=5)
    table.add_column("then", style="dim")
    table.add_column("styles")
    table.add_column("length", justify="right", no_wrap=True, min_width=6)
    answers: list[Row] = []
    failures: list[Row] = []
    for row in rows:
        (failures if "error" in row else answers).append(row)
    for row, file in zip(answers, _short([row["path"] for row in answers]), strict=True):
        flags = f" [{', '.join(row['flags'])}]" if row["flags"] else ""
        followers = list(row["scores"].items())[1 : 2 if few else 1 + runners_up]
        styles = list(row["styles"].items())[: 1 if few else MOST_STYLES]
        then, others = (
            _plain(", ".join(f"{name} {share:.0%}" for name, share in pairs)) for pairs in (followers, styles)
        )
        genre = _plain(row["genre"]) + (" [yellow]unsure[/yellow]" if row["unsure"] else "")
        length = format_clock(row["seconds"])
        table.add_row(_plain(file + flags), genre, f"{row['score']:.0%}", then, others, length)
        for line in _course(row.get("timeline", ())):
            table.add_row(*line)
    if table.row_count:
        console.print(table)
    for row in failures:
        console.print(
            f"[red]failed[/red] {_plain(row['error']['message'])}\n       {_plain(row['error']['hint'])}"
        )


def _short(paths: Sequence[str]) -> list[str]:
    """Leave out the folder that all paths share."""
    try:
        shared = Path(os.path.commonpath([Path(path).parent for path in paths]))
        return [str(Path(path).relative_to(shared)) for path in paths]
    except ValueError:  # absolute beside relative ones, or two drives
        return list(paths)


def _course(timeline: Sequence[Row]) -> Iterator[tuple[str, str, str]]:
    """Join neighboring segments of one top genre into lines of the table."""
    tops = [max(segment["scores"].items(), key=lambda item: item[1]) for segment in timeline]
    starts = [segment["start"] for segment in timeline]
    ends = [*starts[1:], *[segment["end"] for segment in timeline[-1:]]]  # windows may overlap
    for genre, run in groupby(range(len(tops)), key=lambda index: tops[index][0]):
        places = list(run)
        span = f"  {format_clock(starts[places[0]])} to {format_clock(ends[places[-1]])}"
        yield span, f"  {_plain(genre)}", f"{max(tops[index][1] for index in places):.0%}"


def _plain(text: str) -> str:
    """Keep rich from reading brackets as markup, and odd bytes or control codes from the terminal."""
    return escape(printable(text))


def printable(text: str) -> str:
    """Return text of one line with bytes that are no UTF-8, and control characters, written out."""
    known = text.encode("utf8", "backslashreplace").decode()
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in known
    )


def with_progress(rows: Iterable[Row], total: int, console: Console) -> Iterator[Row]:
    """Pass rows on, with a progress bar on a terminal."""
    if not console.is_terminal or total < 2:
        yield from rows
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("classifying", total=total)
        for row in rows:
            progress.advance(task)
            yield row


class ResultCollector:
    """Passes rows on, counts failures, and keeps the rows if a report wants them; may hide timelines."""

    def __init__(self, rows: Iterable[Row], *, timelines: bool, keep: bool) -> None:
        self._rows = rows
        self._timelines = timelines
        self._keep = keep
        self.all: list[Row] = []
        self.failed = 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.failed += "error" in row
            if self._keep:
                self.all.append(row)
            yield row if self._timelines else {name: row[name] for name in row if name != "timeline"}


def render_counts(counts: Mapping[str, Counter[str]], console: Console) -> None:
    """Print one bar chart for each kind of count, the most frequent first."""
    width = max(10, min(60, console.width - 40))
    for kind, counter in counts.items():
        if not counter:
            continue
        console.print(f"[bold]{kind}[/bold] ({counter.total()})", highlight=False)
        most = max(counter.values())
        for name, number in counter.most_common():
            bar = "█" * max(1, round(width * number / most))
            console.print(f"  {_plain(name):20} {number:7}  [cyan]{bar}[/cyan]", highlight=False)


def render_tagged(found: Iterable[TagResult], console: Console) -> tuple[int, int]:
    """Print one line for each file that changes, or cannot; return how many of each."""
    changed = failed = 0
    for path, plan, _, error in found:
        if plan is None:
            failed += 1
            console.print(f"[red]{_plain(str(error))}[/red]", highlight=False)
            continue
        changed += 1
        before = ", ".join(plan.before) or "no genre"
        links = f" [dim](one of {plan.links} names of this file)[/dim]" if plan.links > 1 else ""
        arrow = f"{_plain(before)} -> [cyan]{_plain(', '.join(plan.after))}[/cyan]"
        console.print(f"{_plain(path)}: {arrow}{links}", highlight=False)
    return changed, failed


def render_untagged(found: Iterable[UntagResult], console: Console) -> tuple[int, int]:
    """Print one line for each change that is taken back, or cannot be; return how many of each."""
    done = failed = 0
    for path, undone, error in found:
        if undone is None:
            failed += 1
            console.print(f"[red]{_plain(str(error))}[/red]", highlight=False)
            continue
        done += 1
        genres = ", ".join(undone.genres) or "no genre"
        console.print(f"{_plain(path)}: {_plain(genres)} [dim]({undone.status})[/dim]", highlight=False)
    return done, failed


def render_evaluation(evaluation: Evaluation, console: Console | None = None) -> None:
    """Print accuracy and macro F1 with their intervals, and precision, recall, F1 per genre."""
    console = console or Console()
    console.print(
        f"[bold]{_plain(evaluation.title)}[/bold]: {_plain(evaluation.protocol_note)}", highlight=False
    )
    for level in evaluation.levels:
        baseline = (
            "" if level.majority_baseline is None else f", majority baseline {level.majority_baseline:.1%}"
        )
        console.print(
            f"{level.n} {level.unit}s of {level.groups} groups: accuracy {_interval(level.accuracy)},"
            f" macro F1 {_interval(level.macro_f1)}{baseline}",
            highlight=False,
        )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("genre")
    for name in ("precision", "recall", "F1", "support"):
        table.add_column(name, justify="right")
    for genre in evaluation.levels[0].per_genre:
        shares = (f"{value:.2f}" for value in (genre.precision, genre.recall, genre.f1))
        table.add_row(_plain(genre.genre), *shares, str(genre.support))
    console.print(table)
    for note in evaluation.notes:
        console.print(f"note: {_plain(note)}", highlight=False)


def _interval(interval: Interval) -> str:
    return f"{interval.value:.1%} ({interval.low:.1%} to {interval.high:.1%})"
