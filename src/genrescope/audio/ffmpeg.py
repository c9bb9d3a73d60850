"""FFmpeg, through PyAV: every compressed format, and whatever libsndfile cannot open.

FFmpeg knows packets and time stamps, no sample positions. `FFmpegDecoder` gets from one to the other in a
chain of generators, each of which does one thing and holds a few frames at most::

    _frames             packets to frames; a packet that cannot be decoded is left out
    _with_positions     seeks, and gives each frame its position in samples
    _trim               drops what lies before the start of an excerpt, and compares the end with the header
    iter_blocks         collects frames to blocks of the size asked for, one array per channel

A consumer that stops early closes the chain; the next call begins a new one on the same open container.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from io import SEEK_END
from itertools import chain, pairwise
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from genrescope.audio.files import DecoderFile
from genrescope.audio.header import HeaderInfo, inspect_header
from genrescope.audio.mixing import Planes
from genrescope.audio.mpeg import is_frame_header
from genrescope.audio.parts import FilePart
from genrescope.types import FloatArray

# Two MPEG frames: encoders disagree about whether the frame that states the length counts itself.
TOLERANCE_FRAMES = 2304
# Containers round their length to packets, and count the encoder's delay, which a decoder drops.
_TOLERANCE_SECONDS = 0.5
# What the decoder of MP3 leaves out at the start for most encoders, and what it may leave out at both ends.
_MP3_DELAY_FRAMES, _MAX_MP3_DELAY_SECONDS = 1105, 0.2
# The header of these counts samples or frames, so that less than half a second is missed, too.
_COUNTED = frozenset({"flac", "mp3"})
# What a lossy decoder must have decoded before an excerpt for its output to be that of a continuous decoding:
# the transforms of neighboring frames overlap, and MP3 frames borrow bits from earlier ones. A few packets
# are enough (RFC 7845, section 4.6, asks for 80 ms of Opus), but for WMA, whose packets may hold a second.
_PREROLL_SECONDS = 0.25
_LONG_PREROLL = {"asf": 1.0}
# Wrong time stamps, or none, make a seek end far before an excerpt. Packets of Monkey's Audio may have 27 s.
_MAX_PREROLL_SECONDS, _MAX_PREROLL_SHARE = 30.0, 0.25

# FFmpeg may open nothing else: playlists and the like would make it fetch further files or addresses.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,asf,aac,mp3,ac3,eac3,dts,wav,w64,aiff,au,caf,flac,ogg,"
    "wv,ape,tta,tak,mpc,mpc8,amr,mpegts,mpeg,avi,flv,dsf,iff,rm,voc,loas,latm,shn,ircam,nistsphere"
)
# Containers with real time stamps. For the others FFmpeg estimates times from the bit rate.
_TIMED = frozenset({"mov", "matroska", "asf", "wav", "w64", "aiff", "au", "caf", "flac", "ogg", "wv", "ape"})

# FFmpeg has one name, "mov", for QuickTime and all that grew out of it; a file's first brand tells them apart
# (ISO/IEC 14496-12; https://mp4ra.org/registered-types/brands). Other brands are of plain MP4 files; they
# are called M4A where they have no pictures but covers.
_BRANDS = {"M4A": "m4a", "M4B": "m4b", "M4P": "m4a", "qt": "mov"}
_COVER_CODECS = frozenset({"mjpeg", "png", "bmp", "gif"})

# FFmpeg's sample formats.
_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


def open_container(file: DecoderFile, *, ignores_edits: bool = False) -> Any:
    """Open a file for reading, as one of `CONTAINERS`, whatever the encoding of its tags.

    Parameters
    ----------
    file : DecoderFile
        Stays open.
    ignores_edits : bool
        Whether edit lists of MP4 files are ignored.

    Returns
    -------
    av.container.InputContainer
        Bytes of tags that are not UTF-8 are left out, or since PyAV 19 lone surrogates.

    Raises
    ------
    Exception
        Damaged files make PyAV raise errors of many types.
    """
    import av

    options = {"format_whitelist": CONTAINERS}
    if ignores_edits:
        options["ignore_editlist"] = "1"
    major = int(av.__version__.partition(".")[0])
    # Without it versions before 19 raise an error where a tag is not UTF-8; PyAV 19 has no such argument.
    earlier: dict[str, Any] = {"metadata_errors": "ignore"} if major < 19 else {}
    return av.open(file, mode="r", options=options, **earlier)


class FFmpegDecoder:
    """Decode with FFmpeg; see `Decoder`.

    Parameters
    ----------
    file : binary file, seekable
    header : HeaderInfo
        Of this file.

    Raises
    ------
    Exception
        FFmpeg does not know the format, or the file has no audio stream. PyAV passes on errors of many types
        from damaged files, so that no list of them is complete.
    """

    def __init__(self, file: BinaryIO, header: HeaderInfo) -> None:
        import av

        self._parts: list[BinaryIO] = []
        if header.parts:
            bounds = [0, *header.parts, file.seek(0, SEEK_END)]
            file, *self._parts = (cast(BinaryIO, FilePart(file, *each)) for each in pairwise(bounds))
        self._file = DecoderFile(file, header.patches)
        self._container: Any = open_container(self._file, ignores_edits=header.ignores_edits)
        try:
            self._open_stream(header)
        except BaseException:
            self._container.close()
            raise
        self._new_queue = av.AudioFifo
        self._packer = av.AudioResampler(format="flt")
        self._converters: dict[tuple[str, str, int], Any] = {}
        # Time stamps count from the stream's first one, which need not be 0; known once a frame was decoded.
        self._begun = False
        self._origin: int | None = None
        self._demuxer_failed = False
        self.truncated = False
        self.header_mismatch = False
        self._is_joined = self._demuxer == "mp3" and header.header_mismatch
        self._has_all_frames = self._demuxer == "mp3" and header.has_all_frames

    def _open_stream(self, header: HeaderInfo) -> None:
        self._stream: Any = _main_stream(self._container)
        self._demuxer = str(self._container.format.name).split(",")[0]
        self.format = _mp4_kind(self._container) if self._demuxer == "mov" else self._demuxer
        self.codec = str(self._stream.codec_context.codec.canonical_name)
        self.sample_rate = int(self._stream.codec_context.sample_rate)
        self.channels = int(self._stream.codec_context.channels)
        counted = self._demuxer == "mp3" and header.counts_mp3_frames and header.is_regular
        self.seconds = self._stated_seconds(counted)
        if counted and abs((self.seconds or 0.0) - header.mp3_seconds) > _MAX_MP3_DELAY_SECONDS:
            # FFmpeg takes a long tag behind the last frame for a second file, and guesses by the bit rate.
            self.seconds = header.mp3_seconds - _MP3_DELAY_FRAMES / self.sample_rate
        # FFmpeg finds the frames of an MP3 file by counting, which is exact as long as there are no gaps.
        self.seekable = (self._demuxer in _TIMED or counted) and not self._parts
        self._tolerance = (
            TOLERANCE_FRAMES / self.sample_rate
            if self._demuxer in _COUNTED and self.sample_rate > 0
            else _TOLERANCE_SECONDS
        )

    def _stated_seconds(self, counted: bool) -> float | None:
        if self._demuxer not in _TIMED and not counted:
            return None
        if self._stream.duration:
            ticks = self._stream.duration
            # FFmpeg counts Ogg from time 0, also where the sound starts later, as in recordings of streams.
            if self._demuxer == "ogg" and 0 < (self._stream.start_time or 0) < ticks:
                ticks -= self._stream.start_time
            seconds: float = float(ticks * self._stream.time_base)
            return seconds
        # The container's length is the longest stream's, which need not be this one's.
        is_only_stream = len(self._container.streams) == 1
        if not is_only_stream or not self._container.duration:
            return None
        # It ends when the sound ends, and sound that starts late is shorter than that.
        late = max(0, self._stream.start_time or 0) * self._stream.time_base
        left: float = self._container.duration / 1e6 - float(late)
        return max(0.0, left)

    def limit_reading(self, *, limited: bool) -> None:
        """Limit the reading of excerpts where ``limited``; see `Decoder`."""
        # FFmpeg finds the frames of an MP3 file by reading all before them, which costs little.
        self._file.limit_reading(limited=limited and self._demuxer != "mp3")

    @property
    def failure(self) -> OSError | None:
        """See `Decoder`."""
        return self._file.failure

    def iter_blocks(self, start: int, size: int) -> Iterator[Planes]:
        """Yield the channels from ``start`` on, at least ``size`` samples at a time; see `Decoder`."""
        queue, held, skipped, kind = self._new_queue(), 0, 0, None
        for frame, before in self._trim(start):
            # Frames are converted many at a time: a conversion per frame costs more than decoding it. Only
            # frames of one sample format and number of channels can be joined; both may change within a file.
            former, kind = kind, (frame.format.name, frame.layout.nb_channels)
            if held >= size or (held and kind != former):
                yield [plane[skipped:] for plane in self._planes(queue.read())]
                queue, held = self._new_queue() if kind != former else queue, 0
            if not held:
                skipped = before
            # The queue copies the samples at once, and so the decoder uses the memory of a frame again for
            # the next one. It would refuse time stamps with gaps.
            frame.pts = None
            queue.write(frame)
            held += frame.samples - before
        if held:
            yield [plane[skipped:] for plane in self._planes(queue.read())]

    def _trim(self, start: int) -> Iterator[tuple[Any, int]]:
        """Yield the frames from ``start`` on, each with how many of its samples lie before it.

        Only an iteration that is not given up reaches the end of the file, and can compare it with the length
        that the container states.
        """
        end, self._demuxer_failed = 0, False
        for position, frame in self._with_positions(start):
            end = position + frame.samples
            if end > start:
                yield frame, max(0, start - position)
        # Behind all sound that the file states, a failure tells of a tag or of padding.
        stated = math.inf if self.seconds is None else self.seconds * self.sample_rate
        self.truncated |= self._demuxer_failed and end < max(1.0, stated - TOLERANCE_FRAMES)
        if end and self.seconds is not None:
            found = end / self.sample_rate
            self.truncated |= found < self.seconds - self._tolerance
            self.header_mismatch |= found > self.seconds + _TOLERANCE_SECONDS

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
        preroll_start = start / self.sample_rate - _LONG_PREROLL.get(self._demuxer, _PREROLL_SECONDS)
        jumps = preroll_start > 0 and self.seekable and self._origin is not None
        if jumps or not fresh:
            ticks = int(preroll_start / self._stream.time_base) if jumps else 0
            if not self._seek((self._origin or 0) + ticks):
                return
            frames = self._frames()
        position = None if jumps else 0
        is_numbered = self._demuxer == "flac"
        for frame in frames:
            # Computed where it is needed only: arithmetic of fractions takes as long as decoding a frame.
            if position is None:
                position = self._stamped_position(frame)
                if position is None:  # after a seek, a frame without time stamp may come from anywhere
                    return
                self.seekable = start - position <= self._max_preroll_frames()
            elif is_numbered and (self._stamped_position(frame) or 0) > position + TOLERANCE_FRAMES:
                # The frames of FLAC are numbered: a gap in the numbers is sound that is missing.
                self.truncated, position = True, self._stamped_position(frame) or position
            yield position, frame
            position += frame.samples

    def _max_preroll_frames(self) -> float:
        """Return how far before an excerpt a seek may end: from farther away, seeks gain nothing."""
        share = _MAX_PREROLL_SHARE * (self.seconds or math.inf)
        return min(_MAX_PREROLL_SECONDS, max(2.0, share)) * self.sample_rate

    def _seek(self, ticks: int) -> bool:
        try:
            self._container.seek(ticks, stream=self._stream)
        except Exception:
            # A seek that fails says nothing about the sound, which may well be whole.
            return False
        return True

    def _stamped_position(self, frame: Any) -> int | None:
        if frame.pts is None or self._origin is None:
            return None
        return round(float((frame.pts - self._origin) * frame.time_base) * self.sample_rate)

    def _frames(self) -> Iterator[Any]:
        """Decode this file, and those that were appended to it."""
        yield from self._container_frames()
        for part in self._parts:
            yield from self._part_frames(part)

    def _part_frames(self, part: BinaryIO) -> Iterator[Any]:
        """Decode an appended file, at the rate of the first."""
        try:
            decoder = FFmpegDecoder(part, header := inspect_header(part))
        except MemoryError:
            raise
        except Exception:
            self.truncated = True
            return
        with closing(decoder):
            rate, decoder.sample_rate = decoder.sample_rate, self.sample_rate
            decoder.truncated = header.truncated or rate <= 0
            for frame, _ in decoder._trim(0):
                yield frame
            self.truncated |= decoder.truncated
            self._file.failure = self._file.failure or decoder.failure

    def _container_frames(self) -> Iterator[Any]:
        """Decode packet by packet: a damaged one costs itself, not the rest of the track."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except Exception:
                # PyAV passes on errors of many types from damaged files.
                self._demuxer_failed = True
                break
            yield from self._decode_packet(packet)
        # The end of what may be read is not the end of the file.
        self.truncated |= self._file.exhausted

    def _decode_packet(self, packet: Any) -> list[Any]:
        try:
            frames: list[Any] = packet.decode()
            for frame in frames:
                if frame.sample_rate != self.sample_rate:
                    return [converted for frame in frames for converted in self._at_stated_rate(frame)]
            return frames
        except Exception:
            # Behind a joint, MP3 frames refer to data of frames that are not there. FFmpeg takes tags and
            # padding at the end for packets, too.
            is_tag = self._has_all_frames and not is_frame_header(bytes(packet)[:4])
            # Bytes 20 to 23 of a block of WavPack are the number of its samples.
            is_empty = self._demuxer == "wv" and bytes(packet)[20:24] == bytes(4)
            self.truncated |= not (self._is_joined or is_tag or is_empty)
            return []

    def _at_stated_rate(self, frame: Any) -> list[Any]:
        """Return a frame, converted where its rate is not that of the header, as in joined files."""
        if frame.sample_rate == self.sample_rate:
            return [frame]
        import av

        self.header_mismatch = True
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind not in self._converters:
            self._converters[kind] = av.AudioResampler("fltp", frame.layout, self.sample_rate)
        # The converter keeps the time stamps that it is given, and these may jump between joined files.
        frame.pts = None
        return list(self._converters[kind].resample(frame))

    def _planes(self, frame: Any) -> list[FloatArray]:
        """Return the samples of a frame, one array per channel."""
        planar, channels = frame.format.is_planar, frame.layout.nb_channels
        if planar and channels >= 8:
            # PyAV reads past the last of so many planes.
            try:
                (frame,) = self._packer.resample(frame)
            except ValueError:  # other channels than before
                self.truncated = True
                return [np.zeros(0, np.float32)]
            planar = False
        dtype = np.dtype(_DTYPES[frame.format.packed.name])
        columns = 1 if planar else channels
        planes = [np.frombuffer(plane, dtype, frame.samples * columns) for plane in frame.planes]
        return [column for plane in planes for column in _scaled(plane).reshape(-1, columns).T]

    def close(self) -> None:
        """Close FFmpeg's handles."""
        self._container.close()


