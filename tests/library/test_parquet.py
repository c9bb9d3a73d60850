"""Rows as Parquet: nothing is lost on the way, and a library takes them once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from genrescope import library
from genrescope.errors import AudioError, DataError
from genrescope.library import Library, LibraryEntry, TimelineSpan, Traffic
from helpers.cluster_handlers import entry_of

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

FAILED = LibraryEntry.from_error(
    AudioError("audio_silent", "/caf\udce9.mp3: silent", "unmute it"),
    "/caf\udce9.mp3", size=3, mtime_ns=4, hash=None, model="m", model_name="n",
)  # fmt: skip
ENTRIES = [
    replace(entry_of("/a"), music=0.9, timeline=(TimelineSpan(0.0, 1.5, "rock", 0.25),), album="é"),
    replace(entry_of("s3://bucket/b"), styles={"ska": 0.1 + 0.2}, flags=("truncated",), is_uncertain=True),
    FAILED,
]


def test_entries_are_the_same_after_the_way_through_a_table() -> None:
    table = library.entries_to_table(ENTRIES, [None, Traffic(7, 2), None])
    assert library.table_to_entries(table) == ENTRIES
    assert [one.to_dict() for one in library.table_to_entries(table)] == [one.to_dict() for one in ENTRIES]
    assert table["bytes_read"].to_pylist() == [None, 7, None]
    assert table.schema == library.parquet_schema()
    assert table.schema.metadata[b"genrescope.schema"] == b"1"


def test_an_import_of_the_same_rows_writes_nothing(tmp_path: Path) -> None:
    parquet.write_table(library.entries_to_table(ENTRIES), tmp_path / "part-1.parquet")
    with Library(tmp_path / "library.db") as opened:
        assert opened.import_parquet([tmp_path]) == (3, 3)
        assert opened.import_parquet([tmp_path / "part-1.parquet"]) == (3, 0)
        assert [one for one in opened.entries() if one.error is None] == ENTRIES[:2]
        assert [one.path for one in opened.entries() if one.error] == [FAILED.path]


def test_later_rows_replace_earlier_ones_only(tmp_path: Path) -> None:
    old, new = entry_of("/a"), replace(entry_of("/a"), genre="pop", scanned=2.0)
    for name, entry in (("old", old), ("new", new)):
        parquet.write_table(library.entries_to_table([entry]), tmp_path / f"{name}.parquet")
    with Library(tmp_path / "library.db") as opened:
        assert opened.import_parquet([tmp_path / "new.parquet", tmp_path / "old.parquet"]) == (2, 1)
        assert [entry.genre for entry in opened.entries()] == ["pop"]


def test_an_export_can_be_imported(tmp_path: Path) -> None:
    with Library(tmp_path / "library.db") as opened:
        for entry in ENTRIES:
            opened.database.upsert(entry)
        library.write_parquet(opened.entries(), tmp_path / "rows.parquet")
        exported = list(opened.entries())
    assert parquet.read_schema(tmp_path / "rows.parquet") == library.parquet_schema()
    with Library(tmp_path / "other.db") as other:
        other.import_parquet([tmp_path / "rows.parquet"])
        assert list(other.entries()) == exported


def test_other_files_are_refused(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"path": ["a"]}), tmp_path / "other.parquet")
    (tmp_path / "text.parquet").write_text("x")
    later = library.entries_to_table(ENTRIES).replace_schema_metadata({"genrescope.schema": "2"})
    parquet.write_table(later, tmp_path / "later.parquet")
    (tmp_path / "empty").mkdir()
    with Library(tmp_path / "library.db") as opened:
        for name in ("other.parquet", "text.parquet", "later.parquet", "empty", "nowhere"):
            with pytest.raises(DataError, match=name):
                opened.import_parquet([tmp_path / name])
        assert list(opened.entries()) == []
