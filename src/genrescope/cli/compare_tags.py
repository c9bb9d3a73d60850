"""The command ``library compare``: the genres in tags beside the answers."""

from __future__ import annotations

import sys
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genrescope.cli.options import Db, Folder

if TYPE_CHECKING:
    from rich.console import Console

    from genrescope.library import ComparisonVerdict, GenreAgreement, TagComparison

_WORDS: dict[ComparisonVerdict, str] = {
    "agree": "agree",
    "differ": "differ",
    "not music": "not music, but with a genre in the tags",
    "untagged": "without a genre in the tags",
    "unknown": "with words that are no genre of the model",
    "failed": "could not be compared",
}


class ComparisonFormat(StrEnum):
    """How ``library compare`` prints."""

    table = "table"
    csv = "csv"
    jsonl = "jsonl"


def compare(
    db: Db = None,
    genre: Annotated[
        list[str] | None, typer.Option("--genre", "-g", help="Only answers of this genre; repeatable.")
    ] = None,
    folder: Folder = None,
    limit: Annotated[
        int, typer.Option(min=1, help="At most this number of files in the table of surprises.")
    ] = 20,
    format: Annotated[
        ComparisonFormat,
        typer.Option("--format", "-f", help="A table, or every file as CSV or JSON lines."),
    ] = ComparisonFormat.table,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this .html, .csv or .jsonl file instead.")
    ] = None,
) -> None:
    """Compare the genres in the tags of files with the answers: agreement by genre, most surprising first.

    The files are read, not changed. Words of tags count in any spelling, and styles as the genre above them.
    """
    import io

    from rich.console import Console

    from genrescope import library as collection
    from genrescope import utils
    from genrescope.cli import output as printing
    from genrescope.cli.library import open_library

    if output is not None:
        utils.check_output(output, ".html", ".htm", ".csv", ".jsonl")
    with open_library(db) as library:
        entries = list(library.entries(genre=genre or (), folder=folder))
        compared = printing.with_progress(
            collection.compare_tags(entries), len(entries), Console(stderr=True), what="reading tags"
        )
        found = collection.most_surprising(compared)
    agreement = collection.agreement_by_genre(found)
    if output is None and format is ComparisonFormat.table:
        _render(found, agreement, limit, Console())
    elif output is not None and output.suffix.lower() in (".html", ".htm"):
        from genrescope import reporting

        unknown = dict(collection.unknown_words(found).most_common())
        utils.write_atomic(
            output, reporting.tag_comparison_page(found, agreement, unknown, title="Tags and answers")
        )
    else:
        as_csv = format is ComparisonFormat.csv if output is None else output.suffix.lower() == ".csv"
        stream = sys.stdout if output is None else io.StringIO()
        if as_csv:
            collection.write_comparisons_csv(found, stream)
        else:
            printing.render_jsonl(found, stream)
        if output is not None and isinstance(stream, io.StringIO):
            utils.write_atomic(output, stream.getvalue())
    if output is not None:
        typer.echo(f"comparison: {output}", err=True)
    typer.echo(_account(found), err=True)


def _render(
    found: list[TagComparison], agreement: list[GenreAgreement], limit: int, console: Console
) -> None:
    from rich.markup import escape
    from rich.table import Table

    from genrescope.cli import output
    from genrescope.labels import display_name
    from genrescope.types import NOT_MUSIC

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("tags say", no_wrap=True)
    for name in ("files", "agree", "sure", "agree"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("answered instead", no_wrap=True)
    for row in agreement:
        instead = ", ".join(f"{display_name(name)} {number}" for name, number in row.instead.most_common(2))
        sure = f"{row.sure_agree / row.sure:.0%}" if row.sure else ""
        cells = (str(row.files), f"{row.agree / row.files:.0%}", str(row.sure), sure, instead)
        table.add_row(escape(display_name(row.genre)), *map(escape, cells))
    if agreement:
        output.print_table(table, console)
    surprising = [one for one in found if one.surprise > 0]
    if surprising:
        console.print(f"\n[bold]most surprising[/bold] ({len(surprising)})", highlight=False)
    for one in surprising[:limit]:
        answer = NOT_MUSIC if one.genre is None else f"{display_name(one.genre)} {one.score or 0.0:.0%}"
        unsure = " unsure" if one.is_uncertain else ""
        words = output.printable(f"{', '.join(one.tags)} -> {answer}{unsure}")
        name = output.fitted_path(one.path, words, console)
        console.print(f"{name}: {words}", markup=False, highlight=False, soft_wrap=True)


def _account(found: list[TagComparison]) -> str:
    """Return how many files there were of each verdict, as lines whose sum is the first."""
    counts = Counter(one.verdict for one in found)
    lines = [(len(found), "files in all")]
    lines += [(counts[verdict], words) for verdict, words in _WORDS.items() if counts[verdict]]
    return "\n".join(f"{number:7} {words}" for number, words in lines)
