"""Faults that are put into clean sound are found, with where they are; clean sound gives no finding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from genrescope.audit import Finding, SignalMeter, SignalStats, check_signal, examine_file
from helpers.sounds import encode, noise, tone

RATE = 22050


def music(seconds: float = 10.0, *, rate: int = RATE, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Return notes of a scale with harmonics over pink noise, shape (n, channels)."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    wave = np.zeros(len(time))
    for start in np.arange(0, seconds, 0.25):
        hertz = 220 * 2 ** (generator.integers(0, 24) / 12)
        note = slice(round(start * rate), round((start + 0.5) * rate))
        inside = time[note] - start
        wave[note] += np.exp(-3 * inside) * sum(np.sin(2 * np.pi * k * hertz * inside) / k for k in (1, 2, 3))
    wave = 0.4 * wave / np.abs(wave).max()
    parts = [wave + 0.01 * generator.standard_normal(len(time)) for _ in range(channels)]
    return np.stack(parts, axis=1).astype(np.float32)


def measured(
    samples: np.ndarray, rate: int = RATE, *, block: int = 5000, codec: str = "pcm_16"
) -> SignalStats:
    meter = SignalMeter(rate, samples.shape[1], codec)
    for start in range(0, len(samples), block):
        meter.add(samples[start : start + block].T)
    return meter.result()


def found(samples: np.ndarray, rate: int = RATE, *, codec: str = "pcm_16") -> dict[str, Finding]:
    return {finding.kind: finding for finding in check_signal(measured(samples, rate, codec=codec), codec)}


@pytest.mark.parametrize("channels", [1, 2])
def test_clean_music_gives_no_finding(channels: int) -> None:
    assert found(music(channels=channels)) == {}


def test_nothing_depends_on_the_lengths_of_the_blocks() -> None:
    samples = np.clip(music(4.0, channels=2), -0.2, 0.2)
    samples[30_000:32_000] = 0
    whole, parts = (measured(samples, block=block) for block in (len(samples), 777))
    assert whole.sample_hash == parts.sample_hash
    assert whole.clipped_samples == parts.clipped_samples
    assert whole.zero_runs[0].start == parts.zero_runs[0].start
    assert (whole.silent_seconds, whole.peak) == (parts.silent_seconds, parts.peak)
    assert whole.rms == pytest.approx(parts.rms)
    assert whole.bandwidth_hz == parts.bandwidth_hz


def test_silence_is_located() -> None:
    samples = music(12.0)
    samples[2 * RATE : 11 * RATE] = 1e-5
    finding = found(samples)["silence"]
    assert finding.evidence["silent_share"] == pytest.approx(0.75, abs=0.01)
    assert finding.spans[0][:2] == pytest.approx((2, 11), abs=0.1)


def test_leading_and_trailing_zeros_are_no_hole() -> None:
    samples = music()
    samples[:RATE] = 0
    samples[-RATE:] = 0
    assert "zero_run" not in found(samples)


def test_a_hole_of_zeros_is_located() -> None:
    samples = music()
    samples[5 * RATE : 5 * RATE + 1500] = 0
    finding = found(samples)["zero_run"]
    assert finding.spans[0][:2] == pytest.approx((5, 5 + 1500 / RATE), abs=1e-3)
    assert finding.evidence["interruptions"] == 1


def test_clipping_is_found_at_any_level_and_located() -> None:
    samples = music()
    samples[3 * RATE : 4 * RATE] *= 5
    samples = np.clip(samples, -0.5, 0.5)
    finding = found(samples)["clipping"]
    assert finding.spans[0][:2] == (3, 4)
    assert finding.evidence["peak_db"] == pytest.approx(-6.02, abs=0.01)


@pytest.mark.parametrize("hertz", [30.0, 100.0, 440.0])
def test_the_flat_top_of_a_low_tone_is_not_clipped(hertz: float, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tone.wav", tone(3.0, RATE, hertz=hertz), RATE, subtype="PCM_16")
    assert "clipping" not in {one.kind for one in examine_file(str(tmp_path / "tone.wav")).findings}


def test_clipping_is_found_after_lossy_coding(tmp_path: Path) -> None:
    path = tmp_path / "loud.mp3"
    encode(path, np.clip(4 * music(), -0.9, 0.9), RATE, codec="libmp3lame", container="mp3", bit_rate=128_000)
    findings = {one.kind: one for one in examine_file(str(path)).findings}
    assert findings["clipping"].evidence["pile_ratio"] > 1.5


def test_dc_offset() -> None:
    finding = found(music() + np.float32(0.05))["dc_offset"]
    assert finding.evidence["offset"] == pytest.approx(0.05, abs=0.002)


def test_opposed_channels_are_located() -> None:
    samples = music(channels=1).repeat(2, axis=1)
    samples[:, 1] += noise(10.0, RATE)[:, 0] * 0.05
    samples[4 * RATE : 8 * RATE, 1] *= -1
    finding = found(samples)["antiphase"]
    assert finding.evidence["antiphase_share"] == pytest.approx(0.4)
    assert finding.spans[0][:2] == (4, 8)


def test_equal_channels_and_a_silent_channel() -> None:
    mono = music()
    assert found(mono.repeat(2, axis=1))["dual_mono"].action == "none"
    silent = np.concatenate([mono, np.zeros_like(mono)], axis=1)
    assert found(silent)["silent_channel"].evidence["channel"] == "right"


@pytest.mark.parametrize("mains", [50, 60])
def test_hum_of_the_mains(mains: int) -> None:
    hum = sum(tone(20.0, RATE, hertz=mains * k, amplitude=0.01 / k) for k in (1, 2, 3, 5))
    finding = found(music(20.0) + hum)["hum"]
    assert finding.evidence["mains_hz"] == mains
    assert finding.evidence["lines"] >= 3


def test_a_bass_note_near_the_mains_is_no_hum() -> None:
    bass = sum(tone(20.0, RATE, hertz=49.0 * k, amplitude=0.05) for k in (1, 2, 3, 4))
    assert "hum" not in found(music(20.0) + bass)


def test_an_upsampled_recording(tmp_path: Path) -> None:
    import soxr

    samples = soxr.resample(music(rate=16_000), 16_000, 44_100)
    finding = found(samples, 44_100)["upsampled"]
    assert finding.evidence["bandwidth_hz"] == pytest.approx(8000, rel=0.06)


def test_a_lossless_file_made_from_a_lossy_one(tmp_path: Path) -> None:
    import soxr

    samples = soxr.resample(noise(10.0, 32_000), 32_000, 44_100)
    assert found(samples, 44_100)["transcoded"].evidence["bandwidth_hz"] == pytest.approx(16_000, rel=0.04)
    assert "transcoded" not in found(samples, 44_100, codec="mp3float")


def test_a_pure_tone_is_not_upsampled() -> None:
    assert found(tone(10.0, RATE)) == {}


def test_the_hash_is_that_of_the_samples_and_not_of_the_file(tmp_path: Path) -> None:
    samples = (music(3.0, channels=2) * 2**15).astype(np.int16)
    for name, options in {"a.wav": {"subtype": "PCM_16"}, "b.flac": {}, "c.aiff": {}}.items():
        soundfile.write(tmp_path / name, samples, RATE, **options)
    soundfile.write(tmp_path / "d.wav", samples[1:], RATE)
    hashes = [examine_file(str(path)).facts.sample_hash for path in sorted(tmp_path.iterdir())]
    assert hashes[0] == hashes[1] == hashes[2] != hashes[3]


def test_no_samples_give_no_finding() -> None:
    assert list(check_signal(SignalMeter(RATE, 2).result(), "pcm_16")) == []
