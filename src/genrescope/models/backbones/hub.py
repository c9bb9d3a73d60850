"""Any audio encoder of the Hugging Face hub, by name or folder; from transformers, extra ``hub``.

No code of a repository is run. MERT, whose repository has code, is HuBERT
with other settings, so that the class of transformers loads it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from genrescope.errors import (
    DownloadError,
    GenrescopeError,
    MissingDependencyError,
    ModelError,
    missing_extra,
)
from genrescope.models.backbones.hub_inputs import ENCODER_INPUTS, encoder_input

PROBE_SECONDS = 1.0
# The model type of MERT's configuration files.
MERT = "mert_model"


class HubEncoder(nn.Module):
    """Samples -> the encoder's last hidden states, their mean over time.

    Input (segments, n), mono, at ``sample_rate`` Hz. Where an encoder pads what it is fed to a fixed length
    (Whisper: 30 s, AST and CLAP: 10 s), the padding is part of the mean.

    Parameters
    ----------
    encoder : transformers.PreTrainedModel
        What computes the hidden states.
    extractor : transformers feature extractor
        What makes the encoder's input of samples. Of those that `hub_inputs` knows only the settings are
        used, and the encoder can be exported.

    Attributes
    ----------
    sample_rate : int
        In Hz.
    size : int
        Length of the embedding.
    longest_seconds : float
        What is beyond in a segment does not count; infinite where an encoder takes any length.
    """

    def __init__(self, encoder: nn.Module, extractor: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.extractor = extractor
        self.input = encoder_input(extractor)
        self.sample_rate = int(extractor.sampling_rate)
        longest = self.input.longest if self.input is not None else None
        self.longest_seconds = math.inf if longest is None else longest / self.sample_rate
        self.size = self._probe()

    def embed(self, batch: Tensor) -> Tensor:
        """Return the embedding of ``batch``, samples (segments, n); shape (segments, size)."""
        if self.input is not None:
            inputs = self.input(batch)
        else:
            clips = list(batch.detach().cpu().numpy())
            inputs = self.extractor(clips, sampling_rate=self.sample_rate, return_tensors="pt")
            inputs = inputs.to(batch.device)
        hidden: Tensor = self.encoder(**inputs)[0]
        # Sequences are (segments, time, size), maps of convolutional encoders (segments, size, bands, time).
        return hidden.mean(1) if hidden.ndim == 3 else hidden.mean((2, 3))

    def forward(self, batch: Tensor) -> Tensor:
        """Return the embedding of ``batch``; see `embed`."""
        return self.embed(batch)

    @torch.no_grad()
    def _probe(self) -> int:
        """Return the length of an embedding; configurations of the hub have no common name for it."""
        return self.eval().embed(torch.zeros(1, round(PROBE_SECONDS * self.sample_rate))).shape[1]


def load_hub_encoder(source: str, *, cache: Path | None = None, random: bool = False) -> HubEncoder:
    """Load an encoder, in eval mode.

    Parameters
    ----------
    source : str
        A name such as ``facebook/wav2vec2-base``, or a folder with what ``save_pretrained`` wrote.
    cache : Path, optional
        Where the hub's files are kept, instead of its own cache.
    random : bool
        Whether to load the configuration alone, and start with random weights.

    Raises
    ------
    MissingDependencyError, DownloadError
        ``missing_dependency``: transformers is not installed; ``download_failed``: no network, or no such
        repository.
    ModelError
        ``model_not_found``: the folder holds no model; ``model_incompatible``: it is no audio encoder, or
        one that only runs with code of its own.
    """
    with _explaining_failures(source):
        transformers = import_module("transformers")
        extractor = transformers.AutoFeatureExtractor.from_pretrained(source, **_settings(cache))
        model = _load_model(transformers, source, cache, random)
        return HubEncoder(_exportable(_audio_part(model)), extractor).eval()


def hub_sample_rate(source: str, *, cache: Path | None = None) -> int:
    """Return the sample rate of an encoder in Hz, without loading its weights.

    Parameters
    ----------
    source : str
        As for `load_hub_encoder`, with the same errors.
    cache : Path, optional
        Where the hub's files are kept.

    Raises
    ------
    ModelError
        ``model_incompatible``: what makes the encoder's input cannot be part of a model file.
    """
    with _explaining_failures(source):
        transformers = import_module("transformers")
        extractor = transformers.AutoFeatureExtractor.from_pretrained(source, **_settings(cache))
        found = encoder_input(extractor)
        rate = int(extractor.sampling_rate)
    if found is None:
        raise ModelError(
            "model_incompatible",
            f"{source}: its input is made by {type(extractor).__name__}, which a model file cannot contain",
            f"choose an encoder with one of: {', '.join(ENCODER_INPUTS)}",
        )
    return rate


def _settings(cache: Path | None) -> dict[str, Any]:
    return {"cache_dir": cache, "trust_remote_code": False}


@contextmanager
def _explaining_failures(source: str) -> Iterator[None]:
    """Turn what transformers raises into errors of this package."""
    try:
        yield
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


def _load_model(transformers: Any, source: str, cache: Path | None, random: bool) -> Any:
    """Return the whole model of a repository, perhaps with random weights."""
    stated, _ = transformers.PretrainedConfig.get_config_dict(source, cache_dir=cache)
    kind: Any = transformers.AutoModel
    if stated.get("model_type") == MERT:
        kind, config = transformers.HubertModel, _mert_config(transformers, stated, source)
    else:
        config = transformers.AutoConfig.from_pretrained(source, **_settings(cache))
    # The plain arithmetic of attention: other implementations are chosen by version and device.
    if random:
        if kind is transformers.HubertModel:
            return kind._from_config(config, attn_implementation="eager")
        return kind.from_config(config, attn_implementation="eager", trust_remote_code=False)
    settings = _settings(cache) if kind is transformers.AutoModel else {"cache_dir": cache}
    model, found = kind.from_pretrained(
        source, config=config, attn_implementation="eager", output_loading_info=True, **settings
    )
    missing = sorted(name for name in found["missing_keys"] if not name.endswith("masked_spec_embed"))
    if stated.get("model_type") == MERT and missing:
        raise ValueError(f"its weights have no {missing[0]}")
    return model


def _mert_config(transformers: Any, stated: dict[str, Any], source: str) -> Any:
    """Return HuBERT's configuration for a MERT (Li et al., ICLR 2024), if it has none of its extensions."""
    extensions = {
        "feature_extractor_cqt": bool(stated.get("feature_extractor_cqt")),
        "deepnorm": bool(stated.get("deepnorm")),
        "attention_relax": float(stated.get("attention_relax") or -1) > 0,
    }
    used = [name for name, is_used in extensions.items() if is_used]
    if used:
        raise ModelError(
            "model_incompatible",
            f"{source}: a MERT with {', '.join(used)}, which HuBERT does not have, and no code of a "
            "repository is run",
            "use one without, such as MERT-v1-95M",
        )
    ignored = ("model_type", "architectures", "auto_map", "transformers_version")
    return transformers.HubertConfig(**{name: value for name, value in stated.items() if name not in ignored})


def _exportable(encoder: nn.Module) -> nn.Module:
    """Return an encoder without what an export cannot follow or a seed does not decide."""
    for module in encoder.modules():
        # Weight normalization, as two factors of a weight, is for training from scratch.
        for name in list(getattr(module, "parametrizations", ())):
            parametrize.remove_parametrizations(module, name)
    settings: Any = encoder.config
    if hasattr(settings, "apply_spec_augment"):
        settings.apply_spec_augment = False  # which draws from NumPy's global state
    return encoder


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
