"""What files are called by their format, where FFmpeg has one name for several."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from genrescope import audio
from genrescope.library import LibraryEntry, count_by
from helpers.small_data import RATE, hiss
from helpers.sounds import encode


@pytest.mark.parametrize(
    ("container", "expected"), [("ipod", "m4a"), ("mp4", "m4a"), ("mov", "mov"), ("3gp", "m4a")]
)
def test_mp4_files_without_pictures(tmp_path: Path, container: str, expected: str) -> None:
    path = tmp_path / "a.m4a"
    encode(path, hiss(2.0, 1)[:, None], RATE, codec="aac", container=container)
    assert audio.info(path).format == expected


def test_a_video_is_mp4(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", format="mp4") as file:
        video, sound = file.add_stream("mpeg4", rate=5), file.add_stream("aac", rate=RATE, layout="mono")
        video.width = video.height = 32
        picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
        for _ in range(10):
            file.mux(video.encode(picture))
        frame = av.AudioFrame.from_ndarray(hiss(2.0, 1)[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        file.mux(sound.encode(frame))
        file.mux(video.encode(None))
        file.mux(sound.encode(None))
    assert audio.info(path).format == "mp4"


def test_rows_that_were_stored_under_the_old_name_are_counted_by_their_suffix() -> None:
    entries = [
        LibraryEntry(
            path=f"/m/a{suffix}", size=1, mtime_ns=1, model="m", model_name="m", genre="rock", score=1.0,
            format="mov",
        )
        for suffix in (".m4a", ".M4A", ".mov")
    ]  # fmt: skip
    assert count_by(entries)["format"] == {"m4a": 2, "mov": 1}
