"""Segmentation: positions and samples of segments, and weights that add up to the clip."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genrescope.audio.segmentation import segment_grid, split, split_stream
from genrescope.errors import AudioError, ConfigError
from genrescope.types import Audio, Segments

RATE = 1000


def ramp(n: int, rate: int = RATE) -> Audio:
    """Return a clip in which the value of every sample is its index: exact in float32 below 2 ** 24."""
    return Audio(np.arange(n, dtype=np.float32), rate)


def in_blocks(samples: np.ndarray, cuts: list[int]) -> list[np.ndarray]:
    return np.split(samples, sorted(min(place, len(samples)) for place in cuts))


def joined(batches: list[Segments]) -> Segments:
    return Segments(
        samples=np.concatenate([batch.samples for batch in batches]),
        sample_rate=batches[0].sample_rate,
        starts=np.concatenate([batch.starts for batch in batches]),
        weights=np.concatenate([batch.weights for batch in batches]),
    )


lengths = st.integers(1, 4000)
rasters = st.integers(1, 900).flatmap(lambda length: st.tuples(st.just(length), st.integers(1, length)))


@given(n=lengths, raster=rasters)
def test_weights_sum_to_the_clip_and_are_positive(n: int, raster: tuple[int, int]) -> None:
    pieces = split(ramp(n), seconds=raster[0] / RATE, hop_seconds=raster[1] / RATE)
    assert pieces.weights.sum() == pytest.approx(n / RATE, rel=1e-12)
    assert (pieces.weights > 0).all()


@given(n=lengths, raster=rasters)
def test_every_segment_holds_the_samples_at_its_start(n: int, raster: tuple[int, int]) -> None:
    length = raster[0]
    pieces = split(ramp(n), seconds=length / RATE, hop_seconds=raster[1] / RATE)
    assert pieces.samples.shape == (len(pieces), length)
    assert pieces.samples.dtype == np.float32
    first = np.round(pieces.starts * RATE)
    np.testing.assert_array_equal(pieces.samples[:, 0], first)
    np.testing.assert_array_equal(pieces.samples, (first[:, None] + np.arange(length)) % max(n, length) % n)
    assert (np.diff(first) > 0).all()


@given(n=lengths, raster=rasters)
def test_segments_cover_all_samples_but_a_negligible_rest(n: int, raster: tuple[int, int]) -> None:
    length = raster[0]
    pieces = split(ramp(n), seconds=length / RATE, hop_seconds=raster[1] / RATE)
    unseen = n - round(pieces.starts[-1] * RATE) - length
    assert unseen <= 0 or (unseen < 0.05 * length and unseen < 0.25 * RATE)


@given(n=lengths, raster=rasters, cuts=st.lists(lengths, max_size=8), batch=st.integers(1, 7))
def test_a_stream_gives_the_same_segments(
    n: int, raster: tuple[int, int], cuts: list[int], batch: int
) -> None:
    clip, options = ramp(n), {"seconds": raster[0] / RATE, "hop_seconds": raster[1] / RATE}
    batches = list(split_stream(in_blocks(clip.samples, cuts), RATE, **options, batch=batch))
    assert all(0 < len(one) <= batch for one in batches)
    whole, streamed = split(clip, **options), joined(batches)
    for name in ("samples", "starts", "weights"):
        np.testing.assert_array_equal(getattr(streamed, name), getattr(whole, name))


@given(n=lengths, raster=rasters)
def test_the_grid_equals_the_split_of_samples(n: int, raster: tuple[int, int]) -> None:
    options = {"seconds": raster[0] / RATE, "hop_seconds": raster[1] / RATE}
    pieces, (starts, weights) = split(ramp(n), **options), segment_grid(n / RATE, **options)
    np.testing.assert_allclose(starts, pieces.starts, atol=1e-9)
    np.testing.assert_allclose(weights, pieces.weights, atol=1e-9)


def test_thirty_seconds_of_four_and_a_half() -> None:
    pieces = split(ramp(30 * RATE), seconds=4.5)
    np.testing.assert_allclose(pieces.starts, [0, 4.5, 9, 13.5, 18, 22.5, 25.5])
    np.testing.assert_allclose(pieces.weights, [4.5] * 6 + [3])


def test_an_overlap_adds_a_hop_each() -> None:
    pieces = split(ramp(5200), seconds=2, hop_seconds=1)
    np.testing.assert_allclose(pieces.starts, [0, 1, 2, 3, 3.2])
    np.testing.assert_allclose(pieces.weights, [2, 1, 1, 1, 0.2])


def test_a_negligible_rest_adds_to_the_weight_of_the_last_segment() -> None:
    pieces = split(ramp(9040), seconds=4.5)
    np.testing.assert_allclose(pieces.starts, [0, 4.5])
    np.testing.assert_allclose(pieces.weights, [4.5, 4.54])


def test_a_short_clip_is_repeated_to_fill_a_segment() -> None:
    pieces = split(ramp(1200), seconds=3)
    np.testing.assert_array_equal(pieces.samples[0], np.arange(3000) % 1200)
    np.testing.assert_allclose(pieces.weights, [1.2])


@pytest.mark.parametrize(("seconds", "samples"), [(4.5, 99_225), (5.3, 116_865), (3.0, 66_150)])
def test_length_in_samples(seconds: float, samples: int) -> None:
    assert split(ramp(200_000, 22_050), seconds=seconds).samples.shape[1] == samples


def test_a_stream_holds_one_batch_only() -> None:
    blocks = (np.zeros(2 * RATE, np.float32) for _ in range(18_000))  # ten hours
    tracemalloc.start()
    try:
        seconds = sum(batch.weights.sum() for batch in split_stream(blocks, RATE, seconds=4.5, batch=16))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seconds == pytest.approx(36_000)
    assert peak < 10 * 16 * 4.5 * RATE * 4


def test_no_samples_to_split() -> None:
    for empty in (
        lambda: split(ramp(0), seconds=1),
        lambda: list(split_stream([], RATE, seconds=1)),
        lambda: segment_grid(0, seconds=1),
    ):
        with pytest.raises(AudioError) as caught:
            empty()
        assert caught.value.code == "audio_no_samples"


@pytest.mark.parametrize(
    ("seconds", "hop"),
    [(0, None), (-1, None), (float("nan"), None), (1, 0), (1, -0.5), (1, 1.5), (1e-6, None)],
)
def test_invalid_lengths(seconds: float, hop: float | None) -> None:
    with pytest.raises(ConfigError) as caught:
        split(ramp(5000), seconds=seconds, hop_seconds=hop)
    assert caught.value.code == "invalid_argument"
    with pytest.raises(ConfigError):
        list(split_stream([np.ones(9, np.float32)], RATE, seconds=1, batch=0))
