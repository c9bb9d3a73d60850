"""Damage databases at random, and do with them what the commands do: no error but this package's own.

``PYTHONPATH=src:tests python -m helpers.database_fuzzer COUNT SEED`` runs any number by hand.
"""

from __future__ import annotations

import json
import random
import sqlite3
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from io import StringIO
from pathlib import Path

from genrescope.errors import GenrescopeError
from genrescope.library import Library, LibraryEntry, TimelineSpan, count_by, write_csv, write_jsonl
from genrescope.reporting import library_page
from genrescope.tagging import TagChange
from genrescope.tagging.delta import Delta

ENTRY = LibraryEntry(
    path="/nowhere/a.flac",
    size=1000,
    mtime_ns=10**18,
    hash="0" * 64,
    model="1" * 64,
    model_name="student@11111111",
    format="flac",
    codec="flac",
    sample_rate=44100,
    channels=2,
    seconds=200.5,
    genre="pop",
    score=0.75,
    scores={"pop": 0.75, "rock": 0.25},
    styles={"ska": 0.5},
    flags=("excerpts",),
    timeline=(TimelineSpan(0.0, 200.5, "pop", 0.75),),
    scanned=1.5e9,
)
CHANGE = TagChange(
    path=ENTRY.path,
    time="2026-01-01T00:00:00+00:00",
    before=(),
    after=("Pop",),
    mtime_before=10**18,
    patch=Delta("0" * 64, "1" * 64, b"data"),
)
VALUES = (
    "NULL",
    "-1",
    "9e999",
    "1e308",
    "9223372036854775807",
    "x'00ff'",
    "''",
    "'{'",
    "'[]'",
    "'{}'",
    "'[{}]'",
)


def create(path: Path, generator: random.Random) -> None:
    """Write a library of a few entries and changes."""
    with Library(path) as library:
        for number in range(generator.randint(1, 60)):
            entry = replace(ENTRY, path=f"/nowhere/{number}.flac", missing=number % 7 == 0)
            if number % 5 == 0:
                failure = GenrescopeError("audio_empty", "empty", "copy it again")
                entry = LibraryEntry.from_error(
                    failure, entry.path, size=0, mtime_ns=1, hash=None, model="m", model_name="m"
                )
            library.database.upsert(entry)
            library.database.log_change(entry.path, CHANGE)


def damage(path: Path, generator: random.Random) -> None:
    """Change bytes of the file, its length, or values in its cells."""
    if generator.random() < 0.5:
        content = bytearray(path.read_bytes())
        for _ in range(generator.choice((1, 3, 30, 1000))):
            content[generator.randrange(len(content))] = generator.randrange(256)
        if generator.random() < 0.2:
            del content[generator.randrange(len(content)) :]
        path.write_bytes(content)
        return
    with sqlite3.connect(path) as link:
        for _ in range(generator.choice((1, 3, 30))):
            table = generator.choice(("files", "changes"))
            columns = [row[1] for row in link.execute(f"PRAGMA table_info({table})") if row[1] != "id"]
            column, value = generator.choice(columns), generator.choice(VALUES)
            link.execute(f"UPDATE OR IGNORE {table} SET {column} = {value} WHERE id % 3 = 0")
    link.close()


def use(path: Path) -> Counter[str]:
    """Do what the commands do; count how each ended."""
    ends: Counter[str] = Counter()

    def attempt(read_only: bool, action: object) -> None:
        assert callable(action)
        try:
            with Library(path, read_only=read_only) as library:
                action(library)
            ends["done"] += 1
        except GenrescopeError as failure:
            ends[failure.code] += 1

    def rows(library: Library) -> None:
        for entry in library.entries(missing=None):
            json.dumps(entry.to_dict(), allow_nan=False)

    attempt(True, rows)
    attempt(True, lambda library: count_by(library.entries()))
    attempt(True, lambda library: list(library.entries(genre="pop", style="ska", failed=False)))
    attempt(True, lambda library: write_csv(library.entries(), StringIO()))
    attempt(True, lambda library: write_jsonl(library.entries(), StringIO()))
    attempt(True, lambda library: library_page(library.entries(), title="Library"))
    attempt(True, lambda library: list(library.plan_tags()))
    attempt(False, lambda library: list(library.undo_tags()))
    attempt(False, lambda library: library.database.upsert(ENTRY))
    attempt(False, lambda library: library.relocate("/nowhere", "/elsewhere"))
    attempt(False, lambda library: library.prune("/elsewhere"))
    return ends


def run(count: int, seed: int) -> Counter[str]:
    """Damage and use ``count`` databases; an error that is not this package's own is raised."""
    ends: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            generator = random.Random(f"{seed} {number}")
            path = Path(folder) / f"{number}.db"
            create(path, generator)
            damage(path, generator)
            try:
                ends += use(path)
            except Exception as failure:
                raise AssertionError(f"database {number} of seed {seed}") from failure
            for left in Path(folder).iterdir():
                left.unlink()
    return ends


if __name__ == "__main__":
    print(dict(run(int(sys.argv[1]), int(sys.argv[2]))))
