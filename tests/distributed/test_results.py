"""Parts: what is in them is done, once, whoever was killed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow
import pytest

from genrescope.distributed.results import ResultStore, digests, is_in, row_paths
from genrescope.distributed.run import remaining_paths
from genrescope.errors import ClusterError, ConfigError, DataError
from genrescope.library import entries_to_table
from helpers.cluster_handlers import entry_of

pytest.importorskip("fsspec")
QUESTION = {"model": "m", "excerpts": True}


def table(*paths: str) -> pyarrow.Table:
    """Return rows."""
    return entries_to_table(map(entry_of, paths))


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    """Return a store that a run has begun to write to."""
    store = ResultStore(str(tmp_path / "out"))
    store.begin(QUESTION)
    return store


def listed(store: ResultStore) -> list[bytes]:
    """Return the paths in all parts, sorted."""
    return sorted(path for paths in store._paths_by_part(store.parts()) for path in paths)


def test_what_was_written_is_left_out(store: ResultStore) -> None:
    assert len(store.written()) == 0
    store.write(table("/a", "/b"))
    store.write(table("/c\udce9"))
    store.write(table())
    known = store.written()
    left = remaining_paths(["/c\udce9", "/d", "/a", "/e", "/f"], known, 2)
    assert list(left) == [[b"/d", b"/e"], [b"/f"]]
    assert is_in(digests([b"/a", b"/x"]), digests([])).tolist() == [False, False]


def test_a_part_that_is_written_again_is_one_part(store: ResultStore) -> None:
    store.write(table("/a", "/b"))
    store.write(table("/b", "/a"))
    assert len(store.parts()) == 1


def test_rows_that_came_twice_are_removed(store: ResultStore) -> None:
    for paths in (["/a", "/b"], ["/b", "/c"], ["/c"], ["/d", "/d"]):
        store.write(table(*paths))
    assert store.remove_doubled() == 3
    assert listed(store) == [b"/a", b"/b", b"/c", b"/d"]
    assert store.remove_doubled() == 0


def test_a_run_that_was_taken_over_writes_no_more(store: ResultStore, tmp_path: Path) -> None:
    later = ResultStore(str(tmp_path / "out"))
    later.begin(QUESTION)
    with pytest.raises(ClusterError) as failure:
        store.write(table("/a"))
    assert failure.value.code == "cluster_failed"
    later.write(table("/a"))
    assert listed(later) == [b"/a"]


def test_a_folder_of_other_answers_is_refused(store: ResultStore, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="excerpts"):
        ResultStore(str(tmp_path / "out")).begin(QUESTION | {"excerpts": False})
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="not a folder"):
        ResultStore(str(tmp_path / "file")).begin(QUESTION)


def test_damaged_parts_are_named_and_other_files_ignored(store: ResultStore, tmp_path: Path) -> None:
    store.write(table("/a"))
    (tmp_path / "out" / "notes.parquet").write_text("x")
    (tmp_path / "out" / ".part-x.parquet.1.part").write_text("x")
    assert len(store.written()) == 1
    (tmp_path / "out" / "part-x.parquet").write_text("x")
    with pytest.raises(DataError, match=r"part-x\.parquet: damaged"):
        store.written()


def test_digests_tell_many_paths_apart() -> None:
    paths = [f"s3://bucket/{number}.mp3".encode() for number in range(20_000)]
    hashed = digests(paths)
    assert len(np.unique(hashed)) == len(paths)
    assert is_in(hashed, np.sort(hashed[::2])).tolist() == [number % 2 == 0 for number in range(20_000)]


def test_paths_of_rows_are_those_of_the_files() -> None:
    assert row_paths(table("/é", "/\udce9")) == ["/é".encode(), b"/\xe9"]
