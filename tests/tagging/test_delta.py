"""Deltas that restore the old bytes of a file from the new ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrescope.tagging import delta as patch


def round_trip(old: bytes, new: bytes, folder: Path) -> patch.Delta:
    """Make a patch, apply it, compare, and return it."""
    (folder / "old").write_bytes(old)
    (folder / "new").write_bytes(new)
    made = patch.create_delta(folder / "old", folder / "new")
    patch.apply_delta(made, folder / "new", folder / "again")
    assert (folder / "again").read_bytes() == old
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("patches")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=40))))
def test_any_two_files(folder: Path, parts: list[tuple[bytes, bytes, bytes]]) -> None:
    old = b"".join(same + mine for same, mine, _ in parts)
    new = b"".join(same + yours for same, _, yours in parts)
    round_trip(old, new, folder)


@pytest.mark.parametrize("grown", [-5000, -1, 0, 1, 5000])
def test_moved_audio_is_not_stored(folder: Path, monkeypatch: pytest.MonkeyPatch, grown: int) -> None:
    """A header with a size, a tag that grows or shrinks, sound, a trailer: only what differs is kept."""
    monkeypatch.setattr(patch, "CHUNK_BYTES", 4096)
    random = np.random.default_rng(0)
    first, sound = random.bytes(10_000), random.bytes(50_000)
    old = b"SIZE" + first + b"T" * 6000 + sound + b"1"
    new = b"ZISE" + first + b"G" * (6000 + grown) + sound + b"2"
    assert len(round_trip(old, new, folder).data or b"") < 300


def test_checksums_all_over_a_file_cost_little(folder: Path) -> None:
    """An Ogg file whose pages were renumbered: 8 bytes in 4,400 differ."""
    random = np.random.default_rng(0)
    pages = [random.bytes(4400) for _ in range(200)]
    old = b"".join(random.bytes(8) + page for page in pages)
    new = b"grown" + b"".join(random.bytes(8) + page for page in pages)
    assert len(round_trip(old, new, folder).data or b"") < 200 * 20


def test_too_large_deltas_are_not_kept(folder: Path) -> None:
    (folder / "old").write_bytes(np.random.default_rng(0).bytes(3000))
    (folder / "new").write_bytes(b"")
    assert patch.create_delta(folder / "old", folder / "new", max_bytes=2000).data is None
    assert patch.create_delta(folder / "old", folder / "new").data is not None
