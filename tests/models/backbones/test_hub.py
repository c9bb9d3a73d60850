"""Encoders of the hub: tiny ones with random weights, saved to a folder; no network."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from genrescope import Classifier, audio, datasets
from genrescope.errors import ConfigError, DownloadError, GenrescopeError, ModelError
from genrescope.features import samples_spec
from genrescope.models import ModelInfo
from genrescope.models.backbones import registry as backbones
from genrescope.models.backbones.hub import HubEncoder
from genrescope.training import run as training
from genrescope.training.builders import NetworkBuilder, PretrainedBuilder, create_builder
from genrescope.training.config import Config, load_config
from genrescope.training.options import FitOptions
from genrescope.training.task import prepare_task
from helpers.small_data import LITTLE
from helpers.vision import usable_torchvision

# A length that all of them take: the tiny AST has 64 frames.
SECONDS = 0.6
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


def hubert(library: Any) -> tuple[Any, Any]:
    config = library.HubertConfig(
        hidden_size=16,
        conv_dim=(8, 8),
        conv_stride=(5, 4),
        conv_kernel=(10, 8),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        **TRANSFORMER,
    )
    extractor = library.Wav2Vec2FeatureExtractor(sampling_rate=24000, do_normalize=True)
    return library.HubertModel(config), extractor


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


def test_inputs_are_those_of_the_extractor(folder: Path) -> None:
    encoder = backbones.load_backbone(f"hub:{folder}").network
    assert isinstance(encoder, HubEncoder)
    assert encoder.input is not None
    clips = noise(3, encoder.sample_rate)
    found = encoder.input(clips)
    wanted = encoder.extractor(list(clips.numpy()), sampling_rate=encoder.sample_rate, return_tensors="pt")
    assert wanted.keys() <= found.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value.to(found[name].dtype), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", ["frozen", "fine-tuned"])
def test_the_model_file_scores_a_file_as_torch_does(
    family: str, folder: Path, little_music: Path, tmp_path: Path
) -> None:
    chosen = settings(family, folder)
    builder = create_builder(chosen)
    assert isinstance(builder, NetworkBuilder)
    task = prepare_task(datasets.load_dataset(little_music), chosen, builder.feature_spec())
    before = weights_of(folder)
    builder.fit(task, tmp_path / "checkpoints", FitOptions(device="cpu"))
    moved = [name for name, value in builder.network.state_dict().items() if changed(name, value, before)]
    assert bool(moved) == (family == "fine-tuned")
    info = ModelInfo(family, task.classes, task.examples.spec, SECONDS, SECONDS)
    exported = builder.export(info, task.examples.take(np.arange(4)), temperature=1.0)

    (tmp_path / "model.onnx").write_bytes(exported.graph)
    song = next((little_music / "hiss").rglob("*.wav"))
    course = Classifier.from_pretrained(tmp_path / "model.onnx").predict(song, timeline=True).timeline
    clip = audio.load_audio(song, sample_rate=info.features.sample_rate)
    with torch.no_grad():
        logits = builder.network(torch.from_numpy(audio.split(clip, seconds=SECONDS).samples))
    assert course is not None
    np.testing.assert_allclose(course.scores, logits.softmax(1).numpy(), atol=1e-4)


def settings(family: str, folder: Path, *overrides: str) -> Config:
    return load_config(
        family if family == "frozen" else None,
        [
            *LITTLE,
            f"model.name={family}",
            f"model.backbone=hub:{folder}",
            f"data.segment_seconds={SECONDS}",
            "data.segments_per_track=1",
            "split.protocol=artist-grouped",
            "train.epochs=1",
            "optimizer.learning_rate=0.01",
            *overrides,
        ],
    )


def weights_of(folder: Path) -> dict[str, Tensor]:
    return backbones.load_backbone(f"hub:{folder}").state_dict()


def changed(name: str, value: Tensor, before: dict[str, Tensor]) -> bool:
    name = name.removeprefix("backbone.")
    return name in before and not torch.equal(before[name], value)


def test_a_training_run_ends_in_one_file(transformers: Any, little_music: Path, tmp_path: Path) -> None:
    for part in wav2vec2(transformers):
        part.save_pretrained(tmp_path / "encoder")
    chosen = settings("frozen", tmp_path / "encoder")
    run = training.train(datasets.load_dataset(little_music), chosen, tmp_path / "run")
    classifier = Classifier.from_pretrained(run.model)
    assert classifier.model.info.features == samples_spec(16000)
    song = next((little_music / "hiss").rglob("*.wav"))
    assert set(classifier.predict(song).scores) == {"hiss", "drone"}


def test_segments_longer_than_what_an_encoder_takes_are_refused(
    transformers: Any, little_music: Path, tmp_path: Path
) -> None:
    for part in spectrogram_transformer(transformers):
        part.save_pretrained(tmp_path)
    builder = create_builder(settings("frozen", tmp_path, "data.segment_seconds=1.0"))
    assert isinstance(builder, PretrainedBuilder)
    with pytest.raises(ConfigError, match=r"uses the first 0\.66") as caught:
        builder.load_backbone()
    assert caught.value.code == "invalid_config"


def test_the_gru_has_no_place_beside_an_encoder_of_samples(transformers: Any, tmp_path: Path) -> None:
    for part in wav2vec2(transformers):
        part.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="takes samples"):
        create_builder(settings("parallel-pretrained", tmp_path)).feature_spec()


def test_random_encoders_have_the_configuration_alone(transformers: Any, tmp_path: Path) -> None:
    for part in wav2vec2(transformers):
        part.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    first, again = (backbones.random_backbone(f"hub:{tmp_path}", seed=3) for _ in range(2))
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_an_input_that_no_model_file_can_contain_is_refused(transformers: Any, tmp_path: Path) -> None:
    transformers.EncodecFeatureExtractor().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="EncodecFeatureExtractor") as caught:
        backbones.backbone_spec(f"hub:{tmp_path}")
    assert caught.value.code == "model_incompatible"


def saved_as_mert(library: Any, folder: Path, **extensions: Any) -> Any:
    """Save a HuBERT with the configuration of MERT's repositories, which name code of their own."""
    model, extractor = hubert(library)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    stated = json.loads((folder / "config.json").read_text())
    stated |= {
        "model_type": "mert_model",
        "architectures": ["MERTModel"],
        "auto_map": {"AutoConfig": "code.C", "AutoModel": "code.M"},
        "feature_extractor_cqt": False,
        "deepnorm": False,
        "attention_relax": -1.0,
        **extensions,
    }
    (folder / "config.json").write_text(json.dumps(stated))
    (folder / "code.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\n")
    return model


def test_mert_is_loaded_as_hubert_without_its_code(transformers: Any, tmp_path: Path) -> None:
    model = saved_as_mert(transformers, tmp_path)
    backbone = backbones.load_backbone(f"hub:{tmp_path}")
    clips = noise(2, 24000)
    normal = (clips - clips.mean(1, keepdim=True)) / clips.std(1, keepdim=True, correction=0)
    with torch.no_grad():
        expected = model.eval()(normal).last_hidden_state.mean(1)
        torch.testing.assert_close(backbone.embed(clips), expected, rtol=1e-4, atol=1e-4)
    assert backbones.backbone_spec(f"hub:{tmp_path}").sample_rate == 24000
    assert not (tmp_path / "ran").exists()


def test_a_mert_that_is_no_hubert_is_refused(transformers: Any, tmp_path: Path) -> None:
    saved_as_mert(transformers, tmp_path, feature_extractor_cqt=True)
    with pytest.raises(ModelError, match="feature_extractor_cqt") as caught:
        backbones.load_backbone(f"hub:{tmp_path}")
    assert caught.value.code == "model_incompatible"
    assert not (tmp_path / "ran").exists()


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
