"""What the commands print: tables on a terminal, JSON lines and CSV for programs."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from genrescope.labels import display_name
from genrescope.reporting import format_clock
from genrescope.types import NOT_MUSIC, FailedFile, Prediction, Timeline
from genrescope.utils import spreadsheet_cell

if TYPE_CHECKING:
    # For annotations only: these packages need a tenth of a second, which a classification would wait for.
    from genrescope.evaluation import Comparison, Evaluation, Interval
    from genrescope.library import AlbumResult, LibraryEntry, TagComparison, TagResult, TagStatus, UntagResult
    from genrescope.training import TaxonomyRun

MAX_RUNNERS_UP = 2
MAX_STYLES = 2
ERROR_COLUMNS = ("error", "message", "hint")
# Added after the first release: the last ones, so that the others keep their places.
MUSIC_COLUMNS = ("music", "not_music", "set", "answer", "title")
# A track that changes its genre more often than this is summarized in tables; JSON lines have all of it.
MAX_SPANS = 8
# Consoles of fewer columns than this get one runner-up and one style, so that file names stay readable.
_WIDE = 100
# With and without runners-up and styles.
MAX_COLUMNS, MIN_COLUMNS = 6, 4
# Cells for a name before columns are left out, and for a name before its flags are cut.
_MIN_NAME, _MIN_ELIDED = 24, 9
_UNBOUNDED = 100_000

_Item = TypeVar("_Item")

# What is said of files by what becomes of their genres.
_TAG_WORDS: dict[TagStatus, str] = {
    "changed": "with genres to write",
    "same": "have these genres already",
    "kept": "keep the genre that they have (--overwrite, --placeholder)",
    "unsure": "unsure (--uncertain)",
    "no genre": "have no score above the threshold, or no word in the vocabulary",
    "no album": "of no album with a genre (plain 'tag' takes the track's own)",
    "not music": "not music",
    "not classified": "could not be classified (library list --failed)",
    "failed": "failed",
}


def render_jsonl(
    results: Iterable[Prediction | LibraryEntry | AlbumResult | TagComparison | FailedFile], stream: TextIO
) -> None:
    """Print one JSON object per line, each as soon as it is known.

    Parameters
    ----------
    results : iterable of Prediction, LibraryEntry, AlbumResult, TagComparison or FailedFile
        One for each file, or album.
    stream : text stream
        What is written to; flushed after every line.
    """
    # Flushed line by line: a program that reads from a pipe gets each answer when it is there, and what was
    # printed before a kill is whole.
    for result in results:
        stream.write(json.dumps(result.to_dict(), ensure_ascii=False) + "\n")
        stream.flush()


def render_csv(results: Iterable[Prediction | FailedFile], classes: Sequence[str], stream: TextIO) -> None:
    """Print a header and one line per file: scores in one column per genre, errors in the last three.

    Parameters
    ----------
    results : iterable of Prediction or FailedFile
        One for each file, printed as soon as it is known.
    classes : sequence of str
        The model's genres, in the order of their columns.
    stream : text stream
        What is written to; flushed after every line.
    """
    writer = csv.writer(stream, lineterminator="\n")
    header = ["path", "genre", "score", "unsure", *classes, "styles", "seconds", "model", "flags"]
    writer.writerow([*header, *ERROR_COLUMNS, *MUSIC_COLUMNS])
    for result in results:
        writer.writerow([spreadsheet_cell(cell) for cell in _csv_cells(result, classes)])
        stream.flush()


def _csv_cells(result: Prediction | FailedFile, classes: Sequence[str]) -> list[object]:
    if isinstance(result, FailedFile):
        blanks = [""] * (len(classes) + 7)
        return [result.path, *blanks, result.code, result.message, result.hint, *[""] * len(MUSIC_COLUMNS)]
    scores = [result.scores[name] for name in classes]
    styles = "; ".join(f"{name} {probability:.2f}" for name, probability in result.probable_styles.items())
    cells = [result.path, result.genre, result.confidence, int(result.is_uncertain), *scores, styles]
    cells += [round(result.seconds, 3), result.model, " ".join(result.flags), "", "", ""]
    music = "" if result.music is None else result.music
    answer, title = result.answer or "", result.title or ""
    return [*cells, music, int(not result.is_music), "; ".join(result.genre_set), answer, title]


def render_table(results: Iterable[Prediction | LibraryEntry | FailedFile], console: Console) -> None:
    """Print a table: file, genre, score, the next genres, styles, length; then what failed, and why.

    Parameters
    ----------
    results : iterable of Prediction, LibraryEntry or FailedFile
        One for each file; all of them are read before the table is printed. Where a prediction has a
        timeline, the spans of time follow in which one genre has the highest score.
    console : rich.console.Console
        What is printed to; its width decides how many runners-up and styles there are. On a terminal each
        file has one line: long names are cut in the middle, and narrow terminals get fewer columns.
    """
    classified: list[Prediction | LibraryEntry] = []
    failures: list[FailedFile] = []
    for result in results:
        if isinstance(result, FailedFile):
            failures.append(result)
        elif isinstance(result, Prediction) or result.failure is None:
            classified.append(result)
        else:
            failures.append(result.failure)
    # Failures come last, where the eye ends up on a terminal, however long the table is.
    paths = [one.path for one in (*classified, *failures)]
    names = dict(zip(paths, _relative_paths(paths), strict=True))
    if classified:
        table = _result_table(classified, names, console)
        print_table(table, console)
    for failure in failures:
        _print_failure(failure, names[failure.path], console)


def _print_failure(failure: FailedFile, name: str, console: Console) -> None:
    """Print what failed and what to do; on a terminal with the name shortened to what leaves it one line."""
    message = failure.message
    if console.is_terminal and message.startswith(f"{failure.path}:"):
        what = message.removeprefix(failure.path)
        available = max(_MIN_NAME, console.width - cell_len("failed ") - cell_len(what))
        message = _elided(printable(name), "", available) + what
    lines = Table.grid(padding=(0, 1, 0, 0))
    lines.add_row("[red]failed[/red]", _escape(message))
    lines.add_row("", _escape(failure.hint))
    print_table(lines, console)


def _result_table(
    results: Sequence[Prediction | LibraryEntry], names: Mapping[str, str], console: Console
) -> Table:
    """Return the table; a terminal gets one line for each file, with fewer columns where it is narrow."""
    rows = list(_result_rows(results, names, console.width))
    if not console.is_terminal:
        return _table([(_escape(name + flags), *cells) for name, flags, cells in rows], MAX_COLUMNS)
    longest = max(cell_len(name + flags) for name, flags, _ in rows)
    for columns in range(MAX_COLUMNS, MIN_COLUMNS - 1, -1):
        others = _table([("", *cells) for _, _, cells in rows], columns)
        options = console.options.update(max_width=_UNBOUNDED)
        available = console.width - Measurement.get(console, options, others).maximum + cell_len("file")
        if available >= min(longest, _MIN_NAME):
            break
    return _table(
        [(_escape(_elided(name, flags, available)), *cells) for name, flags, cells in rows], columns
    )


def _table(rows: Iterable[Sequence[str]], columns: int) -> Table:
    """Return a table of the first ``columns`` of the cells of each row, and of the last."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("file", no_wrap=True)
    table.add_column("genre", style="cyan", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True, min_width=5)
    for name, style in (("runner-up", "dim"), ("styles", ""))[: columns - MIN_COLUMNS]:
        table.add_column(name, style=style, no_wrap=True)
    table.add_column("length", justify="right", no_wrap=True, min_width=6)
    for row in rows:
        table.add_row(*row[: columns - 1], *row[-1:])
    return table


