"""Two decoders, libsndfile and FFmpeg, behind one face: blocks of mono samples at the file's own rate.

libsndfile (through soundfile) comes first. FFmpeg (through PyAV) takes what libsndfile cannot open, and the
files whose length libsndfile would have to guess, because it stops reading at its guess.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from genrescope.audio import header
from genrescope.errors import AudioError
from genrescope.types import FloatArray

# Two MPEG frames: encoders disagree about whether the frame that states the length counts itself.
_FRAMES_OF_SLACK = 2304
# Containers round their length to packets and count the encoder's run-up, which a decoder drops.
_SECONDS_OF_SLACK = 0.5
# Before an excerpt, what a lossy decoder must have seen for its output to be as in the middle of the file: a
# few packets, but for WMA, whose packets may hold a second.
_RUN_UP_SECONDS = 0.25
_LONG_RUN_UP = {"asf": 1.0}
# Beyond these a header is damaged, and converting the rate could fill the memory.
_LOWEST_RATE, _HIGHEST_RATE = 1_000, 10_000_000

# FFmpeg may open nothing else: playlists and the like would make it fetch further files or addresses.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,asf,aac,mp3,ac3,eac3,dts,wav,w64,aiff,au,caf,flac,ogg,"
    "wv,ape,tta,tak,mpc,mpc8,amr,mpegts,mpeg,avi,flv,dsf,iff,rm,voc,loas,latm,shn,ircam,nistsphere"
)
# Containers with real time stamps. For the others FFmpeg estimates times from the bit rate.
_TIMED = frozenset({"mov", "matroska", "asf", "wav", "w64", "aiff", "au", "caf", "flac", "ogg", "wv", "ape"})

# FFmpeg's sample formats.
_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


class Decoder(Protocol):
    """What both decoders offer.

    ``seconds`` is the length that the file states, or None where it states none; ``truncated`` turns true
    when less than that is found.
    """

    format: str
    codec: str
    sample_rate: int
    channels: int
    seconds: float | None
    truncated: bool

    def iter_blocks(self, start: int, size: int) -> Iterator[FloatArray]:
        """Yield mono samples from frame ``start`` on, about ``size`` at a time, each array a fresh one.

        May be asked for again, for another place, when the iteration before is given up.
        """
        ...

    def close(self) -> None:
        """Let go of the library's handles; the file stays open."""
        ...


def open_decoder(file: BinaryIO, name: str) -> Decoder:
    """Choose the decoder for an open file, by trying.

    Parameters
    ----------
    file : binary file, seekable
    name : str
        What to call it in an error.

    Raises
    ------
    AudioError
        ``audio_unreadable`` when neither library knows the format.
    """
    cut = header.ends_early(file)
    decoder = _first_able(file, name)
    if not _LOWEST_RATE <= decoder.sample_rate <= _HIGHEST_RATE or not decoder.channels:
        decoder.close()
        raise _unreadable(name, f"{decoder.channels} channels at {decoder.sample_rate} Hz, says its header")
    decoder.truncated |= cut
    if header.is_chained(file):
        decoder.seconds = None
    return decoder


def _first_able(file: BinaryIO, name: str) -> Decoder:
    file.seek(0)
    sound = _by_libsndfile(file)
    # In Ogg, libsndfile takes half as long again as FFmpeg for Vorbis, and four times as long for Opus.
    if sound is not None and sound.knows_length and sound.format != "ogg":
        return sound
    file.seek(0)
    try:
        return FFmpegDecoder(file)
    except _ffmpeg_errors() as error:
        if sound is not None:
            return sound
        raise _unreadable(name, _reason(error)) from error


def _unreadable(name: str, why: str) -> AudioError:
    return AudioError(
        "audio_unreadable",
        f"{name}: not audio that can be decoded ({why})",
        "check that it plays; if it does, convert it: ffmpeg -i FILE out.flac",
    )


def _by_libsndfile(file: BinaryIO) -> SoundFileDecoder | None:
    import soundfile

    try:
        return SoundFileDecoder(file)
    # TypeError: soundfile refuses names that end in .raw, whatever the file holds.
    except (soundfile.LibsndfileError, TypeError):
        return None


