"""Two decoders, libsndfile and FFmpeg, behind one protocol: blocks of samples at the file's own rate.

libsndfile (through soundfile) comes first. FFmpeg (through PyAV) takes what libsndfile cannot open, and the
files whose length libsndfile would have to guess, because it stops reading at its guess.

FFmpeg knows packets and time stamps, no sample positions. `FFmpegDecoder` gets from one to the other in
a chain of generators, each of which does one thing and holds a few frames at most::

    _frames             packets to frames; a packet that cannot be decoded is left out
    _with_positions     seeks, and gives each frame its position in samples
    _trim               drops what lies before the start of an excerpt, and notices an early end
    iter_blocks         collects frames to blocks of the size asked for, and separates the channels

A consumer that stops early closes the chain; the next call begins a new one on the same open container.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from genrescope.audio.header import HeaderInfo, inspect_header, log_reports_truncation
from genrescope.audio.mixing import Planes
from genrescope.errors import AudioError
from genrescope.types import FloatArray

# Two MPEG frames: encoders disagree about whether the frame that states the length counts itself.
_TOLERANCE_FRAMES = 2304
# Containers round their length to packets, and count the encoder's delay, which a decoder drops.
_TOLERANCE_SECONDS = 0.5
# What a lossy decoder must have decoded before an excerpt for its output to be that of a continuous decoding:
# the transforms of neighboring frames overlap, and MP3 frames borrow bits from earlier ones. A few packets
# are enough (RFC 7845, section 4.6, asks for 80 ms of Opus), but for WMA, whose packets may hold a second.
_PREROLL_SECONDS = 0.25
_LONG_PREROLL = {"asf": 1.0}
# Beyond these a header is damaged, and converting the rate could fill the memory.
_MIN_RATE, _MAX_RATE = 1_000, 10_000_000

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

    Attributes
    ----------
    format, codec : str
        Container and coding, in the words of the library.
    sample_rate : int
        In Hz.
    channels : int
    seconds : float or None
        The length that the file states; None where it states none.
    truncated : bool
        Turns true when less than that is found.
    """

    format: str
    codec: str
    sample_rate: int
    channels: int
    seconds: float | None
    truncated: bool

    def iter_blocks(self, start: int, size: int) -> Iterator[Planes]:
        """Yield blocks: an array of shape (channels, n), or a list of arrays of shape (n,), each a new one.

        May be called again, for another start, when the iteration before is given up.

        Parameters
        ----------
        start : int
            First sample of a channel, counted from 0.
        size : int
            About how many samples a block is to have.
        """
        ...

    def close(self) -> None:
        """Release the library's handles; the file stays open."""
        ...


def open_decoder(file: BinaryIO, name: str, header: HeaderInfo | None = None) -> Decoder:
    """Choose the decoder for an open file, by trying.

    Parameters
    ----------
    file : binary file, seekable
    name : str
        What to call it in an error.
    header : HeaderInfo, optional
        Of this file, where it was inspected already.

    Returns
    -------
    Decoder

    Raises
    ------
    AudioError
        ``audio_unreadable`` when neither library knows the format, or the header makes no sense.
    """
    header = header or inspect_header(file)
    decoder = _first_able(file, name, header)
    if not _MIN_RATE <= decoder.sample_rate <= _MAX_RATE or not decoder.channels:
        decoder.close()
        raise _unreadable(name, f"{decoder.channels} channels at {decoder.sample_rate} Hz, says its header")
    decoder.truncated |= header.truncated
    if header.chained:
        decoder.seconds = None
    return decoder


def _first_able(file: BinaryIO, name: str, header: HeaderInfo) -> Decoder:
    file.seek(0)
    by_libsndfile = _open_with_libsndfile(file, header)
    # In Ogg, libsndfile takes half as long again as FFmpeg for Vorbis, and four times as long for Opus.
    if by_libsndfile is not None and by_libsndfile.knows_length and by_libsndfile.format != "ogg":
        return by_libsndfile
    file.seek(0)
    try:
        return FFmpegDecoder(file)
    except _ffmpeg_errors() as error:
        if by_libsndfile is not None:
            return by_libsndfile
        raise _unreadable(name, _reason(error)) from error


