"""The networks: the paper's shapes, normalization on other data, independence of gain."""

from __future__ import annotations

import pytest
import torch

from genrescope.errors import ConfigError
from genrescope.models import networks
from genrescope.models.recurrent import BatchNormCell

BANDS, FRAMES = 128, 194


def spectrograms(items: int = 3, frames: int = FRAMES) -> torch.Tensor:
    """Return log-mel-like noise between -80 and 0 dB."""
    return -80 * torch.rand(items, BANDS, frames, generator=torch.Generator().manual_seed(0))


def test_the_parallel_network_has_the_papers_shapes() -> None:
    network = networks.ParallelCnnRnn(BANDS, FRAMES, 10)
    picture, sequence = network.branches(network.normalizer(spectrograms()))
    assert picture.shape == (3, 384)
    assert sequence.shape == (3, 128)
    assert network.output.in_features == 512
    kernels = [layer for layer in network.convolutions if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in kernels] == [16, 32, 64, 64, 64]
    assert {layer.kernel_size for layer in kernels} == {(3, 1)}


def test_the_lstm_has_the_papers_layers() -> None:
    network = networks.Lstm(40, 10)
    assert (network.layers[0].input_size, network.layers[0].hidden_size) == (40, 128)
    assert (network.layers[1].hidden_size, network.output.out_features) == (64, 10)


@pytest.mark.parametrize("name", networks.NETWORK_FAMILIES)
def test_every_family_scores_segments_one_by_one_as_in_a_batch(name: str) -> None:
    torch.manual_seed(0)
    sequence = networks.NETWORK_FAMILIES[name].input == "sequence"
    network = networks.build_network(
        name, features=40 if sequence else BANDS, frames=FRAMES, classes=7, dropout=0.5
    ).eval()
    # In float64, so that the tolerance concerns the network and not the rounding of the processor.
    network, batch = network.double(), (torch.randn(4, FRAMES, 40) if sequence else spectrograms(4)).double()
    with torch.no_grad():
        together, alone = network(batch), torch.cat([network(item[None]) for item in batch])
    assert together.shape == (4, 7)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "name", [name for name, family in networks.NETWORK_FAMILIES.items() if family.input == "log_mel"]
)
def test_gain_does_not_change_the_answer(name: str) -> None:
    torch.manual_seed(0)
    network = networks.build_network(name, features=BANDS, frames=FRAMES, classes=10, dropout=0.0).eval()
    network, batch = network.double(), spectrograms().double()
    with torch.no_grad():
        torch.testing.assert_close(network(batch), network(batch - 23.0), atol=1e-6, rtol=1e-6)


def test_normalization_centers_what_it_was_fitted_on() -> None:
    layer = networks.Standardize(5)
    batch = torch.randn(100, 8, 5) * torch.tensor([1.0, 10, 100, 0.1, 0]) + 7
    layer.fit(batch)
    flat = layer(batch).reshape(-1, 5)
    torch.testing.assert_close(flat.mean(0), torch.zeros(5), atol=1e-3, rtol=0)
    torch.testing.assert_close(flat.std(0)[:4], torch.ones(4), atol=1e-3, rtol=0)
    assert flat.isfinite().all()  # the last feature is constant


def test_the_lstms_input_is_scaled_as_the_options_say() -> None:
    batch = torch.randn(20, 8, 3) * torch.tensor([1.0, 1000, 0.01]) + 5
    found = {}
    for scaling in networks.SCALINGS:
        network = networks.Lstm(3, 2, options=networks.NetworkOptions(scaling=scaling))
        network.fit(batch)
        found[scaling] = network.normalizer(batch)
    torch.testing.assert_close(found["none"], batch, atol=0, rtol=0)
    torch.testing.assert_close(found["per-feature"].std((0, 1)), torch.ones(3), atol=1e-4, rtol=0)
    # By the batch, with the epsilon of torch's layer, which the smallest feature shows.
    centered = batch - batch.mean((0, 1))
    expected = centered / (centered.square().mean((0, 1)) + 1e-5).sqrt()
    torch.testing.assert_close(found["batch"], expected, atol=1e-4, rtol=0)


def test_batch_scaling_learns_scales_and_keeps_statistics() -> None:
    network = networks.Lstm(3, 2, options=networks.NetworkOptions(scaling="batch"))
    batch = torch.randn(4, 8, 3) * 10 + 5
    network(batch).sum().backward()
    scaling = network.normalizer
    assert isinstance(scaling, networks.BatchScaling)
    assert scaling.weight.grad is not None
    torch.testing.assert_close(scaling.running_mean, 0.1 * batch.mean((0, 1)))
    network.eval()
    together, alone = network(batch), torch.cat([network(item[None]) for item in batch])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["lstm", "crnn", "parallel"])
def test_recurrent_normalization_replaces_the_recurrent_layers(name: str) -> None:
    options = networks.NetworkOptions(recurrent_normalization="batch")
    network = networks.build_network(
        name, features=BANDS, frames=FRAMES, classes=7, dropout=0.0, options=options
    )
    assert not any(isinstance(layer, torch.nn.RNNBase) for layer in network.modules())
    cells = [layer for layer in network.modules() if isinstance(layer, BatchNormCell)]
    assert len(cells) == 2  # two layers, or two directions
    # As many time steps have statistics as the layer reads of a segment.
    batch = torch.randn(3, FRAMES, BANDS) if name == "lstm" else spectrograms()
    before = [cell.norm_ih.running_mean.clone() for cell in cells]
    assert network(batch).shape == (3, 7)
    for cell, unfitted in zip(cells, before, strict=True):
        assert (cell.norm_ih.running_mean != unfitted).any(1).all()


def test_segments_too_long_for_recurrent_normalization_are_refused() -> None:
    options = networks.NetworkOptions(recurrent_normalization="batch")
    with pytest.raises(ConfigError, match="2000 time steps"):
        networks.build_network("lstm", features=40, frames=2000, classes=2, dropout=0.0, options=options)


def test_normalization_is_saved_with_the_weights() -> None:
    first, second = networks.Lstm(4, 2), networks.Lstm(4, 2)
    first.normalizer.fit(torch.randn(10, 3, 4) * 5 + 2)
    second.load_state_dict(first.state_dict())
    batch = torch.randn(2, 3, 4)
    torch.testing.assert_close(first.eval()(batch), second.eval()(batch))


def test_forget_gates_start_open_and_recurrences_orthogonal() -> None:
    layer = networks.Lstm(4, 2).layers[0]
    gate = layer.weight_hh_l0.detach()[:128]
    torch.testing.assert_close(gate @ gate.T, torch.eye(128), atol=1e-4, rtol=0)
    assert (layer.bias_ih_l0 + layer.bias_hh_l0)[128:256].eq(1).all()


def test_soft_targets_give_cross_entropy() -> None:
    logits = torch.randn(5, 3)
    hard = torch.eye(3)[torch.tensor([0, 1, 2, 1, 0])]
    expected = torch.nn.functional.cross_entropy(logits, hard.argmax(1))
    torch.testing.assert_close(networks.smoothed_cross_entropy(logits, hard), expected)


def test_unknown_names_and_short_segments_are_refused() -> None:
    with pytest.raises(ConfigError, match="transformer"):
        networks.build_network("transformer", features=128, frames=100, classes=2, dropout=0.0)
    with pytest.raises(ConfigError, match="too few"):
        networks.build_network("parallel", features=128, frames=8, classes=2, dropout=0.0)
