"""Spectrograms as images, and networks for images on them; with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genrescope.errors import ModelError
from genrescope.features import SPECTROGRAM_LOG_MEL
from genrescope.models.backbones import imagenet
from genrescope.models.backbones import registry as backbones
from helpers.vision import torchvision_or_skip

NAMES = ("vgg16", "inception-v3")


@pytest.fixture(scope="module")
def torchvision() -> Any:
    return torchvision_or_skip()


# What torchvision's files hold besides: VGG16's dense layers, Inception's, and its auxiliary classifier.
_NORMALIZATION = ("weight", "bias", "running_mean", "running_var")
HEADS: dict[str, dict[str, tuple[int, ...]]] = {
    "vgg16": {
        "classifier.0.weight": (4096, 25088),
        "classifier.0.bias": (4096,),
        "classifier.3.weight": (4096, 4096),
        "classifier.3.bias": (4096,),
        "classifier.6.weight": (1000, 4096),
        "classifier.6.bias": (1000,),
    },
    "inception-v3": {
        "AuxLogits.conv0.conv.weight": (128, 768, 1, 1),
        **{f"AuxLogits.conv0.bn.{name}": (128,) for name in _NORMALIZATION},
        "AuxLogits.conv0.bn.num_batches_tracked": (),
        "AuxLogits.conv1.conv.weight": (768, 128, 5, 5),
        **{f"AuxLogits.conv1.bn.{name}": (768,) for name in _NORMALIZATION},
        "AuxLogits.conv1.bn.num_batches_tracked": (),
        "AuxLogits.fc.weight": (1000, 768),
        "AuxLogits.fc.bias": (1000,),
        "fc.weight": (1000, 2048),
        "fc.bias": (1000,),
    },
}


def log_mel(segments: int = 2, frames: int = 130) -> Tensor:
    """Return noise between -60 and 0 dB."""
    return -60 * torch.rand(segments, 128, frames, generator=torch.Generator().manual_seed(0))


def unweighted(name: str) -> nn.Module:
    with torch.device("meta"):
        return (backbones.BACKBONES | backbones.ARCHITECTURES)[name].build()


def random_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return weights for a network that has none, of He's variance; running variances are one."""
    torch.manual_seed(0)
    state = {}
    for name, value in network.state_dict().items():
        weights = torch.zeros(value.shape, dtype=value.dtype)
        if value.ndim > 1:
            nn.init.kaiming_normal_(weights)
        elif name.endswith(("running_var", "bn.weight")):
            nn.init.ones_(weights)
        state[name] = weights
    return state


def published_state(name: str, seed: int = 0) -> dict[str, Tensor]:
    """Return random weights of the names and shapes that torchvision publishes, with all that is dropped."""
    layers = HEADS[name]
    generator = torch.Generator().manual_seed(seed)
    head = {key: torch.rand(shape, generator=generator) for key, shape in layers.items()}
    network = random_weights(unweighted(name))
    return {**{key.removeprefix("trunk."): value for key, value in network.items()}, **head}


@pytest.fixture(scope="module", params=NAMES)
def backbone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    file = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save(published_state(request.param), file)
    return backbones.load_backbone(request.param, weights=file)


def test_levels_become_grays() -> None:
    scale = torch.tensor([0.0, -40.0, -80.0, -100.0]).repeat_interleave(4).expand(1, 16, 16)
    pictures = imagenet.to_images(scale, 16)
    mean, deviation = torch.tensor(imagenet.IMAGENET_MEAN), torch.tensor(imagenet.IMAGENET_DEVIATION)
    grays = pictures * deviation.view(1, 3, 1, 1) + mean.view(1, 3, 1, 1)
    expected = torch.tensor([1.0, 0.5, 0.0, 0.0]).repeat_interleave(4).expand(1, 3, 16, 16)
    torch.testing.assert_close(grays, expected)


def test_a_constant_stays_one_at_any_size() -> None:
    pictures = imagenet.to_images(torch.full((1, 128, 37), -12.0), 224)
    assert pictures.shape == (1, 3, 224, 224)
    torch.testing.assert_close(pictures, pictures[..., :1, :1].expand_as(pictures))


def test_gain_does_not_change_the_picture() -> None:
    torch.testing.assert_close(imagenet.to_images(log_mel(), 64), imagenet.to_images(log_mel() - 20, 64))


def test_each_segment_has_its_own_reference() -> None:
    quieter = torch.cat([log_mel(1), log_mel(1) - 30])
    first, second = imagenet.to_images(quieter, 64)
    torch.testing.assert_close(first, second)


