"""Log-mel by torch, on the device that computes the network: NumPy on one core would keep a GPU waiting.

The steps are those of `genrescope.features.extract`, in float32 too, so that values differ by the order of
sums alone. On the CPU NumPy stays the reference; torch is here for GPUs, and on the CPU for tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from genrescope.errors import DeviceError
from genrescope.features import FeatureSpec, hann_window, mel_bank
from genrescope.models.devices import GPU_HINT
from genrescope.models.model import ModelInfo
from genrescope.types import FloatArray

if TYPE_CHECKING:
    import torch

# Samples of the frames that are transformed at once: 64 MB, and twice as much for their spectra. A segment
# of 10 s at 22,050 Hz has half a million.
_FRAME_SAMPLES = 1 << 24


class TorchLogMel:
    """Log-mel of segments, computed by torch.

    Parameters
    ----------
    spec : FeatureSpec
        Of the kind ``log_mel``.
    device : str
        Of torch, such as ``cuda`` or ``cpu``.
    """

    def __init__(self, spec: FeatureSpec, device: str) -> None:
        import torch

        window = hann_window(spec.win_length or spec.n_fft, spec.n_fft, spec.window_periodic)
        bank = mel_bank(spec.sample_rate, spec.n_fft, spec.n_mels, spec.fmin, spec.fmax, spec.mel_scale)
        self._spec = spec
        self._device = torch.device(device)
        # Copies, since these arrays are shared and read-only, of which torch warns.
        self._window = torch.from_numpy(window.astype(np.float32)).to(self._device)
        self._bank = torch.from_numpy(bank.copy()).to(self._device)

    def __call__(self, samples: FloatArray) -> FloatArray:
        """Compute the log-mel of segments.

        Parameters
        ----------
        samples : ndarray, shape (segments, n), float32
            Mono, at the rate of the spec.

        Returns
        -------
        ndarray, shape (segments, mels, frames), float32

        Raises
        ------
        DeviceError
            ``device_failed``: the GPU failed, or its memory was not enough.
        """
        import torch

        frames = 1 + samples.shape[1] // self._spec.hop_length
        step = max(1, _FRAME_SAMPLES // (frames * self._spec.n_fft))
        writable = np.require(samples, np.float32, ["C", "W"])
        try:
            with torch.inference_mode():
                parts = [
                    self._log_mel(torch.from_numpy(writable[first : first + step]).to(self._device))
                    for first in range(0, len(samples), step)
                ]
                found: FloatArray = torch.cat(parts).cpu().numpy()
        except RuntimeError as reason:  # of torch, also where memory is not enough
            why = str(reason).splitlines()[0][:120]
            raise DeviceError("device_failed", f"log-mel: the GPU failed: {why}", GPU_HINT) from None
        return found

    def _log_mel(self, samples: torch.Tensor) -> torch.Tensor:
        import torch

        spec = self._spec
        if spec.pre_emphasis is not None:
            samples = samples[:, 1:] - spec.pre_emphasis * samples[:, :-1]
        half = spec.n_fft // 2
        padded = torch.nn.functional.pad(samples, (half, half), mode=spec.pad_mode)
        spectrum = torch.fft.rfft(padded.unfold(-1, spec.n_fft, spec.hop_length) * self._window)
        power = spectrum.real.square() + spectrum.imag.square()
        mel = (power @ self._bank).transpose(1, 2)
        if spec.log == "db":
            levels = 10 * torch.log10(mel.clamp(min=1e-10))
        elif spec.log == "compressed":
            levels = torch.log10(10_000 * mel + 1)
        else:
            levels = (torch.log(mel + 1e-5) + 4.5) / 5
        return levels.contiguous()


def device_log_mel(info: ModelInfo, device: str) -> TorchLogMel | None:
    """Return what computes a model's log-mel on the device of its network.

    Parameters
    ----------
    info : ModelInfo
        Of the model.
    device : str
        Of the model, such as ``cuda``.

    Returns
    -------
    TorchLogMel or None
        None where NumPy has to: torch is not installed, or has no such device, or the model is fed other
        features than log-mel.
    """
    spec = info.features
    # torch mirrors a segment once, NumPy as often as the padding needs.
    if spec.kind != "log_mel" or info.segment_seconds * spec.sample_rate <= spec.n_fft:
        return None
    try:
        import torch
    except (ImportError, OSError):  # OSError: a library of CUDA that it needs is not there
        return None
    found: Any = torch.cuda.is_available() if device == "cuda" else device == "cpu"
    return TorchLogMel(spec, device) if found else None
