"""Initial weights of networks that start from none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from genrescope.models.recurrent import BatchNormCell, BatchNormLstmCell

Initialization = Literal["default", "pytorch", "xavier", "he", "orthogonal"]
Recurrence = nn.LSTM | nn.GRU | BatchNormCell


def initialize_weights(network: nn.Module, scheme: Initialization = "default") -> None:
    """Draw the weights of a network anew, from the current random state of torch.

    Scales and shifts of normalization stay as they are.

    Parameters
    ----------
    network : torch.nn.Module
        As built, so with PyTorch's initial weights.
    scheme : {"default", "pytorch", "xavier", "he", "orthogonal"}
        ``default`` keeps variance: He for convolutions, orthogonal from state to state and Xavier from input
        to state in recurrent layers, whose forget gates start open (Jozefowicz et al., ICML 2015), and
        PyTorch's for the dense layer. ``pytorch`` leaves what PyTorch drew. ``xavier`` (Glorot and Bengio,
        AISTATS 2010, uniform) and ``he`` (He et al., ICCV 2015, normal) are for all weights, with biases of
        0. ``orthogonal`` (Saxe et al., ICLR 2014) is for the weights from state to state; the rest is
        PyTorch's.
    """
    if scheme == "default":
        _keep_variance(network)
    elif scheme in ("xavier", "he"):
        for weight in _matrices(network):
            if scheme == "xavier":
                nn.init.xavier_uniform_(weight)
            else:
                nn.init.kaiming_normal_(weight, nonlinearity="relu")
        _zero_biases(network)
    elif scheme == "orthogonal":
        for layer in network.modules():
            if isinstance(layer, Recurrence):
                for name, weight in layer.named_parameters():
                    if name.startswith("weight_hh"):
                        _orthogonal_gates(weight.data, layer.hidden_size)


def _keep_variance(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            # Normal, not uniform, and for the fan-in: as in the paper for rectifiers.
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.LSTM | nn.GRU):
            _initialize_recurrence(layer)
        elif isinstance(layer, BatchNormCell):
            _orthogonal_gates(layer.weight_hh.data, layer.hidden_size)
            nn.init.xavier_uniform_(layer.weight_ih)
            if isinstance(layer, BatchNormLstmCell):
                _open_forget_gate(layer.norm_ih.get_parameter("bias").data, layer.hidden_size)


def _initialize_recurrence(layer: nn.LSTM | nn.GRU) -> None:
    for name, weight in layer.named_parameters():
        if name.startswith("weight_hh"):
            _orthogonal_gates(weight.data, layer.hidden_size)
        elif name.startswith("weight_ih"):
            nn.init.xavier_uniform_(weight)
        else:
            nn.init.zeros_(weight)
            # The other bias stays 0, so that the sum is 1.
            if isinstance(layer, nn.LSTM) and name.startswith("bias_ih"):
                _open_forget_gate(weight.data, layer.hidden_size)


def _open_forget_gate(bias: Tensor, hidden_size: int) -> None:
    # Gates: input, forget, cell, output.
    bias[hidden_size : 2 * hidden_size] = 1.0


def _orthogonal_gates(weight: Tensor, hidden_size: int) -> None:
    # PyTorch keeps the matrices of all gates in one; each is to be orthogonal by itself.
    for gate in torch.split(weight, hidden_size):
        nn.init.orthogonal_(gate)


def _matrices(network: nn.Module) -> Iterator[Tensor]:
    """Yield all weights but those of normalization, of recurrent layers each gate by itself."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            yield layer.weight.data
        elif isinstance(layer, Recurrence):
            for name, weight in layer.named_parameters():
                if name.startswith("weight_"):
                    yield from torch.split(weight.data, layer.hidden_size)


def _zero_biases(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear | nn.LSTM | nn.GRU):
            for name, bias in layer.named_parameters():
                if name.startswith("bias"):
                    nn.init.zeros_(bias)
