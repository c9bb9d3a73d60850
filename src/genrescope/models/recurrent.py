"""Recurrent batch normalization: an LSTM and a GRU whose gates are normalized over the batch.

Cooijmans, Ballas, Laurent, Gulcehre and Courville, "Recurrent Batch Normalization", ICLR 2017
(arXiv 1603.09025), for the LSTM. What enters the gates from the input and from the state before is normalized
separately, each time step with statistics of its own, and so is the cell where it is read (not where it is
carried on). The scales, shared by all steps, start at 0.1, without which gradients of tanh vanish.

For the GRU, which the paper leaves out, the same two normalizations are made. There is no third: the paper's
leaves the path of the cell through time untouched and only normalizes what is read from it. The state of a
GRU is carried on and read in one, and bounded by 1, and the next step normalizes what it reads of it.

In training the loop over time is one function with a gradient of its own, because one recorded operation by
operation takes several times as long. In evaluation, and in the exported graph, normalization is a scale and
a shift, and the loop is unrolled.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import FunctionCtx, once_differentiable

# The paper's: larger ones let tanh saturate, and its gradient vanish, early in training.
INITIAL_SCALE = 0.1
EPSILON = 1e-5
# Share of the newest batch in the running statistics, as torch's layers of batch normalization have it.
MOMENTUM = 0.1
# (gradient of the function, value of the function, grad_input=) -> gradient of what it was taken of.
_tanh_gradient = torch.ops.aten.tanh_backward.grad_input
_sigmoid_gradient = torch.ops.aten.sigmoid_backward.grad_input


class StepStatistics(nn.Module):
    """Running mean and variance of a batch-normalized value, for each time step up to a maximum.

    The first batches are averaged evenly, as a short training would otherwise keep much of the initial values.

    Parameters
    ----------
    max_steps : int
        Time steps with statistics of their own.
    size : int
        Units.
    """

    mean: Tensor
    variance: Tensor
    batches: Tensor

    def __init__(self, max_steps: int, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(max_steps, size))
        self.register_buffer("variance", torch.ones(max_steps, size))
        self.register_buffer("batches", torch.tensor(0))

    @torch.no_grad()
    def update(self, mean: Tensor, variance: Tensor) -> None:
        """Add the statistics of a batch.

        Parameters
        ----------
        mean, variance : Tensor, shape (steps, size)
            Those of steps beyond the maximum are left out.
        """
        steps = min(len(mean), len(self.mean))
        self.batches += 1
        share = (1 / self.batches).clamp(min=MOMENTUM).to(self.mean.dtype)
        self.mean[:steps].lerp_(mean[:steps].to(self.mean.dtype), share)
        self.variance[:steps].lerp_(variance[:steps].to(self.variance.dtype), share)

    def affine(self, scale: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Return normalization by the running statistics as a factor and a summand, each (steps, size).

        Parameters
        ----------
        scale : Tensor, shape (size,)
        steps : int
            Those beyond the maximum have the statistics of the last.
        """
        factor = scale * (self.variance + EPSILON).rsqrt()
        summand = -self.mean * factor
        beyond = steps - len(self.mean)
        if beyond <= 0:
            return factor[:steps], summand[:steps]
        return (
            torch.cat([factor, factor[-1:].expand(beyond, -1)]),
            torch.cat([summand, summand[-1:].expand(beyond, -1)]),
        )