def _result_rows(
    results: Sequence[Prediction | LibraryEntry], names: Mapping[str, str], width: int
) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield for each line of the table its name, the flags behind it, and the cells of all other columns."""
    max_runners_up, max_styles = (MAX_RUNNERS_UP, MAX_STYLES) if width >= _WIDE else (1, 1)
    for result in results:
        # Of a track of a cue sheet, the name is the sheet with the track's number.
        title = result.title if isinstance(result, Prediction) else None
        file = names[result.path] + (f" {title}" if title else "")
        flags = f" [{', '.join(result.flags)}]" if result.flags else ""
        # Scores are sorted: the first is the genre itself, the next ones are its runners-up.
        (genre, score), *others = result.scores.items()
        styles = result.probable_styles if isinstance(result, Prediction) else result.styles
        cells = (
            _verdict(result, genre),
            f"{score:.0%}" if result.is_music else f"{1 - (result.music or 0.0):.0%}",
            _percentages(others[:max_runners_up] if result.is_music else ()),
            _percentages(list(styles.items())[:max_styles] if result.is_music else ()),
            format_clock(result.seconds or 0.0),
        )
        yield printable(file), flags, cells
        if isinstance(result, Prediction) and result.timeline is not None:
            for times, leading, peak in _span_lines(result.timeline):
                yield times, "", (leading, peak, "", "", "")


def _verdict(result: Prediction | LibraryEntry, genre: str) -> str:
    """Return the cell of the genre: not music, the genre, or the genre marked as unsure."""
    if not result.is_music:
        return f"[yellow]{NOT_MUSIC}[/yellow]"
    names = getattr(result, "labels", None) or (genre,)
    return _escape(", ".join(map(display_name, names))) + (
        " [yellow]unsure[/yellow]" if result.is_uncertain else ""
    )


def render_albums(albums: Iterable[AlbumResult], console: Console) -> None:
    """Print a table of albums: album, artist, number of tracks, genre, agreement, and the other answers.

    Parameters
    ----------
    albums : iterable of AlbumResult
        All of them are read before the table is printed.
    console : rich.console.Console
        What is printed to; on a terminal each album has one line, and long names are cut at their end.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    # Of a narrow terminal's line, the names give way first.
    table.add_column("album", no_wrap=True, ratio=3 if console.is_terminal else None)
    table.add_column("artist", no_wrap=True, ratio=2 if console.is_terminal else None)
    table.add_column("tracks", justify="right", no_wrap=True)
    table.add_column("genre", style="cyan", no_wrap=True)
    table.add_column("agreement", justify="right", no_wrap=True)
    table.add_column("others", no_wrap=True, ratio=3 if console.is_terminal else None)
    for album in albums:
        table.add_row(
            _escape(album.title),
            _escape(album.artist or ""),
            str(album.tracks),
            f"[yellow]{album.verdict}[/yellow]"
            if album.genre is None
            else _escape(display_name(album.genre)),
            f"{album.agreement:.0%}" if album.answered else "",
            _escape(", ".join(_other_answers(album))),
        )
    if table.row_count:
        print_table(table, console)
    else:
        console.print("no albums: tracks need an album tag, or a folder of their own")


