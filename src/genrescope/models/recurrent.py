"""Recurrent batch normalization: an LSTM and a GRU whose gates are normalized over the batch.

Cooijmans, Ballas, Laurent, Gulcehre and Courville, "Recurrent Batch Normalization", ICLR 2017
(arXiv 1603.09025), for the LSTM. What enters the gates from the input and what enters them from the state is
normalized separately, each time step with statistics of its own, and so is the cell where it is read (not
where it is carried on).

For the GRU, which the paper leaves out, the first two normalizations are made. There is no third: the paper's
leaves the path of the cell through time untouched and normalizes only what is read from it. The state of a
GRU is carried on and read in one, is bounded by 1, and the next step normalizes what it reads of it.

In evaluation normalization is a scale and a shift. The exported graph has the loop unrolled, because the
readers of model files accept no graphs with loops.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from genrescope.errors import ConfigError

# The paper's: with larger ones tanh saturates, and its gradient vanishes, early in training.
INITIAL_SCALE = 0.1
EPSILON = 1e-5
# Share of the newest batch in the running statistics, as in torch's layers.
MOMENTUM = 0.1
# A step takes up to 50 operations of a graph in the deepest network, and model files have 20,000 at most.
MAX_STEPS = 390


class StepBatchNorm(nn.Module):
    """Batch normalization of one time step after another: statistics of each step, one scale for all.

    Batches of one item are normalized by the running statistics, and do not change them.

    Parameters
    ----------
    max_steps : int
        Time steps with running statistics of their own, at least 1.
    size : int
        Units.
    bias : bool
        Whether there is a learned shift besides the scale.
    """

    bias: nn.Parameter | None
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, max_steps: int, size: int, *, bias: bool = True) -> None:
        super().__init__()
        self.max_steps = max_steps
        self.weight = nn.Parameter(torch.full((size,), INITIAL_SCALE))
        self.register_parameter("bias", nn.Parameter(torch.zeros(size)) if bias else None)
        self.register_buffer("running_mean", torch.zeros(max_steps, size))
        self.register_buffer("running_var", torch.ones(max_steps, size))

    def forward(self, batch: Tensor, step: int) -> Tensor:
        """Return a batch, normalized, scaled and shifted.

        Parameters
        ----------
        batch : Tensor, shape (items, size)
        step : int
            Number of the time step, from 0. In evaluation steps beyond the maximum have the statistics of
            the last; in training they leave no running statistics.
        """
        training = self.training and len(batch) > 1
        index = min(step, self.max_steps - 1)
        has_statistics = not training or step == index
        return functional.batch_norm(
            batch,
            self.running_mean[index] if has_statistics else None,
            self.running_var[index] if has_statistics else None,
            self.weight,
            self.bias,
            training,
            MOMENTUM,
            EPSILON,
        )


class BatchNormCell(nn.Module, ABC):
    """One direction of a layer. Parameters are named and drawn as those of torch's recurrent layers.

    Parameters
    ----------
    input_size, hidden_size : int
        Units of the input and of the state.
    max_steps : int
        Time steps with statistics of their own.
    reverse : bool
        Whether it reads from the end; its time steps, and their statistics, are counted from there.

    Attributes
    ----------
    gates : int
        Number of matrices, of all gates, that ``weight_ih`` and ``weight_hh`` are made of.
    """

    gates: int

    def __init__(self, input_size: int, hidden_size: int, max_steps: int, *, reverse: bool = False) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.reverse = reverse
        width, bound = self.gates * hidden_size, hidden_size**-0.5
        self.weight_ih = nn.Parameter(torch.empty(width, input_size).uniform_(-bound, bound))
        self.weight_hh = nn.Parameter(torch.empty(width, hidden_size).uniform_(-bound, bound))
        self.norm_ih = StepBatchNorm(max_steps, width)

    @abstractmethod
    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the states of all steps, the last state and the last cell, of a GRU the last state again.

        Parameters
        ----------
        inputs : Tensor, shape (steps, items, input_size)
        """

    def _entering(self, inputs: Tensor) -> Iterator[Tensor]:
        """Yield what enters the gates from the input at each step, in the order of reading."""
        # No `flip` here: it would be a slice with a negative step, which model files may not have.
        steps = (inputs @ self.weight_ih.t()).unbind()
        yield from reversed(steps) if self.reverse else steps

    def _stacked(self, states: list[Tensor]) -> Tensor:
        """Return the states in the order of the input."""
        return torch.stack(states[::-1] if self.reverse else states)


