"""Loading audio: known signals are decoded and resampled correctly, in bounded memory, with typed errors."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genrescope.audio import loading as audio
from genrescope.errors import AudioError, GenrescopeError
from helpers.sounds import encode, measure_tone, noise, tone, write


def wav(path: Path, samples: np.ndarray, rate: int = 44_100) -> Path:
    write(path, samples, rate, kind="WAV", coding="FLOAT")
    return path


def code_of(source: audio.Source, **options: object) -> str:
    with pytest.raises(GenrescopeError) as caught:
        audio.load_audio(source, **options)  # type: ignore[arg-type]
    assert caught.value.hint
    if not isinstance(source, bytes) and isinstance(caught.value, AudioError):
        assert os.fspath(source) in caught.value.message
    return caught.value.code


# Known signals


@pytest.mark.parametrize("target", [8000, 16_000, 22_050, 32_000, 44_100, 48_000])
def test_a_tone_keeps_frequency_and_amplitude(tmp_path: Path, target: int) -> None:
    clip = audio.load_audio(
        wav(tmp_path / "a.wav", tone(2, 44_100, hertz=1234.5, channels=2)), sample_rate=target
    )
    assert clip.samples.dtype == np.float32
    assert measure_tone(clip.samples, target) == pytest.approx((1234.5, 0.5), rel=1e-3)


def test_a_constant_stays_constant(tmp_path: Path) -> None:
    clip = audio.load_audio(
        wav(tmp_path / "a.wav", np.full((88_200, 2), 0.25, np.float32)), sample_rate=22_050
    )
    np.testing.assert_allclose(clip.samples[1000:-1000], 0.25, atol=1e-5)


def test_energy_below_the_new_limit_is_kept(tmp_path: Path) -> None:
    samples = sum(tone(2, 44_100, hertz=hertz, amplitude=0.1) for hertz in (100, 997, 3001, 9001))
    whole = audio.load_audio(wav(tmp_path / "a.wav", samples), sample_rate=22_050).samples[2205:-2205]
    assert np.mean(whole**2) == pytest.approx(4 * 0.1**2 / 2, rel=1e-3)


@pytest.mark.parametrize("hertz", [12_500, 15_000, 21_000])
def test_energy_above_the_new_limit_is_removed(tmp_path: Path, hertz: float) -> None:
    samples = tone(2, 44_100, hertz=hertz) + tone(2, 44_100, hertz=300, amplitude=0.01)
    clip = audio.load_audio(wav(tmp_path / "a.wav", samples), sample_rate=22_050)
    rest = clip.samples[2205:-2205] - tone(2, 22_050, hertz=300, amplitude=0.01)[2205:-2205, 0]
    assert np.abs(rest).max() < 0.5 * 10 ** (-90 / 20)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    block_seconds=st.floats(0.003, 5),
    rate=st.sampled_from([8000, 22_050, 44_100]),
    target=st.sampled_from([None, 16_000, 22_050]),
    start=st.sampled_from([0.0, 0.3]),
    duration=st.sampled_from([None, 1.1]),
)
def test_the_block_length_changes_nothing(
    tmp_path: Path, block_seconds: float, rate: int, target: int | None, start: float, duration: float | None
) -> None:
    path = wav(tmp_path / f"{rate}.wav", noise(1.7, rate, channels=2), rate)
    whole = audio.load_audio(path, sample_rate=target, start=start, duration=duration, block_seconds=60)
    with audio.open_stream(
        path, sample_rate=target, start=start, duration=duration, block_seconds=block_seconds
    ) as stream:
        blocks = list(stream)
    np.testing.assert_allclose(np.concatenate(blocks), whole.samples, atol=1e-6)
    assert all(block.ndim == 1 and block.dtype == np.float32 for block in blocks)
    assert stream.seconds == whole.seconds
    assert stream.flags == whole.flags == ()


def test_blocks_may_be_modified_by_the_caller(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", noise(2, 8000), 8000)
    with audio.open_stream(path, block_seconds=0.1) as stream:
        for block in stream:
            block[:] = np.nan
    assert np.isfinite(audio.load_audio(path).samples).all()


def test_ten_hours_in_bounded_memory(tmp_path: Path) -> None:
    rate, seconds = 8000, 36_000
    path = tmp_path / "long.wav"
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 7, 1, rate, rate, 1, 8)  # 7: u-law, one byte a sample
    head = b"RIFF" + struct.pack("<I", 36 + rate * seconds) + b"WAVE" + form
    with path.open("wb") as file:
        file.write(head + b"data" + struct.pack("<I", rate * seconds))
        file.truncate(44 + rate * seconds)  # sparse; a zero byte is the lowest u-law code, not silence
    tracemalloc.start()
    try:
        with audio.open_stream(path, block_seconds=30) as stream:
            longest = max(len(block) for block in stream)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert stream.seconds == seconds
    assert longest <= 30 * rate
    assert peak < 20e6


def test_excerpts_seek(tmp_path: Path) -> None:
    samples = noise(5, 44_100, channels=2)
    clip = audio.load_audio(wav(tmp_path / "a.wav", samples), start=2, duration=1.5)
    np.testing.assert_allclose(clip.samples, samples[88_200:154_350].mean(axis=1), atol=1e-7)


def test_real_music(gtzan: Path) -> None:
    for suffix in ("flac", "ogg"):
        path = min((gtzan / "audio").rglob(f"*.{suffix}"))
        clip = audio.load_audio(path, sample_rate=22_050)
        assert clip.seconds == pytest.approx(30, abs=0.1)
        assert clip.flags == ()
        assert 0.001 < np.sqrt(np.mean(clip.samples**2)) < 0.7


# Errors


def test_missing(tmp_path: Path) -> None:
    wav(tmp_path / "a.wav", tone(1, 8000), 8000)
    assert code_of(tmp_path / "none.wav") == "audio_missing"
    assert code_of(str(tmp_path / "a.wav" / "below-a-file.wav")) == "audio_missing"


def test_a_folder(tmp_path: Path) -> None:
    assert code_of(tmp_path) == "audio_is_directory"


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Drop the superuser's rights for one test, as the superuser may read every file."""
    if not hasattr(os, "geteuid"):
        pytest.skip("this system has no user ids")
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    yield
    if user == 0:
        os.seteuid(user)


