"""Encoders of the hub: tiny ones with random weights, saved to a folder; no network."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from genrescope.errors import DownloadError, GenrescopeError, ModelError
from genrescope.models.backbones import registry as backbones
from helpers.vision import usable_torchvision

TRANSFORMER = {"num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 32}


@pytest.fixture(scope="module")
def transformers() -> Any:
    usable_torchvision()  # transformers loads it wherever it is found
    return pytest.importorskip("transformers", reason="transformers is not installed (extra hub)")


def wav2vec2(library: Any) -> tuple[Any, Any]:
    config = library.Wav2Vec2Config(
        hidden_size=16,
        conv_dim=(8, 8),
        conv_stride=(5, 4),
        conv_kernel=(10, 8),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        **TRANSFORMER,
    )
    return library.Wav2Vec2Model(config), library.Wav2Vec2FeatureExtractor()


def spectrogram_transformer(library: Any) -> tuple[Any, Any]:
    config = library.ASTConfig(hidden_size=16, max_length=64, num_mel_bins=32, **TRANSFORMER)
    return library.ASTModel(config), library.ASTFeatureExtractor(num_mel_bins=32, max_length=64)


def whisper(library: Any) -> tuple[Any, Any]:
    sizes = {f"{half}_{name}": 1 for half in ("encoder", "decoder") for name in ("layers", "attention_heads")}
    config = library.WhisperConfig(
        vocab_size=8,
        d_model=16,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        **sizes,
    )
    return library.WhisperModel(config), library.WhisperFeatureExtractor()


def clap(library: Any) -> tuple[Any, Any]:
    audio = {
        "patch_embeds_hidden_size": 8,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "hidden_size": 16,
    }
    text = {"hidden_size": 8, "vocab_size": 8, **TRANSFORMER}
    config = library.ClapConfig(audio_config=audio, text_config=text, projection_dim=8)
    return library.ClapModel(config), library.ClapFeatureExtractor(truncation="rand_trunc")


MAKERS = (wav2vec2, spectrogram_transformer, whisper, clap)
CARD = "---\nlicense: cc-by-4.0\n---\n# A tiny encoder\n"


@pytest.fixture(scope="module", params=MAKERS, ids=lambda make: str(make.__name__))
def folder(
    request: pytest.FixtureRequest, transformers: Any, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("hub")
    for part in request.param(transformers):
        part.save_pretrained(path)
    return path


def noise(segments: int, rate: int) -> Tensor:
    """Return one second of noise each."""
    return 0.1 * torch.randn(segments, rate, generator=torch.Generator().manual_seed(0))


def test_samples_become_embeddings(folder: Path) -> None:
    (folder / "README.md").write_text(CARD)
    backbone = backbones.load_backbone(f"hub:{folder}")
    facts = backbone.info
    embedding = backbone.embed(noise(3, facts.sample_rate))
    assert (facts.spec, facts.source, facts.license) == (None, str(folder), "cc-by-4.0")
    assert facts.sample_rate in (16000, 48000)
    assert embedding.shape == (3, facts.size)
    assert not embedding[0].allclose(embedding[1])
    assert not backbone.training


def test_segments_give_the_same_alone_as_in_a_batch(folder: Path) -> None:
    backbone = backbones.load_backbone(f"hub:{folder}")
    batch = noise(3, backbone.info.sample_rate)
    with torch.no_grad():
        alone = torch.cat([backbone.embed(segment[None]) for segment in batch])
        torch.testing.assert_close(backbone.embed(batch), alone, atol=1e-4, rtol=1e-4)


def test_encoders_can_be_trained(transformers: Any, tmp_path: Path) -> None:
    for part in spectrogram_transformer(transformers):
        part.save_pretrained(tmp_path)
    backbone = backbones.load_backbone(f"hub:{tmp_path}")
    backbone.embed(noise(1, 16000)).sum().backward()  # type: ignore[no-untyped-call]
    assert any(weights.grad is not None and weights.grad.any() for weights in backbone.parameters())


def test_without_a_card_the_license_is_unknown(transformers: Any, tmp_path: Path) -> None:
    for part in spectrogram_transformer(transformers):
        part.save_pretrained(tmp_path)
    assert backbones.load_backbone(f"hub:{tmp_path}").info.license == "unknown"


def test_a_model_of_text_is_refused(transformers: Any, tmp_path: Path) -> None:
    transformers.BertModel(
        transformers.BertConfig(hidden_size=8, vocab_size=9, **TRANSFORMER)
    ).save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    with pytest.raises(ModelError) as caught:
        backbones.load_backbone(f"hub:{tmp_path}")
    assert caught.value.code == "model_incompatible"


def test_code_of_a_repository_is_not_run(transformers: Any, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        '{"model_type": "mine", "auto_map": {"AutoModel": "code.M", "AutoConfig": "code.C"}}'
    )
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    with pytest.raises(ModelError) as caught:
        backbones.load_backbone(f"hub:{tmp_path}")
    assert caught.value.code == "model_incompatible"
    assert not (tmp_path / "ran").exists()


def test_an_empty_folder_is_an_error(transformers: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        backbones.load_backbone(f"hub:{tmp_path}")
    assert caught.value.code == "model_not_found"
    assert "config.json" in caught.value.hint


def test_offline_says_what_to_do(transformers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match=r"https://huggingface\.co/nobody/nothing") as caught:
        backbones.load_backbone("hub:nobody/nothing", cache=tmp_path)
    assert caught.value.code == "download_failed"
    assert "folder" in caught.value.hint


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("raise ModuleNotFoundError('none', name='transformers')", "genrescope[hub]"),
        (
            "def __getattr__(name):\n"
            "    try:\n"
            "        raise RuntimeError('operator torchvision::nms does not exist')\n"
            "    except RuntimeError as reason:\n"
            "        raise ModuleNotFoundError('Could not import it') from reason\n",
            "torchvision::nms",
        ),
    ],
)
def test_a_transformers_that_does_not_load_is_explained(
    failure: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "transformers").mkdir()
    (tmp_path / "transformers" / "__init__.py").write_text(failure)
    for name in [name for name in sys.modules if name.partition(".")[0] == "transformers"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(GenrescopeError) as caught:
        backbones.load_backbone("hub:any/encoder")
    assert caught.value.code == "missing_dependency"
    assert said in caught.value.message + caught.value.hint
