"""Segments of several threads as one batch: everyone gets their own rows, or their own error."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile

from genrescope import AsyncClassifier, Classifier, models
from genrescope.errors import DeviceError, ModelError
from genrescope.inference import BatchedModel
from genrescope.inference.ordered import map_ordered
from genrescope.models import ModelOutput
from genrescope.types import FailedFile, FloatArray, Prediction
from helpers.fake_gpu import FakeGpu, with_torch
from helpers.small_data import RATE, drone, hiss


class Stub:
    """A model of samples whose score is the sample; the first run waits until it is told to go on."""

    def __init__(self) -> None:
        self.info = SimpleNamespace(features=SimpleNamespace(kind="samples"))
        self.device = "cuda"
        self.batches: list[int] = []
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.interrupted = False

    def predict(self, inputs: FloatArray) -> ModelOutput:
        self.batches.append(len(inputs))
        if len(self.batches) == 1:
            self.begun.set()
            assert self.go_on.wait(60)
            if self.interrupted:
                raise KeyboardInterrupt
        if np.isnan(inputs).any():
            raise ModelError("model_output_invalid", "not finite", "check it")
        nothing = np.zeros((len(inputs), 0), np.float32)
        return ModelOutput(inputs * 2, nothing, inputs, nothing)


def queued(
    stub: Stub, batched: BatchedModel, requests: list[list[float]]
) -> tuple[ThreadPoolExecutor, list[Future[ModelOutput]]]:
    """Start the first request, and when it is computed, all others; return when these wait, in order."""
    pool = ThreadPoolExecutor(len(requests))
    futures: list[Future[ModelOutput]] = []
    for number, values in enumerate(requests):
        inputs = np.array(values, np.float32)[:, None]
        futures.append(pool.submit(batched.predict_inputs, inputs))
        if number == 0:
            assert stub.begun.wait(60)
        while len(batched._waiting) < number:
            time.sleep(0.001)
    return pool, futures


def test_what_waits_is_one_batch_and_everyone_gets_their_rows() -> None:
    stub = Stub()
    batched = BatchedModel(stub)  # type: ignore[arg-type]
    pool, futures = queued(stub, batched, [[1], [2, 3], [4], [5, 6]])
    stub.go_on.set()
    with pool:
        found = [future.result().scores[:, 0].tolist() for future in futures]
    assert found == [[2], [4, 6], [8], [10, 12]]
    assert stub.batches == [8, 8]  # always one size: a GPU plans for seconds after each change
    assert batched.predict_inputs(np.ones((3, 1), np.float32)).music.shape == (3, 1)


def test_a_batch_is_bounded() -> None:
    stub = Stub()
    batched = BatchedModel(stub, max_segments=4)  # type: ignore[arg-type]
    pool, futures = queued(stub, batched, [[0], [1, 1], [2, 2], [3], [4] * 7, [5]])
    stub.go_on.set()
    with pool:
        sizes = [len(future.result().scores) for future in futures]
    assert sizes == [1, 2, 2, 1, 7, 1]
    assert stub.batches == [4, 4, 4, 4, 4, 4]


def test_an_error_reaches_the_caller_whose_segments_they_are() -> None:
    stub = Stub()
    batched = BatchedModel(stub)  # type: ignore[arg-type]
    pool, futures = queued(stub, batched, [[1], [2], [float("nan")], [3]])
    stub.go_on.set()
    with pool:
        with pytest.raises(ModelError):
            futures[2].result()
        assert [futures[number].result().scores.item() for number in (0, 1, 3)] == [2, 4, 6]


def test_a_caller_that_is_interrupted_leaves_the_others_their_turn() -> None:
    stub = Stub()
    batched = BatchedModel(stub)  # type: ignore[arg-type]
    pool, futures = queued(stub, batched, [[1], [2], [3]])
    stub.interrupted = True
    stub.go_on.set()
    with pool:
        assert [future.result().scores.item() for future in futures[1:]] == [4, 6]
        with pytest.raises(KeyboardInterrupt):
            futures[0].result()
    assert not batched._waiting


@pytest.fixture
def songs(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.wav" for number in range(6)]
    for number, path in enumerate(paths):
        soundfile.write(path, (drone if number % 2 else hiss)(12.0 + number, number), RATE)
    damaged = tmp_path / "damaged.wav"
    damaged.write_bytes(b"no music")
    return [*paths[:3], damaged, *paths[3:]]


def assert_same(found: list[Prediction | FailedFile], expected: list[Prediction | FailedFile]) -> None:
    for one, other in zip(found, expected, strict=True):
        if isinstance(other, FailedFile):
            assert one == other
        else:
            assert isinstance(one, Prediction)
            assert (one.path, one.seconds, one.flags) == (other.path, other.seconds, other.flags)
            assert one.scores == pytest.approx(other.scores, abs=1e-4)
            assert one.styles == pytest.approx(other.styles, abs=1e-4)


@pytest.mark.parametrize("features", ["torch", "numpy"])
def test_files_on_a_gpu_have_the_rows_of_the_cpu(
    songs: list[Path], features: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = list(Classifier.from_pretrained().predict_many(songs))
    gpu = FakeGpu().install(monkeypatch)
    if features == "torch":
        with_torch(monkeypatch)
    classifier = Classifier.from_pretrained(device="auto")
    assert_same(list(classifier.predict_many(songs, threads=4)), expected)
    assert_same(list(classifier.predict_many(iter(songs))), expected)
    assert gpu.batches

    async def main() -> list[Prediction | FailedFile]:
        async with AsyncClassifier.from_pretrained(device="cuda", workers=3) as gathered:
            return [row async for row in gathered.predict_many(songs)]

    assert_same(asyncio.run(main()), expected)


def test_a_gpu_that_fails_ends_the_work(
    songs: list[Path], little_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: FloatArray) -> None:
        raise RuntimeError("CUDA failure 700: an illegal memory access was encountered")

    FakeGpu().install(monkeypatch).failing = fail
    classifier = Classifier.from_pretrained(little_model, device="cuda")
    with pytest.raises(DeviceError, match="illegal memory access"):
        list(classifier.predict_many(songs, threads=3))

    async def main() -> None:
        async with AsyncClassifier(classifier) as gathered:
            async for _ in gathered.predict_many(songs):
                pass

    with pytest.raises(DeviceError):
        asyncio.run(main())


def test_results_are_in_order_and_items_are_taken_little_by_little() -> None:
    taken: list[int] = []
    opened = threading.Event()

    def items() -> Iterator[int]:
        for number in range(12):
            taken.append(number)
            yield number

    def work(number: int) -> int:
        assert number or opened.wait(60)
        return number

    results = map_ordered(work, items(), 2)
    first: Callable[[], Any] = lambda: next(results)  # noqa: E731
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(first)
        while len(taken) < 4:
            time.sleep(0.001)
        assert taken == [0, 1, 2, 3]
        opened.set()
        assert waiting.result() == 0
    assert list(results) == list(range(1, 12))


def test_models_that_are_not_on_a_gpu_are_used_as_they_are(little_model: Path) -> None:
    assert Classifier(models.load_model(little_model))._scorer is None
