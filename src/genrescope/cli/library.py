"""The commands of ``genrescope library``: parse, call the library once, print."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genrescope.cli.audit import (
    AuditProgress,
    Csv,
    Html,
    JournalFile,
    Kinds,
    MinFindingScore,
    Output,
    Pictures,
    check_outputs,
    interruptible,
    render_audit,
    split_kinds,
    write_findings,
    write_html,
)
from genrescope.cli.options import DEFAULT_MODEL, Db, Excerpts, FileTimeout, Folder, Model, Workers
from genrescope.cli.progress_options import ProgressForm, ProgressOption, Quiet
from genrescope.utils import stored_paths

if TYPE_CHECKING:
    from genrescope.library import AlbumVerdict, Library

app = typer.Typer(help="Genres for a whole collection, kept in a database.", no_args_is_help=True)


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
    """What ``library tag`` writes for uncertain results."""

    nothing = "nothing"
    styles = "styles"
    all = "all"


class TagBy(StrEnum):
    """Whose genres ``library tag`` writes into a track."""

    track = "track"
    album = "album"


class AlbumFormat(StrEnum):
    """How ``library albums`` prints."""

    table = "table"
    jsonl = "jsonl"
    csv = "csv"


class OutputFormat(StrEnum):
    """How ``library list`` prints."""

    table = "table"
    jsonl = "jsonl"


# What is said of albums without a genre.
_VERDICTS: dict[AlbumVerdict, str] = {
    "disagree": "disagree",
    "uncertain": "are uncertain",
    "not music": "are not music",
    "failed": "could not be classified",
}

Genres = Annotated[list[str] | None, typer.Option("--genre", "-g", help="Only this genre; repeatable.")]
Styles = Annotated[list[str] | None, typer.Option("--style", help="Only tracks with this style; repeatable.")]
MinScore = Annotated[
    float | None, typer.Option(min=0, max=1, help="Only tracks whose genre has this score or more.")
]
MaxScore = Annotated[
    float | None, typer.Option(min=0, max=1, help="Only tracks whose genre has this score or less.")
]
Uncertain = Annotated[
    bool | None,
    typer.Option(
        "--uncertain/--certain", help="Only results below the model's threshold, or only the others."
    ),
]
NotMusic = Annotated[
    bool | None,
    typer.Option("--not-music/--music", help="Only files that are speech, noise or effects, or only music."),
]


@app.command()
def scan(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="PATH", help="Folders to search, audio files, or .m3u playlists."),
    ] = None,
    files_from: Annotated[
        Path | None,
        typer.Option(
            "--files-from", help="Also the files and folders listed here, one a line; -: standard input."
        ),
    ] = None,
    db: Db = None,
    model: Model = DEFAULT_MODEL,
    excerpts: Excerpts = True,
    workers: Workers = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try files again that failed before.")
    ] = False,
    timeout: FileTimeout = 1800.0,
    quiet: Quiet = False,
    progress: ProgressOption = ProgressForm.auto,
) -> None:
    """Classify new and changed files, and store the results.

    A scan may be interrupted at any time: the same command continues it.

    Exit status: 0 all done, 1 some files failed (the others are stored), 2 invalid arguments, 130
    interrupted.
    """
    from rich.console import Console

    from genrescope.cli import inputs
    from genrescope.cli.progress import ScanProgress
    from genrescope.library import Library, ScanOptions

    places = inputs.scan_paths(inputs.listed_paths(paths, files_from))
    options = ScanOptions(
        model=model, excerpts=excerpts, workers=workers, retry_failed=retry_failed, timeout=timeout
    )
    if quiet and progress is ProgressForm.auto:
        progress = ProgressForm.none
    shown = ScanProgress(places, Console(stderr=True), progress)
    with Library(db) as library:
        try:
            for _ in shown.track(library.scan(places, options)):
                pass
        except KeyboardInterrupt:
            typer.echo(f"interrupted: {shown.summary()}; the same command goes on from here", err=True)
            raise typer.Exit(130) from None
        if progress is ProgressForm.auto:
            typer.echo(shown.summary(), err=True)
            if verdicts := _album_verdicts(library, places):
                typer.echo(verdicts, err=True)
            typer.echo(f"library: {library.database.path}", err=True)
    if shown.counts["failed"]:
        raise typer.Exit(1)


@app.command("list")
def list_entries(
    db: Db = None,
    genre: Genres = None,
    style: Styles = None,
    min_score: MinScore = None,
    max_score: MaxScore = None,
    folder: Folder = None,
    uncertain: Uncertain = None,
    not_music: NotMusic = None,
    failed: Annotated[
        bool, typer.Option("--failed", help="Only files that could not be classified.")
    ] = False,
    missing: Annotated[bool, typer.Option("--missing", help="Only files that are no longer there.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this number of files.")] = None,
    format: Annotated[
        OutputFormat | None,
        typer.Option("--format", "-f", help="Default: table on a terminal, jsonl otherwise."),
    ] = None,
) -> None:
    """Print the stored results."""
    from itertools import islice

    from rich.console import Console

    from genrescope.cli import output

    with open_library(db) as library:
        found = library.entries(
            genre=genre or (),
            style=style or (),
            min_score=min_score,
            max_score=max_score,
            folder=folder,
            uncertain=uncertain,
            failed=failed or None,
            missing=missing,
            not_music=not_music,
        )
        entries = islice(found, limit)
        if (
            format or (OutputFormat.table if sys.stdout.isatty() else OutputFormat.jsonl)
        ) is OutputFormat.table:
            output.render_table(entries, Console())
        else:
            output.render_jsonl(entries, sys.stdout)


@app.command("albums")
def list_albums(
    db: Db = None,
    genre: Annotated[
        list[str] | None, typer.Option("--genre", "-g", help="Only albums of this genre; repeatable.")
    ] = None,
    style: Annotated[
        list[str] | None, typer.Option("--style", help="Only albums with this style; repeatable.")
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Only albums with a file in this folder.")] = None,
    uncertain: Annotated[
        bool | None,
        typer.Option(
            "--uncertain/--certain", help="Only albums whose tracks agree on no genre, or only the others."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this number of albums.")] = None,
    format: Annotated[
        AlbumFormat | None,
        typer.Option("--format", "-f", help="Default: table on a terminal, jsonl otherwise."),
    ] = None,
) -> None:
    """Print the albums, and the genre that the tracks of each agree on.

    An album has a genre if at least half of its tracks have a sure one, and three in four of these the same.
    """
    from itertools import islice

    from rich.console import Console

    from genrescope import library as collection
    from genrescope.cli import output

    chosen = format or (AlbumFormat.table if sys.stdout.isatty() else AlbumFormat.jsonl)
    with open_library(db) as library:
        found = library.albums(genre=genre or (), style=style or (), folder=folder, uncertain=uncertain)
        albums = islice(found, limit)
        if chosen is AlbumFormat.table:
            output.render_albums(albums, Console())
        elif chosen is AlbumFormat.jsonl:
            output.render_jsonl(albums, sys.stdout)
        else:
            collection.write_albums_csv(albums, sys.stdout)


@app.command()
def stats(
    db: Db = None,
    min_score: MinScore = None,
    folder: Folder = None,
) -> None:
    """Count tracks by genre, style and format."""
    from rich.console import Console

    from genrescope.cli import output
    from genrescope.library import count_by

    with open_library(db) as library:
        counts = count_by(library.entries(min_score=min_score, folder=folder))
    output.render_counts(counts, Console())


@app.command()
def export(
    format: Annotated[ExportFormat, typer.Option("--format", "-f", help="What to write.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A file; for m3u8 a folder. Default: standard output."),
    ] = None,
    by: Annotated[
        GroupBy, typer.Option(help="With m3u8: one playlist for each genre, or for each style.")
    ] = GroupBy.genre,
    absolute: Annotated[
        bool,
        typer.Option("--absolute", help="With m3u8: absolute paths, not relative to the playlist's folder."),
    ] = False,
    prefix: Annotated[
        list[str] | None,
        typer.Option(
            "--prefix",
            metavar="OLD=NEW",
            help="With m3u8: write NEW in place of the folder OLD, as a NAS or container has it; repeatable.",
        ),
    ] = None,
    db: Db = None,
    genre: Genres = None,
    style: Styles = None,
    min_score: MinScore = None,
    max_score: MaxScore = None,
    folder: Folder = None,
    uncertain: Uncertain = None,
    not_music: NotMusic = None,
) -> None:
    """Export results as tables or playlists."""
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
    prefixes = _prefixes(prefix or ())
    with open_library(db) as library:
        entries = library.entries(
            genre=genre or (),
            style=style or (),
            min_score=min_score,
            max_score=max_score,
            folder=folder,
            uncertain=uncertain,
            not_music=not_music,
        )
        if format is ExportFormat.m3u8 and output is not None:
            playlists = collection.write_playlists(
                entries, output, by=by.value, absolute=absolute, prefixes=prefixes
            )
            for path in playlists.paths:
                typer.echo(f"playlist: {path}", err=True)
            for name in playlists.omitted:
                typer.echo(f"left out, because no playlist can hold its name: {name!r}", err=True)
        elif format is ExportFormat.parquet and output is not None:
            collection.write_parquet(entries, output)
        else:
            write = collection.write_csv if format is ExportFormat.csv else collection.write_jsonl
            if output is None:
                write(entries, sys.stdout)
                return
            with utils.open_atomic(output) as stream:
                # File names that are not UTF-8 are shown by their bytes.
                text = io.TextIOWrapper(stream, "utf8", "backslashreplace", newline="")
                write(entries, text)
                text.detach()


@app.command("import")
def import_rows(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Parquet files, or folders of them, such as a cluster's output."),
    ],
    db: Db = None,
) -> None:
    """Import rows that 'cluster classify' or 'library export --format parquet' wrote.

    Rows that the library has already, from the same or a later time, are left as they are.
    """
    from genrescope.library import Library

    with Library(db) as library:
        done = library.import_parquet(paths)
        typer.echo(f"{done.written} of {done.rows} rows written: {library.database.path}", err=True)


@app.command()
def report(
    output: Annotated[Path, typer.Option("--output", "-o", help="The .html file to write.")],
    db: Db = None,
    folder: Folder = None,
) -> None:
    """Write an HTML page about the library.

    Charts of genres, styles and scores, the albums whose tracks disagree, the files with filters and search,
    and those that could not be classified.
    """
    from genrescope import reporting, utils

    utils.check_output(output, ".html", ".htm")
    with open_library(db) as library:
        page = reporting.library_page(
            library.entries(folder=folder), title="Library", albums=library.albums(folder=folder)
        )
    utils.write_atomic(output, page)
    typer.echo(f"report: {output}", err=True)


@app.command("audit")
def audit_files(
    db: Db = None,
    output: Output = None,
    csv: Csv = None,
    html: Html = None,
    pictures: Pictures = 10,
    kinds: Kinds = None,
    min_score: MinFindingScore = 0.0,
    decode: Annotated[
        bool,
        typer.Option(
            "--decode/--stored",
            help="Also decode every file, which finds copies that were cut or shifted, and faults of the"
            " sound; or use what the scan stored, which finds copies of the same length in other codings.",
        ),
    ] = False,
    decode_missing: Annotated[
        bool,
        typer.Option(
            help="Decode the files of which the scan kept no fingerprint, as those of before 0.2, to search"
            " them for copies, too."
        ),
    ] = False,
    folder: Folder = None,
    workers: Workers = None,
    timeout: FileTimeout = 1800.0,
    journal: JournalFile = None,
) -> None:
    """Find copies, tags that disagree with the sound, and broken files.

    Of copies the better one is named: whole, of full length, lossless, of the higher bit rate. Nothing is
    changed or deleted.

    Exit status: 0 done, whatever was found; 1 the library is locked or damaged; 2 invalid arguments; 130
    interrupted.
    """
    from rich.console import Console

    from genrescope import audit
    from genrescope.library import default_path

    check_outputs(output, csv, html)
    options = audit.AuditOptions(
        kinds=split_kinds(kinds or ()), workers=workers, timeout=timeout, journal=journal
    )
    errors = Console(stderr=True)
    with open_library(db) as library, interruptible(), AuditProgress(errors) as progress:
        result = audit.audit_library(
            library.entries(folder=folder, missing=None),
            db or default_path(),
            options,
            decode=decode,
            decode_missing=decode_missing,
            fingerprints={} if decode else library.fingerprints(),
            on_progress=progress.update,
            on_tags=progress.update_tags,
        )
    settings = result.report.settings
    known = f"decoded: {progress.done - progress.reused} files; {progress.reused} were known from before"
    typer.echo(known if decode or decode_missing else "decoded: nothing", err=True)
    if "fingerprints" in settings:
        typer.echo(
            f"fingerprints, of what was analyzed: {settings['fingerprints']};"
            " 'library audit --decode' finds more copies in other codings",
            err=True,
        )
    if "tags" in settings:
        typer.echo(f"tags: {settings['tags']}", err=True)
    report = result.report.only(min_score=min_score)
    render_audit(report, owner=True)
    write_findings(report, output, csv)
    if html is not None:
        write_html(html, report, result, "Library audit", pictures, workers, owner=True)


@app.command()
def tag(
    db: Db = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write the tags. Without it, only show what would change.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also change files that have a genre already.")
    ] = False,
    placeholder: Annotated[
        list[str] | None,
        typer.Option(
            help="A word that is no genre, such as Other: files that have nothing else are changed too;"
            " repeatable."
        ),
    ] = None,
    vocabulary: Annotated[
        str | None,
        typer.Option(
            help="Words for genres: beets, discogs, id3v1, musicbrainz, or your own .toml file, see"
            " docs/tagging.md."
        ),
    ] = None,
    genre_threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Write every genre with this score or more. Default: only the one with the highest score.",
        ),
    ] = None,
    style_threshold: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Also write every style with this probability or more. Default: no styles."
        ),
    ] = None,
    max_genres: Annotated[
        int | None, typer.Option(min=1, help="Write at most this number of genres.")
    ] = None,
    uncertain: Annotated[
        UncertainPolicyOption,
        typer.Option(help="For uncertain results: write nothing, styles only, or the same as for others."),
    ] = UncertainPolicyOption.nothing,
    by: Annotated[
        TagBy,
        typer.Option(
            help="Write the genres of each track, or of its album: the same into all tracks of an album that"
            " has a genre, see 'library albums'. Other albums, and tracks of none, are left as they are."
        ),
    ] = TagBy.track,
    keep_mtime: Annotated[
        bool, typer.Option("--keep-mtime", help="Keep the files' time of modification.")
    ] = False,
    genre: Genres = None,
    style: Styles = None,
    folder: Folder = None,
) -> None:
    """Preview genres for the tags of files; with --write, write them.

    'library untag' undoes it.
    """
    from rich.console import Console

    from genrescope.cli import output
    from genrescope.library import TagOptions

    options = TagOptions(vocabulary, genre_threshold, style_threshold, max_genres, uncertain.value, by.value)
    with open_library(db, read_only=not write) as library:
        find_changes = partial(library.apply_tags, keep_mtime=keep_mtime) if write else library.plan_tags
        found = find_changes(
            options,
            overwrite=overwrite,
            placeholders=placeholder or (),
            every=True,
            genre=genre or (),
            style=style or (),
            folder=folder,
        )
        counts = output.render_tagged(found, Console(soft_wrap=True))
        left = _left_as_they_are(library, folder) if by is TagBy.album else ""
    if left:
        typer.echo(left, err=True)
    done = "changed" if write else "would change; --write does it"
    failed = counts["failed"]
    typer.echo(output.tag_account(counts), err=True)
    typer.echo(f"{counts['changed']} files {done}" + (f", {failed} failed" if failed else ""), err=True)
    if failed:
        raise typer.Exit(1)


@app.command()
def untag(
    db: Db = None,
    folder: Folder = None,
    keep_mtime: Annotated[
        bool, typer.Option("--keep-mtime", help="Also restore the old time of modification.")
    ] = False,
) -> None:
    """Undo what 'tag --write' wrote.

    Files that were not edited since are restored byte for byte; of others, only the genres are.
    """
    from rich.console import Console

    from genrescope.cli import output

    with open_library(db, read_only=False) as library:
        done, failed = output.render_untagged(
            library.undo_tags(folder, keep_mtime=keep_mtime), Console(soft_wrap=True)
        )
    typer.echo(f"{done} changes undone" + (f", {failed} failed" if failed else ""), err=True)
    if failed:
        raise typer.Exit(1)


@app.command()
def relocate(
    old: Annotated[Path, typer.Argument(help="The folder as the library knows it.")],
    new: Annotated[Path, typer.Argument(help="Where it is now.")],
    db: Db = None,
) -> None:
    """Tell the library that a folder has another place now. Answers and 'untag' follow; no file is touched.

    A folder that was only renamed is recognized by 'library scan' of its new name.
    """
    with open_library(db, read_only=False) as library:
        done = library.relocate(old, new)
    typer.echo(f"{done.files} files have another path now", err=True)
    if done.absent:
        typer.echo(f"{len(done.absent)} of them are not there, such as {done.absent[0]}", err=True)


@app.command()
def prune(
    db: Db = None,
    write: Annotated[bool, typer.Option("--write", help="Remove them. Without it, only show which.")] = False,
    folder: Annotated[
        Path | None,
        typer.Option(help="Look at all files in this folder. Default: at those that a scan missed."),
    ] = None,
) -> None:
    """Show which files are no longer there; with --write, remove them and their changes from the library."""
    with open_library(db, read_only=not write) as library:
        paths = library.prune(folder) if write else library.missing_paths(folder)
    for path in paths:
        typer.echo(path.encode("utf8", "backslashreplace").decode("utf8"))
    typer.echo(f"{len(paths)} files {'removed' if write else 'would be removed; --write does it'}", err=True)


def _album_verdicts(library: Library, paths: Iterable[Path]) -> str:
    """Return how many of the albums that were scanned agree on a genre, in words; empty without albums."""
    folders = {path.expanduser().absolute() for path in paths}
    folders = {path if path.is_dir() else path.parent for path in folders}
    outer = [folder for folder in folders if not any(other in folder.parents for other in folders)]
    # The discs of an album may be folders that were named one by one.
    albums = {
        (album.path, album.title, album.artist): album.verdict
        for folder in outer
        for album in library.albums(folder=folder)
    }
    verdicts = Counter(albums.values())
    others = [f"{verdicts[verdict]} {words}" for verdict, words in _VERDICTS.items() if verdicts[verdict]]
    if not verdicts:
        return ""
    aside = f"; {', '.join(others)}" if others else ""
    return f"albums: {verdicts['agree']} of {verdicts.total()} agree on a genre{aside}"


def _left_as_they_are(library: Library, folder: Path | None) -> str:
    """Return which tracks ``tag --by album`` leaves alone, in words; empty if there are none."""
    place = None if folder is None else Path(*stored_paths([os.path.abspath(folder)]))  # noqa: PTH100
    loose = sum(map(len, library.database.folders(place).values()))
    inside = "" if place is None else os.path.join(place, "")  # noqa: PTH118
    verdicts: Counter[AlbumVerdict] = Counter()
    for album in library.albums(folder=place):
        verdicts[album.verdict] += 1
        loose -= sum(entry.path.startswith(inside) for entry in album.entries)
    found = [
        f"{verdicts[verdict]} albums {words}" for verdict, words in _VERDICTS.items() if verdicts[verdict]
    ]
    found += [f"{loose} files are of no album"] if loose else []
    return f"{', '.join(found)}; their tracks are left as they are" if found else ""


def _prefixes(pairs: Iterable[str]) -> dict[str, str]:
    """Return folders and their other names from ``OLD=NEW``."""
    from genrescope.errors import ConfigError

    found = {}
    for pair in pairs:
        old, sign, new = pair.partition("=")
        if not old or not sign:
            raise ConfigError(
                "invalid_argument", f"--prefix {pair}: not of the form OLD=NEW", "such as /srv/music=/music"
            )
        found[old] = new
    return found


def open_library(db: Path | None, *, read_only: bool = True) -> Library:
    """Open a library that is there.

    Parameters
    ----------
    db : Path or None
        Its file; None: the one in the user's data folder.
    read_only : bool
        Open it for queries alone.

    Raises
    ------
    DataError
        ``dataset_not_found``: no file is there.
    """
    from genrescope.errors import DataError
    from genrescope.library import Library, default_path

    path = db or default_path()
    if not path.exists():
        raise DataError(
            "dataset_not_found", f"{path}: no library is there", "create one: genrescope library scan DIR"
        )
    return Library(path, read_only=read_only)
