"""Samples to the input of an encoder of the hub, in torch, so that it is part of the exported graph.

Each class computes what a feature extractor of transformers computes with NumPy. The discrete Fourier
transform is a convolution, because no operator for it is in all versions of onnxruntime that are supported.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from genrescope.types import IntArray

Inputs = dict[str, Tensor]
Kernel = npt.NDArray[np.float64]


class EncoderInput(nn.Module):
    """What computes the named inputs of an encoder.

    Parameters
    ----------
    longest : int, optional
        The most samples of a segment that are used; None: any number.
    """

    def __init__(self, longest: int | None = None) -> None:
        super().__init__()
        self.longest = longest

    def forward(self, samples: Tensor) -> Inputs:
        """Return the inputs for ``samples``, shape (segments, n), the first ``longest`` of them."""
        samples = samples[:, : self.longest]
        # Powers of samples are far below what bfloat16 resolves.
        with torch.autocast(samples.device.type, enabled=False):
            return self.compute(samples.float())

    def compute(self, samples: Tensor) -> Inputs:
        """Return the inputs for ``samples``, shape (segments, n), float32."""
        raise NotImplementedError


class WaveformInput(EncoderInput):
    """Samples of wav2vec 2.0, HuBERT, WavLM, MERT and others, perhaps with zero mean and unit variance.

    Parameters
    ----------
    extractor : transformers.Wav2Vec2FeatureExtractor
    """

    def __init__(self, extractor: Any) -> None:
        super().__init__()
        self.normalizes = bool(extractor.do_normalize)

    def compute(self, samples: Tensor) -> Inputs:
        """Return ``input_values``, shape (segments, n), of ``samples``."""
        if self.normalizes:
            centered = samples - samples.mean(1, keepdim=True)
            samples = centered / ((centered * centered).mean(1, keepdim=True) + 1e-7).sqrt()
        return {"input_values": samples}


class MelBands(nn.Module):
    """Samples -> power in mel bands, shape (segments, frames, bands), of frames that fit without padding.

    Parameters
    ----------
    kernel : ndarray, shape (2 bins, samples)
        Real and imaginary part of the Fourier transform of a windowed frame.
    filters : ndarray, shape (bins, bands)
    hop : int
        In samples.
    """

    kernel: Tensor
    filters: Tensor

    def __init__(self, kernel: Kernel, filters: Kernel, hop: int) -> None:
        super().__init__()
        self.hop = hop
        # Not stored with the weights: they follow from the extractor's settings.
        self.register_buffer("kernel", torch.from_numpy(kernel).float().unsqueeze(1), persistent=False)
        self.register_buffer("filters", torch.from_numpy(filters).float(), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """Return the bands of ``samples``, shape (segments, n)."""
        spectrum = functional.conv1d(samples.unsqueeze(1), self.kernel, stride=self.hop)
        real, imaginary = torch.chunk(spectrum, 2, dim=1)
        bands: Tensor = (real * real + imaginary * imaginary).transpose(1, 2) @ self.filters
        return bands


class AstInput(EncoderInput):
    """Kaldi's filter banks, for the Audio Spectrogram Transformer (Gong et al., Interspeech 2021).

    Parameters
    ----------
    extractor : transformers.ASTFeatureExtractor
    """

    FRAME, HOP, FFT = 400, 160, 512
    FLOOR = 1.192092955078125e-07

    def __init__(self, extractor: Any) -> None:
        self.frames = int(extractor.max_length)
        super().__init__(self.FRAME + self.HOP * self.frames - 1)
        self.mean, self.scale = (float(extractor.mean), 2 * float(extractor.std))
        if not extractor.do_normalize:
            self.mean, self.scale = 0.0, 1.0
        # Per frame: remove its mean, pre-emphasis, window. All are linear, so the kernel contains them.
        steps = np.eye(self.FRAME) - 1 / self.FRAME
        steps[1:] -= 0.97 * steps[:-1].copy()
        steps[0] *= 1 - 0.97
        kernel = fourier(self.FFT)[:, : self.FRAME] @ (np.hanning(self.FRAME)[:, None] * steps)
        self.bands = MelBands(kernel, kaldi_filters(extractor), self.HOP)

    def compute(self, samples: Tensor) -> Inputs:
        """Return ``input_values``, shape (segments, frames, bands), padded at the end, of ``samples``."""
        levels = self.bands(samples).clamp(min=self.FLOOR).log()
        levels = _padded(levels, np.minimum(np.arange(self.frames), int(levels.shape[1])))
        return {"input_values": (levels - self.mean) / self.scale}


class CenteredInput(EncoderInput):
    """A segment that is lengthened to a fixed number of samples, and mel bands of frames centered in it.

    Parameters
    ----------
    samples : int
        That fixed number; what a segment has beyond it is left out.
    fft, hop : int
        Frame and step in samples.
    filters : ndarray, shape (bins, bands)
    repeats : bool
        Whether a segment is repeated, as often as it fits in whole, before zeros follow.
    """

    def __init__(self, samples: int, fft: int, hop: int, filters: Kernel, *, repeats: bool) -> None:
        super().__init__(samples)
        self.samples, self.margin, self.repeats = samples, fft // 2, repeats
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(fft) / fft)
        self.bands = MelBands(fourier(fft) * window, filters, hop)

    def centered_bands(self, samples: Tensor) -> Tensor:
        """Return power in mel bands, shape (segments, frames, bands), of ``samples``."""
        # All rearranging in one step; index n is a zero.
        n = int(samples.shape[1])
        filled = n * (self.samples // n if self.repeats else 1)
        order = np.full(self.samples, n)
        order[:filled] = np.arange(filled) % n
        order = np.pad(order, self.margin, mode="reflect")
        bands: Tensor = self.bands(_padded(samples, order))
        return bands


class WhisperInput(CenteredInput):
    """Log-mel of 30 s, for Whisper (Radford et al., ICML 2023).

    Parameters
    ----------
    extractor : transformers.WhisperFeatureExtractor
    """

    def __init__(self, extractor: Any) -> None:
        super().__init__(
            extractor.n_samples, extractor.n_fft, extractor.hop_length, extractor.mel_filters, repeats=False
        )

    def compute(self, samples: Tensor) -> Inputs:
        """Return ``input_features``, shape (segments, bands, frames), of ``samples``."""
        levels = self.centered_bands(samples)[:, :-1].clamp(min=1e-10).log() / np.log(10)
        levels = torch.maximum(levels, levels.amax((1, 2), keepdim=True) - 8)
        return {"input_features": ((levels + 4) / 4).transpose(1, 2)}


class ClapInput(CenteredInput):
    """Log-mel of 10 s, for CLAP (Wu et al., ICASSP 2023).

    Parameters
    ----------
    extractor : transformers.ClapFeatureExtractor
    """

    def __init__(self, extractor: Any) -> None:
        self.fuses = extractor.truncation == "fusion"
        filters = extractor.mel_filters if self.fuses else extractor.mel_filters_slaney
        super().__init__(
            extractor.nb_max_samples,
            extractor.fft_window_size,
            extractor.hop_length,
            filters,
            repeats=extractor.padding == "repeatpad",
        )

    def compute(self, samples: Tensor) -> Inputs:
        """Return ``input_features``, shape (segments, channels, frames, bands), of ``samples``."""
        levels = 10 / np.log(10) * self.centered_bands(samples).clamp(min=1e-10).log()
        # With fusion there are three more channels, of crops of longer audio, which no segment is.
        channels = levels.unsqueeze(1)
        channels = torch.cat([channels] * 4, dim=1) if self.fuses else channels
        return {
            "input_features": channels,
            "is_longer": torch.zeros_like(samples[:, :1], dtype=torch.bool),
        }


def _padded(values: Tensor, order: IntArray) -> Tensor:
    """Rearrange along the second axis; an index beyond the last is zero."""
    # Not zeros of a size that is read off, which an export would take for a constant.
    extended = torch.cat([values, torch.zeros_like(values[:, :1])], dim=1)
    return extended[:, torch.from_numpy(order).to(values.device)]


# By the name of the extractor's class.
ENCODER_INPUTS: dict[str, type[EncoderInput]] = {
    "Wav2Vec2FeatureExtractor": WaveformInput,
    "ASTFeatureExtractor": AstInput,
    "WhisperFeatureExtractor": WhisperInput,
    "ClapFeatureExtractor": ClapInput,
}


def encoder_input(extractor: Any) -> EncoderInput | None:
    """Return what computes the same as a feature extractor of transformers; None for those not known here.

    Parameters
    ----------
    extractor : transformers feature extractor
    """
    kind = ENCODER_INPUTS.get(type(extractor).__name__)
    if kind is ClapInput and extractor.padding not in ("repeatpad", "pad"):
        return None
    return None if kind is None else kind(extractor)


def fourier(size: int) -> Kernel:
    """Return real and imaginary part of the discrete Fourier transform, shape (2 bins, size).

    Parameters
    ----------
    size : int
        Number of samples, even; there are ``size // 2 + 1`` bins.
    """
    # Products of whole numbers, reduced to one turn before they become angles, keep all digits.
    turns = np.outer(np.arange(size // 2 + 1), np.arange(size)) % size / size
    return np.concatenate([np.cos(2 * np.pi * turns), -np.sin(2 * np.pi * turns)])


def kaldi_filters(extractor: Any) -> Kernel:
    """Return the mel filters of Kaldi's filter banks, shape (257, bands).

    Parameters
    ----------
    extractor : transformers.ASTFeatureExtractor
        It has none where torchaudio is installed.
    """
    from transformers.audio_utils import mel_filter_bank

    filters: Kernel = mel_filter_bank(
        num_frequency_bins=AstInput.FFT // 2 + 1,
        num_mel_filters=extractor.num_mel_bins,
        min_frequency=20,
        max_frequency=extractor.sampling_rate // 2,
        sampling_rate=extractor.sampling_rate,
        norm=None,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    return filters
