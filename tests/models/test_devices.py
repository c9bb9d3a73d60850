"""Models on a GPU: chosen where it works, refused in one line where it does not. The GPU is simulated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genrescope import AsyncClassifier, Classifier, models
from genrescope.cli.options import InferenceDevice
from genrescope.errors import ConfigError, DeviceError, MissingDependencyError, ModelError
from helpers.fake_gpu import FakeGpu


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeGpu:
    return FakeGpu().install(monkeypatch)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])


def features(model: models.Model, segments: int = 3) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((segments, *model.input_shape)).astype(np.float32)


def test_the_cpu_is_the_default(gpu: FakeGpu, little_model: Path) -> None:
    model = models.load_model(little_model)
    model.predict(features(model))
    assert (model.device, gpu.batches) == ("cpu", [])


@pytest.mark.parametrize("device", ["cuda", "auto"])
def test_a_gpu_is_used_where_there_is_one(
    gpu: FakeGpu, little_model: Path, device: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = models.load_model(little_model, device=device)
    expected = models.load_model(little_model).predict(features(model))
    assert model.device == "cuda"
    assert (model.predict(features(model)).scores == expected.scores).all()
    assert gpu.batches == [3]
    assert gpu.options["use_tf32"] == "0"
    # onnxruntime prints which libraries it misses; rows on standard output stay alone.
    assert capsys.readouterr().out == ""


def test_cuda_without_onnxruntime_gpu_says_what_to_install(no_gpu: None, little_model: Path) -> None:
    with pytest.raises(MissingDependencyError, match="no CUDA provider") as failure:
        models.load_model(little_model, device="cuda")
    assert failure.value.code == "missing_dependency"
    assert "onnxruntime-gpu" in failure.value.hint
    assert "\n" not in failure.value.hint


def test_auto_without_onnxruntime_gpu_is_the_cpu(no_gpu: None, little_model: Path) -> None:
    assert models.load_model(little_model, device="auto").device == "cpu"


@pytest.mark.parametrize("error", ["", "libcublasLt.so.12: cannot open shared object file\nmore"])
def test_a_provider_that_does_not_start_is_not_taken_for_a_gpu(
    gpu: FakeGpu, little_model: Path, error: str
) -> None:
    gpu.starts, gpu.error = False, error
    assert models.load_model(little_model, device="auto").device == "cpu"
    with pytest.raises(MissingDependencyError, match="libcublasLt" if error else "did not start") as failure:
        Classifier.from_pretrained(little_model, device="cuda")
    assert "nvidia-smi" in failure.value.hint
    assert "\n" not in failure.value.message


def test_a_damaged_file_is_no_failure_of_the_gpu(gpu: FakeGpu, tmp_path: Path) -> None:
    file = tmp_path / "damaged.onnx"
    file.write_bytes(b"no graph")
    with pytest.raises(ModelError):
        models.load_model(file, device="cuda")


def test_a_run_that_fails_is_a_failure_of_the_gpu(gpu: FakeGpu, little_model: Path) -> None:
    def fail(_: np.ndarray) -> None:
        raise RuntimeError("CUDA failure 2: out of memory")

    gpu.failing = fail
    model = models.load_model(little_model, device="cuda")
    with pytest.raises(DeviceError, match="out of memory") as failure:
        model.predict(features(model))
    assert failure.value.code == "device_failed"


def test_an_unknown_device_is_refused(little_model: Path) -> None:
    with pytest.raises(ConfigError, match="'cudda'") as failure:
        AsyncClassifier.from_pretrained(little_model, device="cudda")
    assert "cuda" in failure.value.hint


def test_the_command_line_has_the_same_devices() -> None:
    assert {device.value for device in InferenceDevice} == set(models.DEVICES)
