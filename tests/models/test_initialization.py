"""Initial weights: each scheme draws what it says, for torch's recurrent layers and the normalized ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from genrescope.models import networks
from genrescope.models.initialization import Initialization, initialize_weights
from genrescope.models.recurrent import BatchNormCell

BANDS, FRAMES, CLASSES = 128, 32, 10
RECURRENT = (nn.LSTM, nn.GRU, BatchNormCell)


def build(name: str, scheme: Initialization, normalized: bool = False) -> networks.Network:
    torch.manual_seed(0)
    recurrent: Literal["none", "batch"] = "batch" if normalized else "none"
    options = networks.NetworkOptions(recurrent_normalization=recurrent, initialization=scheme)
    return networks.build_network(
        name, features=BANDS, frames=FRAMES, classes=CLASSES, dropout=0.0, options=options
    )


def matrices(network: nn.Module, *starts: str) -> Iterator[tuple[str, Tensor]]:
    """Yield names and weights of convolutions and dense layers, and of recurrent layers by gate."""
    for place, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and not starts:
            yield f"{place}.weight", layer.weight.detach()
        elif isinstance(layer, RECURRENT):
            for name, weight in layer.named_parameters():
                if name.startswith(starts or "weight_"):
                    for gate in weight.detach().split(layer.hidden_size):
                        yield f"{place}.{name}", gate


FAMILIES = pytest.mark.parametrize(
    ("name", "normalized"),
    [*itertools.product(("lstm", "crnn", "parallel"), (False, True)), ("cnn", False)],
)


@FAMILIES
def test_xavier_weights_are_uniform_with_the_bound_of_both_fans(name: str, normalized: bool) -> None:
    for place, weight in matrices(build(name, "xavier", normalized)):
        outputs, inputs = weight.shape[0], math.prod(weight.shape[1:])
        # Glorot and Bengio, equation 16; of a convolution a fan counts the positions of the kernel too.
        bound = math.sqrt(6 / (inputs + outputs * math.prod(weight.shape[2:])))
        assert 0.9 * bound < weight.abs().max() <= bound, place


@FAMILIES
def test_he_weights_are_normal_with_the_deviation_of_the_fan_in(name: str, normalized: bool) -> None:
    for place, weight in matrices(build(name, "he", normalized)):
        expected = math.sqrt(2 / math.prod(weight.shape[1:]))
        # Four standard errors of the deviation of so many normal numbers.
        error = 4 * expected / math.sqrt(2 * weight.numel())
        assert abs(weight.square().mean().sqrt() - expected) < error, place


@pytest.mark.parametrize("scheme", ["xavier", "he"])
@FAMILIES
def test_xavier_and_he_have_biases_of_zero(name: str, normalized: bool, scheme: Initialization) -> None:
    network = build(name, scheme, normalized)
    biases = {name: value for name, value in network.named_parameters() if "bias" in name}
    assert biases
    assert all(value.eq(0).all() for value in biases.values())


@FAMILIES
def test_orthogonal_changes_the_recurrent_weights_only(name: str, normalized: bool) -> None:
    network, pytorchs = build(name, "orthogonal", normalized), build(name, "pytorch", normalized)
    for place, gate in matrices(network, "weight_hh"):
        torch.testing.assert_close(gate @ gate.T, torch.eye(len(gate)), atol=1e-4, rtol=0, msg=place)
    before = dict(pytorchs.named_parameters())
    for place, value in network.named_parameters():
        assert value.equal(before[place]) != ("weight_hh" in place), place


@FAMILIES
def test_pytorchs_weights_are_those_of_its_layers(name: str, normalized: bool) -> None:
    for place, weight in matrices(build(name, "pytorch", normalized)):
        inputs = math.prod(weight.shape[1:])
        # Recurrent layers are drawn by the width of their state, the others by their fan-in.
        bound = (len(weight) if "weight_" in place else inputs) ** -0.5
        assert 0.9 * bound < weight.abs().max() <= bound, place


@FAMILIES
def test_the_default_is_drawn_after_pytorchs_weights(name: str, normalized: bool) -> None:
    default = build(name, "default", normalized).state_dict()
    network = build(name, "pytorch", normalized)
    initialize_weights(network)
    torch.testing.assert_close(network.state_dict(), default, atol=0, rtol=0)


def test_forget_gates_start_open_with_normalization_too() -> None:
    network = build("lstm", "default", normalized=True)
    bias = network.get_parameter("layers.0.directions.0.norm_ih.bias")
    assert bias[128:256].eq(1).all()
    assert bias[:128].eq(0).all()
    assert bias[256:].eq(0).all()