def _mp4_kind(container: Any) -> str:
    """Return what people call a file of FFmpeg's format "mov", by the brand that it begins with."""
    brand = str(container.metadata.get("major_brand", "")).strip()
    if brand in _BRANDS or not brand:
        return _BRANDS.get(brand, "mov")
    codecs = {stream.codec_context.name for stream in container.streams.video if stream.codec_context}
    return "mp4" if codecs - _COVER_CODECS else "m4a"


def _main_stream(container: Any) -> Any:
    """Return the audio stream that a player takes: the default one, else FFmpeg's choice.

    Raises
    ------
    ValueError
        There is none.
    """
    # FFmpeg has no decoder for a stream that has no context.
    able = [stream for stream in container.streams.audio if stream.codec_context is not None]
    if not able:
        raise ValueError("no audio stream")
    best = container.streams.best("audio")
    marked = [stream for stream in able if stream.disposition & type(stream.disposition).default]
    if marked:
        return marked[0]
    return next((stream for stream in able if best is not None and stream.index == best.index), able[0])


def _scaled(samples: npt.NDArray[Any]) -> FloatArray:
    """Return samples as float32, integers scaled to [-1, 1]."""
    if samples.dtype.kind == "f":
        # Doubles beyond the range of float32 become infinite; that is for the caller to find and report.
        with np.errstate(over="ignore"):
            floats: FloatArray = samples.astype(np.float32, copy=False)
        return floats
    # Scaling by a power of two rounds nothing; the conversion rounds what has more than 24 bits.
    bits = 8 * samples.dtype.itemsize
    scaled = samples.astype(np.float32)
    if samples.dtype.kind == "u":
        scaled -= np.float32(2.0 ** (bits - 1))
    scaled *= np.float32(2.0 ** (1 - bits))
    return scaled
