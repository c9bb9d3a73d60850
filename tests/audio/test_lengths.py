"""No header is believed about length: all sound is decoded, and a disagreement is flagged."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from fractions import Fraction
from pathlib import Path
from random import Random

import av
import numpy as np
import pytest

from genrescope import audio
from genrescope.audio import flac
from genrescope.audio.decoders import open_decoder
from genrescope.audio.ffmpeg import FFmpegDecoder
from genrescope.errors import AudioError
from helpers.sounds import LOSSLESS, LOSSY, MP3, encode, measure_tone, noise, tone

FORMATS = LOSSLESS | LOSSY


def written(folder: Path, name: str, seconds: float = 4, rate: int = 48_000, hertz: float = 440) -> bytes:
    """Return a file of a tone with noise, so that no frames are alike."""
    sound = tone(seconds, rate, hertz=hertz, channels=2) + 0.1 * noise(seconds, rate, channels=2)
    FORMATS[name](folder / name, sound, rate)
    return (folder / name).read_bytes()


@pytest.mark.parametrize("name", ["mp3", "mp3-ffmpeg", "mp3-vbr", "flac-16", "flac-24", "aac", "ogg", "opus"])
@pytest.mark.parametrize("count", [2, 3])
def test_joined_files_are_decoded_to_the_end(tmp_path: Path, name: str, count: int) -> None:
    data = written(tmp_path, name)
    clip = audio.load_audio(data * count, strict=True)
    assert clip.seconds == pytest.approx(4 * count, abs=0.1 * count)
    # AAC has no header, and every stream of Ogg a length of its own.
    assert clip.flags == (() if name in ("aac", "ogg", "opus") else ("header_mismatch",))
    assert measure_tone(clip.samples, 48_000)[0] == pytest.approx(440, abs=1)


@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize("silent", [0.03, 0.5, 3.0])
def test_a_file_that_ends_in_silence_is_whole(tmp_path: Path, name: str, silent: float) -> None:
    # Frames of silence are the shortest that there are: a mono FLAC of 16 bits ends with one of 13 bytes.
    silence = np.zeros((round(silent * 48_000), 1), np.float32)
    FORMATS[name](tmp_path / name, np.concatenate([tone(2, 48_000).reshape(-1, 1), silence]), 48_000)
    clip = audio.load_audio(tmp_path / name, strict=True)
    assert clip.flags == ()
    assert clip.seconds == pytest.approx(2 + silent, abs=0.15)


@pytest.mark.parametrize("name", ["mp3-ffmpeg", "flac-16"])
def test_a_short_file_behind_a_long_one_counts(tmp_path: Path, name: str) -> None:
    clip = audio.load_audio(written(tmp_path, name, 6) + written(tmp_path, name, 2))
    assert clip.seconds == pytest.approx(8, abs=0.2)
    assert clip.flags == ("header_mismatch",)


def test_a_frame_count_that_is_too_small(tmp_path: Path) -> None:
    data = bytearray(written(tmp_path, "mp3-ffmpeg"))
    at = data.index(b"Xing") if b"Xing" in data else data.index(b"Info")
    data[at + 8 : at + 12] = (87).to_bytes(4, "big")
    clip = audio.load_audio(bytes(data), strict=True)
    assert clip.seconds == pytest.approx(4, abs=0.1)
    assert clip.flags == ("header_mismatch",)


def test_a_frame_count_of_zero_is_none(tmp_path: Path) -> None:
    data = bytearray(written(tmp_path, "mp3-ffmpeg"))
    at = data.index(b"Xing") if b"Xing" in data else data.index(b"Info")
    data[at + 8 : at + 12] = bytes(4)
    clip = audio.load_audio(bytes(data), strict=True)
    assert (clip.seconds, clip.flags) == (pytest.approx(4, abs=0.1), ())


def test_a_flac_total_that_is_too_small(tmp_path: Path) -> None:
    data = bytearray(written(tmp_path, "flac-16"))
    data[22:26] = (96_000).to_bytes(4, "big")
    clip = audio.load_audio(bytes(data), strict=True)
    assert (clip.seconds, clip.flags) == (4.0, ("header_mismatch",))


@pytest.mark.parametrize("seconds", [4, 0.09])
def test_a_flac_that_ends_between_two_frames_keeps_its_last_block(tmp_path: Path, seconds: float) -> None:
    data = bytearray(written(tmp_path, "flac-16", 4 + seconds))
    whole = audio.load_audio(bytes(data)).samples
    from genrescope.audio.flac import _SYNC, _frame_span

    spans = {m.start(): _frame_span(bytes(data), m.start(), 4096) for m in _SYNC.finditer(bytes(data))}
    places = [place for place, span in spans.items() if span]
    clip = audio.load_audio(bytes(data[: places[20]]))
    assert clip.flags == ("truncated",)
    np.testing.assert_array_equal(clip.samples, whole[: 20 * 4096])


@pytest.mark.parametrize("at", range(100, 140))
def test_a_second_flac_stream_is_found_wherever_reading_splits_it(
    monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.setattr(flac, "_CHUNK_BYTES", 32)
    start = b"fLaC\x80\0\0\x22"
    assert flac.is_joined(io.BytesIO(bytes(at) + start + bytes(50)))
    assert not flac.is_joined(io.BytesIO(bytes(at) + start[:-1] + bytes(50)))


@pytest.mark.parametrize(
    "name", ["wav-16", "wav-24", "wav-float", "aiff", "au", "caf", "w64", "rf64", "mka", "webm", "wavpack"]
)
@pytest.mark.parametrize("seconds", [(4, 4), (6, 2)])
def test_joined_files_of_other_containers_are_decoded_to_the_end(
    tmp_path: Path, name: str, seconds: tuple[float, float]
) -> None:
    first, second = (written(tmp_path, name, each) for each in seconds)
    clip = audio.load_audio(first + second, strict=True)
    assert clip.seconds == pytest.approx(8, abs=0.1)
    # The header of the second file, read as samples of floats, may hold a spike.
    assert set(clip.flags) - {"spikes_removed"} == {"header_mismatch"}
    assert measure_tone(clip.samples, 48_000)[0] == pytest.approx(440, abs=1)


@pytest.mark.parametrize("name", ["wma", "m4a", "m4a-index-first", "alac"])
@pytest.mark.parametrize("seconds", [(4, 4), (6, 2), (2, 3, 4)])
def test_joined_files_of_asf_and_mp4_are_decoded_to_the_end(
    tmp_path: Path, name: str, seconds: tuple[float, ...]
) -> None:
    parts = [written(tmp_path, name, each) for each in seconds]
    (tmp_path / "joined").write_bytes(b"".join(parts))
    for source in (tmp_path / "joined", b"".join(parts)):
        clip = audio.load_audio(source, strict=True)
        assert clip.flags == ("header_mismatch",)
        alone = [audio.load_audio(part).samples for part in parts]
        assert np.array_equal(clip.samples, np.concatenate(alone))
        late = audio.load_audio(source, start=seconds[0] + 0.5, duration=1.0).samples
        first = round(48_000 * (seconds[0] + 0.5))
        assert np.array_equal(late, clip.samples[first : first + 48_000])


def test_an_asf_file_behind_one_that_was_cut_off_counts_and_the_cut_is_flagged(tmp_path: Path) -> None:
    data = written(tmp_path, "wma")
    clip = audio.load_audio(data[:-5000] + data)
    assert clip.flags == ("truncated", "header_mismatch")
    assert clip.seconds == pytest.approx(7.8, abs=0.3)
    assert audio.load_audio(data + data[:-5000]).flags == ("truncated", "header_mismatch")


def test_a_joined_file_of_another_rate_and_channels_is_converted(tmp_path: Path) -> None:
    first = written(tmp_path, "wma")
    LOSSY["wma"](tmp_path / "other", tone(4, 44_100), 44_100)
    clip = audio.load_audio(first + (tmp_path / "other").read_bytes(), strict=True)
    assert (clip.sample_rate, clip.flags) == (48_000, ("header_mismatch",))
    assert clip.seconds == pytest.approx(8, abs=0.1)
    assert measure_tone(clip.samples[-96_000:], 48_000)[0] == pytest.approx(440, abs=1)


def test_an_appended_file_that_cannot_be_decoded_is_truncated_sound(tmp_path: Path) -> None:
    data = written(tmp_path, "wma")
    clip = audio.load_audio(data + data[:30] + bytes(5000))
    assert clip.flags == ("truncated", "header_mismatch")
    assert len(clip.samples) == len(audio.load_audio(data).samples)


def test_a_media_header_of_mp4_that_states_too_little(tmp_path: Path) -> None:
    data = bytearray(written(tmp_path, "m4a", 8))
    at = data.index(b"mdhd")
    scale = int.from_bytes(data[at + 16 : at + 20], "big")
    data[at + 20 : at + 24] = (2 * scale).to_bytes(4, "big")
    clip = audio.load_audio(bytes(data), strict=True)
    assert clip.seconds == pytest.approx(8, abs=0.1)
    assert clip.flags == ("header_mismatch",)


def shrunk(data: bytes, name: str) -> bytes:
    """Return a file whose header states a quarter of the sound."""
    changed = bytearray(data)
    label = b"SSND" if name.startswith("aiff") else b"data"
    at = data.find(label) + (16 if name == "w64" else 4)
    width, order = {"aiff": (4, "big"), "caf": (8, "big"), "w64": (8, "little")}.get(name, (4, "little"))
    if name == "au":
        at, order = 8, "big"
    if name == "rf64":
        at, width = 28, 8
    size = int.from_bytes(changed[at : at + width], order) // 16 * 4
    changed[at : at + width] = size.to_bytes(width, order)
    return bytes(changed)


@pytest.mark.parametrize("name", ["wav-16", "wav-24", "wav-float", "aiff", "au", "caf", "w64", "rf64"])
def test_a_size_that_is_too_small(tmp_path: Path, name: str) -> None:
    data = written(tmp_path, name)
    clip = audio.load_audio(shrunk(data, name), strict=True)
    assert clip.seconds == pytest.approx(4, abs=0.01)
    assert clip.flags == ("header_mismatch",)
    np.testing.assert_array_equal(clip.samples[:190_000], audio.load_audio(data).samples[:190_000])


@pytest.mark.parametrize("tail", [b"LIST\x04\x20\0\0" + bytes(8196), b"TAG" + bytes(125), bytes(100)])
def test_chunks_and_tags_behind_the_sound_are_none(tmp_path: Path, tail: bytes) -> None:
    clip = audio.load_audio(written(tmp_path, "wav-16") + tail)
    assert (clip.seconds, clip.flags) == (4.0, ())


def remux(
    data: Path, target: Path, container: str, *, delay: float = 0, options: dict[str, str] | None = None
) -> None:
    """Copy the packets of an audio file to another container, ``delay`` seconds later."""
    with (
        av.open(str(data)) as source,
        av.open(str(target), "w", format=container, options=options or {}) as file,
    ):
        stream = file.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                ticks = int(delay / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + ticks, packet.dts + ticks, stream
                file.mux(packet)


@pytest.mark.parametrize(
    ("source", "container", "delay"),
    [
        ("mp3-ffmpeg", "wav", 0),
        ("opus", "webm", 30),
        ("m4a", "matroska", 30),
        ("opus", "ogg", 30),
        ("m4a", "mp4", 5),
        ("flac-16", "matroska", 7),
    ],
)
def test_sound_that_starts_late_is_whole(tmp_path: Path, source: str, container: str, delay: float) -> None:
    written(tmp_path, source)
    remux(tmp_path / source, tmp_path / "late", container, delay=delay)
    clip = audio.load_audio(tmp_path / "late", strict=True)
    assert clip.flags == ()
    assert clip.seconds == pytest.approx(4, abs=0.1)


def test_mpeg_audio_in_wav_is_whole_whatever_its_first_frame_suggests(tmp_path: Path) -> None:
    """Without a frame that counts the others, libsndfile derives a length that is half a percent too long."""
    encode(
        tmp_path / "sound.wav", tone(24, 44_100), 44_100, container="wav", codec="libmp3lame", bit_rate=64_000
    )
    data = (tmp_path / "sound.wav").read_bytes()
    late_format = data[:12] + b"JUNK" + (4).to_bytes(4, "little") + bytes(4) + data[12:]
    for content in (data, data[:4] + (len(late_format) - 8).to_bytes(4, "little") + late_format[8:]):
        with closing(open_decoder(io.BytesIO(content), "sound.wav")) as decoder:
            assert isinstance(decoder, FFmpegDecoder)
        clip = audio.load_audio(content, strict=True)
        assert (clip.seconds, clip.flags) == (pytest.approx(24, abs=0.1), ())
    cut = audio.load_audio(data[: len(data) // 2])
    assert cut.flags == ("truncated",)


@pytest.mark.parametrize("container", ["matroska", "webm"])
def test_a_live_recording_is_whole(tmp_path: Path, container: str) -> None:
    written(tmp_path, "opus")
    remux(tmp_path / "opus", tmp_path / "live", container, options={"live": "1"})
    clip = audio.load_audio(tmp_path / "live", strict=True)
    assert (clip.seconds, clip.flags) == (pytest.approx(4, abs=0.1), ())


def test_an_edit_list_that_leaves_out_sound(tmp_path: Path) -> None:
    data = bytearray(written(tmp_path, "m4a", 8))
    at = data.index(b"elst")
    scale_at = data.index(b"mvhd") + 16
    scale = int.from_bytes(data[scale_at : scale_at + 4], "big")
    data[at + 12 : at + 16] = (2 * scale).to_bytes(4, "big")
    clip = audio.load_audio(bytes(data), strict=True)
    assert clip.seconds == pytest.approx(8, abs=0.1)
    assert clip.flags == ("header_mismatch",)


@pytest.mark.parametrize("chosen", [0, 1])
def test_the_default_stream_is_taken(tmp_path: Path, chosen: int) -> None:
    with av.open(str(tmp_path / "two.mka"), "w", format="matroska") as file:
        streams = [file.add_stream("flac", rate=48_000, layout="mono") for _ in range(2)]
        for number, stream in enumerate(streams):
            # The number, as PyAV before 17 takes nothing else.
            stream.disposition = av.stream.Disposition.default.value if number == chosen else 0
        for number, stream in enumerate(streams):
            samples = (2**15 * tone(4, 48_000, hertz=300 * (number + 1))).astype(np.int16).T
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
            shaper = av.AudioResampler("s16", "mono", 48_000, frame_size=4096)
            for part in [*shaper.resample(frame), *shaper.resample(None), None]:
                file.mux(stream.encode(part))
    clip = audio.load_audio(tmp_path / "two.mka")
    assert measure_tone(clip.samples, 48_000)[0] == pytest.approx(300 * (chosen + 1), abs=1)


EINVAL_W64 = bytes.fromhex(
    "726966662e91cf11a5d628db04c10000000002000000000077617665f3acd3118cd100c04f8edb8a"
    "000000000000000000000000000000000000000000000012"
)


@pytest.mark.parametrize("as_file", [True, False])
def test_whatever_a_decoder_raises_is_the_error_of_the_file(tmp_path: Path, as_file: bool) -> None:
    (tmp_path / "einval.w64").write_bytes(EINVAL_W64)
    with pytest.raises(AudioError) as caught:
        audio.load_audio(tmp_path / "einval.w64" if as_file else EINVAL_W64)
    assert caught.value.code == "audio_unreadable"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(22, "Invalid argument"), "audio_unreadable"),
        (ValueError("x"), "audio_unreadable"),
        (UnicodeDecodeError("utf8", b"", 0, 1, "x"), "audio_unreadable"),
        (OverflowError("x"), "audio_unreadable"),
        (MemoryError(), "memory_limit"),
    ],
)
@pytest.mark.parametrize("name", ["wav-16", "opus"])
def test_errors_of_decoders_are_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: str, name: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    data = written(tmp_path, name)
    decoder = "SoundFileDecoder" if name == "wav-16" else "FFmpegDecoder"
    monkeypatch.setattr(f"genrescope.audio.decoders.{decoder}.iter_blocks", fail)
    with pytest.raises(AudioError) as caught:
        audio.load_audio(data)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "tail",
    [
        b"TAG" + bytes(125),
        b"LYRICSBEGININD0000200000021LYRICS200TAG" + bytes(125),
        bytes(100),
        bytes(5000),
        b"\xff" * 300,
        b"ID3\x04\0\0\0\0\2\0" + bytes(256),
    ],
)
@pytest.mark.parametrize("name", ["mp3", "mp3-ffmpeg", "mp3-no-length"])
def test_what_follows_the_last_frame_of_an_mp3_is_no_lost_sound(
    tmp_path: Path, name: str, tail: bytes
) -> None:
    data = written(tmp_path, name)
    clip = audio.load_audio(data + tail)
    assert clip.flags == ()
    whole = audio.load_audio(data).samples
    assert np.array_equal(clip.samples[: len(whole)], whole)
    # FFmpeg keeps the encoder's padding where a long tail makes the size in the header wrong.
    assert len(clip.samples) - len(whole) < 1152


def test_an_mp3_without_a_count_whose_end_is_zeros_is_truncated(tmp_path: Path) -> None:
    data = written(tmp_path, "mp3-no-length", 12)
    assert audio.load_audio(data[:100_000] + bytes(100_000)).flags == ("truncated",)


def low_rate(folder: Path) -> None:
    MP3(folder / "a", tone(10, 22_050) + noise(10, 22_050), 22_050)


def cut(folder: Path) -> None:
    (folder / "a").write_bytes(written(folder, "mp3-ffmpeg")[:50_000])


def joined(folder: Path) -> None:
    (folder / "a").write_bytes(3 * written(folder, "mp3-ffmpeg"))


def damaged_m4a(folder: Path) -> None:
    data = bytearray(written(folder, "m4a"))
    data[20_000:23_000] = bytes(3000)
    (folder / "a").write_bytes(data)


def odd_tag(folder: Path) -> None:
    text = b"TIT2" + (6).to_bytes(4) + b"\0\0" + b"\x09title"  # there is no text encoding 9
    tag = b"ID3\x04\0\0" + len(text).to_bytes(4) + text
    (folder / "a").write_bytes(tag + written(folder, "mp3"))


@pytest.mark.parametrize("build", [low_rate, cut, joined, damaged_m4a, odd_tag])
def test_decoders_write_nothing_to_stderr(tmp_path: Path, build: Callable[[Path], None]) -> None:
    build(tmp_path)
    code = "import sys; from genrescope import audio; audio.load_audio(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a"], capture_output=True, check=True)
    assert done.stderr == b""


def test_damaged_mp3_files_write_nothing_to_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """200 files with three changed bytes each, of which libmpg123 writes about one in ten."""
    random = Random(7)
    files = [written(tmp_path, name) for name in ("mp3", "mp3-ffmpeg", "mp3-vbr")]
    for number in range(200):
        data = bytearray(files[number % 3])
        for _ in range(3):
            data[random.randrange(len(data))] ^= random.randrange(1, 256)
        with suppress(AudioError):
            audio.load_audio(bytes(data))
    assert capfd.readouterr().err == ""


def test_samples_are_the_same_with_and_without_an_id3_tag(tmp_path: Path) -> None:
    plain = written(tmp_path, "mp3")
    odd_tag(tmp_path)
    whole = audio.load_audio(plain).samples
    for source in (tmp_path / "a", (tmp_path / "a").read_bytes()):
        assert np.array_equal(audio.load_audio(source).samples, whole)
        part = audio.load_audio(source, start=1.0, duration=1.0).samples
        assert len(part) == 48_000


def test_an_excerpt_reads_a_bounded_share_of_a_file_with_a_hole(tmp_path: Path) -> None:
    data = bytearray(written(tmp_path, "flac-16", 120))
    data[int(0.3 * len(data)) : int(0.95 * len(data))] = bytes(int(0.95 * len(data)) - int(0.3 * len(data)))
    (tmp_path / "hole").write_bytes(data)
    read = 0
    with audio.AudioFile(tmp_path / "hole") as file:
        callbacks = file._decoder._callbacks  # type: ignore[attr-defined]
        plain = callbacks.read

        def counted(count: int = -1) -> bytes:
            nonlocal read
            got = plain(count)
            read += len(got)
            return got

        callbacks.read = counted
        with pytest.raises(AudioError):
            file.excerpt(start=60.0, duration=3.0)
    assert read < 0.25 * len(data) + 2**22 + 2**18