class BatchNormLstmCell(BatchNormCell):
    """One direction of a `BatchNormLstm`.

    `input_size`, `hidden_size`, `max_steps` and `reverse` are those of `BatchNormCell`.
    """

    gates = 4  # input, forget, cell, output, as torch orders them

    def __init__(self, input_size: int, hidden_size: int, max_steps: int, *, reverse: bool = False) -> None:
        super().__init__(input_size, hidden_size, max_steps, reverse=reverse)
        # A second bias would be redundant beside that of the input.
        self.norm_hh = StepBatchNorm(max_steps, self.gates * hidden_size, bias=False)
        self.norm_cell = StepBatchNorm(max_steps, hidden_size)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run over ``inputs``, equations 6 to 8 of the paper; see `BatchNormCell.forward`."""
        state = cell = inputs.new_zeros(inputs.shape[1], self.hidden_size)
        recurrent, states = self.weight_hh.t(), []
        for step, entering in enumerate(self._entering(inputs)):
            gates = self.norm_ih(entering, step) + self.norm_hh(state @ recurrent, step)
            enter, forget, candidate, leave = gates.split([self.hidden_size] * 4, 1)
            cell = forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
            state = leave.sigmoid() * self.norm_cell(cell, step).tanh()
            states.append(state)
        return self._stacked(states), state, cell


class BatchNormGruCell(BatchNormCell):
    """One direction of a `BatchNormGru`.

    `input_size`, `hidden_size`, `max_steps` and `reverse` are those of `BatchNormCell`.
    """

    gates = 3  # reset, update, candidate, as torch orders them

    def __init__(self, input_size: int, hidden_size: int, max_steps: int, *, reverse: bool = False) -> None:
        super().__init__(input_size, hidden_size, max_steps, reverse=reverse)
        # The reset gate multiplies the state's part of the candidate together with its bias (the form of
        # cuDNN, which torch has too), so that this bias is not redundant beside that of the input.
        self.norm_hh = StepBatchNorm(max_steps, self.gates * hidden_size)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run over ``inputs``; see `BatchNormCell.forward`."""
        state = inputs.new_zeros(inputs.shape[1], self.hidden_size)
        recurrent, sizes, states = self.weight_hh.t(), [self.hidden_size] * 3, []
        for step, entering in enumerate(self._entering(inputs)):
            reset, update, candidate = self.norm_ih(entering, step).split(sizes, 1)
            parts = self.norm_hh(state @ recurrent, step).split(sizes, 1)
            candidate = (candidate + (reset + parts[0]).sigmoid() * parts[2]).tanh()
            state = candidate + (update + parts[1]).sigmoid() * (state - candidate)
            states.append(state)
        return self._stacked(states), state, state


