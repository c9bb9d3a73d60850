"""From measurements of a recording to findings: the thresholds, and what a score means.

Thresholds were chosen on music that is presumed clean, so that false alarms are rare; how often each kind is
found there is in EXPERIMENTS.md, "Audit".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from genrescope.audit.findings import Finding, Span, finding_of
from genrescope.audit.signal import SignalStats

# Silence: a share of the recording, or one long stretch.
_SILENT_SHARE = 0.2
_SILENT_SECONDS = 8.0
# A run of zeros interrupts where the sound is above this level on both sides.
_INTERRUPTED_DB = -45.0
_MIN_CLIPPED_SAMPLES = 50
_MIN_CLIPPED_SHARE = 1e-5
_PILE_RATIO = 1.5
_DC_OFFSET = 0.01
_DC_SHARE = 0.1
_ANTIPHASE_SHARE = 0.1
_DUAL_MONO_DB = -70.0
_SILENT_CHANNEL_DB = -60.0
_HUM_LINES = 3
# Weaker lines are those of rounding, or flanks of other tones.
_HUM_RELATIVE_DB = -60.0
_BANDWIDTH_DROP_DB = 25.0
_UPSAMPLED_SHARE = 0.6
# What ends lower is a tone or a bass, and not a sound that was cut off.
_MIN_BANDWIDTH_HZ = 2000
# Lossy coders end at 16 kHz (MP3, 128 kbit/s) to 20 kHz; converters with filters of their own end above.
_CODER_LIMIT_HZ = 20_200
_MIN_RATE = 32_000
LOSSLESS_CODECS = ("pcm", "flac", "alac", "wavpack", "tta", "ape")


def is_lossless(codec: str) -> bool:
    """Return whether a coding keeps the samples.

    Parameters
    ----------
    codec : str
        As of `AudioInfo`.
    """
    return codec.startswith(LOSSLESS_CODECS)


def check_signal(stats: SignalStats, codec: str) -> Iterator[Finding]:
    """Yield what is wrong with the sound of a recording.

    Parameters
    ----------
    stats : SignalStats
    codec : str
        As of `AudioInfo`.
    """
    if not stats.seconds:
        return
    for check in (_silence, _zero_runs, _clipping, _dc_offset, _stereo, _hum):
        yield from check(stats)
    yield from _bandwidth(stats, codec)


def _decibels(value: float) -> float:
    return 20 * math.log10(value) if value > 0 else -200.0


def _silence(stats: SignalStats) -> Iterator[Finding]:
    share = stats.silent_seconds / stats.seconds
    longest = max((end - start for start, end in stats.silent_spans), default=0.0)
    if share < _SILENT_SHARE and longest < _SILENT_SECONDS:
        return
    if share > 0.98:
        return  # `silent`, by the reader
    found = finding_of(
        "silence",
        max(share, min(0.4, longest / 60)),
        f"{stats.silent_seconds:.1f} s of {stats.seconds:.1f} s are silent, up to {longest:.1f} s at a time",
        silent_share=share,
        longest_seconds=longest,
        leading_seconds=stats.leading_silence,
        trailing_seconds=stats.trailing_silence,
    )
    yield replace(found, spans=tuple(Span(*span) for span in stats.silent_spans))


def _zero_runs(stats: SignalStats) -> Iterator[Finding]:
    holes = [run for run in stats.zero_runs if min(run.level_before, run.level_after) > _INTERRUPTED_DB]
    if not holes:
        return
    longest = max(run.end - run.start for run in holes)
    found = finding_of(
        "zero_run",
        0.4 + min(0.2, 0.05 * len(holes)) + min(0.2, longest),
        f"the sound is interrupted by exact zeros {len(holes)} times, for up to {1000 * longest:.0f} ms",
        interruptions=len(holes),
        longest_seconds=longest,
        all_runs=stats.zero_run_count,
    )
    yield replace(found, spans=tuple(Span(run.start, run.end) for run in holes))


def _clipping(stats: SignalStats) -> Iterator[Finding]:
    share = stats.clipped_samples / (stats.seconds * stats.sample_rate * stats.channels)
    numbers: dict[str, float] = {
        "clipped_samples": stats.clipped_samples,
        "clipped_share": share,
        "peak_db": _decibels(stats.peak),
        "pile_ratio": stats.pile_ratio,
    }
    if stats.clipped_samples >= _MIN_CLIPPED_SAMPLES and share >= _MIN_CLIPPED_SHARE:
        # 0.01 % of the samples: 0.4; 1 %: 0.8.
        found = finding_of(
            "clipping",
            0.4 + 0.2 * (math.log10(share) + 4),
            f"{stats.clipped_samples} samples ({share:.3%}) lie in runs at the extreme,"
            f" {_decibels(stats.peak):.1f} dBFS",
            **numbers,
        )
        yield replace(found, spans=tuple(Span(*span) for span in stats.clipped_spans))
    elif stats.pile_ratio >= _PILE_RATIO:
        yield finding_of(
            "clipping",
            0.3 + 0.15 * (stats.pile_ratio - _PILE_RATIO),
            f"{stats.pile_ratio:.1f} times as many samples lie near {stats.pile_level:.2f} of full scale as"
            " just below: likely clipped before it was coded",
            pile_level=stats.pile_level,
            **numbers,
        )


def _dc_offset(stats: SignalStats) -> Iterator[Finding]:
    offset = abs(stats.dc_offset)
    if offset < _DC_OFFSET or offset < _DC_SHARE * stats.rms:
        return
    yield finding_of(
        "dc_offset",
        0.3 + 0.5 * min(1.0, offset / 0.1),
        f"the samples of a channel have a mean of {stats.dc_offset:+.3f} of full scale",
        offset=stats.dc_offset,
        offset_db=_decibels(offset),
        rms_db=_decibels(stats.rms),
    )


def _stereo(stats: SignalStats) -> Iterator[Finding]:
    if stats.channels < 2 or not stats.sounding_seconds:
        return
    share = stats.antiphase_seconds / stats.sounding_seconds
    if share >= _ANTIPHASE_SHARE:
        found = finding_of(
            "antiphase",
            0.4 + 0.5 * share,
            f"in {stats.antiphase_seconds} of {stats.sounding_seconds} s the first two channels are opposed"
            " (correlation below -0.7); their mean is far weaker than they are",
            antiphase_share=share,
            antiphase_seconds=stats.antiphase_seconds,
        )
        yield replace(found, spans=tuple(Span(*span) for span in stats.antiphase_spans))
    weakest, loudest = min(stats.channel_rms[:2]), max(stats.channel_rms[:2])
    if _decibels(weakest / loudest) < _SILENT_CHANNEL_DB:
        side = "left" if stats.channel_rms[0] < stats.channel_rms[1] else "right"
        yield finding_of(
            "silent_channel",
            0.5,
            f"the {side} channel is {-_decibels(weakest / loudest):.0f} dB below the other",
            channel=side,
            difference_db=_decibels(weakest / loudest),
        )
    elif stats.channels == 2 and _decibels(stats.side_rms / stats.rms) < _DUAL_MONO_DB:
        exact = "equal" if stats.side_rms == 0 else "equal but for the coder"
        yield finding_of(
            "dual_mono",
            0.1,
            f"both channels are {exact}: a mono recording in a stereo file",
            side_db=_decibels(stats.side_rms / stats.rms),
        )


def _hum(stats: SignalStats) -> Iterator[Finding]:
    hum = stats.hum
    relative = hum.level_db - _decibels(stats.rms)
    if hum.lines < _HUM_LINES or relative < _HUM_RELATIVE_DB:
        return
    yield finding_of(
        "hum",
        0.2 + 0.05 * hum.lines + max(0.0, (relative + 40) / 100),
        f"{hum.lines} of the first eight multiples of {hum.mains_hz} Hz stand out throughout, by up to"
        f" {hum.prominence_db:.0f} dB; together they are {relative:.0f} dB beside all sound",
        mains_hz=hum.mains_hz,
        lines=hum.lines,
        prominence_db=hum.prominence_db,
        relative_db=relative,
    )


def _bandwidth(stats: SignalStats, codec: str) -> Iterator[Finding]:
    nyquist = stats.sample_rate / 2
    share = stats.bandwidth_hz / nyquist
    if stats.bandwidth_drop_db < _BANDWIDTH_DROP_DB or stats.bandwidth_hz < _MIN_BANDWIDTH_HZ:
        return
    numbers = {
        "bandwidth_hz": round(stats.bandwidth_hz),
        "drop_db": round(stats.bandwidth_drop_db, 1),
        "nyquist_hz": round(nyquist),
    }
    what = (
        f"above {stats.bandwidth_hz:.0f} Hz the spectrum falls by {stats.bandwidth_drop_db:.0f} dB to nothing"
    )
    if share < _UPSAMPLED_SHARE:
        message = f"{what}; a sample rate of {2 * stats.bandwidth_hz:.0f} Hz would hold all of it"
        yield finding_of("upsampled", 0.3 + 0.5 * (_UPSAMPLED_SHARE - share), message, **numbers)
    elif is_lossless(codec) and stats.sample_rate > _MIN_RATE and stats.bandwidth_hz < _CODER_LIMIT_HZ:
        message = f"{what}, as lossy coders leave it, in a lossless file"
        yield finding_of("transcoded", 0.4, message, **numbers)