def test_embeddings_have_the_size_that_the_info_states(backbone: backbones.Backbone) -> None:
    with torch.no_grad():
        embedding = backbone.embed(log_mel())
    assert embedding.shape == (2, backbone.info.size)
    assert embedding.isfinite().all()
    assert not embedding[0].allclose(embedding[1])
    assert backbone.info.spec is not None
    assert backbone.info.spec.kind == "log_mel"


def test_vgg_is_the_mean_of_its_last_maps() -> None:
    network = unweighted("vgg16")
    network.load_state_dict(random_weights(network), assign=True)
    batch = log_mel(1)
    with torch.no_grad():
        maps = network.get_submodule("trunk.features")(imagenet.to_images(batch, 224))
        torch.testing.assert_close(network.eval()(batch), maps.mean((2, 3)))


MODELS = [("vgg16", "vgg16", {}), ("inception-v3", "inception_v3", {"aux_logits": True})]


@pytest.mark.parametrize(("name", "model", "options"), MODELS)
def test_published_weights_fit(torchvision: Any, name: str, model: str, options: dict[str, Any]) -> None:
    with torch.device("meta"):
        whole = getattr(torchvision.models, model)(weights=None, init_weights=False, **options)
    translated = imagenet.without_head(whole.state_dict())
    wanted = unweighted(name).state_dict()
    assert {key: value.shape for key, value in translated.items()} == {
        key: value.shape for key, value in wanted.items()
    }
    # And the files that the tests make without torchvision have what it publishes, name by name.
    assert {key: tuple(value.shape) for key, value in whole.state_dict().items()} == {
        key: tuple(value.shape) for key, value in published_state(name).items()
    }


@pytest.mark.parametrize(("name", "model", "options"), MODELS)
def test_embeddings_are_torchvisions(
    torchvision: Any, name: str, model: str, options: dict[str, Any], tmp_path: Path
) -> None:
    state = published_state(name)
    torch.save(state, tmp_path / "weights.pth")
    whole = getattr(torchvision.models, model)(weights=None, init_weights=False, **options)
    whole.load_state_dict(state)
    if name == "vgg16":
        whole.avgpool, whole.classifier = nn.AdaptiveAvgPool2d(1), nn.Identity()
    else:
        # As its published weights are used: colors normalized for ImageNet are rescaled inside.
        whole.fc, whole.transform_input = nn.Identity(), True
    backbone = backbones.load_backbone(name, weights=tmp_path / "weights.pth")
    batch = log_mel()
    with torch.no_grad():
        expected = whole.eval()(imagenet.to_images(batch, {"vgg16": 224, "inception-v3": 299}[name]))
        torch.testing.assert_close(backbone.embed(batch), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_safetensors_are_read_like_torchs_files(name: str, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    state = published_state(name)
    safetensors.save_file(state, tmp_path / "weights.safetensors")
    read = backbones.load_backbone(name, weights=tmp_path / "weights.safetensors").network.state_dict()
    for key, value in imagenet.without_head(state).items():
        torch.testing.assert_close(read[key], value, rtol=0, atol=0)


def test_damaged_safetensors_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    (tmp_path / "weights.safetensors").write_bytes(bytes(20))
    with pytest.raises(ModelError) as caught:
        backbones.load_backbone("vgg16", weights=tmp_path / "weights.safetensors")
    assert caught.value.code == "model_corrupt"


@pytest.mark.parametrize("name", NAMES)
def test_random_weights_follow_from_the_seed_and_let_signals_through(name: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (backbones.random_backbone(name, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert (first.info.source, first.info.exposures, first.info.styles) == ("random", (), ())
    weights = [next(one.parameters()) for one in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    with torch.no_grad():
        deviation = first.embed(log_mel(4)).std()
    assert 1e-3 < deviation < 1e3


def test_image_networks_take_any_hop(tmp_path: Path) -> None:
    for name in NAMES:
        assert backbones.backbone_spec(name) == SPECTROGRAM_LOG_MEL
        assert backbones.backbone_spec(name, hop_length=512).hop_length == 512
    assert backbones.backbone_spec("mn04", hop_length=512).hop_length == 320


def test_sources_are_torchvisions(torchvision: Any) -> None:
    published = torchvision.models
    urls = {
        "vgg16": published.VGG16_Weights.IMAGENET1K_V1.url,
        "inception-v3": published.Inception_V3_Weights.IMAGENET1K_V1.url,
    }
    known = backbones.BACKBONES | backbones.ARCHITECTURES
    assert {name: known[name].info.source for name in NAMES} == urls
    assert str(known["vgg16"].info.sha256)[:8] in urls["vgg16"]


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ModelError) as caught:
        backbones.load_backbone("vgg16", weights=tmp_path / "other.pth")
    assert caught.value.code == "model_incompatible"