class _BatchNormLayer(nn.Module):
    def __init__(self, cells: Sequence[BatchNormCell]) -> None:
        super().__init__()
        self.directions = nn.ModuleList(cells)

    def _run(self, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return states (items, steps, directions x hidden), last states, and last cells."""
        states, last, cells = [], [], []
        # Statistics of a batch in bfloat16, as autocast would take them, have two or three digits.
        with torch.autocast(batch.device.type, enabled=False):
            inputs = (batch if batch.dtype == torch.float64 else batch.float()).transpose(0, 1)
            for direction in self.directions:
                found, state, cell = direction(inputs)
                states.append(found)
                last.append(state)
                cells.append(cell)
        return torch.cat(states, 2).transpose(0, 1), torch.stack(last), torch.stack(cells)


class BatchNormLstm(_BatchNormLayer):
    """An LSTM with recurrent batch normalization (Cooijmans et al., arXiv 1603.09025), batch first.

    Used as ``torch.nn.LSTM(..., batch_first=True)`` is. Shape: (segments, steps, input_size) -> (segments,
    steps, directions x hidden_size). Batches of one segment are normalized by the running statistics.

    Parameters
    ----------
    input_size, hidden_size : int
        Units of the input and of the state.
    max_steps : int
        Time steps with statistics of their own; later ones have those of the last of these.
    bidirectional : bool
        Whether a second direction reads the sequence from its end, with weights and statistics of its own.
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, max_steps: int, bidirectional: bool = False
    ) -> None:
        super().__init__(
            [
                BatchNormLstmCell(input_size, hidden_size, max_steps, reverse=reverse)
                for reverse in (False, True)[: 1 + bidirectional]
            ]
        )

    def forward(self, batch: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return all states, and the last state and cell, each (directions, segments, hidden_size).

        Parameters
        ----------
        batch : Tensor, shape (segments, steps, input_size)
        """
        states, last, cells = self._run(batch)
        return states, (last, cells)


class BatchNormGru(_BatchNormLayer):
    """A GRU with batch normalization from input to gates and from state to gates, batch first.

    Used as ``torch.nn.GRU(..., batch_first=True)`` is. After the LSTM of Cooijmans et al. (arXiv 1603.09025);
    the state is not normalized, see the module's docstring. Shape: (segments, steps, input_size) ->
    (segments, steps, directions x hidden_size).

    Parameters
    ----------
    input_size, hidden_size : int
        Units of the input and of the state.
    max_steps : int
        Time steps with statistics of their own; later ones have those of the last of these.
    bidirectional : bool
        Whether a second direction reads the sequence from its end, with weights and statistics of its own.
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, max_steps: int, bidirectional: bool = False
    ) -> None:
        super().__init__(
            [
                BatchNormGruCell(input_size, hidden_size, max_steps, reverse=reverse)
                for reverse in (False, True)[: 1 + bidirectional]
            ]
        )

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return all states, and the last, (directions, segments, hidden_size).

        Parameters
        ----------
        batch : Tensor, shape (segments, steps, input_size)
        """
        states, last, _ = self._run(batch)
        return states, last


def build_lstm(input_size: int, hidden_size: int, *, steps: int, normalized: bool) -> nn.LSTM | BatchNormLstm:
    """Build a layer that reads a sequence once, from its beginning.

    Parameters
    ----------
    input_size, hidden_size : int
        Units of the input and of the state.
    steps : int
        Time steps of a sequence; only normalization needs them.
    normalized : bool
        Whether it has recurrent batch normalization.

    Raises
    ------
    ConfigError
        ``invalid_config``: no time steps, or too many for a model file.
    """
    if not normalized:
        return nn.LSTM(input_size, hidden_size, batch_first=True)
    return BatchNormLstm(input_size, hidden_size, max_steps=_checked(steps))


def build_gru(input_size: int, hidden_size: int, *, steps: int, normalized: bool) -> nn.GRU | BatchNormGru:
    """Build a layer that reads a sequence in both directions.

    Parameters
    ----------
    input_size, hidden_size : int
        Units of the input, and of the state of each direction.
    steps : int
        Time steps of a sequence; only normalization needs them.
    normalized : bool
        Whether it has recurrent batch normalization.

    Raises
    ------
    ConfigError
        ``invalid_config``: no time steps, or too many for a model file.
    """
    if not normalized:
        return nn.GRU(input_size, hidden_size, batch_first=True, bidirectional=True)
    return BatchNormGru(input_size, hidden_size, max_steps=_checked(steps), bidirectional=True)


def _checked(steps: int) -> int:
    if not 1 <= steps <= MAX_STEPS:
        raise ConfigError(
            "invalid_config",
            f"recurrent batch normalization of {steps} time steps (1 to {MAX_STEPS} are possible)",
            "change data.segment_seconds or data.hop_length",
        )
    return steps