def test_forbidden(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = wav(tmp_path / "a.wav", tone(1, 8000), 8000)
    path.chmod(0)
    request.getfixturevalue("as_nobody")
    assert code_of(path) == "audio_permission_denied"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    assert code_of(tmp_path / "a.wav") == "audio_unreadable"


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").touch()
    assert code_of(tmp_path / "a.mp3") == "audio_empty"
    assert code_of(b"") == "audio_empty"


@pytest.mark.parametrize("data", [b"Dear diary, " * 500, b"\0" * 9000, b"%PDF-1.7 " * 99, b"RIFF", b"x"])
def test_not_audio(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(data)
    assert code_of(tmp_path / "a.wav") == "audio_unreadable"
    assert code_of(data) == "audio_unreadable"


@pytest.mark.parametrize("rate", [1, 2_000_000_000])
def test_an_implausible_sample_rate(tmp_path: Path, rate: int) -> None:
    data = bytearray(wav(tmp_path / "a.wav", tone(2, 44_100)).read_bytes())
    data[24:28] = rate.to_bytes(4, "little")
    assert code_of(bytes(data), sample_rate=22_050) == "audio_unreadable"


def test_a_wrong_suffix_is_ignored(tmp_path: Path) -> None:
    encode(tmp_path / "a.raw", tone(2, 44_100), 44_100, codec="aac", container="ipod")
    assert audio.load_audio(tmp_path / "a.raw").seconds == pytest.approx(2, abs=0.06)
    write(tmp_path / "b.raw", tone(2, 44_100), 44_100, kind="WAV", coding="PCM_16")
    assert audio.load_audio(tmp_path / "b.raw").seconds == 2


@pytest.mark.parametrize(
    ("kind", "coding"), [("WAV", "PCM_16"), ("AIFF", "PCM_16"), ("OGG", "VORBIS"), ("AU", "ULAW")]
)
def test_header_only(tmp_path: Path, kind: str, coding: str) -> None:
    write(tmp_path / "a", np.zeros((0, 1), np.float32), 44_100, kind=kind, coding=coding)
    assert code_of(tmp_path / "a") == "audio_no_samples"


def test_header_only_flac(tmp_path: Path) -> None:
    write(tmp_path / "a", tone(2, 44_100), 44_100, kind="FLAC", coding="PCM_16")
    data = (tmp_path / "a").read_bytes()
    assert code_of(data[: data.index(b"\xff\xf8")]) == "audio_no_samples"


def test_shorter_than_a_second(tmp_path: Path) -> None:
    assert code_of(wav(tmp_path / "a.wav", tone(0.99, 44_100))) == "audio_too_short"
    assert audio.load_audio(wav(tmp_path / "b.wav", tone(1, 44_100))).seconds == 1


def test_an_excerpt_may_be_short_if_it_is_all_there(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", tone(3, 44_100))
    assert audio.load_audio(path, start=1, duration=0.25).seconds == 0.25
    assert code_of(path, start=2.9, duration=0.25) == "audio_too_short"
    assert code_of(path, start=2.5) == "audio_too_short"
    assert code_of(path, start=50) == "audio_too_short"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("coding", ["FLOAT", "DOUBLE"])
def test_one_sample_that_is_not_finite(tmp_path: Path, value: float, coding: str) -> None:
    samples = tone(6, 8000, channels=2)
    samples[24_000, 1] = value
    soundfile.write(tmp_path / "a.wav", samples, 8000, subtype=coding)
    assert code_of(tmp_path / "a.wav", sample_rate=22_050) == "audio_not_finite"
    with pytest.raises(AudioError, match=r"3\.000 s"):
        audio.load_audio(tmp_path / "a.wav")


def test_silence(tmp_path: Path) -> None:
    assert code_of(wav(tmp_path / "a.wav", np.zeros((44_100, 2)))) == "audio_silent"
    flicker = np.where(noise(2, 44_100) > 0, 2.0**-15, 0.0)  # the last bit of 16
    assert code_of(wav(tmp_path / "b.wav", flicker)) == "audio_silent"
    assert audio.load_audio(wav(tmp_path / "d.wav", tone(2, 44_100, amplitude=1e-3))).flags == ()


def test_a_stream_raises_at_its_end(tmp_path: Path) -> None:
    with audio.open_stream(wav(tmp_path / "a.wav", np.zeros((44_100, 1)))) as stream:
        blocks = iter(stream)
        next(blocks)
        with pytest.raises(AudioError, match="silent"):
            list(blocks)


@pytest.mark.parametrize(
    "options",
    [
        {"sample_rate": 0},
        {"sample_rate": -1},
        {"start": -1.0},
        {"start": float("nan")},
        {"duration": 0.0},
        {"block_seconds": 0.0},
    ],
)
def test_invalid_requests(options: dict[str, float]) -> None:
    assert code_of(b"RIFF", **options) == "invalid_argument"


# Many files, info, import time


def test_probe(tmp_path: Path) -> None:
    encode(tmp_path / "a.m4a", tone(3, 44_100, channels=2), 44_100, codec="aac", container="ipod")
    info = audio.info(tmp_path / "a.m4a")
    assert (info.codec, info.sample_rate, info.channels) == ("aac", 44_100, 2)
    assert info.seconds == pytest.approx(3, abs=0.06)
    with pytest.raises(AudioError, match="no such file"):
        audio.info(tmp_path / "none.m4a")


def test_importing_the_audio_package_loads_no_decoder() -> None:
    check = "import sys, genrescope.audio; sys.exit(bool({'av', 'soundfile', 'soxr'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", check], check=True)
