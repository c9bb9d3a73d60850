"""Time a library of very many files: import, scan of unchanged files, and every command that reads it.

Run: python benchmarks/library_size.py [--files N] [--folder FOLDER] [--only NAME...]

Builds a tree of N small MP3 files (links to some that differ in length, in albums of twelve) and Parquet
files with a row for each, as a cluster writes them, once; then runs the commands, each in a process of its
own, and prints the seconds that it took, those of a core and its largest memory. ``walk`` is what the scan is
compared with: the same tree walked and every file's size and time asked for.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from genrescope import labels, models
from genrescope.cli import app
from genrescope.library import Library, LibraryEntry, ScanOptions, TimelineSpan, entries_to_table

TRACKS, ALBUMS, PART_ROWS, LINKS = 12, 8, 50_000, 50_000


def write_song(path: Path, seconds: float) -> None:
    """Write a short MP3 file."""
    with av.open(str(path), "w", format="mp3") as output:
        stream = output.add_stream("libmp3lame", rate=22050, layout="mono")
        samples = np.zeros((1, int(seconds * 22050)), np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = 22050
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def path_of(root: Path, number: int) -> Path:
    """Return the path of a file."""
    album, track = divmod(number, TRACKS)
    artist, album = divmod(album, ALBUMS)
    return root / f"Artist {artist:05}" / f"Album {album}" / f"{track + 1:02} - Song {number:07}.mp3"


def build_tree(root: Path, sources: Path, files: int) -> None:
    """Make the files that are not there: links, since what is measured does not read what is in them."""
    sources.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        source = sources / f"{number // LINKS:03}.mp3"
        if not source.exists():
            write_song(source, 0.2 + 0.05 * (number // LINKS))
        path = path_of(root, number)
        if number % TRACKS == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.link(source, path)


def entry_of(root: Path, number: int, model: models.Model, generator: np.random.Generator) -> LibraryEntry:
    """Return a row of the usual size."""
    path = path_of(root, number)
    state = path.stat()
    classes = model.info.classes
    order = generator.permutation(len(classes))
    values = np.sort(generator.dirichlet(np.full(len(classes), 0.3)))[::-1]
    scores = {classes[place]: round(float(value), 4) for place, value in zip(order, values, strict=True)}
    genre, score = next(iter(scores.items()))
    spans = tuple(TimelineSpan(30.0 * one, 30.0 * (one + 1), genre, score) for one in range(5))
    folder = path.parent
    return LibraryEntry(
        path=str(path), size=state.st_size, mtime_ns=state.st_mtime_ns, hash=f"{number:064x}",
        model=model.sha256, model_name=model.name, excerpts=True, scanned=1.7e9, format="mp3",
        codec="mp3float", sample_rate=44100, channels=2, seconds=240.0, genre=genre, score=score,
        is_uncertain=score < 0.5,
        music=0.99, answer=genre if score >= 0.5 else None, genre_set=tuple(scores)[:3], scores=scores,
        styles=dict.fromkeys(labels.STYLES[:3], 0.2), flags=("excerpts",), timeline=spans,
        album=folder.name, album_artist=folder.parent.name, artist=folder.parent.name, title=path.stem,
    )  # fmt: skip


def build_rows(root: Path, folder: Path, files: int) -> None:
    """Write the Parquet files that are not there."""
    import pyarrow.parquet

    folder.mkdir(parents=True, exist_ok=True)
    model = models.load_model(models.DEFAULT)
    for first in range(0, files, PART_ROWS):
        part = folder / f"part-{first:08}.parquet"
        if part.exists():
            continue
        generator = np.random.default_rng(first)
        rows = range(first, min(files, first + PART_ROWS))
        table = entries_to_table([entry_of(root, number, model, generator) for number in rows])
        pyarrow.parquet.write_table(table, part.with_suffix(".writing"))
        part.with_suffix(".writing").rename(part)


def walk(root: Path) -> int:
    """Ask for size and time of every file."""
    count, pending = 0, [os.fspath(root)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    entry.stat()
                    count += 1
    return count


def scan(root: Path, database: Path) -> None:
    """Scan files that are all known."""
    with Library(database) as library:
        others = sum(result.status != "unchanged" for result in library.scan([root], ScanOptions(workers=1)))
    if others:
        raise RuntimeError(f"{others} files are not unchanged")


def command(*arguments: str) -> Callable[[], None]:
    """Return a function that runs a command, its output counted and not shown."""

    def run() -> None:
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown):
            try:
                app(list(arguments))
            except SystemExit as ended:
                if ended.code:
                    raise RuntimeError(f"{arguments}: {shown.getvalue()[-500:]}") from None

    return run


def measured(call: Callable[[], object], queue: multiprocessing.Queue[tuple[float, float, float]]) -> None:
    """Put seconds, seconds of a core and largest memory of a call into a queue."""
    start, before = time.perf_counter(), time.process_time()
    call()
    seconds, core = time.perf_counter() - start, time.process_time() - before
    queue.put((seconds, core, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3))


def main() -> None:
    """Build what is missing, and run the commands."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "genrescope-size")
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    root, rows, database = (
        options.folder / name
        for name in (f"music-{options.files}", f"rows-{options.files}", f"{options.files}.db")
    )
    build_tree(root, options.folder / f"sources-{options.files}", options.files)
    build_rows(root, rows, options.files)
    db = ("--db", str(database))
    calls: dict[str, Callable[[], object]] = {
        "import": command("library", "import", str(rows), *db),
        "import again": command("library", "import", str(rows), *db),
        "walk": lambda: walk(root),
        "scan": lambda: scan(root, database),
        "stats": command("library", "stats", *db),
        "list --genre jazz --min-score 0.9": command(
            "library", "list", "--genre", "jazz", "--min-score", "0.9", *db
        ),
        "list --folder": command("library", "list", "--folder", str(root / "Artist 00007"), *db),
        "export csv": command(
            "library", "export", "--format", "csv", "--output", str(options.folder / "rows.csv"), *db
        ),
        "export parquet": command(
            "library", "export", "--format", "parquet", "--output", str(options.folder / "rows.parquet"), *db
        ),
        "report": command("library", "report", "--output", str(options.folder / "report.html"), *db),
        "tag, dry run, an artist": command("library", "tag", "--folder", str(root / "Artist 00007"), *db),
        "albums": command("library", "albums", *db),
        "tag, dry run": command("library", "tag", *db),
        "tag by album, dry run": command("library", "tag", "--by", "album", *db),
    }
    context = multiprocessing.get_context("fork")
    for name, call in calls.items():
        if options.only and name not in options.only:
            continue
        if name == "import":
            for path in options.folder.glob(f"{database.name}*"):
                path.unlink()
        queue: multiprocessing.Queue[tuple[float, float, float]] = context.Queue()
        process = context.Process(target=measured, args=(call, queue))
        process.start()
        process.join()
        seconds, core, megabytes = queue.get() if not process.exitcode else (float("nan"),) * 3
        size = database.stat().st_size / 1e6 if database.exists() else 0
        print(
            f"{name:36} {seconds:8.1f} s {core:8.1f} s of a core {megabytes:7.0f} MB"
            f" (database {size:.0f} MB)",
            flush=True,
        )


if __name__ == "__main__":
    main()