def print_table(table: Table, console: Console) -> None:
    """Print a table; in a pipe its cells are whole, because a program that reads them needs all of them.

    Parameters
    ----------
    table : rich.table.Table
    console : rich.console.Console
        What is printed to.
    """
    if console.is_terminal:
        console.print(table)
        return
    options = console.options.update(max_width=_UNBOUNDED, width=_UNBOUNDED)
    for line in console.render_lines(table, options):
        console.out("".join(segment.text for segment in line).rstrip(), highlight=False)


def _other_answers(album: AlbumResult) -> Iterator[str]:
    """Yield what an album's tracks are besides its genre, each with the number of tracks."""
    for genre, number in album.genres.items():
        if genre != album.genre:
            yield f"{display_name(genre)} {number}"
    for what, number in (("unsure", album.uncertain), (NOT_MUSIC, album.not_music), ("failed", album.failed)):
        if number:
            yield f"{what} {number}"


def _elided(name: str, flags: str, width: int) -> str:
    """Return a name and its flags in at most ``width`` cells, the middle of the name left out."""
    if cell_len(name + flags) <= width:
        return name + flags
    available = width - cell_len(flags)
    if available < _MIN_ELIDED:  # The flags alone are too long.
        name, flags, available = name + flags, "", width
    half = max(0, available - 1) // 2
    start = set_cell_size(name, half)
    # Reversed, because rich cuts at the end only.
    end = set_cell_size(name[::-1], max(0, available - 1 - half))[::-1]
    return f"{start}…{end}{flags}"


