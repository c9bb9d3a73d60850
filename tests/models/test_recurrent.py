"""Recurrent batch normalization against a plain loop over time, whose gradients are torch's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from genrescope.models.recurrent import EPSILON, INITIAL_SCALE, BatchNormGru, BatchNormLstm

Statistics = dict[str, tuple[list[Tensor], list[Tensor]]]
# Of the batch in training, by the names of the layers' buffers; of all batches in evaluation.
Normalize = Callable[[str, Tensor, int], Tensor]
SIZES = {"items": 6, "steps": 7, "features": 5, "hidden": 4}


def batch_normalization(found: Statistics) -> Normalize:
    """Return normalization by the batch, which records the mean and variance of each step in ``found``."""

    def normalize(name: str, values: Tensor, _: int) -> Tensor:
        mean, variance = values.mean(0), values.var(0, correction=0)
        means, variances = found.setdefault(name, ([], []))
        means.append(mean.detach())
        variances.append(variance.detach())
        return (values - mean) / (variance + EPSILON).sqrt()

    return normalize


def running_normalization(direction: nn.Module) -> Normalize:
    """Return normalization by the running statistics; beyond the maximum those of the last step."""

    def normalize(name: str, values: Tensor, step: int) -> Tensor:
        statistics = direction.get_submodule(f"statistics_{name}")
        mean, variance = statistics.get_buffer("mean"), statistics.get_buffer("variance")
        step = min(step, len(mean) - 1)
        return (values - mean[step]) / (variance[step] + EPSILON).sqrt()

    return normalize


def plain_lstm(weights: dict[str, Tensor], inputs: Tensor, normalize: Normalize) -> tuple[Tensor, Tensor]:
    """Return states and last cell of one direction, as equations 6 to 8 of the paper say; steps first."""
    state = cell = inputs.new_zeros(inputs.shape[1], SIZES["hidden"])
    states = []
    for step, item in enumerate(inputs):
        gates = (
            normalize("hh", state @ weights["weight_hh"].T, step) * weights["scale_hh"]
            + normalize("ih", item @ weights["weight_ih"].T, step) * weights["scale_ih"]
            + weights["bias_ih"]
        )
        i, f, g, o = gates.chunk(4, 1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        read = normalize("cell", cell, step) * weights["scale_cell"] + weights["bias_cell"]
        state = torch.sigmoid(o) * torch.tanh(read)
        states.append(state)
    return torch.stack(states), cell


def plain_gru(weights: dict[str, Tensor], inputs: Tensor, normalize: Normalize) -> tuple[Tensor, Tensor]:
    """Return states and last state of one direction: torch's GRU with both products normalized."""
    state = inputs.new_zeros(inputs.shape[1], SIZES["hidden"])
    states = []
    for step, item in enumerate(inputs):
        recurrent = normalize("hh", state @ weights["weight_hh"].T, step) * weights["scale_hh"]
        entering = normalize("ih", item @ weights["weight_ih"].T, step) * weights["scale_ih"]
        r, z, n = (entering + weights["bias_ih"]).chunk(3, 1)
        hr, hz, hn = recurrent.chunk(3, 1)
        candidate = torch.tanh(n + torch.sigmoid(r + hr) * (hn + weights["bias_candidate"]))
        update = torch.sigmoid(z + hz)
        state = (1 - update) * candidate + update * state
        states.append(state)
    return torch.stack(states), state


def plain_layer(layer: nn.Module, batch: Tensor, found: list[Statistics]) -> tuple[Tensor, ...]:
    """Return what ``layer`` should: states, last states and last cells (of a GRU: states)."""
    outputs, last, cells = [], [], []
    loop = plain_lstm if isinstance(layer, BatchNormLstm) else plain_gru
    for index, direction in enumerate(layer.get_submodule("directions").children()):
        found.append({})
        normalize = batch_normalization(found[-1]) if layer.training else running_normalization(direction)
        inputs = batch.transpose(0, 1)
        states, cell = loop(
            dict(direction.named_parameters()), inputs.flip(0) if index else inputs, normalize
        )
        last.append(states[-1])
        cells.append(cell)
        outputs.append(states.flip(0) if index else states)
    return torch.cat(outputs, 2).transpose(0, 1), torch.stack(last), torch.stack(cells)


def flat(found: tuple[Tensor, Tensor | tuple[Tensor, Tensor]]) -> tuple[Tensor, ...]:
    """Return the outputs of a layer as `plain_layer` does."""
    states, last = found
    return (states, *last) if isinstance(last, tuple) else (states, last, last)


def layer_and_batch(
    kind: type[BatchNormLstm | BatchNormGru], bidirectional: bool, dtype: torch.dtype, max_steps: int = 7
) -> tuple[BatchNormLstm | BatchNormGru, Tensor]:
    """Return a layer whose parameters are all different from their initial values, and an input."""
    torch.manual_seed(0)
    layer = kind(SIZES["features"], SIZES["hidden"], max_steps=max_steps, bidirectional=bidirectional)
    for name, parameter in layer.named_parameters():
        # Scales in a range where no gate saturates, the rest as it comes.
        nn.init.uniform_(parameter, 0.3, 1.2) if "scale" in name else nn.init.normal_(parameter, std=0.5)
    batch = 3 * torch.randn(SIZES["items"], SIZES["steps"], SIZES["features"]) + 1
    return layer.to(dtype), batch.to(dtype)


