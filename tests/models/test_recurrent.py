"""Recurrent batch normalization against a plain loop over time, written with elementary operations."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from genrescope.errors import ConfigError
from genrescope.models.recurrent import (
    EPSILON,
    INITIAL_SCALE,
    MAX_STEPS,
    MOMENTUM,
    BatchNormGru,
    BatchNormLstm,
    build_gru,
    build_lstm,
)

Layer = BatchNormLstm | BatchNormGru
# By the name of a normalization: mean and variance of the batch at each step.
Statistics = dict[str, list[tuple[Tensor, Tensor]]]
Normalize = Callable[[str, Tensor, int], Tensor]
ITEMS, STEPS, FEATURES, HIDDEN = 16, 7, 5, 4


def batch_normalization(found: Statistics) -> Normalize:
    """Return normalization by the batch, which records the mean and variance of each step in ``found``."""

    def normalize(name: str, values: Tensor, _: int) -> Tensor:
        mean = values.mean(0)
        variance = ((values - mean) ** 2).mean(0)
        found.setdefault(name, []).append((mean.detach(), variance.detach()))
        return (values - mean) / (variance + EPSILON).sqrt()

    return normalize


def running_normalization(direction: nn.Module) -> Normalize:
    """Return normalization by the running statistics; beyond the maximum those of the last step."""

    def normalize(name: str, values: Tensor, step: int) -> Tensor:
        layer = direction.get_submodule(name)
        mean, variance = layer.get_buffer("running_mean"), layer.get_buffer("running_var")
        step = min(step, len(mean) - 1)
        return (values - mean[step]) / (variance[step] + EPSILON).sqrt()

    return normalize


def plain_lstm(weights: dict[str, Tensor], inputs: Tensor, normalize: Normalize) -> tuple[Tensor, Tensor]:
    """Return states and last cell of one direction, as equations 6 to 8 of the paper say; steps first."""
    state = cell = inputs.new_zeros(inputs.shape[1], HIDDEN)
    states = []
    for step, item in enumerate(inputs):
        gates = (
            normalize("norm_hh", state @ weights["weight_hh"].T, step) * weights["norm_hh.weight"]
            + normalize("norm_ih", item @ weights["weight_ih"].T, step) * weights["norm_ih.weight"]
            + weights["norm_ih.bias"]
        )
        i, f, g, o = gates.chunk(4, 1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        read = normalize("norm_cell", cell, step) * weights["norm_cell.weight"] + weights["norm_cell.bias"]
        state = torch.sigmoid(o) * torch.tanh(read)
        states.append(state)
    return torch.stack(states), cell


def plain_gru(weights: dict[str, Tensor], inputs: Tensor, normalize: Normalize) -> tuple[Tensor, Tensor]:
    """Return states and last state of one direction: torch's GRU with both products normalized."""
    state = inputs.new_zeros(inputs.shape[1], HIDDEN)
    states = []
    for step, item in enumerate(inputs):
        recurrent = normalize("norm_hh", state @ weights["weight_hh"].T, step) * weights["norm_hh.weight"]
        entering = normalize("norm_ih", item @ weights["weight_ih"].T, step) * weights["norm_ih.weight"]
        r, z, n = (entering + weights["norm_ih.bias"]).chunk(3, 1)
        hr, hz, hn = (recurrent + weights["norm_hh.bias"]).chunk(3, 1)
        candidate = torch.tanh(n + torch.sigmoid(r + hr) * hn)
        update = torch.sigmoid(z + hz)
        state = (1 - update) * candidate + update * state
        states.append(state)
    return torch.stack(states), state


def plain_layer(layer: Layer, batch: Tensor, found: list[Statistics]) -> tuple[Tensor, ...]:
    """Return what ``layer`` should: states, last states and last cells (of a GRU: states)."""
    outputs, last, cells = [], [], []
    loop = plain_lstm if isinstance(layer, BatchNormLstm) else plain_gru
    for index, direction in enumerate(layer.directions):
        found.append({})
        normalize = batch_normalization(found[-1]) if layer.training else running_normalization(direction)
        inputs = batch.transpose(0, 1)
        inputs = inputs.flip(0) if index else inputs
        states, cell = loop(dict(direction.named_parameters()), inputs, normalize)
        last.append(states[-1])
        cells.append(cell)
        outputs.append(states.flip(0) if index else states)
    return torch.cat(outputs, 2).transpose(0, 1), torch.stack(last), torch.stack(cells)


def flat(found: tuple[Tensor, Tensor | tuple[Tensor, Tensor]]) -> tuple[Tensor, ...]:
    """Return the outputs of a layer as `plain_layer` does."""
    states, last = found
    return (states, *last) if isinstance(last, tuple) else (states, last, last)


def layer_and_batch(
    kind: type[Layer], bidirectional: bool, dtype: torch.dtype = torch.float64, max_steps: int = STEPS
) -> tuple[Layer, Tensor]:
    """Return a layer whose parameters all differ from their initial values, and an input."""
    torch.manual_seed(0)
    layer = kind(FEATURES, HIDDEN, max_steps=max_steps, bidirectional=bidirectional)
    for name, parameter in layer.named_parameters():
        # Scales in a range where no gate saturates, the rest as it comes.
        if name.endswith(".weight"):
            nn.init.uniform_(parameter, 0.3, 1.2)
        else:
            nn.init.normal_(parameter, std=0.5)
    batch = 3 * torch.randn(ITEMS, STEPS, FEATURES) + 1
    return layer.to(dtype), batch.to(dtype)


