"""Single features: known values for known signals, and agreement with librosa's values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from genrescope.features import filterbanks
from genrescope.features.spectral import (
    Spectrum,
    chroma,
    decibels,
    estimate_tuning,
    mel_spectrogram,
    mfcc,
    rms,
    spectral_bandwidth,
    spectral_centroid,
    spectral_contrast,
    spectral_rolloff,
    zero_crossing_rate,
)
from genrescope.types import FloatArray
from helpers import librosa_reference

RATE = 22050
INNER = slice(3, -3)  # frames that do not reach over the ends

GENRES = ["blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"]
OURS: dict[str, Callable[[Spectrum, FloatArray], FloatArray]] = {
    "log_mel": lambda spectrum, y: decibels(mel_spectrogram(spectrum)),
    "mfcc": lambda spectrum, y: mfcc(mel_spectrogram(spectrum)),
    "chroma": lambda spectrum, y: chroma(spectrum),
    "spectral_contrast": lambda spectrum, y: spectral_contrast(spectrum),
    "spectral_centroid": lambda spectrum, y: spectral_centroid(spectrum),
    "spectral_bandwidth": lambda spectrum, y: spectral_bandwidth(spectrum),
    "spectral_rolloff": lambda spectrum, y: spectral_rolloff(spectrum),
    "zero_crossing_rate": lambda spectrum, y: zero_crossing_rate(y),
    "rms": lambda spectrum, y: rms(spectrum),
}


def tone(hz: float, amplitude: float = 0.5, seconds: float = 1.0) -> FloatArray:
    phase = 2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE
    return (amplitude * np.sin(phase + 0.1)).astype(np.float32)


def noise(seconds: float = 1.0) -> FloatArray:
    return np.random.default_rng(1).normal(scale=0.1, size=int(seconds * RATE)).astype(np.float32)


@pytest.mark.parametrize("hz", [440.0, 1000.0, 5000.0])
def test_a_tone_has_its_frequency_as_centroid_and_rolloff(hz: float) -> None:
    spectrum = Spectrum(tone(hz), RATE)
    bin_width = RATE / spectrum.n_fft
    assert spectral_centroid(spectrum)[INNER] == pytest.approx(hz, abs=bin_width)
    assert spectral_rolloff(spectrum)[INNER] == pytest.approx(hz, abs=1.5 * bin_width)
    assert spectral_bandwidth(spectrum)[INNER].max() < 10 * bin_width


def test_two_equal_tones_have_the_middle_as_centroid_and_half_their_distance_as_bandwidth() -> None:
    spectrum = Spectrum(tone(1000.0) + tone(3000.0), RATE)
    assert spectral_centroid(spectrum)[INNER] == pytest.approx(2000.0, rel=0.02)
    assert spectral_bandwidth(spectrum)[INNER] == pytest.approx(1000.0, rel=0.02)


@pytest.mark.parametrize("semitone", range(12))
def test_chroma_peaks_at_the_pitch_class_of_a_tone(semitone: int) -> None:
    middle_c = 440 * 2 ** (-9 / 12)
    classes = chroma(Spectrum(tone(middle_c * 2 ** (semitone / 12)), RATE))
    assert classes.shape[0] == 12
    assert np.all(classes[:, INNER].argmax(axis=0) == semitone)
    assert classes.max() == pytest.approx(1.0)


@pytest.mark.parametrize("cents", [-40, -20, 0, 30])
def test_the_tuning_of_a_mistuned_chord_is_found(cents: int) -> None:
    chord = np.sum([tone(880 * 2 ** ((semitone + cents / 100) / 12)) for semitone in (0, 4, 7)], axis=0)
    assert estimate_tuning(Spectrum(chord, RATE)) == pytest.approx(cents / 100, abs=0.03)


def test_rms_of_a_sine_is_its_amplitude_over_the_root_of_two() -> None:
    assert rms(Spectrum(tone(1000.0, 0.8), RATE))[INNER] == pytest.approx(0.8 / np.sqrt(2), rel=1e-3)


def test_a_sine_crosses_zero_twice_in_a_period() -> None:
    rates = zero_crossing_rate(tone(1000.0))
    assert rates[INNER] == pytest.approx(2 * 1000 / RATE, abs=1.01 / 2048)


def test_twice_the_amplitude_is_six_decibels_in_every_mel_band_and_moves_no_shape() -> None:
    soft, loud = (Spectrum(gain * noise(), RATE) for gain in (1, 2))
    difference = decibels(mel_spectrogram(loud)) - decibels(mel_spectrogram(soft))
    assert difference == pytest.approx(20 * np.log10(2), abs=1e-4)
    for feature in (chroma, spectral_centroid, spectral_bandwidth, spectral_rolloff, spectral_contrast):
        assert feature(loud) == pytest.approx(feature(soft), rel=1e-4, abs=1e-4)
    assert mfcc(mel_spectrogram(loud))[1:] == pytest.approx(mfcc(mel_spectrogram(soft))[1:], abs=1e-3)


def test_a_tone_stands_out_from_noise_in_its_own_octave_only() -> None:
    plain, with_tone = (spectral_contrast(Spectrum(y, RATE)) for y in (noise(), noise() + tone(1000.0)))
    gain = (with_tone - plain)[:, INNER].mean(axis=1)
    assert gain.argmax() == 3  # 800 to 1600 Hz
    assert np.delete(np.abs(gain), 3).max() < gain[3] / 4


def test_power_obeys_parseval() -> None:
    y = noise()
    spectrum = Spectrum(y, RATE)
    window = filterbanks.hann_window(2048, 2048)
    doubled = 2 * spectrum.power.sum(axis=1) - spectrum.power[:, 0] - spectrum.power[:, -1]
    energy = np.square(spectrum.frames * window).sum(axis=1)
    assert doubled / 2048 == pytest.approx(energy, rel=1e-5)


@pytest.mark.parametrize("name", OURS)
def test_silence_gives_finite_numbers_as_in_librosa(name: str) -> None:
    silence = np.zeros(RATE, np.float32)
    result = OURS[name](Spectrum(silence, RATE), silence)
    assert np.all(np.isfinite(result))
    if name != "chroma":  # librosa warns about tuning nothing
        expected = librosa_reference.golden()[f"silence/{name}"]
        np.testing.assert_allclose(np.atleast_2d(result), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("name", OURS)
@given(n=st.integers(1, 6000), hop_length=st.sampled_from([160, 512, 914]))
def test_any_length_gives_a_frame_per_hop_and_one_more(name: str, n: int, hop_length: int) -> None:
    if name == "zero_crossing_rate":
        result = zero_crossing_rate(noise()[:n], hop_length=hop_length)
    else:
        result = OURS[name](Spectrum(noise()[:n], RATE, hop_length=hop_length), noise()[:n])
    assert result.shape[-1] == 1 + n // hop_length
    assert result.dtype == np.float32
    assert np.all(np.isfinite(result))


def test_mel_is_the_same_whether_the_power_is_kept_or_not() -> None:
    y = noise(10.0)
    kept, passing = (mel_spectrogram(Spectrum(y, RATE, keep=keep)) for keep in (True, False))
    np.testing.assert_allclose(kept, passing, rtol=1e-5)


def test_filter_banks_are_librosas() -> None:
    golden = librosa_reference.golden()
    np.testing.assert_allclose(filterbanks.slaney_mel_bank(RATE, 2048).T, golden["bank/mel_22050"], atol=1e-8)
    np.testing.assert_allclose(
        filterbanks.slaney_mel_bank(16000, 512, 40, 300.0, 7000.0).T, golden["bank/mel_16000"], atol=1e-8
    )
    np.testing.assert_allclose(filterbanks.chroma_bank(RATE, 2048, 0.13).T, golden["bank/chroma"], atol=1e-7)


def test_kaldi_bands_share_out_every_bin_between_the_outer_centers() -> None:
    bank = filterbanks.kaldi_mel_bank(32000, 1024, 64, 0.0, 15000.0)
    reached = np.flatnonzero(bank[:, 0])[-1], np.flatnonzero(bank[:, -1])[0]
    assert bank[reached[0] : reached[1]].sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert bank.max() <= 1


def test_cached_matrices_cannot_be_changed() -> None:
    for matrix in (filterbanks.chroma_bank(RATE, 2048), filterbanks.dct_basis(128, 20)):
        with pytest.raises(ValueError, match="read-only"):
            matrix[0, 0] = 1


def test_the_cosine_basis_is_orthonormal() -> None:
    basis = filterbanks.dct_basis(40, 40)
    np.testing.assert_allclose(basis.T @ basis, np.eye(40), atol=1e-6)


def largest_difference(name: str, y: FloatArray, expected: FloatArray) -> float:
    """Return how far our feature of ``y`` is from ``expected``, as a share of its range."""
    difference = np.abs(np.atleast_2d(OURS[name](Spectrum(y, RATE), y)) - expected)
    return float(difference.max() / np.abs(expected).max())


@pytest.mark.parametrize("name", OURS)
def test_every_feature_agrees_with_the_golden_values_of_librosa(name: str) -> None:
    golden = librosa_reference.golden()
    y = librosa_reference.as_float(golden["samples"])
    assert largest_difference(name, y, golden[f"music/{name}"]) <= 1e-5


@pytest.fixture(scope="module")
def clips(gtzan: Path) -> dict[str, FloatArray]:
    """Return one lossless clip a genre."""
    read = {g: soundfile.read(gtzan / "audio" / g / f"{g}.00005.flac", dtype="float32") for g in GENRES}
    assert {rate for _, rate in read.values()} == {RATE}
    return {genre: y for genre, (y, _) in read.items()}


@pytest.fixture(scope="module")
def librosa_values(clips: dict[str, FloatArray]) -> dict[str, FloatArray]:
    """Return librosa's features of the clips, computed now; skip where librosa itself crashes."""
    try:
        return librosa_reference.live(clips)
    except librosa_reference.LibrosaCrashedError as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("genre", GENRES)
def test_every_feature_agrees_with_librosa_on_music(
    clips: dict[str, FloatArray], librosa_values: dict[str, FloatArray], genre: str
) -> None:
    for name in OURS:
        difference = largest_difference(name, clips[genre], librosa_values[f"{genre}/{name}"])
        assert difference <= 1e-5, f"{name} differs by {difference:.1e} of its range"