class SoundFileDecoder:
    """libsndfile: wav, flac, ogg, opus, mp3, aiff, au and their relatives."""

    def __init__(self, file: BinaryIO) -> None:
        import soundfile

        self._error = soundfile.LibsndfileError
        self._file = soundfile.SoundFile(_descriptor(file) or file)
        self.format = str(self._file.format).lower()
        self.codec = str(self._file.subtype).lower()
        self.sample_rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        self._frames = int(self._file.frames)
        self._moved = False
        self.truncated = header.log_tells_cut(self._file.extra_info)
        here = file.tell()
        self.knows_length = 0 < self._frames < 2**62 and (
            self.format != "mp3" or header.mp3_states_length(file)
        )
        file.seek(here)
        self.seconds = self._frames / self.sample_rate if self.knows_length else None

    def iter_blocks(self, start: int, size: int) -> Iterator[FloatArray]:
        """Yield mono samples from frame ``start`` on, ``size`` at a time."""
        position = self._seek(start)
        while position is not None and position < self._frames:
            buffer = np.empty((size, self.channels), dtype=np.float32)
            found = self._read(buffer, position)
            if not found:
                self.truncated |= position < self._frames - _FRAMES_OF_SLACK
                return
            position += found
            yield downmix(buffer[:found].T)

    def _seek(self, start: int) -> int | None:
        try:
            moved, self._moved = self._moved, True
            return int(self._file.seek(min(start, self._frames))) if start or moved else 0
        except self._error:
            self.truncated = True
            return None

    def _read(self, buffer: FloatArray, position: int) -> int:
        """Fill ``buffer``; return how many frames are good, also when the decoder failed half-way."""
        try:
            return len(self._file.read(out=buffer))
        except self._error:
            self.truncated = True
        try:
            return max(0, int(self._file.tell()) - position)
        except self._error:
            return 0

    def close(self) -> None:
        """Close libsndfile's handle."""
        self._file.close()


def _descriptor(file: BinaryIO) -> int | None:
    """Open a file on disk once more, for libsndfile to read without a call to Python each time."""
    name = getattr(file, "name", None)
    return os.open(name, os.O_RDONLY) if isinstance(name, str) and os.name == "posix" else None


