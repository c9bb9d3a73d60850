"""What computes a model's graph: the CPU, or an NVIDIA GPU by onnxruntime's CUDA provider."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Any, Literal

from genrescope.errors import ConfigError, MissingDependencyError
from genrescope.utils import did_you_mean

Device = Literal["cpu", "cuda"]
DEVICES = ("cpu", "cuda", "auto")
# What to do where a GPU fails that worked before.
GPU_HINT = "use the device cpu, or fewer processes or actors for each GPU"
CUDA_PROVIDER = "CUDAExecutionProvider"
_PROVIDER_OPTIONS = {
    # TF32 rounds factors to 10 bits of mantissa: scores would be off by a thousandth.
    "use_tf32": "0",
    # All batches have one size, so convolutions are planned once. The default model takes 4.5 ms then for
    # 32 segments on an H100, 11 by cuDNN's heuristics, and 58 by "DEFAULT", which does not plan.
    "cudnn_conv_algo_search": "EXHAUSTIVE",
    # As much memory as is needed, not the next power of two: several actors may share a GPU.
    "arena_extend_strategy": "kSameAsRequested",
}
# The two packages are one module, in the same folder, so that one has to go first.
_INSTALL = "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'; or use the device cpu"
_REPAIR = "nvidia-smi must show the GPU; pip install 'onnxruntime-gpu[cuda,cudnn]'; or use the device cpu"


def check_device(device: str) -> None:
    """Refuse a name that is no device.

    Parameters
    ----------
    device : str
        One of `DEVICES`.

    Raises
    ------
    ConfigError
        ``invalid_argument``.
    """
    if device not in DEVICES:
        hint = did_you_mean(device, DEVICES, otherwise=f"give one of {', '.join(DEVICES)}")
        raise ConfigError("invalid_argument", f"unknown device {device!r}", hint)


def open_on_gpu(graph: bytes, options: Any, *, required: bool) -> Any | None:
    """Open a graph on a GPU.

    Parameters
    ----------
    graph : bytes
        Content of a model file that opens on the CPU.
    options : onnxruntime.SessionOptions
    required : bool
        Whether it is an error where no GPU can be used.

    Returns
    -------
    onnxruntime.InferenceSession or None
        None where no GPU can be used, and none is required.

    Raises
    ------
    MissingDependencyError
        ``missing_dependency``: onnxruntime has no CUDA provider, or that does not start.
    """
    import onnxruntime

    if CUDA_PROVIDER in onnxruntime.get_available_providers():
        session, why = _open_with_cuda(graph, options)
        hint = _REPAIR
    else:
        session, why, hint = None, "the installed onnxruntime has no CUDA provider", _INSTALL
    if session is None and required:
        raise MissingDependencyError("missing_dependency", f"the device cuda cannot be used: {why}", hint)
    return session


def _open_with_cuda(graph: bytes, options: Any) -> tuple[Any | None, str]:
    """Return a session on the GPU, or None and the reason."""
    import onnxruntime

    try:
        if hasattr(onnxruntime, "preload_dlls"):
            # It finds CUDA and cuDNN where pip installed them, and prints what it misses: not among rows.
            with redirect_stdout(sys.stderr):
                onnxruntime.preload_dlls()
        session = onnxruntime.InferenceSession(
            graph,
            options,
            # Operations that the GPU lacks are computed by the CPU.
            providers=[(CUDA_PROVIDER, dict(_PROVIDER_OPTIONS)), "CPUExecutionProvider"],
            # Otherwise a failure, now or in a later run, is printed, and the CPU computes from then on.
            enable_fallback=0,
        )
    except Exception as reason:  # onnxruntime's errors share no public base class
        return None, f"its CUDA provider failed: {str(reason).splitlines()[0][:200]}"
    # Where the provider cannot be loaded, there is a session without it, and no error.
    if CUDA_PROVIDER not in session.get_providers():
        return None, "its CUDA provider did not start (no GPU, driver, CUDA or cuDNN of its version)"
    return session, ""