LAYERS = pytest.mark.parametrize("kind", [BatchNormLstm, BatchNormGru])
DIRECTIONS = pytest.mark.parametrize("bidirectional", [False, True])


@LAYERS
@DIRECTIONS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("mode", ["training", "evaluation"])
def test_outputs_and_gradients_are_those_of_a_plain_loop(
    kind: type[Layer], bidirectional: bool, dtype: torch.dtype, mode: str
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
            torch.stack([(part * weight).sum() for part, weight in zip(outputs, weights, strict=True)]).sum(),
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
def test_running_statistics_are_those_of_each_step(kind: type[Layer], bidirectional: bool) -> None:
    layer, batch = layer_and_batch(kind, bidirectional, max_steps=5)  # the batch has seven steps
    expected: dict[str, Tensor] = {}
    for item in (batch, batch * 2 - 1, batch.flip(0, 1)):
        found: list[Statistics] = []
        plain_layer(layer, item, found)
        layer(item)
        for index, statistics in enumerate(found):
            for name, steps in statistics.items():
                mean, variance = (torch.stack(part[:5]) for part in zip(*steps, strict=True))
                # As in torch's layers: the estimate without bias, and 0 and 1 to start from.
                for key, value, start in (
                    ("mean", mean, torch.zeros_like(mean)),
                    ("var", variance * ITEMS / (ITEMS - 1), torch.ones_like(variance)),
                ):
                    place = f"directions.{index}.{name}.running_{key}"
                    before = expected.get(place, start)
                    expected[place] = before + MOMENTUM * (value - before)
    assert expected.keys() == dict(layer.named_buffers()).keys()
    torch.testing.assert_close(dict(layer.named_buffers()), expected, atol=1e-9, rtol=1e-9)


@LAYERS
def test_steps_beyond_the_maximum_have_the_statistics_of_the_last(kind: type[Layer]) -> None:
    layer, batch = layer_and_batch(kind, True, max_steps=3)
    layer(batch)
    layer.eval()
    torch.testing.assert_close(flat(layer(batch)), plain_layer(layer, batch, []), atol=1e-9, rtol=0)


@LAYERS
def test_one_segment_is_normalized_as_in_evaluation(kind: type[Layer]) -> None:
    layer, batch = layer_and_batch(kind, True)
    layer(batch)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    alone = flat(layer(batch[:1]))
    torch.testing.assert_close(layer.state_dict(), before)
    torch.testing.assert_close(alone, flat(layer.eval()(batch[:1])))


@LAYERS
def test_the_initial_scales_are_those_of_the_paper(kind: type[Layer]) -> None:
    layer = kind(5, 4, max_steps=2)
    scales = [value for name, value in layer.named_parameters() if name.endswith(".weight")]
    assert len(scales) == (3 if kind is BatchNormLstm else 2)
    assert all(value.eq(INITIAL_SCALE).all() for value in scales)


@LAYERS
def test_a_batch_without_variance_gives_finite_values(kind: type[Layer]) -> None:
    layer, batch = layer_and_batch(kind, False, torch.float32)
    states = flat(layer(torch.zeros_like(batch)))[0]
    gradients = torch.autograd.grad(states.sum(), list(layer.parameters()), materialize_grads=True)
    assert all(part.isfinite().all() for part in (states, *gradients))


@LAYERS
def test_autocast_leaves_the_statistics_in_float32(kind: type[Layer]) -> None:
    layer, batch = layer_and_batch(kind, True, torch.float32)
    expected = flat(layer(batch))[0]
    with torch.autocast("cpu", torch.bfloat16):
        found = flat(layer(batch))[0]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


@LAYERS
def test_the_layer_takes_the_place_of_torchs(kind: type[Layer]) -> None:
    torchs = (nn.LSTM if kind is BatchNormLstm else nn.GRU)(5, 4, batch_first=True, bidirectional=True)
    layer, batch = layer_and_batch(kind, True, torch.float32)
    assert [part.shape for part in flat(layer(batch))] == [part.shape for part in flat(torchs(batch))]


@LAYERS
def test_the_exported_layer_scores_any_number_of_segments(kind: type[Layer]) -> None:
    layer, batch = layer_and_batch(kind, True, torch.float32)
    layer(batch)
    layer.eval()
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's
        torch.onnx.export(
            layer,
            (batch[:2],),
            file,
            input_names=["batch"],
            output_names=["states"],
            dynamic_axes={"batch": {0: "segments"}},
            opset_version=17,
            dynamo=False,
        )
    session = onnxruntime.InferenceSession(file.getvalue())
    for count in (1, 3, ITEMS):
        found = session.run(["states"], {"batch": batch[:count].numpy()})[0]
        torch.testing.assert_close(torch.from_numpy(found), layer(batch[:count])[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("build", [build_lstm, build_gru])
def test_sequences_of_which_no_model_file_can_be_made_are_refused(
    build: Callable[..., nn.Module],
) -> None:
    assert isinstance(build(5, 4, steps=MAX_STEPS + 1, normalized=False), nn.RNNBase)
    assert isinstance(build(5, 4, steps=MAX_STEPS, normalized=True), Layer)
    for steps in (0, MAX_STEPS + 1):
        with pytest.raises(ConfigError, match=f" {steps} time steps"):
            build(5, 4, steps=steps, normalized=True)