def fitted_path(path: str, rest: str, console: Console) -> str:
    """Return a path, shortened on a terminal so that it and what follows are one line.

    Parameters
    ----------
    path : str
        Of a file.
    rest : str
        What follows, behind a colon and a space.
    console : rich.console.Console
        What is printed to.

    Returns
    -------
    str
        Printable; its brackets are not escaped.
    """
    if not console.is_terminal:
        return printable(path)
    available = console.width - cell_len(printable(rest)) - cell_len(": ")
    return _elided(printable(path), "", max(_MIN_ELIDED, available))


def answer_line(entry: LibraryEntry) -> str:
    """Return an answer in a few words: the genre and its score, whether it is unsure, or not music.

    Parameters
    ----------
    entry : LibraryEntry
        With an answer.
    """
    if not entry.is_music:
        return NOT_MUSIC
    unsure = " unsure" if entry.is_uncertain else ""
    return f"{display_name(entry.genre or '')} {entry.score or 0.0:.0%}{unsure}"


def _percentages(scores: Iterable[tuple[str, float]]) -> str:
    return _escape(", ".join(f"{display_name(name)} {score:.0%}" for name, score in scores))


def _relative_paths(paths: Sequence[str]) -> list[str]:
    """Leave out the folder that all paths share."""
    try:
        shared = Path(os.path.commonpath([Path(path).parent for path in paths]))
        return [str(Path(path).relative_to(shared)) for path in paths]
    except ValueError:  # absolute paths beside relative ones, or two drives
        return list(paths)


def _span_lines(timeline: Timeline) -> Iterator[tuple[str, str, str]]:
    """Yield lines of the table: from when to when which genre leads, and its highest score there."""
    spans = timeline.leading_spans(overlapping=False)
    shown = spans if len(spans) <= MAX_SPANS else timeline.leading_spans(MAX_SPANS, overlapping=False)
    # Short spans that are joined to their neighbors may leave neighbors of the same genre.
    for genre, same in groupby(shown, key=lambda span: span.genre):
        first, *others = same
        end = others[-1].end if others else first.end
        times = f"  {format_clock(first.start)} to {format_clock(end)}"
        peak = max(span.peak for span in (first, *others))
        yield times, f"  {_escape(display_name(genre))}", f"{peak:.0%}"
    if len(spans) > MAX_SPANS:
        yield f"  ({len(spans)} spans, summarized)", "", ""


def _escape(text: str) -> str:
    """Keep rich from reading brackets as markup, and control characters from the terminal."""
    return escape(printable(text))


def printable(text: str) -> str:
    """Make a text safe for one line of a terminal.

    Parameters
    ----------
    text : str
        Such as a path of any bytes, as `os.fsdecode` gives it.

    Returns
    -------
    str
        The text, with bytes that are not UTF-8 and control characters as escape sequences.
    """
    decoded = text.encode("utf8", "backslashreplace").decode()
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in decoded
    )


def with_json_progress(results: Iterable[_Item], total: int) -> Iterator[_Item]:
    """Pass results on, with JSON lines about the progress on standard error.

    Parameters
    ----------
    results : iterable
        One for each file.
    total : int
        How many there will be.

    Yields
    ------
    object
        The results.
    """
    from genrescope.cli.progress_options import JsonProgress

    progress = JsonProgress("files")
    done = failed = 0
    for result in results:
        done += 1
        failed += isinstance(result, FailedFile)
        progress.update(done, total, failed)
        yield result
    progress.update(done, total, failed, finished=True)


