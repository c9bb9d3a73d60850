"""Cue sheets: tracks of an album in one file, in several files, and sheets that are broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from genrescope import audio
from genrescope.errors import AudioError
from genrescope.types import AudioSection
from helpers.small_data import RATE, drone, hiss

SHEET = """\
REM GENRE Rock
PERFORMER "A Band"
TITLE "An Album"
FILE "album.wav" WAVE
  TRACK 01 AUDIO
    TITLE "One"
    PERFORMER "A Band"
    INDEX 01 00:00:00
  TRACK 02 AUDIO
    TITLE "Two"
    INDEX 00 00:01:60
    INDEX 01 00:02:00
  TRACK 03 AUDIO
    INDEX 01 00:04:30
"""


def tracks(folder: Path, content: str | bytes) -> list[AudioSection]:
    path = folder / "album.cue"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return audio.read_cue_sheet(path)


def test_tracks_begin_at_index_01_and_end_with_the_next_one(tmp_path: Path) -> None:
    found = tracks(tmp_path, SHEET)
    assert [(one.start, one.end, one.title) for one in found] == [
        (0.0, 2.0, "One"), (2.0, 4.4, "Two"), (4.4, None, ""),
    ]  # fmt: skip
    assert [Path(one.name).name for one in found] == ["album.cue#01", "album.cue#02", "album.cue#03"]
    assert {one.path for one in found} == {tmp_path / "album.wav"}


def test_a_converted_file_is_found_by_its_stem(tmp_path: Path) -> None:
    (tmp_path / "Album.flac").touch()
    assert tracks(tmp_path, SHEET)[0].path == tmp_path / "Album.flac"
    assert tracks(tmp_path, SHEET.replace("album.wav", r"C:\rips\x.wav"))[0].path == tmp_path / "Album.flac"


def test_a_file_for_each_track(tmp_path: Path) -> None:
    """The pause before a track may be at the end of the file before (sheets of EAC, "noncompliant")."""
    sheet = (
        'FILE "1.wav" WAVE\nTRACK 01 AUDIO\nINDEX 01 00:00:00\nTRACK 02 AUDIO\nINDEX 00 03:00:00\n'
        "FILE 2.wav WAVE\nINDEX 01 00:00:00\n"
    )
    assert [(one.path.name, one.start, one.end) for one in tracks(tmp_path, sheet)] == [
        ("1.wav", 0.0, None), ("2.wav", 0.0, None),
    ]  # fmt: skip


def test_data_tracks_are_left_out(tmp_path: Path) -> None:
    sheet = SHEET.replace("TRACK 03 AUDIO", "TRACK 03 MODE1/2352")
    assert [one.end for one in tracks(tmp_path, sheet)] == [2.0, 4.4]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    found = tracks(tmp_path, SHEET.replace("One", "Zwölf").encode(encoding))
    assert found[0].title == "Zwölf"


def test_the_encoding_is_the_one_in_which_the_named_file_exists(tmp_path: Path) -> None:
    (tmp_path / "名盤.wav").touch()
    found = tracks(
        tmp_path, SHEET.replace("album.wav", "名盤.wav").replace("One", "一番").encode("shift_jis")
    )
    assert (found[0].path.name, found[0].title) == ("名盤.wav", "一番")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("INDEX 01 00:02:00", "INDEX 01 2:00", "line 12: broken cue sheet: INDEX 01 2:00"),
        ("INDEX 01 00:02:00", "INDEX 01 00:02:80", "frames at 74"),
        ("    INDEX 01 00:02:00\n", "", "line 9: broken cue sheet: track 2 has no INDEX 01"),
        ("00:04:30", "00:01:00", "track 3 does not begin after track 2"),
        ("TRACK 03", "TRACK 02", "track 2 comes after track 2"),
        ("TRACK 01", "TRACK one", "needs a number"),
        ('FILE "album.wav" WAVE\n', "", "TRACK comes before FILE"),
        ('"album.wav"', '""', "has no name"),
        (SHEET, "hello", "it has no TRACK"),
        (SHEET, "\0", "binary data"),
    ],
)
def test_a_broken_sheet_is_one_clear_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(AudioError) as failure:
        tracks(tmp_path, SHEET.replace(old, new))
    assert message in failure.value.message
    assert "album.cue" in failure.value.message
    assert "\n" not in failure.value.message


def test_a_section_has_the_samples_of_its_part(tmp_path: Path) -> None:
    samples = np.concatenate([drone(2.0, 1), hiss(2.0, 1)])
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    section = AudioSection(tmp_path / "a.wav", 1.0, 3.5, name="a.cue#01")
    with audio.AudioFile(section) as file:
        assert file.source == "a.cue#01"
        assert file.info.seconds == 2.5
        with file.stream() as stream:
            found = np.concatenate(list(stream))
        excerpt = file.excerpt(start=2.0, duration=0.5)
    np.testing.assert_array_equal(found, samples[RATE : round(3.5 * RATE)])
    np.testing.assert_array_equal(excerpt.samples, samples[3 * RATE : round(3.5 * RATE)])


def test_a_section_behind_the_end_of_its_file_is_an_error(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", drone(2.0, 1), RATE)
    with pytest.raises(AudioError, match=r"ends at 2\.0 s") as failure:
        audio.AudioFile(AudioSection(tmp_path / "a.wav", 5.0, None, name="a.cue#01"))
    assert failure.value.code == "audio_no_samples"


def test_a_section_needs_a_length() -> None:
    with pytest.raises(ValueError, match=r"from 2\.0 to 1\.0 s"):
        AudioSection(Path("a.wav"), 2.0, 1.0)
