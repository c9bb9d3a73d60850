"""Layers, features, optimizers, schedules, losses and seeds are what the settings say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from genrescope import datasets, models
from genrescope.errors import ConfigError
from genrescope.models.model import Model
from genrescope.training import config, losses, optimizers
from genrescope.training import run as training
from genrescope.training.builders import BUILDERS, ScratchNetworkBuilder, create_builder
from genrescope.training.config_checks import FEATURE_KEYS, NETWORK_KEYS
from genrescope.training.config_types import Optimizer
from helpers.small_data import LITTLE

QUICK = (*LITTLE, "split.protocol=artist-grouped", "train.threads=1", "train.epochs=1")


def network(name: str, *overrides: str) -> torch.nn.Module:
    builder = create_builder(config.load_config(None, [f"model.name={name}", *overrides]))
    assert isinstance(builder, ScratchNetworkBuilder)
    return builder._build(builder.feature_spec(), 4)


@pytest.mark.parametrize(
    ("name", "overrides", "shapes"),
    [
        ("lstm", ["network.units=[8, 6, 5]"], {"layers.2.weight_hh_l0": (20, 5), "output.weight": (4, 5)}),
        ("lstm", ["network.layers=1", "network.units=7"], {"layers.0.weight_hh_l0": (28, 7)}),
        ("cnn", ["network.filters=[4, 8]", "network.kernel=[5, 3]"], {"convolutions.4.weight": (8, 4, 5, 3)}),
        ("cnn", ["network.layers=3"], {"convolutions.8.weight": (96, 48, 3, 3), "output.weight": (4, 192)}),
        ("crnn", ["network.units=[9, 3]"], {"recurrences.1.weight_ih_l0": (9, 18), "output.weight": (4, 6)}),
        ("crnn", ["network.pooling=[2, [4, 2], 1, 1]"], {"recurrences.0.weight_ih_l0": (192, 1024)}),
        (
            "parallel",
            ["network.filters=5", "network.layers=2", "network.pooling=4"],
            {"convolutions.3.weight": (5, 5, 3, 1)},
        ),
        ("cnn", ["features.n_mels=40"], {"normalizer.standardize.mean": (40,)}),
        ("lstm", ["features.names=[\"chroma\", \"mfcc\"]", "features.n_mfcc=13"], {"normalizer.mean": (25,)}),
    ],
)  # fmt: skip
def test_sizes_of_layers(name: str, overrides: list[str], shapes: dict[str, tuple[int, ...]]) -> None:
    state = network(name, *overrides).state_dict()
    assert {key: tuple(state[key].shape) for key in shapes} == shapes


@pytest.mark.parametrize(
    ("name", "overrides", "said"),
    [
        ("lstm", ["network.filters=8"], "lstm takes no network.filters.*network.layers, network.units"),
        ("svm", ["network.units=8"], "svm takes no network.units.*none"),
        ("frozen", ["features.n_mels=64"], "frozen takes no features.n_mels"),
        ("cnn", ['features.names=["mfcc"]'], "cnn takes no features.names"),
        ("cnn", ["network.options.width=3"], "takes no network.options"),
        ("crnn", ["model.class=a:B"], "which is to be trained"),
        ("lstm", ['features.names=["custom"]'], "names no function"),
        ("cnn", ["features.class=a.b"], "package.module:name"),
        ("cnn", ["network.units=many"], "must be an integer from 1"),
        ("cnn", ["network.filters=0"], "must be an integer from 1"),
        ("cnn", ["network.kernel=[1, 2, 3]"], "list of two"),
        ("cnn", ["network.pooling=[[2, 2, 2]]"], "one entry per layer"),
        ("svm", ["train.loss=focal"], "loss of its own"),
        ("cnn", ["optimizer.options.lr=3"], "optimizer.learning_rate"),
        ("cnn", ["optimizer.options=3"], "must be a table"),
    ],
)
def test_settings_that_a_family_does_not_take_are_refused(name: str, overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load_config(None, [f"model.name={name}", *overrides])
    assert re.search(said, f"{caught.value.message} {caught.value.hint}")


@pytest.mark.parametrize(
    ("name", "overrides", "said"),
    [
        ("cnn", ["network.filters=[4, 8]", "network.layers=3"], "2 entries for 3 layers"),
        ("cnn", ["network.kernel=2"], "odd"),
        ("crnn", ["features.n_mels=32"], "too few"),
        ("cnn", ["data.segment_seconds=0.3"], "does not fit"),
        ("lstm", ['features.names=["mfc"]'], "none of mfcc"),
        ("lstm", ["features.fmin=9000", "features.fmax=8000"], "rise"),
        ("cnn", ["optimizer.options.momentum=0.9"], "betas"),
        ("cnn", ["optimizer.name=rprop"], "weight_decay=0"),
        ("cnn", ["optimizer.name=sgd", "optimizer.options.nesterov=true"], "[Nn]esterov"),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_any_audio(
    name: str, overrides: list[str], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        training.check_config(config.load_config(None, [f"model.name={name}", *overrides]))
    assert re.search(said, f"{caught.value.message} {caught.value.hint}")


def test_the_tables_of_keys_name_families_and_settings() -> None:
    assert set(NETWORK_KEYS) | set(FEATURE_KEYS) <= set(BUILDERS)
    for keys, section in ((NETWORK_KEYS, config.NetworkConfig), (FEATURE_KEYS, config.FeatureConfig)):
        known = {field.alias or name for name, field in section.model_fields.items()}
        assert {key for taken in keys.values() for key in taken} <= known


def test_settings_with_tables_and_lists_survive_json_and_have_a_hash() -> None:
    overrides = [
        "network.pooling=[2, [1, 2]]",
        "network.filters=[3, 4]",
        "optimizer.options.betas=[0.8, 0.9]",
    ]
    settings = config.load_config(None, [*overrides, "optimizer.options.amsgrad=true", "features.class=a:b"])
    again = config.config_from_json(json.loads(json.dumps(settings.to_json())))
    assert again == settings
    assert hash(again) == hash(settings)
    assert settings.to_json()["optimizer"]["options"] == {"amsgrad": True, "betas": [0.8, 0.9]}
    assert settings.to_json()["features"]["class"] == "a:b"


def test_every_optimizer_of_torch_can_be_named() -> None:
    kinds = [kind for kind in vars(torch.optim).values() if isinstance(kind, type)]
    names = {kind.__name__.lower() for kind in kinds if issubclass(kind, torch.optim.Optimizer)}
    assert names - {"optimizer", "sparseadam"} <= set(get_args(Optimizer))


@pytest.mark.parametrize("name", [name for name in get_args(Optimizer) if name != "muon"])
@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "step"])
def test_every_optimizer_takes_a_step_under_every_schedule(name: str, schedule: str) -> None:
    if not any(one.lower() == name for one in vars(torch.optim)):
        pytest.skip(f"this torch has no {name}")
    weight_decay = 0 if name in ("rprop", "lbfgs") else 0.01
    settings = config.load_config(
        None,
        [f"optimizer.name={name}", f"optimizer.weight_decay={weight_decay}", f"optimizer.schedule={schedule}",
         "train.epochs=1"],
    )  # fmt: skip
    net = models.build_network("lstm", features=3, frames=4, classes=2, dropout=0.0)
    optimizer = optimizers.create_optimizer(net, settings.optimizer)
    found = optimizers.create_schedule(optimizer, settings, 3)
    assert found is not None
    before = net.output.weight.detach().clone()

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = net(torch.ones(2, 4, 3)).square().sum()
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
        found["scheduler"].step()
    assert not torch.equal(net.output.weight, before)


@pytest.mark.parametrize("steps", range(1, 12))
def test_one_cycle_has_any_number_of_steps(steps: int) -> None:
    net = models.build_network("lstm", features=3, frames=4, classes=2, dropout=0.0)
    settings = config.load_config(None, ["train.epochs=1"])
    optimizer = optimizers.create_optimizer(net, settings.optimizer)
    found = optimizers.create_schedule(optimizer, settings, steps)
    assert found is not None
    for _ in range(steps - 1):
        optimizer.step()
        found["scheduler"].step()
    assert 0 <= optimizer.param_groups[0]["lr"] <= 0.003


def test_losses_are_those_of_their_definitions() -> None:
    logits, truth = torch.randn(6, 3), torch.tensor([0, 1, 2, 1, 0, 0])
    hard = torch.eye(3)[truth]
    plain = torch.nn.functional.cross_entropy(logits, truth, reduction="none")
    certainty = logits.softmax(1)[range(6), truth]
    focal = losses.create_loss(config.load_config(None, ["train.loss=focal"]).train)
    torch.testing.assert_close(focal(logits, hard), ((1 - certainty) ** 2 * plain).mean())
    weights = losses.balanced_weights(truth.numpy(), 3)
    np.testing.assert_allclose(weights, [2 / 3, 1, 2])
    weighted = losses.create_loss(config.Config().train, weights)
    torch.testing.assert_close(weighted(logits, hard), (torch.tensor(weights[truth]).float() * plain).mean())


def test_one_split_for_several_trainings(little_music: Path, tmp_path: Path) -> None:
    dataset = datasets.load_dataset(little_music)
    splits, provenance = [], []
    for name, overrides in (
        ("a", ["train.seed=3"]),
        ("b", ["train.seed=4", "split.seed=3"]),
        ("c", ["train.seed=4"]),
    ):
        chosen = config.load_config("logistic-regression", [*QUICK, *overrides])
        run = training.train(dataset, chosen, tmp_path / name)
        splits.append((tmp_path / name / "split.json").read_text())
        provenance.append(Model.read(run.model).info.provenance)
    assert splits[0] == splits[1] != splits[2]
    assert [(one["seed"], one["split_seed"]) for one in provenance] == [(3, 3), (4, 3), (4, 4)]


def test_a_network_trains_with_other_loss_weights_and_optimizer(little_music: Path, tmp_path: Path) -> None:
    overrides = [
        "train.loss=focal",
        "train.class_weights=balanced",
        "optimizer.name=nadam",
        "network.filters=[4, 4]",
    ]
    run = training.train(
        datasets.load_dataset(little_music), config.load_config("cnn", [*QUICK, *overrides]), tmp_path / "run"
    )
    assert Model.read(run.model).info.provenance["config"]["network"]["filters"] == [4, 4]


@pytest.mark.parametrize("name", ["svm", "logistic-regression"])
def test_balanced_classifiers_prefer_the_rare_genre(name: str) -> None:
    generator = np.random.default_rng(0)
    inputs = np.concatenate([generator.normal(0, 1, (90, 2)), generator.normal(1, 1, (10, 2))]).astype(
        np.float32
    )
    targets = np.repeat([0, 1], [90, 10])
    plain, balanced = (
        models.fit_classical(name, inputs, targets, c=1.0, seed=0, balanced=one)
        .predict_proba(inputs)[:, 1]
        .mean()
        for one in (False, True)
    )
    assert balanced > 2 * plain