def with_progress(
    results: Iterable[_Item], total: int, console: Console, *, what: str = "classifying"
) -> Iterator[_Item]:
    """Pass results on, with a progress bar where the console is a terminal.

    Parameters
    ----------
    results : iterable
        One for each file.
    total : int
        How many there will be.
    console : rich.console.Console
        Where the bar is drawn.
    what : str
        What is done, in a word or two.

    Yields
    ------
    object
        The results.
    """
    if not console.is_terminal or total < 2:
        yield from results
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=total)
        for result in results:
            progress.advance(task)
            yield result


class ResultCollector:
    """Passes results on while it counts failures and keeps what a report needs.

    Parameters
    ----------
    results : iterable of Prediction or FailedFile
        One for each file.
    timelines : bool
        Whether predictions are passed on with their timelines. Kept ones have them in any case.
    keep : bool
        Whether to keep all results in `all`.

    Attributes
    ----------
    all : list of Prediction or FailedFile
        The results so far, if they are kept.
    failed : int
        How many files failed so far.
    """

    def __init__(self, results: Iterable[Prediction | FailedFile], *, timelines: bool, keep: bool) -> None:
        self._results = results
        self._timelines = timelines
        self._keep = keep
        self.all: list[Prediction | FailedFile] = []
        self.failed = 0

    def __iter__(self) -> Iterator[Prediction | FailedFile]:
        for result in self._results:
            self.failed += isinstance(result, FailedFile)
            if self._keep:
                self.all.append(result)
            if isinstance(result, Prediction) and not self._timelines:
                result = replace(result, timeline=None)
            yield result


def render_counts(counts: Mapping[str, Counter[str]], console: Console) -> None:
    """Print one bar chart for each kind of count, the most frequent value first.

    Parameters
    ----------
    counts : mapping of str to Counter
        Kind, such as ``genre``, to the number of tracks of each of its values.
    console : rich.console.Console
        What is printed to.
    """
    width = max(10, min(60, console.width - 46))
    # A track has any number of styles: their shares are of the tracks that have a genre.
    totals = {kind: counter.total() for kind, counter in counts.items()}
    totals["style"] = totals.get("genre", 0)
    for kind, counter in counts.items():
        if not counter:
            continue
        console.print(f"[bold]{kind}[/bold] ({counter.total()})", highlight=False)
        most = max(counter.values())
        for name, number in counter.most_common():
            bar = "█" * max(1, round(width * number / most))
            share = f"{number / totals[kind]:6.1%}" if totals[kind] else " " * 6
            label = _elided(printable(display_name(name)), "", 24)
            padding = " " * (24 - cell_len(label))
            console.print(
                f"  {escape(label)}{padding} {number:7} {share}  [cyan]{bar}[/cyan]", highlight=False
            )


def render_tagged(found: Iterable[TagResult], console: Console) -> Counter[TagStatus]:
    """Print one line for each file whose tags change, or cannot be changed.

    Parameters
    ----------
    found : iterable of TagResult
        What the library changes, or would change.
    console : rich.console.Console
        What is printed to.

    Returns
    -------
    Counter
        How many files there were of each status.
    """
    counts: Counter[TagStatus] = Counter()
    for path, plan, _, error, status in found:
        counts[status] += 1
        if error is not None:
            console.print(f"[red]{_escape(str(error))}[/red]", highlight=False)
        if plan is None:
            continue
        before = ", ".join(plan.before) or "no genre"
        after = ", ".join(plan.after)
        links = f" (one of {plan.links} names of this file)" if plan.links > 1 else ""
        name = escape(fitted_path(path, f"{before} -> {after}{links}", console))
        arrow = f"{_escape(before)} -> [cyan]{_escape(after)}[/cyan]"
        console.print(f"{name}: {arrow}[dim]{links}[/dim]", highlight=False)
    return counts


def tag_account(counts: Counter[TagStatus]) -> str:
    """Return what became of all files, as lines with numbers whose sum is that of the first.

    Parameters
    ----------
    counts : Counter
        Files by status.
    """
    lines = [(counts.total(), "files in all")]
    lines += [(counts[status], words) for status, words in _TAG_WORDS.items() if counts[status]]
    return "\n".join(f"{number:7} {words}" for number, words in lines)


