"""Bounded readers: whatever the content, an array or a value, or a ValueError."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from genrescope.datasets.spectrograms import load_spectrogram
from genrescope.datasets.tables import read_rows, table_header
from genrescope.errors import ConfigError, DataError
from genrescope.features import FeatureCache, FeatureSpec
from genrescope.tagging import Vocabulary
from genrescope.training import load_config
from genrescope.utils import load_array, parse_json, parse_toml

DEEP_TOML = {
    "arrays": "a = " + "[" * 100_000 + "]" * 100_000,
    "tables": "a = " + "{a = " * 100_000 + "1" + "}" * 100_000,
    "dotted key": ".".join(["a"] * 100_000) + " = 1",
    "quoted key": ".".join(['"a"'] * 100_000) + " = 1",
    "spaced key": " . ".join(["a"] * 100_000) + " = 1",
    "header": "[" + ".".join(["a"] * 100_000) + "]",
    "arrays, a few": "a = " + "[" * 40 + "]" * 40,
    "a long number": "a = " + "9" * 100_000,
    "a long file": "#" * 2_000_000,
}


@pytest.mark.parametrize("case", DEEP_TOML)
def test_deep_toml_is_refused_everywhere(case: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nested|longer|limit"):
        parse_toml(DEEP_TOML[case])
    file = tmp_path / "deep.toml"
    file.write_text(DEEP_TOML[case])
    for read in (load_config, Vocabulary.load):
        with pytest.raises(ConfigError) as caught:
            read(file)
        assert str(file) in caught.value.message
        assert len(caught.value.message) < 500


def test_ordinary_toml_is_read() -> None:
    assert parse_toml('[words]\nrock = ["A > B", "C.D.E"]\nx.y.z = 1.5') == {
        "words": {"rock": ["A > B", "C.D.E"], "x": {"y": {"z": 1.5}}}
    }


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 50 + "1" + "}" * 50, "NaN", "-Infinity", "1e999", "9" * 5000, "", b"\xff"],
)
def test_json_that_is_deep_or_not_finite_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the kind of error is what is promised
        parse_json(text)
    assert parse_json('{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}


def npy(header: str, content: bytes = b"") -> bytes:
    """Return a ``.npy`` file with any text as its header."""
    text = header.encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def stated(shape: str, kind: str = "<f4") -> str:
    return f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}"


def zipped() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, a=np.zeros(3))
    return stream.getvalue()


LYING = {
    "huge": npy(stated("(1000000000000, 128)"), b"\0" * 64),
    "overflowing": npy(stated("(4294967296, 4294967296, 4)")),
    "larger by one": npy(stated("(4, 5)"), b"\0" * 76),
    "smaller by one": npy(stated("(4, 4)"), b"\0" * 68),
    "negative": npy(stated("(-4, -4)"), b"\0" * 64),
    "objects": npy(stated("(4,)", "|O"), b"\0" * 32),
    "deep header": npy("(" * 5000),
    "code in the header": npy("__import__('os')"),
    "not an array": b"text",
    "empty": b"",
    "an archive": zipped(),
    "unknown version": b"\x93NUMPY\x09\x00" + b"\0" * 100,
}


@pytest.mark.parametrize("case", LYING)
def test_arrays_that_are_not_what_their_header_states_are_refused(case: str, tmp_path: Path) -> None:
    file = tmp_path / "lying.npy"
    file.write_bytes(LYING[case])
    with pytest.raises(ValueError):  # noqa: PT011 - the kind of error is what is promised
        load_array(file, max_bytes=1 << 20)
    with pytest.raises(DataError) as caught:
        load_spectrogram(file)
    assert caught.value.code == "dataset_invalid"
    assert str(file) in caught.value.message


@pytest.mark.parametrize("case", [*LYING, "another type", "truncated"])
def test_a_damaged_cache_entry_is_computed_again(case: str, tmp_path: Path) -> None:
    sound = tmp_path / "sound.wav"
    sound.write_bytes(b"sound")
    features = np.ones((3, 4), np.float32)
    cache = FeatureCache(tmp_path / "cache")
    cache.get_or_compute(sound, FeatureSpec("log_mel"), lambda: features)
    (entry,) = (tmp_path / "cache").rglob("*.npy")
    whole = entry.read_bytes()
    damaged = {**LYING, "another type": npy(stated("(4,)", "<i8"), b"\0" * 32), "truncated": whole[:-1]}
    entry.write_bytes(damaged[case])
    again = cache.get_or_compute(sound, FeatureSpec("log_mel"), lambda: features)
    np.testing.assert_array_equal(again, features)
    assert entry.read_bytes() == whole


def test_a_picture_of_a_decompression_bomb_is_refused(tmp_path: Path) -> None:
    from PIL import Image

    file = tmp_path / "bomb.png"
    Image.new("L", (13_000, 13_000)).save(file)
    with pytest.raises(DataError, match="13000 x 13000") as caught:
        load_spectrogram(file)
    assert str(file) in caught.value.message
    whole = file.read_bytes()
    for damaged in (whole[:100], whole[:20], b"\x89PNG\r\n\x1a\n", b"", whole[:33] + b"\xff" * 100):
        file.write_bytes(damaged)
        with pytest.raises(DataError):
            load_spectrogram(file)


@pytest.mark.parametrize("line", ["a\0.wav,rock", '"' + "x" * 200_000 + '",rock', "x" * 200_000 + ",rock"])
def test_tables_with_nul_bytes_or_huge_fields_are_refused(line: str, tmp_path: Path) -> None:
    file = tmp_path / "tracks.csv"
    file.write_text(f"path,label\n{line}\n")
    with pytest.raises(DataError, match="line 2") as caught:
        read_rows(file, ["path"])
    assert str(file) in caught.value.message
    file.write_text(line)
    with pytest.raises(DataError):
        table_header(file)