class _Direction(nn.Module, ABC):
    """One direction of a layer: input (steps, batch, features), output states (steps, batch, hidden)."""

    gates: int

    def __init__(self, input_size: int, hidden_size: int, max_steps: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        width = self.gates * hidden_size
        bound = hidden_size**-0.5
        # The names and the initial values of torch's recurrent layers.
        self.weight_ih = nn.Parameter(torch.empty(width, input_size).uniform_(-bound, bound))
        self.weight_hh = nn.Parameter(torch.empty(width, hidden_size).uniform_(-bound, bound))
        # One bias: that of either normalization would be redundant beside it.
        self.bias_ih = nn.Parameter(torch.zeros(width))
        self.scale_ih = nn.Parameter(torch.full((width,), INITIAL_SCALE))
        self.scale_hh = nn.Parameter(torch.full((width,), INITIAL_SCALE))
        self.statistics_ih = StepStatistics(max_steps, width)
        self.statistics_hh = StepStatistics(max_steps, width)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the states of all steps, and the last cell (of a GRU: the last state)."""
        # A single item has no variance: it is normalized as in evaluation, and changes no statistics.
        if self.training and inputs.shape[1] > 1:
            return self.run(inputs)
        factor, summand = self.statistics_ih.affine(self.scale_ih, inputs.shape[0])
        summand = summand + self.bias_ih
        return self.evaluate(torch.addcmul(summand[:, None], inputs @ self.weight_ih.t(), factor[:, None]))

    @abstractmethod
    def run(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return states and last cell with the statistics of the batch, and record these."""

    @abstractmethod
    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return states and last cell with the running statistics.

        Parameters
        ----------
        inputs : Tensor, shape (steps, batch, gates x hidden)
            What enters the gates from the input, normalized, with the bias.
        """


class _LstmDirection(_Direction):
    gates = 4  # input, forget, cell, output, as torch orders them

    def __init__(self, input_size: int, hidden_size: int, max_steps: int) -> None:
        super().__init__(input_size, hidden_size, max_steps)
        self.scale_cell = nn.Parameter(torch.full((hidden_size,), INITIAL_SCALE))
        self.bias_cell = nn.Parameter(torch.zeros(hidden_size))
        self.statistics_cell = StepStatistics(max_steps, hidden_size)

    def run(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        states, cell, for_inputs, for_states, for_cells = _LstmLoop.apply(
            inputs,
            self.weight_ih,
            self.weight_hh,
            self.scale_ih,
            self.scale_hh,
            self.bias_ih,
            self.scale_cell,
            self.bias_cell,
        )
        self.statistics_ih.update(*for_inputs)
        self.statistics_hh.update(*for_states)
        self.statistics_cell.update(*for_cells)
        return states, cell

    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        steps = inputs.shape[0]
        factor, summand = self.statistics_hh.affine(self.scale_hh, steps)
        cell_factor, cell_summand = self.statistics_cell.affine(self.scale_cell, steps)
        cell_summand = cell_summand + self.bias_cell
        inputs = inputs + summand[:, None]
        weight = self.weight_hh.t()
        state = cell = inputs.new_zeros(inputs.shape[1], self.hidden_size)
        states = []
        for step in range(steps):
            gates = inputs[step] + (state @ weight) * factor[step]
            enter, forget, candidate, leave = gates.chunk(4, 1)
            cell = forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
            state = leave.sigmoid() * (cell * cell_factor[step] + cell_summand[step]).tanh()
            states.append(state)
        return torch.stack(states), cell


class _GruDirection(_Direction):
    gates = 3  # reset, update, candidate, as torch orders them

    def __init__(self, input_size: int, hidden_size: int, max_steps: int) -> None:
        super().__init__(input_size, hidden_size, max_steps)
        # The reset gate multiplies the state's part of the candidate with its bias (Cho et al. 2014, in
        # cuDNN's form, which torch has too): not redundant beside the other bias.
        self.bias_candidate = nn.Parameter(torch.zeros(hidden_size))

    def run(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        states, for_inputs, for_states = _GruLoop.apply(
            inputs,
            self.weight_ih,
            self.weight_hh,
            self.scale_ih,
            self.scale_hh,
            self.bias_ih,
            self.bias_candidate,
        )
        self.statistics_ih.update(*for_inputs)
        self.statistics_hh.update(*for_states)
        return states, states[-1]

    def evaluate(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        steps = inputs.shape[0]
        factor, summand = self.statistics_hh.affine(self.scale_hh, steps)
        weight = self.weight_hh.t()
        state = inputs.new_zeros(inputs.shape[1], self.hidden_size)
        states = []
        for step in range(steps):
            reset, update, candidate = inputs[step].chunk(3, 1)
            recurrent = (state @ weight) * factor[step] + summand[step]
            reset_part, update_part, candidate_part = recurrent.chunk(3, 1)
            candidate_part = (candidate_part + self.bias_candidate) * (reset + reset_part).sigmoid()
            candidate = (candidate + candidate_part).tanh()
            state = candidate + (update + update_part).sigmoid() * (state - candidate)
            states.append(state)
        return torch.stack(states), state


class _BatchNormRecurrence(nn.Module):
    def __init__(self, directions: list[_Direction], hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.directions = nn.ModuleList(directions)

    def _states(self, batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return states (batch, steps, directions x hidden), last states and cells (directions, batch, ...)."""
        # Statistics of a batch in bfloat16, as autocast would take them, have two or three digits.
        with torch.autocast(batch.device.type, enabled=False):
            inputs = (batch.float() if batch.dtype != torch.float64 else batch).transpose(0, 1)
            states, last, cells = [], [], []
            for index, direction in enumerate(self.directions):
                # The second direction's time steps, and their statistics, are counted from the end.
                found, cell = direction(inputs.flip(0) if index else inputs)
                last.append(found[-1])
                cells.append(cell)
                states.append(found.flip(0) if index else found)
            return torch.cat(states, 2).transpose(0, 1), torch.stack(last), torch.stack(cells)


class BatchNormLstm(_BatchNormRecurrence):
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
        count = 1 + bidirectional
        super().__init__(
            [_LstmDirection(input_size, hidden_size, max_steps) for _ in range(count)], hidden_size
        )

    def forward(self, batch: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return all states, and the last state and cell, each (directions, segments, hidden_size).

        Parameters
        ----------
        batch : Tensor, shape (segments, steps, input_size)
        """
        states, last, cells = self._states(batch)
        return states, (last, cells)


class BatchNormGru(_BatchNormRecurrence):
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
        count = 1 + bidirectional
        super().__init__(
            [_GruDirection(input_size, hidden_size, max_steps) for _ in range(count)], hidden_size
        )

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return all states, and the last, (directions, segments, hidden_size).

        Parameters
        ----------
        batch : Tensor, shape (segments, steps, input_size)
        """
        states, last, _ = self._states(batch)
        return states, last


class _Normalization(NamedTuple):
    """Batch normalization of (steps, batch, size), each step by itself, between forward and backward pass.

    Attributes
    ----------
    standard : Tensor, shape (steps, batch, size)
        The standardized values.
    statistics : Tensor, shape (2, steps, size)
        Mean and variance.
    inverse : Tensor, shape (steps, size)
        1 / deviation.
    shares : Tensor, shape (batch,)
        1 / batch each: means are products with it, as torch's take up to 20 times as long along this axis.
    """

    standard: Tensor
    statistics: Tensor
    inverse: Tensor
    shares: Tensor

    @classmethod
    def of(cls, values: Tensor, steps: int, items: int, size: int) -> _Normalization:
        """Return one to be filled, of the type and on the device of ``values``."""
        return cls(
            values.new_empty(steps, items, size),
            values.new_empty(2, steps, size),
            values.new_empty(steps, size),
            values.new_full((items,), 1 / items),
        )

    def standardize(self, step: int, values: Tensor) -> Tensor:
        """Return ``values`` (batch, size), standardized; they may be the place where the result is kept."""
        standard, mean, variance = self.standard[step], self.statistics[0, step], self.statistics[1, step]
        torch.mv(values.t(), self.shares, out=mean)
        torch.sub(values, mean, out=standard)
        torch.mv((standard * standard).t(), self.shares, out=variance)
        inverse = torch.add(variance, EPSILON, out=self.inverse[step]).rsqrt_()
        return standard.mul_(inverse)


class _NormalizationGradient(NamedTuple):
    """The backward pass of `_Normalization` with a scale (Ioffe and Szegedy, ICML 2015).

    Attributes
    ----------
    standard : Tensor, shape (steps, batch, size)
        The standardized values.
    factors : Tensor, shape (steps, size)
        Scale / deviation.
    means : Tensor, shape (2, steps, size)
        Over the batch: of the gradient, and of its product with the standardized values.
    shares : Tensor, shape (batch,)
        1 / batch each.
    """

    standard: Tensor
    factors: Tensor
    means: Tensor
    shares: Tensor

    @classmethod
    def of(cls, standard: Tensor, factors: Tensor) -> _NormalizationGradient:
        """Return one to be filled, from what the forward pass saved: ``standard`` and ``factors``."""
        items = standard.shape[1]
        return cls(
            standard, factors, factors.new_empty(2, *factors.shape), factors.new_full((items,), 1 / items)
        )

    def write(self, step: int, gradient: Tensor, out: Tensor) -> Tensor:
        """Write the gradient of the values, from that of the normalized ones, both (batch, size)."""
        standard, mean, correlation = self.standard[step], self.means[0, step], self.means[1, step]
        torch.mul(gradient, standard, out=out)
        torch.mv(out.t(), self.shares, out=correlation)
        torch.mv(gradient.t(), self.shares, out=mean)
        torch.sub(gradient, mean, out=out)
        return out.addcmul_(standard, correlation, value=-1).mul_(self.factors[step])

    def parameters(self) -> tuple[Tensor, Tensor]:
        """Return the gradients of bias and scale."""
        bias, scale = self.means.sum(1) * len(self.shares)
        return bias, scale


class _LstmLoop(Function):
    """The LSTM's loop over time.

    Returns states, last cell, and the statistics of what enters the gates from input and state and of the
    cell, each of shape (2, steps, size).
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        inputs: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        scale_ih: Tensor,
        scale_hh: Tensor,
        bias: Tensor,
        cell_scale: Tensor,
        cell_bias: Tensor,
    ) -> tuple[Tensor, ...]:
        steps, items, _ = inputs.shape
        size = weight_hh.shape[1]
        from_input = _Normalization.of(inputs, steps, items, 4 * size)
        from_state = _Normalization.of(inputs, steps, items, 4 * size)
        of_cell = _Normalization.of(inputs, steps, items, size)
        torch.matmul(inputs, weight_ih.t(), out=from_input.standard)
        gates = inputs.new_empty(steps, items, 4 * size)
        cells, read, states = (inputs.new_empty(steps, items, size) for _ in range(3))
        transposed = weight_hh.t().contiguous()
        product = inputs.new_zeros(items, 4 * size)
        cell = inputs.new_zeros(items, size)
        # Step by step, also what could be done for all at once, stays in the processor's cache.
        for step in range(steps):
            if step:
                torch.mm(states[step - 1], transposed, out=product)
            current = gates[step]
            standard = from_input.standardize(step, from_input.standard[step])
            torch.addcmul(bias, standard, scale_ih, out=current)
            current.addcmul_(from_state.standardize(step, product), scale_hh)
            enter, forget, candidate, leave = current.split(size, 1)
            # tanh(x) = 2 sigmoid(2 x) - 1: one sigmoid of all takes half the time of three operations.
            candidate.mul_(2)
            current.sigmoid_()
            candidate.mul_(2).sub_(1)
            cell = torch.mul(forget, cell, out=cells[step]).addcmul_(enter, candidate)
            torch.addcmul(cell_bias, of_cell.standardize(step, cell), cell_scale, out=read[step]).tanh_()
            torch.mul(leave, read[step], out=states[step])
        ctx.save_for_backward(
            *(inputs, weight_ih, weight_hh, gates, cells, read, states),
            *(from_input.standard, from_input.inverse * scale_ih),
            *(from_state.standard, from_state.inverse * scale_hh),
            *(of_cell.standard, of_cell.inverse * cell_scale),
        )
        found = (from_input.statistics, from_state.statistics, of_cell.statistics)
        ctx.mark_non_differentiable(*found)
        return states, cell.clone(), *found

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, for_states: Tensor, for_cell: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight_ih, weight_hh, gates, cells, read, states, *saved = _saved(ctx)
        from_input, from_state, of_cell = (_NormalizationGradient.of(*saved[i : i + 2]) for i in (0, 2, 4))
        steps, items, size = states.shape
        for_projected, for_products = torch.empty_like(gates), torch.empty_like(gates)
        current = torch.empty_like(gates[0])
        for_enter, for_forget, for_candidate, for_leave = current.split(size, 1)
        for_read, for_standard = torch.empty_like(for_cell), torch.empty_like(for_cell)
        state, cell, zero = torch.zeros_like(for_cell), for_cell.clone(), torch.zeros_like(for_cell)
        for step in reversed(range(steps)):
            enter, forget, candidate, leave = gates[step].split(size, 1)
            state += for_states[step]
            _tanh_gradient(state * leave, read[step], grad_input=for_read)
            cell += of_cell.write(step, for_read, for_standard)
            _sigmoid_gradient(cell * candidate, enter, grad_input=for_enter)
            _sigmoid_gradient(cell * (cells[step - 1] if step else zero), forget, grad_input=for_forget)
            _tanh_gradient(cell * enter, candidate, grad_input=for_candidate)
            _sigmoid_gradient(state * read[step], leave, grad_input=for_leave)
            cell *= forget
            from_input.write(step, current, for_projected[step])
            torch.mm(from_state.write(step, current, for_products[step]), weight_hh, out=state)
        for_bias, for_scale_ih = from_input.parameters()
        _, for_scale_hh = from_state.parameters()
        for_cell_bias, for_cell_scale = of_cell.parameters()
        return (
            for_projected @ weight_ih if ctx.needs_input_grad[0] else None,
            _weight_gradient(for_projected, inputs),
            # The first step reads a state of zeros.
            _weight_gradient(for_products[1:], states[:-1]),
            for_scale_ih,
            for_scale_hh,
            for_bias,
            for_cell_scale,
            for_cell_bias,
        )


class _GruLoop(Function):
    """The GRU's loop over time.

    Returns states, and the statistics of what enters the gates from input and state, (2, steps, size) each.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        inputs: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        scale_ih: Tensor,
        scale_hh: Tensor,
        bias: Tensor,
        candidate_bias: Tensor,
    ) -> tuple[Tensor, ...]:
        steps, items, _ = inputs.shape
        size = weight_hh.shape[1]
        from_input = _Normalization.of(inputs, steps, items, 3 * size)
        from_state = _Normalization.of(inputs, steps, items, 3 * size)
        torch.matmul(inputs, weight_ih.t(), out=from_input.standard)
        gates = inputs.new_empty(steps, items, 3 * size)
        # Of each step: what the reset gate multiplies, and the states.
        recurrent, states = inputs.new_empty(steps, items, size), inputs.new_empty(steps, items, size)
        transposed = weight_hh.t().contiguous()
        product = inputs.new_zeros(items, 3 * size)
        state = inputs.new_zeros(items, size)
        for step in range(steps):
            if step:
                torch.mm(state, transposed, out=product)
            standard = from_input.standardize(step, from_input.standard[step])
            torch.addcmul(bias, standard, scale_ih, out=gates[step])
            standard = from_state.standardize(step, product)
            opening, candidate = gates[step].split((2 * size, size), 1)
            opening.addcmul_(standard[:, : 2 * size], scale_hh[: 2 * size]).sigmoid_()
            reset, update = opening.split(size, 1)
            torch.addcmul(candidate_bias, standard[:, 2 * size :], scale_hh[2 * size :], out=recurrent[step])
            candidate.addcmul_(reset, recurrent[step]).tanh_()
            state = torch.addcmul(candidate, update, state - candidate, out=states[step])
        ctx.save_for_backward(
            *(inputs, weight_ih, weight_hh, gates, recurrent, states),
            *(from_input.standard, from_input.inverse * scale_ih),
            *(from_state.standard, from_state.inverse * scale_hh),
        )
        ctx.mark_non_differentiable(from_input.statistics, from_state.statistics)
        return states, from_input.statistics, from_state.statistics

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, for_states: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight_ih, weight_hh, gates, recurrent, states, *saved = _saved(ctx)
        from_input, from_state = (_NormalizationGradient.of(*saved[i : i + 2]) for i in (0, 2))
        steps, items, size = states.shape
        for_projected, for_products = torch.empty_like(gates), torch.empty_like(gates)
        # Before the reset gate multiplies the state's part of the candidate, its gradient is another than
        # that of the input's part.
        current, from_reset = torch.empty_like(gates[0]), torch.empty_like(gates[0])
        for_reset, for_update, for_candidate = current.split(size, 1)
        state, zero = torch.zeros_like(states[0]), torch.zeros_like(states[0])
        for step in reversed(range(steps)):
            reset, update, candidate = gates[step].split(size, 1)
            before = states[step - 1] if step else zero
            state = state + for_states[step]
            _tanh_gradient(state - state * update, candidate, grad_input=for_candidate)
            _sigmoid_gradient(state * (before - candidate), update, grad_input=for_update)
            _sigmoid_gradient(for_candidate * recurrent[step], reset, grad_input=for_reset)
            from_input.write(step, current, for_projected[step])
            from_reset.copy_(current)[:, 2 * size :].mul_(reset)
            from_state.write(step, from_reset, for_products[step])
            state = torch.addmm(state * update, for_products[step], weight_hh)
        for_bias, for_scale_ih = from_input.parameters()
        for_state_bias, for_scale_hh = from_state.parameters()
        return (
            for_projected @ weight_ih if ctx.needs_input_grad[0] else None,
            _weight_gradient(for_projected, inputs),
            # The first step reads a state of zeros.
            _weight_gradient(for_products[1:], states[:-1]),
            for_scale_ih,
            for_scale_hh,
            for_bias,
            for_state_bias[2 * size :],
        )


def _weight_gradient(for_products: Tensor, factors: Tensor) -> Tensor:
    """Return the gradient of weights, of all steps in one product of matrices."""
    return for_products.flatten(0, 1).t() @ factors.flatten(0, 1)


def _saved(ctx: FunctionCtx) -> tuple[Tensor, ...]:
    return cast("tuple[Tensor, ...]", ctx.saved_tensors)  # type: ignore[attr-defined]