def render_untagged(found: Iterable[UntagResult], console: Console) -> tuple[int, int]:
    """Print one line for each change of tags that is undone, or cannot be.

    Parameters
    ----------
    found : iterable of UntagResult
        What the library undoes.
    console : rich.console.Console
        What is printed to.

    Returns
    -------
    done, failed : int
        How many changes there were of each kind.
    """
    done = failed = 0
    for path, undone, error in found:
        if undone is None:
            failed += 1
            console.print(f"[red]{_escape(str(error))}[/red]", highlight=False)
            continue
        done += 1
        genres = ", ".join(undone.genres) or "no genre"
        name = escape(fitted_path(path, f"{genres} ({undone.status})", console))
        console.print(f"{name}: {_escape(genres)} [dim]({undone.status})[/dim]", highlight=False)
    return done, failed


def render_evaluation(evaluation: Evaluation, console: Console | None = None) -> None:
    """Print the main metrics with their intervals, and those of each genre.

    Parameters
    ----------
    evaluation : Evaluation
        Scores of one model under one protocol.
    console : rich.console.Console, optional
        What is printed to; standard output by default.
    """
    from genrescope.evaluation import LEAKY

    console = console or Console()
    # The title of a leaky protocol says so already.
    description = evaluation.protocol_note.removeprefix(f"{LEAKY}: ")
    console.print(f"[bold]{_escape(evaluation.title)}[/bold]: {_escape(description)}", highlight=False)
    for level in evaluation.levels:
        baseline = (
            "" if level.majority_baseline is None else f", majority baseline {level.majority_baseline:.1%}"
        )
        console.print(
            f"{level.n} {level.unit}s of {level.groups} groups: accuracy {_interval(level.accuracy)},"
            f" macro F1 {_interval(level.macro_f1)}{baseline}",
            highlight=False,
        )
    for labeled in evaluation.label_levels:
        values = ", ".join(f"{name} {_decimal_interval(one)}" for name, one in labeled.summary.items())
        chance = f"PR-AUC by chance {labeled.prevalence:.3f}"
        console.print(
            f"{labeled.n} {labeled.unit}s of {labeled.groups} groups: {values}; {chance}", highlight=False
        )
    console.print(_label_table(evaluation) if evaluation.label_levels else _genre_table(evaluation))
    if untested := _untested(evaluation):
        console.print(
            f"left out, as no track of them was tested: {_escape(', '.join(untested))}", highlight=False
        )
    for note in evaluation.notes:
        console.print(f"note: {_escape(note)}", highlight=False)


def _untested(evaluation: Evaluation) -> list[str]:
    """Return the genres without a track in the test part."""
    if evaluation.label_levels:
        return [one.genre for one in evaluation.label_levels[0].per_label if not one.support]
    return [genre.genre for genre in evaluation.levels[0].per_genre if not genre.support]


def _genre_table(evaluation: Evaluation) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("genre")
    for name in ("precision", "recall", "F1", "support"):
        table.add_column(name, justify="right")
    for genre in evaluation.levels[0].per_genre:
        if genre.support:  # none of these is defined without
            shares = (f"{value:.2f}" for value in (genre.precision, genre.recall, genre.f1))
            table.add_row(_escape(genre.genre), *shares, str(genre.support))
    return table


def _label_table(evaluation: Evaluation) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("genre")
    for name in ("ROC-AUC", "PR-AUC", "precision", "recall", "F1", "threshold", "support", "judged"):
        table.add_column(name, justify="right")
    for one in evaluation.label_levels[0].per_label:
        if not one.support:
            continue
        values = (one.roc_auc, one.pr_auc, one.precision, one.recall, one.f1, one.threshold)
        shares = ("-" if value is None else f"{value:.2f}" for value in values)
        table.add_row(_escape(one.genre), *shares, str(one.support), str(one.judged))
    return table


