"""Spectrograms as images, and networks for images on them; with random weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genrescope.errors import MissingDependencyError, ModelError
from genrescope.models.backbones import registry as backbones
from genrescope.models.backbones import torchvision as imagenet
from helpers.vision import torchvision_or_skip

NAMES = ("vgg16", "inception-v3")


@pytest.fixture(scope="module")
def torchvision() -> Any:
    return torchvision_or_skip()


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


def saved_as_torchvision_does(network: nn.Module, path: Path) -> Path:
    """Save random weights under torchvision's names, with a dense layer that the backbone does not use."""
    state = {name.removeprefix("trunk."): value for name, value in random_weights(network).items()}
    torch.save({**state, "classifier.0.weight": torch.zeros(2, 2), "fc.bias": torch.zeros(2)}, path)
    return path


@pytest.fixture(scope="module", params=NAMES)
def backbone(
    request: pytest.FixtureRequest, torchvision: Any, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    file = tmp_path_factory.mktemp("weights") / "weights.pth"
    saved_as_torchvision_does(unweighted(request.param), file)
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


def test_vgg_is_the_mean_of_its_last_maps(torchvision: Any) -> None:
    network = unweighted("vgg16")
    network.load_state_dict(random_weights(network), assign=True)
    batch = log_mel(1)
    with torch.no_grad():
        maps = network.get_submodule("trunk.features")(imagenet.to_images(batch, 224))
        torch.testing.assert_close(network.eval()(batch), maps.mean((2, 3)))


@pytest.mark.parametrize(
    ("name", "model", "options"),
    [("vgg16", "vgg16", {}), ("inception-v3", "inception_v3", {"aux_logits": True})],
)
def test_published_weights_fit(torchvision: Any, name: str, model: str, options: dict[str, Any]) -> None:
    with torch.device("meta"):
        whole = getattr(torchvision.models, model)(weights=None, init_weights=False, **options)
    translated = imagenet.without_head(whole.state_dict())
    wanted = unweighted(name).state_dict()
    assert {key: value.shape for key, value in translated.items()} == {
        key: value.shape for key, value in wanted.items()
    }


def test_sources_are_torchvisions(torchvision: Any) -> None:
    published = torchvision.models
    urls = {
        "vgg16": published.VGG16_Weights.IMAGENET1K_V1.url,
        "inception-v3": published.Inception_V3_Weights.IMAGENET1K_V1.url,
    }
    known = backbones.BACKBONES | backbones.ARCHITECTURES
    assert {name: known[name].info.source for name in NAMES} == urls
    assert str(known["vgg16"].info.sha256)[:8] in urls["vgg16"]


def test_weights_of_another_network_are_refused(torchvision: Any, tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ModelError) as caught:
        backbones.load_backbone("vgg16", weights=tmp_path / "other.pth")
    assert caught.value.code == "model_incompatible"


def forget_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)


def test_a_missing_torchvision_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_torchvision(monkeypatch)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingDependencyError) as caught:
        backbones.load_backbone("vgg16")
    assert caught.value.code == "missing_dependency"
    assert "genrescope[vision]" in caught.value.hint


@pytest.mark.parametrize(
    "failure",
    [
        "RuntimeError('operator torchvision::nms does not exist')",
        "ImportError('_C.so: undefined symbol')",
        "ModuleNotFoundError('No module named PIL', name='PIL')",
    ],
)
def test_a_torchvision_for_another_torch_is_explained(
    failure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(f"raise {failure}\n")
    forget_torchvision(monkeypatch)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError, match="does not load beside torch") as caught:
        backbones.load_backbone("inception-v3")
    assert caught.value.code == "missing_dependency"
    assert "download.pytorch.org" in caught.value.hint