class FFmpegDecoder:
    """FFmpeg: m4a, wma, webm, mp4 and whatever else it knows of the formats allowed here."""

    def __init__(self, file: BinaryIO) -> None:
        import av

        self._error = av.error.FFmpegError
        options = {"format_whitelist": _CONTAINERS}
        self._container: Any = av.open(file, mode="r", options=options, metadata_errors="ignore")
        # A stream without context is one that FFmpeg has no decoder for.
        able = [stream for stream in self._container.streams.audio if stream.codec_context is not None]
        if not able:
            self._container.close()
            raise ValueError("no audio stream")
        self._stream: Any = able[0]
        self.format = str(self._container.format.name).split(",")[0]
        self.codec = str(self._stream.codec_context.name)
        self.sample_rate = int(self._stream.codec_context.sample_rate)
        self.channels = int(self._stream.codec_context.channels)
        self.seconds = self._stated_seconds()
        self._packer = av.AudioResampler(format="flt")
        self._begun = False
        self._origin: int | None = None
        self.truncated = False

    def _stated_seconds(self) -> float | None:
        if self.format not in _TIMED:
            return None
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        # The container's length is the longest stream's, which need not be this one's.
        alone = len(self._container.streams) == 1
        return self._container.duration / 1e6 if alone and self._container.duration else None

    def iter_blocks(self, start: int, size: int) -> Iterator[FloatArray]:
        """Yield mono samples from frame ``start`` on, at least ``size`` at a time but for the last."""
        gathered: list[Any] = []
        held = skipped = 0
        kind = None
        for frame, before in self._trim(start):
            former, kind = kind, (frame.format.name, frame.layout.nb_channels)
            # Converted many at a time: a call per frame costs more than decoding it.
            if gathered and (held >= size or kind != former):
                yield self._mono(gathered)[skipped:]
                gathered, held = [], 0
            if not gathered:
                skipped = before
            gathered.append(frame)
            held += frame.samples - before
        if gathered:
            yield self._mono(gathered)[skipped:]

    def _trim(self, start: int) -> Iterator[tuple[Any, int]]:
        """Yield the frames from ``start`` on, each with how many of its samples lie before."""
        end = 0
        for position, frame in self._with_positions(start):
            end = position + frame.samples
            if end > start:
                yield frame, max(0, start - position)
        if end and self.seconds is not None:
            self.truncated |= end / self.sample_rate < self.seconds - _SECONDS_OF_SLACK

    def _with_positions(self, start: int) -> Iterator[tuple[int, Any]]:
        """Yield the decoded frames, each with its place in the track, from some way before ``start`` on."""
        fresh, frames = not self._begun, self._frames()
        if fresh:
            first = next(frames, None)
            if first is None:
                return
            self._begun, self._origin = True, first.pts
            frames = chain([first], frames)
        run_up = start / self.sample_rate - _LONG_RUN_UP.get(self.format, _RUN_UP_SECONDS)
        jumps = run_up > 0 and self.format in _TIMED and self._origin is not None
        if jumps or not fresh:
            ticks = int(run_up / self._stream.time_base) if jumps else 0
            self._container.seek((self._origin or 0) + ticks, stream=self._stream)
            frames = self._frames()
        position = None if jumps else 0
        for frame in frames:
            if position is None:
                if frame.pts is None:
                    return
                position = round(float((frame.pts - self._origin) * frame.time_base) * self.sample_rate)
            yield position, frame
            position += frame.samples

    def _frames(self) -> Iterator[Any]:
        """Decode packet by packet: a damaged one costs itself, not the rest of the track."""
        try:
            for packet in self._container.demux(self._stream):
                yield from self._decode_packet(packet)
        except self._error:
            self.truncated = True

    def _decode_packet(self, packet: Any) -> list[Any]:
        try:
            frames = packet.decode()
        except self._error:
            self.truncated = True
            return []
        usable = [frame for frame in frames if frame.sample_rate == self.sample_rate]
        self.truncated |= len(usable) < len(frames)
        return usable

    def _mono(self, frames: list[Any]) -> FloatArray:
        """Join frames of one kind, and average their channels."""
        planar, channels = frames[0].format.is_planar, frames[0].layout.nb_channels
        if planar and channels >= 8:
            # PyAV reads past the last of so many planes.
            try:
                frames = [packed for frame in frames for packed in self._packer.resample(frame)]
            except ValueError:  # other channels than before
                self.truncated = True
                return np.zeros(0, np.float32)
            planar = False
        dtype = np.dtype(_DTYPES[frames[0].format.packed.name])
        columns = 1 if planar else channels
        planes = [
            np.concatenate(
                [np.frombuffer(frame.planes[place], dtype, frame.samples * columns) for frame in frames]
            )
            for place in range(channels // columns)
        ]
        return downmix([_scaled(column) for plane in planes for column in plane.reshape(-1, columns).T])

    def close(self) -> None:
        """Close FFmpeg's handles."""
        self._container.close()


def downmix(planes: FloatArray | Sequence[FloatArray]) -> FloatArray:
    """Return the mean of channels: ``planes``, shape (channels, n), to shape (n,)."""
    if len(planes) == 1:
        alone: FloatArray = planes[0]
        return alone
    # Infinities are for the caller to find and report, not for numpy to warn about.
    with np.errstate(over="ignore", invalid="ignore"):
        total: FloatArray = planes[0] + planes[1]
        for plane in planes[2:]:
            total += plane
        total *= np.float32(1 / len(planes))
    return total


def _scaled(samples: npt.NDArray[Any]) -> FloatArray:
    """Return samples as float32, integers scaled to [-1, 1]."""
    if samples.dtype.kind == "f":
        floats: FloatArray = samples.astype(np.float32, copy=False)
        return floats
    full_scale = 2.0 ** (8 * samples.dtype.itemsize - 1)
    center = full_scale if samples.dtype.kind == "u" else 0.0
    scaled: FloatArray = ((samples.astype(np.float64) - center) / full_scale).astype(np.float32)
    return scaled


def _ffmpeg_errors() -> tuple[type[Exception], ...]:
    import av

    return av.error.FFmpegError, ValueError


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
