"""Hashes are SHA-256 in hexadecimal, of the whole content."""

from __future__ import annotations

import os
from pathlib import Path

from genrescope.utils import sha256_bytes, sha256_file, sha256_stream, sha256_text

# FIPS 180-4's example.
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_known_values(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert {sha256_bytes(b"abc"), sha256_text("abc"), sha256_file(tmp_path / "file")} == {ABC}


def test_a_stream_is_hashed_from_its_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    with (tmp_path / "file").open("rb") as stream:
        stream.read(2)
        assert sha256_stream(stream) == ABC


def test_names_of_files_that_are_not_utf8_are_hashed_as_their_bytes() -> None:
    assert sha256_text(os.fsdecode(b"caf\xe9")) == sha256_bytes(b"caf\xe9")
