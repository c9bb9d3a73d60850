"""Log-mel by torch, on the CPU, is that of NumPy."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from genrescope import features, load_audio, models
from genrescope.errors import DeviceError
from genrescope.models import TorchLogMel, device_log_mel

MUSIC = sorted((Path(__file__).parents[2] / "examples" / "demo_music" / "music").rglob("*.*"))
SPECS = {
    "default": models.load_model().info.features,
    "paper": features.PAPER_LOG_MEL,
    "efficientat": features.EFFICIENTAT,
    "musicnn": features.MUSICNN,
}


@pytest.mark.parametrize("name", SPECS)
def test_it_is_what_numpy_computes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SPECS[name]
    noise = np.random.default_rng(0).standard_normal((5, 2 * spec.sample_rate)).astype(np.float32) / 10
    noise[1] = 0
    noise[2, spec.sample_rate :] = 0
    noise.setflags(write=False)  # as those that come over a connection
    expected = features.extract(noise, spec.sample_rate, spec)
    found = TorchLogMel(spec, "cpu")(noise)
    assert (found.shape, found.dtype) == (expected.shape, np.float32)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    # Little by little it is the same.
    monkeypatch.setattr("genrescope.models.torch_log_mel._FRAME_SAMPLES", 1)
    np.testing.assert_allclose(TorchLogMel(spec, "cpu")(noise), expected, atol=2e-4)


def test_scores_of_real_clips_differ_by_rounding_alone() -> None:
    assert len(MUSIC) >= 4
    model = models.load_model()
    spec = model.info.features
    size = round(model.info.segment_seconds * spec.sample_rate)
    clips = [load_audio(path, sample_rate=spec.sample_rate).samples[:size] for path in MUSIC[:4]]
    segments = np.stack([np.resize(clip, size) for clip in clips])
    expected = model.predict(features.extract(segments, spec.sample_rate, spec))
    log_mel = device_log_mel(model.info, "cpu")
    assert log_mel is not None
    for one, other in zip(model.predict(log_mel(segments))[:3], expected[:3], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_numpy_computes_what_torch_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    info = models.load_model().info
    assert device_log_mel(dataclasses.replace(info, features=features.PAPER_SEQUENCE), "cpu") is None
    # A segment that padding mirrors more than once.
    assert device_log_mel(dataclasses.replace(info, segment_seconds=0.05), "cpu") is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_log_mel(info, "cuda") is None
    monkeypatch.setitem(__import__("sys").modules, "torch", None)  # not installed
    assert device_log_mel(info, "cpu") is None


def test_a_failure_of_the_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 3 GiB")

    log_mel = TorchLogMel(features.PAPER_LOG_MEL, "cpu")
    monkeypatch.setattr(torch, "fft", SimpleNamespace(rfft=fail))
    with pytest.raises(DeviceError, match=r"CUDA out of memory\.$"):
        log_mel(np.zeros((1, 22050), np.float32))