def _unreadable(name: str, why: str) -> AudioError:
    return AudioError(
        "audio_unreadable",
        f"{name}: not audio that can be decoded ({why})",
        "check that it plays; if it does, convert it: ffmpeg -i FILE out.flac",
    )


def _open_with_libsndfile(file: BinaryIO, header: HeaderInfo) -> SoundFileDecoder | None:
    import soundfile

    try:
        return SoundFileDecoder(file, header)
    # TypeError: soundfile refuses names that end in .raw, whatever the file holds.
    except (soundfile.LibsndfileError, TypeError):
        return None


class SoundFileDecoder:
    """libsndfile: wav, flac, ogg, opus, mp3, aiff, au and their relatives.

    Parameters
    ----------
    file : binary file, seekable
    header : HeaderInfo
        Of this file.
    """

    def __init__(self, file: BinaryIO, header: HeaderInfo) -> None:
        import soundfile

        self._error = soundfile.LibsndfileError
        self._file = soundfile.SoundFile(_descriptor(file) or file)
        self.format = str(self._file.format).lower()
        self.codec = str(self._file.subtype).lower()
        self.sample_rate = int(self._file.samplerate)
        self.channels = int(self._file.channels)
        self._frames = int(self._file.frames)
        self._moved = False
        self.truncated = log_reports_truncation(self._file.extra_info)
        # libsndfile gives 2**63 - 1 frames where the file does not say; of an MP3 file without a count of its
        # frames it gives what the first frames let it guess.
        self.knows_length = 0 < self._frames < 2**62 and (self.format != "mp3" or header.counts_mp3_frames)
        self.seconds = self._frames / self.sample_rate if self.knows_length else None

    def iter_blocks(self, start: int, size: int) -> Iterator[Planes]:
        """Yield blocks of samples from ``start`` on, ``size`` at a time; see `Decoder`."""
        position = self._seek(start)
        while position is not None and position < self._frames:
            buffer = np.empty((size, self.channels), dtype=np.float32)
            found = self._read(buffer, position)
            if not found:
                self.truncated |= position < self._frames - _TOLERANCE_FRAMES
                return
            position += found
            yield buffer[:found].T

    def _seek(self, start: int) -> int | None:
        """Go to a sample; None where the file cannot be read from there."""
        try:
            # A new handle is at the start already, and in a damaged file a seek can fail.
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
    """FFmpeg: m4a, wma, webm, mp4 and whatever else it knows of the formats allowed here.

    Parameters
    ----------
    file : binary file, seekable

    Raises
    ------
    av.error.FFmpegError, ValueError
        FFmpeg does not know the format, or the file has no audio stream.
    """

    def __init__(self, file: BinaryIO) -> None:
        import av

        self._error = av.error.FFmpegError
        options = {"format_whitelist": _CONTAINERS}
        self._container: Any = av.open(file, mode="r", options=options, metadata_errors="ignore")
        # FFmpeg has no decoder for a stream that has no context.
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
        # Time stamps count from the stream's first one, which need not be 0; known once a frame was decoded.
        self._begun = False
        self._origin: int | None = None
        self.truncated = False

    def _stated_seconds(self) -> float | None:
        if self.format not in _TIMED:
            return None
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        # The container's length is the longest stream's, which need not be this one's.
        is_only_stream = len(self._container.streams) == 1
        return self._container.duration / 1e6 if is_only_stream and self._container.duration else None

    def iter_blocks(self, start: int, size: int) -> Iterator[Planes]:
        """Yield blocks of samples from ``start`` on, at least ``size`` at a time; see `Decoder`."""
        gathered: list[Any] = []
        held = skipped = 0
        kind = None
        for frame, before in self._trim(start):
            former, kind = kind, (frame.format.name, frame.layout.nb_channels)
            # Frames are converted many at a time: a conversion per frame costs more than decoding it. Only
            # frames of one sample format and number of channels can be joined; both may change within a file.
            if gathered and (held >= size or kind != former):
                yield self._planes(gathered, skipped)
                gathered, held = [], 0
            if not gathered:
                skipped = before
            gathered.append(frame)
            held += frame.samples - before
        if gathered:
            yield self._planes(gathered, skipped)

    def _trim(self, start: int) -> Iterator[tuple[Any, int]]:
        """Yield the frames from ``start`` on, each with how many of its samples lie before it.

        Only an iteration that is not given up reaches the end of the file, and can compare it with the length
        that the container states.
        """
        end = 0
        for position, frame in self._with_positions(start):
            end = position + frame.samples
            if end > start:
                yield frame, max(0, start - position)
        if end and self.seconds is not None:
            self.truncated |= end / self.sample_rate < self.seconds - _TOLERANCE_SECONDS

    def _with_positions(self, start: int) -> Iterator[tuple[int, Any]]:
        """Yield the decoded frames with their positions in samples, from some way before ``start`` on.

        There are three ways to the first frame: a container that was not read yet is read on from where it is
        opened; one that was read is rewound; and one with reliable time stamps is sought in, to a little
        before ``start``. Only then does the time stamp of the first frame tell its position. In all other
        cases positions are counted from 0, because time stamps are rounded, and counting is exact.
        """
        fresh, frames = not self._begun, self._frames()
        if fresh:
            first = next(frames, None)
            if first is None:
                return
            # The first frame is decoded before any seek, since only it tells where time stamps begin.
            self._begun, self._origin = True, first.pts
            frames = chain([first], frames)
        preroll_start = start / self.sample_rate - _LONG_PREROLL.get(self.format, _PREROLL_SECONDS)
        jumps = preroll_start > 0 and self.format in _TIMED and self._origin is not None
        if jumps or not fresh:
            ticks = int(preroll_start / self._stream.time_base) if jumps else 0
            self._container.seek((self._origin or 0) + ticks, stream=self._stream)
            frames = self._frames()
        position = None if jumps else 0
        for frame in frames:
            if position is None:
                if frame.pts is None:  # after a seek, a frame without time stamp may come from anywhere
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
        # Frames of another rate than the file's cannot be joined with the others.
        usable = [frame for frame in frames if frame.sample_rate == self.sample_rate]
        self.truncated |= len(usable) < len(frames)
        return usable

    def _planes(self, frames: list[Any], skipped: int) -> list[FloatArray]:
        """Join frames of one kind, without the first ``skipped`` samples; return each channel."""
        planar, channels = frames[0].format.is_planar, frames[0].layout.nb_channels
        if planar and channels >= 8:
            # PyAV reads past the last of so many planes.
            try:
                frames = [packed for frame in frames for packed in self._packer.resample(frame)]
            except ValueError:  # other channels than before
                self.truncated = True
                return [np.zeros(0, np.float32)]
            planar = False
        dtype = np.dtype(_DTYPES[frames[0].format.packed.name])
        columns = 1 if planar else channels
        planes = [
            np.concatenate(
                [np.frombuffer(frame.planes[place], dtype, frame.samples * columns) for frame in frames]
            )
            for place in range(channels // columns)
        ]
        return [_scaled(column[skipped:]) for plane in planes for column in plane.reshape(-1, columns).T]

    def close(self) -> None:
        """Close FFmpeg's handles."""
        self._container.close()


def _scaled(samples: npt.NDArray[Any]) -> FloatArray:
    """Return samples as float32, integers scaled to [-1, 1]."""
    if samples.dtype.kind == "f":
        # Float64 beyond float32 becomes infinite: that is for the caller to report, not for numpy.
        with np.errstate(over="ignore"):
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