LAYERS = pytest.mark.parametrize("kind", [BatchNormLstm, BatchNormGru])
DIRECTIONS = pytest.mark.parametrize("bidirectional", [False, True])


@LAYERS
@DIRECTIONS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mode", ["training", "evaluation"])
def test_outputs_and_gradients_are_those_of_a_plain_loop(
    kind: type[BatchNormLstm | BatchNormGru], bidirectional: bool, dtype: torch.dtype, mode: str
) -> None:
    layer, batch = layer_and_batch(kind, bidirectional, dtype)
    with torch.no_grad():
        layer(batch + 0.5)  # running statistics other than the initial ones
    layer.train(mode == "training")
    batch.requires_grad_()
    found, expected = flat(layer(batch)), plain_layer(layer, batch, [])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    weights = [torch.randn_like(part) for part in expected]
    parameters = dict(layer.named_parameters())
    gradients = [
        torch.autograd.grad(
            sum(((part * weight).sum() for part, weight in zip(outputs, weights, strict=True)), batch.sum() * 0),
            [batch, *parameters.values()],
        )
        for outputs in (found, expected)
    ]
    for name, mine, plain in zip(["input", *parameters], *gradients, strict=True):
        assert plain.abs().max() > 1e-4, name
        difference = (mine - plain).abs().max() / max(1.0, float(plain.abs().max()))
        assert difference <= 1e-5, (name, difference)


@LAYERS
@DIRECTIONS
def test_running_statistics_are_those_of_each_step(
    kind: type[BatchNormLstm | BatchNormGru], bidirectional: bool
) -> None:
    layer, batch = layer_and_batch(kind, bidirectional, torch.float64, max_steps=5)
    batches = [batch, batch * 2 - 1, batch.flip(0, 1)]
    seen: list[list[Statistics]] = []
    for item in batches:
        seen.append([])
        plain_layer(layer, item, seen[-1])
        layer(item)
    for index, direction in enumerate(layer.directions):
        for name in seen[0][index]:
            statistics = direction.get_submodule(f"statistics_{name}")
            for place, buffer in enumerate(("mean", "variance")):
                # Three batches, fewer than 1 / momentum, are averaged evenly; two of the seven steps are
                # beyond the maximum of five.
                each = torch.stack([torch.stack(one[index][name][place][:5]) for one in seen])
                torch.testing.assert_close(statistics.get_buffer(buffer), each.mean(0), atol=1e-9, rtol=1e-9)
            assert statistics.get_buffer("batches").item() == 3


def test_later_batches_change_the_running_statistics_by_a_tenth() -> None:
    layer, batch = layer_and_batch(BatchNormGru, False, torch.float64)
    for _ in range(20):
        layer(batch)
    statistics = layer.get_submodule("directions.0.statistics_ih")
    before = statistics.get_buffer("mean").clone()
    layer(2 * batch)
    torch.testing.assert_close(statistics.get_buffer("mean"), 1.1 * before, atol=1e-9, rtol=1e-9)


@LAYERS
def test_steps_beyond_the_maximum_have_the_statistics_of_the_last(
    kind: type[BatchNormLstm | BatchNormGru],
) -> None:
    layer, batch = layer_and_batch(kind, True, torch.float64, max_steps=3)
    layer(batch)
    layer.eval()
    torch.testing.assert_close(flat(layer(batch)), plain_layer(layer, batch, []), atol=1e-9, rtol=0)


@LAYERS
def test_one_segment_is_normalized_as_in_evaluation(kind: type[BatchNormLstm | BatchNormGru]) -> None:
    layer, batch = layer_and_batch(kind, True, torch.float64)
    layer(batch)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    alone = flat(layer(batch[:1]))
    torch.testing.assert_close(layer.state_dict(), before)
    torch.testing.assert_close(alone, flat(layer.eval()(batch[:1])))


@LAYERS
def test_the_initial_scales_are_those_of_the_paper(kind: type[BatchNormLstm | BatchNormGru]) -> None:
    scales = {
        name: value for name, value in kind(5, 4, max_steps=2).named_parameters() if "scale" in name
    }
    assert len(scales) == (3 if kind is BatchNormLstm else 2)
    assert all(value.eq(INITIAL_SCALE).all() for value in scales.values())


@LAYERS
def test_a_batch_without_variance_gives_finite_values(kind: type[BatchNormLstm | BatchNormGru]) -> None:
    layer, batch = layer_and_batch(kind, False, torch.float32)
    states = flat(layer(torch.zeros_like(batch)))[0]
    states.sum().backward()
    assert states.isfinite().all()
    assert all(parameter.grad is not None for parameter in layer.parameters())
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters() if parameter.grad is not None)


@LAYERS
def test_autocast_leaves_the_statistics_in_float32(kind: type[BatchNormLstm | BatchNormGru]) -> None:
    layer, batch = layer_and_batch(kind, True, torch.float32)
    expected = flat(layer(batch))[0]
    with torch.autocast("cpu", torch.bfloat16):
        found = flat(layer(batch))[0]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


@LAYERS
def test_the_layer_takes_the_place_of_torchs(kind: type[BatchNormLstm | BatchNormGru]) -> None:
    torchs = (nn.LSTM if kind is BatchNormLstm else nn.GRU)(5, 4, batch_first=True, bidirectional=True)
    layer, batch = layer_and_batch(kind, True, torch.float32)
    assert [part.shape for part in flat(layer(batch))] == [part.shape for part in flat(torchs(batch))]
