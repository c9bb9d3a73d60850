"""An actor that scores on a GPU what its worker processes decode. The GPU is simulated."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from genrescope import Classifier, models
from genrescope.distributed import ActorOptions, GenreActor
from genrescope.distributed.scoring import RemoteScorer, ScoringServer
from genrescope.errors import DeviceError, GenrescopeError, MissingDependencyError, ModelError
from genrescope.inference import BatchedModel, prepare_inputs
from genrescope.library import LibraryEntry
from genrescope.models import ModelOutput
from genrescope.types import FailedFile, FloatArray
from helpers import sounds
from helpers.cluster_handlers import create_fragile
from helpers.fake_gpu import FakeGpu, with_torch


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("music")
    sounds.write(folder / "noise.flac", sounds.noise(24, 22050), 22050, kind="FLAC", coding="PCM_16")
    sounds.write(folder / "long.ogg", sounds.noise(90, 22050, seed=3), 22050, kind="OGG", coding="VORBIS")
    sounds.write(folder / "silent.wav", sounds.noise(2, 8000) * 0, 8000, kind="WAV", coding="PCM_16")
    sounds.write(folder / "crash.flac", sounds.noise(11, 22050), 22050, kind="FLAC", coding="PCM_16")
    return [
        str(folder / name) for name in ("noise.flac", "long.ogg", "silent.wav", "absent.mp3", "crash.flac")
    ]


def classify(options: ActorOptions, paths: list[str]) -> list[LibraryEntry]:
    actor = GenreActor(options)
    try:
        return [entry for entry, _ in actor.classify(paths)]
    finally:
        actor.close()


def test_rows_are_those_of_the_cpu_and_a_crash_costs_its_file(
    music: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = list(Classifier.from_pretrained().predict_many(music[:4], excerpts=True))
    gpu = FakeGpu().install(monkeypatch)
    with_torch(monkeypatch)
    options = ActorOptions(excerpts=True, device="cuda", processes=2, target=create_fragile)
    found = classify(options, [music[4], *music[:4]])
    assert found[0].error == "worker_crashed"
    assert gpu.batches
    for one, other in zip(found[1:], expected, strict=True):
        assert one.path == other.path
        if isinstance(other, FailedFile):
            assert (one.error, one.message) == (other.code, other.message)
        else:
            assert (one.error, one.genre) == (None, other.genre)
            assert one.scores == pytest.approx(other.scores, abs=1e-4)


def test_a_gpu_that_fails_ends_the_run_and_is_no_row(
    music: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: FloatArray) -> None:
        raise RuntimeError("CUDA failure 2: out of memory")

    FakeGpu().install(monkeypatch).failing = fail
    with pytest.raises(GenrescopeError, match="out of memory") as failure:
        classify(ActorOptions(device="auto"), music[:1])
    assert failure.value.code == "device_failed"


def test_an_actor_without_a_gpu_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(MissingDependencyError) as failure:
        GenreActor(ActorOptions(device="cuda"))
    assert "onnxruntime-gpu" in failure.value.hint
    actor = GenreActor(ActorOptions(device="auto"))
    assert actor._server is None
    actor.close()


class Waiting(BatchedModel):
    """Holds every request until it is told to go on; then refuses those of silence."""

    def __init__(self, model: models.Model) -> None:
        super().__init__(model)
        self.begun, self.go_on = threading.Semaphore(0), threading.Event()

    def predict_inputs(self, inputs: FloatArray) -> ModelOutput:
        self.begun.release()
        assert self.go_on.wait(60)
        if not inputs.any():
            raise ModelError("model_output_invalid", "silence", "louder")
        return super().predict_inputs(inputs)


@pytest.fixture
def waiting(little_model: Path) -> Waiting:
    return Waiting(models.load_model(little_model))


def samples_of(model: models.Model, segments: int) -> FloatArray:
    info = model.info
    size = round(info.segment_seconds * info.features.sample_rate)
    noise = np.random.default_rng(0).standard_normal((segments, size))
    return (0.1 * noise).astype(np.float32)


def test_scores_over_a_connection_are_the_same_and_errors_are_typed(waiting: Waiting) -> None:
    waiting.go_on.set()
    server = ScoringServer(waiting)
    try:
        scorer = RemoteScorer(waiting.model, **server.address)
        samples = samples_of(waiting.model, 3)
        inputs = prepare_inputs(waiting.model, samples, takes_samples=False)
        for one, other in zip(scorer.predict(samples), waiting.model.predict(inputs), strict=True):
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, atol=1e-6)
        scorer._connection.send_bytes(np.zeros((2, *waiting.input_shape), np.float32).tobytes())
        answer = scorer._connection.recv_bytes()
        assert b"model_output_invalid" in answer
        assert scorer.predict(samples).scores.shape[0] == 3
        # What is no whole number of segments is not answered, and harms nobody else.
        scorer._connection.send_bytes(b"12345")
        with pytest.raises(DeviceError):
            scorer.predict(samples)
        other_scorer = RemoteScorer(waiting.model, **server.address)
        assert other_scorer.predict(samples).scores.shape[0] == 3
    finally:
        server.close()


def test_closing_ends_those_who_wait(waiting: Waiting) -> None:
    server = ScoringServer(waiting)
    scorer = RemoteScorer(waiting.model, **server.address)
    failures: list[Exception] = []

    def predict() -> None:
        try:
            scorer.predict(samples_of(waiting.model, 1))
        except DeviceError as failure:
            failures.append(failure)

    thread = threading.Thread(target=predict)
    thread.start()
    waiting.begun.acquire()
    server.close()
    thread.join(60)
    waiting.go_on.set()
    assert [type(failure) for failure in failures] == [DeviceError]
    with pytest.raises(DeviceError):
        RemoteScorer(waiting.model, **server.address)


def test_a_stranger_is_refused(waiting: Waiting) -> None:
    waiting.go_on.set()
    server = ScoringServer(waiting)
    try:
        with pytest.raises(DeviceError):
            RemoteScorer(waiting.model, **(server.address | {"key": "00" * 32}))
        RemoteScorer(waiting.model, **server.address)
    finally:
        server.close()