def _decimal_interval(interval: Interval) -> str:
    return f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def render_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print the results of several models, their differences, and which of these are beyond chance.

    Parameters
    ----------
    comparison : Comparison
        Of one protocol.
    console : rich.console.Console, optional
        What is printed to; standard output by default.
    """
    from genrescope.evaluation import LEAKY
    from genrescope.reporting import critical_view, describe_design, format_p, format_points, pair_name

    console = console or Console()
    description = comparison.protocol_note.removeprefix(f"{LEAKY}: ")
    console.print(f"[bold]{_escape(comparison.title)}[/bold]: {_escape(description)}", highlight=False)
    console.print(_escape(describe_design(comparison)), highlight=False)
    marked = f" ({LEAKY})" if comparison.leaky else ""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("configuration", overflow="fold")
    first, second = (
        name.lower().replace("averaged accuracy", "averaged") for name in comparison.metric_names[:2]
    )
    for name in (f"{first}{marked}", f"{second}{marked}", "by seed"):
        table.add_column(name, justify="right")
    for model in comparison.models:
        by_seed = " ".join(f"{100 * value:.1f}" for value in model.by_seed)
        intervals = (_interval(model.accuracy), _interval(model.balanced_accuracy))
        table.add_row(_escape(model.name), *intervals, by_seed)
    console.print(table)
    if comparison.pairs:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("pair", overflow="fold")
        for name in (f"points{marked}", f"{second}{marked}", "bootstrap p", "McNemar p"):
            table.add_column(name, justify="right")
        for pair in comparison.pairs:
            points = (format_points(pair.accuracy), format_points(pair.balanced_accuracy))
            p_values = (format_p(pair.adjusted_bootstrap), format_p(pair.adjusted_mcnemar))
            table.add_row(_escape(pair_name(pair)), *(_escape(one) for one in points), *p_values)
        console.print(table)
    for text in critical_view(comparison):
        console.print(f"* {_escape(text)}", highlight=False)
    for note in comparison.notes:
        console.print(f"note: {_escape(note)}", highlight=False)


def render_taxonomy_run(run: TaxonomyRun, console: Console | None = None) -> None:
    """Print how well genres are told apart on collections that were left out, and tables of the parts.

    Parameters
    ----------
    run : TaxonomyRun
    console : rich.console.Console, optional
        What is printed to; standard output by default.
    """
    console = console or Console()
    for name, figures in run.figures.items():
        lines = (
            f"[bold]{_escape(name)}[/bold]: {figures.clips} clips of {figures.collections} collections,"
            f" leaving out one at a time: right {_interval(figures.top_1)},"
            f" among the first three {_interval(figures.top_3)}",
            f"  the surest 45 %: right {_interval(figures.surest)};"
            f" nine of ten right at coverage {_interval(figures.coverage_at_target)}",
            f"  above the threshold: {_interval(figures.answered)}, right {_interval(figures.right)}",
            f"  sets: hold the genre {_interval(figures.covered)}, mean size {figures.set_size.value:.2f};"
            f" calibration error {figures.calibration_error:.3f}",
        )
        for line in lines:
            console.print(line, highlight=False)
    for heading, rows in (("genre", run.genres), ("collection", run.collections)):
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column(heading)
        for name in ("clips", "right", "first three", "answered", "right of these"):
            table.add_column(name, justify="right")
        for row in rows:
            shares = (row.top_1, row.top_3, row.answered, row.right)
            cells = ("" if share != share else f"{share:.0%}" for share in shares)
            table.add_row(_escape(display_name(row.name)), str(row.clips), *cells)
        console.print(table)
    if run.music is not None:
        music = run.music
        console.print(
            f"music: {music.music_refused:.1%} of {music.music_tracks} tracks called not music,"
            f" {music.other_accepted:.1%} of {music.other_tracks} other sounds called music",
            highlight=False,
        )


def _interval(interval: Interval) -> str:
    return f"{interval.value:.1%} ({interval.low:.1%} to {interval.high:.1%})"
