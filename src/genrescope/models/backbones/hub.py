"""Any audio encoder of the Hugging Face hub, by name or folder; from transformers, extra ``hub``.

No code of a repository is run, and no pickle is read.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genrescope.errors import (
    DownloadError,
    GenrescopeError,
    MissingDependencyError,
    ModelError,
    missing_extra,
)

PROBE_SECONDS = 1.0


class HubEncoder(nn.Module):
    """Samples -> the encoder's last hidden states, their mean over time.

    Input (segments, n), mono, at ``sample_rate`` Hz. Where an encoder pads what it is fed to a fixed length
    (Whisper: 30 s), the padding is part of the mean; CLAP's extractor crops more than 10 s at random.

    Parameters
    ----------
    encoder : transformers.PreTrainedModel
        What computes the hidden states.
    extractor : transformers feature extractor
        What makes the encoder's input of samples.

    Attributes
    ----------
    sample_rate : int
        In Hz.
    size : int
        Length of the embedding.
    """

    def __init__(self, encoder: nn.Module, extractor: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.extractor = extractor
        self.sample_rate = int(extractor.sampling_rate)
        self.size = self._probe()

    def embed(self, batch: Tensor) -> Tensor:
        """Return the embedding of ``batch``, samples (segments, n); shape (segments, size)."""
        clips = list(batch.detach().cpu().numpy())
        inputs = self.extractor(clips, sampling_rate=self.sample_rate, return_tensors="pt")
        hidden: Tensor = self.encoder(**inputs.to(batch.device))[0]
        # Sequences are (segments, time, size), maps of convolutional encoders (segments, size, bands, time).
        return hidden.mean(1) if hidden.ndim == 3 else hidden.mean((2, 3))

    def forward(self, batch: Tensor) -> Tensor:
        """Return the embedding of ``batch``; see `embed`."""
        return self.embed(batch)

    @torch.no_grad()
    def _probe(self) -> int:
        """Return the length of an embedding; configurations of the hub have no common name for it."""
        return self.eval().embed(torch.zeros(1, round(PROBE_SECONDS * self.sample_rate))).shape[1]


def load_hub_encoder(source: str, *, cache: Path | None = None) -> HubEncoder:
    """Load an encoder, in eval mode.

    Parameters
    ----------
    source : str
        A name such as ``facebook/wav2vec2-base``, or a folder with what ``save_pretrained`` wrote.
    cache : Path, optional
        Where the hub's files are kept, instead of its own cache.

    Raises
    ------
    MissingDependencyError, DownloadError
        ``missing_dependency``: transformers is not installed; ``download_failed``: no network, or no such
        repository.
    ModelError
        ``model_not_found``: the folder holds no model; ``model_incompatible``: it is no audio encoder, or
        one that only runs with code of its own.
    """
    settings = {"cache_dir": cache, "trust_remote_code": False}
    try:
        transformers = import_module("transformers")
        extractor = transformers.AutoFeatureExtractor.from_pretrained(source, **settings)
        model = transformers.AutoModel.from_pretrained(source, **settings)
        return HubEncoder(_audio_part(model), extractor).eval()
    except ImportError as reason:
        raise _import_failure(reason) from None
    except OSError as reason:
        raise _not_found(source, reason) from None
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, IndexError) as reason:
        raise ModelError(
            "model_incompatible",
            f"{source}: cannot be used as an audio encoder: {_first_line(reason)}",
            "choose an encoder that takes samples of one channel and needs no code of its own",
        ) from None


def license(source: str, *, cache: Path | None = None) -> str:
    """Return the license that a model card names, or ``unknown``.

    Parameters
    ----------
    source : str
        As for `load_hub_encoder`.
    cache : Path, optional
        Where the hub's files are kept.
    """
    card = Path(source) / "README.md"
    hub = import_module("huggingface_hub")
    try:
        if not Path(source).is_dir():
            card = Path(hub.hf_hub_download(source, "README.md", cache_dir=cache))
        named = hub.ModelCard.load(card).data.license
    except (OSError, ValueError):
        return "unknown"
    return str(named or "unknown")


def _audio_part(model: Any) -> nn.Module:
    """Return the audio encoder: of an encoder and decoder, or of a model of audio and text."""
    if hasattr(model, "audio_model"):
        part: nn.Module = model.audio_model
    elif model.config.is_encoder_decoder:
        part = model.get_encoder()
    else:
        part = model
    return part


def _import_failure(reason: ImportError) -> MissingDependencyError:
    if reason.name == "transformers":
        return missing_extra("hub", "transformers")
    root: BaseException = reason
    while root.__cause__ is not None:
        root = root.__cause__
    return MissingDependencyError(
        "missing_dependency",
        f"transformers is installed but does not load: {_first_line(root)}",
        "install what it names; if that is torchvision, which transformers loads wherever it is found, "
        "install torch and torchvision from one place, or uninstall torchvision",
    )


def _not_found(source: str, reason: OSError) -> GenrescopeError:
    if Path(source).is_dir():
        return ModelError(
            "model_not_found",
            f"{source}: holds no model of the hub: {_first_line(reason)}",
            "give a folder with config.json, preprocessor_config.json and model.safetensors",
        )
    return DownloadError(
        "download_failed",
        f"https://huggingface.co/{source}: cannot be fetched: {_first_line(reason)}",
        "check the name, go online and try again, or copy the repository to a folder and give that",
    )


def _first_line(reason: BaseException) -> str:
    return (str(reason).strip() or type(reason).__name__).splitlines()[0]
