"""Queries over very many rows: in pages, by an index, in the order of paths."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from genrescope.library import LibraryEntry
from genrescope.library import database as module
from genrescope.library.database import Database, Filter

# Not UTF-8, and between the others in the order of bytes.
ODD = os.fsdecode(b"/music/b/\xc3.mp3")


def entry(path: str, number: int, **values: object) -> LibraryEntry:
    """Return a row."""
    genre = ("jazz", "rock")[number % 2]
    fields: dict[str, object] = {
        "path": path, "size": 1, "mtime_ns": 1, "model": f"{number % 3}" * 64, "model_name": "small",
        "genre": genre, "score": 0.6, "scores": {genre: 0.6, f"genre {number % 3}": 0.4},
    }  # fmt: skip
    return LibraryEntry(**fields | values)  # type: ignore[arg-type]


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setattr(module, "_PAGE_ROWS", 3)
    made = Database(tmp_path / "library.db")
    paths = [f"/music/{folder}/{number}.mp3" for folder in ("b", "a", "b c", "c") for number in range(5)]
    made.upsert_newer([entry(path, number) for number, path in enumerate([*paths, ODD])])
    yield made
    made.close()


def test_pages_join_to_all_rows_in_the_order_of_bytes(database: Database) -> None:
    found = [os.fsencode(one.path) for one in database.entries()]
    assert found == sorted(found)
    assert len(found) == 21
    assert [one.path for one in database.entries(Filter(genres=("rock",)))] == [
        one.path for one in database.entries() if one.genre == "rock"
    ]


def test_a_folder_is_not_another_that_begins_with_its_name(database: Database) -> None:
    expected = [f"/music/b/{number}.mp3" for number in range(5)] + [ODD]
    assert [one.path for one in database.entries(Filter(folder=Path("/music/b")))] == expected
    assert sorted(database.paths(Path("/music/b"))) == sorted(expected)
    assert len(list(database.entries(Filter(folder=Path("/"))))) == 21
    assert database.paths(Path("/music/b/0.mp3")) == []


def test_rows_may_change_while_entries_are_read(database: Database) -> None:
    met = []
    for one in database.entries():
        met.append(one.path)
        database.update_hash(one.path, "", "", size=2, mtime_ns=2)
        database.mark_missing([one.path])
    assert len(met) == len(set(met)) == 21
    assert list(database.entries()) == []


def test_genres_of_all_models_are_known_and_failed_rows_name_none(database: Database) -> None:
    failed = entry("/music/d.mp3", 9, error="audio_silent", genre=None, score=None, scores={}, model="")
    database.upsert_newer([failed])
    assert database.labels() == ["genre 0", "genre 1", "genre 2", "jazz", "rock"]


@pytest.mark.parametrize(
    "wanted", [Filter(), Filter(folder=Path("/music/b")), Filter(genres=("jazz",), min_score=0.5)]
)
def test_no_query_sorts_all_rows(database: Database, wanted: Filter, monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[str] = []
    asked: list[Sequence[object]] = []

    def explained(query: str, values: Sequence[object] = ()) -> Iterator[dict[str, str]]:
        asked.append(values)
        found = database._connection.execute(f"EXPLAIN QUERY PLAN {query}", values)
        plans.extend(detail for *_, detail in found)
        return iter(())

    monkeypatch.setattr(database, "_rows", explained)
    list(database.entries(wanted))
    database.paths(wanted.folder)
    database.labels()
    assert "SEARCH files USING INDEX files_by_bytes_of_path" in plans[0]
    assert asked[0][0] == (b"" if wanted.folder is None else b"/music/b/"), "rows before the folder are read"
    assert not [plan for plan in plans if "ORDER BY" in plan]
    assert [plan for plan in plans if "some USING INDEX files_by_model" in plan]
