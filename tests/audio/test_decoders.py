"""Every format decodes to the encoded samples; every truncated file is detected."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from genrescope.audio import loading as audio
from genrescope.audio.mixing import downmix
from genrescope.errors import AudioError
from helpers.sounds import LOSSLESS, LOSSY, MP3, MP3_VBR, encode, measure_tone, noise, tone, write

FORMATS = LOSSLESS | LOSSY
# Formats whose header says how long they are, or whose end is marked. A cut must be noticed.
SELF_MEASURING = [
    name for name in FORMATS if name not in {"mp3-no-length", "m4a", "alac", "aac", "ac3", "wma"}
]


def swell(rate: int = 48_000) -> np.ndarray:
    """Four seconds: a stereo tone, then tone with noise, so that variable bit rates vary."""
    samples = tone(4, rate, channels=2)
    samples[len(samples) // 2 :] += noise(2, rate, channels=2)
    return samples


@pytest.fixture(scope="module")
def swells(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write ``swell`` once in every format."""
    folder = tmp_path_factory.mktemp("swells")
    for name, writer in FORMATS.items():
        writer(folder / name, swell(), 48_000)
    return {name: folder / name for name in FORMATS}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_decodes_to_the_encoded_samples(name: str, swells: dict[str, Path]) -> None:
    clip = audio.load_audio(swells[name])
    assert clip.flags == ()
    assert clip.sample_rate == 48_000
    assert clip.seconds == pytest.approx(4, abs=0.06)
    hertz, amplitude = measure_tone(clip.samples[:96_000], 48_000)
    assert hertz == pytest.approx(440, abs=0.5)
    assert amplitude == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_are_exact_to_their_depth(name: str, swells: dict[str, Path]) -> None:
    # FFmpeg's WavPack encoder picks 8 bits, unsigned.
    step = {"wav-8": 2**-7, "wavpack": 2**-7, "au-ulaw": 2**-5}.get(name, 2**-15)
    np.testing.assert_allclose(audio.load_audio(swells[name]).samples, swell().mean(axis=1), atol=step)


@pytest.mark.parametrize("name", FORMATS)
def test_bytes_give_the_same_samples_as_the_path(name: str, swells: dict[str, Path]) -> None:
    by_path = audio.load_audio(swells[name])
    by_bytes = audio.load_audio(swells[name].read_bytes())
    np.testing.assert_array_equal(by_bytes.samples, by_path.samples)
    assert by_bytes.source == "<bytes>"


@pytest.mark.parametrize("name", FORMATS)
def test_an_excerpt_is_a_part_of_the_whole(name: str, swells: dict[str, Path]) -> None:
    whole = audio.load_audio(swells[name]).samples
    excerpt = audio.load_audio(swells[name], start=2.5, duration=1.2).samples
    assert len(excerpt) == 57_600
    # Time stamps in whole milliseconds place an excerpt to half of one, 24 samples.
    off = 24 if name in {"wma", "webm", "mka"} else 0
    errors = [
        np.abs(excerpt - whole[start : start + 57_600]).max() for start in range(120_000 - off, 120_001 + off)
    ]
    assert min(errors) < 1e-3


