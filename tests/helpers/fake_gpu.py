"""onnxruntime as it is where it has a CUDA provider, computed by the CPU: no test machine has a GPU."""

from __future__ import annotations

from typing import Any

import onnxruntime
import pytest

from genrescope.models import torch_log_mel
from genrescope.models.devices import CUDA_PROVIDER


class FakeGpu:
    """Replaces the sessions of onnxruntime, in this process.

    Attributes
    ----------
    starts : bool
        Whether its provider starts. Otherwise there are sessions without it, and no error, as by onnxruntime.
    error : str
        Where given, its provider raises this when it is opened.
    batches : list of int
        The segments of each run on it.
    failing : callable, optional
        Is given the features of a run, and raises what the run is to raise.
    """

    def __init__(self) -> None:
        self.starts = True
        self.error = ""
        self.batches: list[int] = []
        self.failing: Any = None
        self.options: dict[str, str] = {}
        self._session = onnxruntime.InferenceSession

    def install(self, patch: pytest.MonkeyPatch) -> FakeGpu:
        """Put it in the place of onnxruntime's sessions."""
        patch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA_PROVIDER, "CPUExecutionProvider"])
        patch.setattr(onnxruntime, "InferenceSession", self.open)
        patch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libcublas"), raising=False)
        return self

    def open(self, graph: bytes, options: Any, *, providers: list[Any], enable_fallback: int = 1) -> Any:
        """Open a session; what is asked for the CPU is onnxruntime's own."""
        if providers == ["CPUExecutionProvider"]:
            return self._session(graph, options, providers=providers)
        (name, self.options), second = providers
        assert (name, second, enable_fallback) == (CUDA_PROVIDER, "CPUExecutionProvider", 0)
        if self.error:
            raise RuntimeError(self.error)
        session = self._session(graph, options, providers=[second])
        return _OnGpu(session, self) if self.starts else session


class _OnGpu:
    """A session that says that it is on a GPU."""

    def __init__(self, session: Any, gpu: FakeGpu) -> None:
        self._session = session
        self._gpu = gpu

    def get_providers(self) -> list[str]:
        return [CUDA_PROVIDER, "CPUExecutionProvider"]

    def get_inputs(self) -> Any:
        return self._session.get_inputs()

    def get_outputs(self) -> Any:
        return self._session.get_outputs()

    def run(self, names: list[str], feed: dict[str, Any]) -> Any:
        (features,) = feed.values()
        self._gpu.batches.append(len(features))
        if self._gpu.failing is not None:
            self._gpu.failing(features)
        return self._session.run(names, feed)


def with_torch(patch: pytest.MonkeyPatch) -> None:
    """Let log-mel of models on the GPU be computed by torch, on the CPU."""
    patch.setattr(
        "genrescope.models.device_log_mel",
        lambda info, device: torch_log_mel.device_log_mel(info, "cpu"),
        raising=False,
    )