@pytest.mark.parametrize("name", SELF_MEASURING)
def test_a_truncated_file_is_used_and_flagged(name: str, swells: dict[str, Path]) -> None:
    data = swells[name].read_bytes()
    clip = audio.load_audio(data[: len(data) * 7 // 10])
    assert clip.flags == ("truncated",)
    assert 1.5 < clip.seconds < 3.7
    whole = audio.load_audio(data).samples
    np.testing.assert_allclose(clip.samples[:48_000], whole[:48_000], atol=1e-6)
    with pytest.raises(AudioError, match="truncated") as caught:
        audio.load_audio(data[: len(data) * 7 // 10], strict=True)
    assert caught.value.code == "audio_truncated"


@pytest.mark.parametrize("cut", [100, 400, 1000, 3000, 5000])
def test_a_truncated_wma_is_flagged_at_every_length(cut: int, swells: dict[str, Path]) -> None:
    assert audio.load_audio(swells["wma"].read_bytes()[:-cut]).flags == ("truncated",)


@pytest.mark.parametrize("name", ["m4a", "alac"])
def test_a_truncated_m4a_without_its_index_is_unreadable(name: str, swells: dict[str, Path]) -> None:
    data = swells[name].read_bytes()
    with pytest.raises(AudioError) as caught:
        audio.load_audio(data[: len(data) * 7 // 10])
    assert caught.value.code == "audio_unreadable"


@pytest.mark.parametrize("name", ["flac-16", "ogg", "mp3", "m4a", "aac", "webm"])
def test_damage_in_the_middle_keeps_the_samples_before_it(name: str, swells: dict[str, Path]) -> None:
    data = bytearray(swells[name].read_bytes())
    whole = audio.load_audio(bytes(data)).samples
    hole = slice(len(data) * 7 // 10, len(data) * 7 // 10 + 3000)
    data[hole] = np.random.default_rng(3).bytes(3000)
    np.testing.assert_allclose(audio.load_audio(bytes(data)).samples[:48_000], whole[:48_000], atol=1e-6)


@pytest.mark.parametrize("name", ["flac-16", "m4a"])
def test_detected_damage_is_flagged(name: str, swells: dict[str, Path]) -> None:
    data = bytearray(swells[name].read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
    assert audio.load_audio(bytes(data)).flags == ("truncated",)


@pytest.mark.parametrize("name", ["flac-16", "flac-24"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_hole_in_flac_costs_the_frames_in_it(name: str, share: float, swells: dict[str, Path]) -> None:
    data = bytearray(swells[name].read_bytes())
    whole = audio.load_audio(bytes(data)).samples
    at = int(share * len(data))
    data[at : at + 4096] = bytes(4096)
    clip = audio.load_audio(bytes(data))
    assert clip.flags == ("truncated",)
    lost = len(whole) - len(clip.samples)
    assert lost in (4096, 8192)
    before = int(np.argmax(clip.samples != whole[: len(clip.samples)]))
    assert before > 0.8 * share * len(whole)
    np.testing.assert_array_equal(clip.samples[before:], whole[before + lost :])


def wavpack(folder: Path) -> tuple[bytearray, list[int]]:
    """Return a WavPack file of 16 s, and where its blocks, of 0.5 s each, begin."""
    LOSSLESS["wavpack"](folder / "a.wv", np.concatenate([swell()] * 4), 48_000)
    data = (folder / "a.wv").read_bytes()
    return bytearray(data), [at for at in range(len(data)) if data[at : at + 4] == b"wvpk"]


def zero_header(data: bytearray, at: int) -> None:
    data[at - 2000 : at + 2096] = bytes(4096)


def change_length(data: bytearray, at: int) -> None:
    data[at + 5] ^= 0x55


def change_rate(data: bytearray, at: int) -> None:
    data[at + 27] ^= 3


def delete_header(data: bytearray, at: int) -> None:
    del data[at - 100 : at + 50]


def insert_few(data: bytearray, at: int) -> None:
    data[at:at] = b"x" * 7


def insert_many(data: bytearray, at: int) -> None:
    data[at:at] = b"x" * 2_500_000


@pytest.mark.parametrize(
    "change", [zero_header, change_length, change_rate, delete_header, insert_few, insert_many]
)
def test_damage_in_wavpack_costs_two_blocks_at_most(
    tmp_path: Path, change: Callable[[bytearray, int], None]
) -> None:
    data, blocks = wavpack(tmp_path)
    whole = audio.load_audio(bytes(data)).samples
    change(data, blocks[10])
    clip = audio.load_audio(bytes(data))
    assert clip.flags == ("truncated",)
    assert len(clip.samples) in {len(whole) - count * 24_000 for count in range(3)}
    np.testing.assert_array_equal(clip.samples[-200_000:], whole[-200_000:])


def test_a_tag_behind_wavpack_is_no_damage(tmp_path: Path) -> None:
    data, _ = wavpack(tmp_path)
    clip = audio.load_audio(bytes(data) + b"TAG" + bytes(125))
    assert (clip.seconds, clip.flags) == (16.0, ())


def test_a_seek_that_ends_far_before_an_excerpt_shows_that_seeks_are_no_gain(tmp_path: Path) -> None:
    """The first block of a WavPack file states a wrong position, from which all others are counted."""
    data, _ = wavpack(tmp_path)
    with audio.AudioFile(bytes(data)) as file:
        file.excerpt(start=9.0, duration=1.0)
        assert file.suits_excerpts
    data[16:20] = b"\0\0\0\xff"
    with audio.AudioFile(bytes(data)) as file:
        assert file.suits_excerpts
        with suppress(AudioError):
            file.excerpt(start=9.0, duration=1.0)
        assert not file.suits_excerpts


def damaged(data: bytes, generator: np.random.Generator) -> bytes:
    """Damage the header, or all of it, or remove bytes in the middle."""
    limit = int(generator.choice([300, len(data)]))
    changed = bytearray(data)
    for place in generator.integers(0, limit, size=8):
        changed[place] = int(generator.integers(256))
    if generator.random() < 0.3:
        del changed[limit // 2 : limit // 2 + int(generator.integers(5000))]
    return bytes(changed)


# A header may send libsndfile to a place before the file; soundfile then reports the refused seek aside.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", FORMATS)
def test_damage_gives_samples_or_a_typed_error(name: str, swells: dict[str, Path]) -> None:
    data, generator = swells[name].read_bytes(), np.random.default_rng(5)
    for _ in range(6):
        try:
            clip = audio.load_audio(damaged(data, generator), sample_rate=22_050)
        except AudioError:
            continue
        assert np.isfinite(clip.samples).all()
        assert clip.seconds >= 1


def test_an_mp3_without_length_is_read_to_its_end(tmp_path: Path) -> None:
    # libsndfile guesses the length from the first frames and stops there: loud first, it would lose most.
    samples = noise(20, 44_100, channels=2)
    samples[441_000:] *= 0.001
    MP3_VBR(tmp_path / "a.mp3", samples, 44_100, muxer={"write_xing": "0"})
    clip = audio.load_audio(tmp_path / "a.mp3")
    assert clip.seconds == pytest.approx(20, abs=0.06)
    assert clip.flags == ()
    assert audio.info(tmp_path / "a.mp3").seconds is None


@pytest.mark.parametrize("muxer", [{"write_id3v1": "1"}, {"write_id3v1": "1", "write_xing": "0"}])
def test_tags_at_the_end_of_an_mp3_are_not_damage(tmp_path: Path, muxer: dict[str, str]) -> None:
    MP3(tmp_path / "a.mp3", swell(), 48_000, muxer=muxer)
    data = (tmp_path / "a.mp3").read_bytes() + b"TAG" + b"title".ljust(125, b"\0")
    assert audio.load_audio(data).flags == ()


def test_a_flac_of_unknown_length_is_read_to_its_end(swells: dict[str, Path]) -> None:
    data = bytearray(swells["flac-16"].read_bytes())
    data[21] &= 0xF0  # the 36 bits of STREAMINFO that count samples: 0 is "unknown", as in a pipe
    data[22:26] = bytes(4)
    clip = audio.load_audio(bytes(data))
    assert (clip.seconds, clip.flags) == (4.0, ())


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF024, 0x80000000])
def test_a_wav_of_unknown_length_is_not_flagged(size: int, swells: dict[str, Path]) -> None:
    data = bytearray(swells["wav-16"].read_bytes())
    at = data.index(b"data")
    data[at + 4 : at + 8] = size.to_bytes(4, "little")
    clip = audio.load_audio(bytes(data))
    assert (clip.seconds, clip.flags) == (4.0, ())


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 96_000, 192_000, 384_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_any_rate_and_channel_count(tmp_path: Path, rate: int, channels: int) -> None:
    path = tmp_path / "a.wav"
    write(path, tone(2, rate, channels=channels), rate, kind="WAV", coding="PCM_24")
    assert audio.info(path) == audio.AudioInfo("wav", "pcm_24", rate, channels, 2.0)
    clip = audio.load_audio(path, sample_rate=22_050)
    assert measure_tone(clip.samples, 22_050) == pytest.approx((440, 0.5), rel=2e-3)
    assert clip.seconds == pytest.approx(2, abs=1e-4)


@pytest.mark.parametrize("kind", ["wav", "m4a"])
def test_mono_is_the_mean_of_six_channels(tmp_path: Path, kind: str) -> None:
    samples = np.zeros((96_000, 6), np.float32)
    samples[:, 4] = tone(2, 48_000, amplitude=0.6)[:, 0]
    if kind == "wav":
        write(tmp_path / "a", samples, 48_000, kind="WAV", coding="FLOAT")
    else:
        encode(tmp_path / "a", samples, 48_000, codec="aac", container="ipod")
    assert measure_tone(audio.load_audio(tmp_path / "a").samples, 48_000)[1] == pytest.approx(0.1, rel=0.02)


def test_eight_planar_channels(tmp_path: Path) -> None:
    # PyAV 18 reads memory behind the eighth plane as a ninth one.
    samples = tone(4, 48_000, hertz=80, channels=8)  # low enough for the eighth, which takes the bass only
    encode(tmp_path / "a", samples, 48_000, codec="aac", container="ipod")
    for start in (0, 2):
        clip = audio.load_audio(tmp_path / "a", start=start)
        assert clip.seconds == pytest.approx(4 - start, abs=0.05)
        assert measure_tone(clip.samples, 48_000) == pytest.approx((80, 0.5), rel=0.03)


def test_the_channel_count_may_change_within_a_stream(tmp_path: Path) -> None:
    for channels in (1, 2):
        encode(
            tmp_path / str(channels),
            tone(2, 48_000, channels=channels),
            48_000,
            codec="aac",
            container="adts",
        )
    clip = audio.load_audio((tmp_path / "2").read_bytes() + (tmp_path / "1").read_bytes())
    assert clip.seconds == pytest.approx(4, abs=0.1)
    assert measure_tone(clip.samples[96_000:], 48_000) == pytest.approx((440, 0.5), rel=0.03)


def test_downmix_is_the_mean() -> None:
    planes = np.random.default_rng(0).standard_normal((5, 1000)).astype(np.float32)
    np.testing.assert_allclose(downmix(planes), planes.mean(axis=0), atol=1e-6)


def test_integers_are_scaled_to_minus_one_to_one(tmp_path: Path) -> None:
    codes = np.tile(np.array([-(2**15), 0, 2**14, 2**15 - 1], np.int16), 12_000)
    write(tmp_path / "a", codes[:, None], 48_000, kind="WAV", coding="PCM_16")
    np.testing.assert_array_equal(
        audio.load_audio(tmp_path / "a", duration=0.5).samples[:4], [-1, 0, 0.5, 1 - 2**-15]
    )


def test_a_playlist_opens_no_other_file(tmp_path: Path, swells: dict[str, Path]) -> None:
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{swells['aac']}\n#EXT-X-ENDLIST\n"
    with pytest.raises(AudioError) as caught:
        audio.load_audio(playlist.encode())
    assert caught.value.code == "audio_unreadable"
