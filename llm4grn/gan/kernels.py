"""Fused CPU kernels of the target generators: gather, products, BatchNorm and ReLU of one target stay in cache.

Operator by operator, memory traffic would dominate these networks: a few thousand multiplications per target and layer,
whose intermediate results are written and read several times. Here each target is computed from regulators to value in
one pass, and the backward pass recomputes the intermediate results, so that memory does not grow with depth. Targets
are independent, so the result does not depend on the number of threads.

In numba, an integer and a float32 make a float64, at half the speed; constants are therefore cast to the arrays' type.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

# The compiler may reorder and fuse sums, but NaN and infinity keep their meaning.
_FASTMATH = {"reassoc", "contract", "arcp", "nsz"}
_compiled = numba.njit(nogil=True, cache=True, fastmath=_FASTMATH, error_model="numpy")
# Without forced inlining, a process that compiles a kernel calls another copy of its parts than a process that loads it
# from the cache, with sums in another order: the first run after an installation would differ from all later ones.
_inlined = numba.njit(nogil=True, cache=True, fastmath=_FASTMATH, error_model="numpy", forceinline=True)
_MIN_TARGETS_PER_THREAD = 64

Array = np.ndarray


class Statistics(NamedTuple):
    """Running statistics of BatchNorm, and its parameters.

    Attributes
    ----------
    mean, var
        Shape ``(depth + 1, n_targets, n_hidden)``, updated in place in training.
    training
        If True, normalise by batch statistics.
    batch_size
        Number of cells that are normalised together; the number of all cells is a multiple of it.
    momentum, eps
        As in :class:`torch.nn.BatchNorm1d`.
    """

    mean: Tensor
    var: Tensor
    training: bool
    batch_size: int
    momentum: float = 0.1
    eps: float = 1e-5


class FusedTargets(torch.autograd.Function):
    """Values of a group of targets from their regulators, as one differentiable operation.

    ``apply(genes, regulators, noise, first, inner, gamma, beta, last, bias, statistics, revive)`` with shapes ``genes``
    (n_genes, n_cells), ``regulators`` (n_targets, n_regulators), ``noise`` (n_targets, noise_per_gene, n_cells),
    ``first`` (n_targets, n_hidden, n_inputs), ``inner`` (depth, n_targets, n_hidden, n_hidden), ``gamma`` and ``beta``
    (depth + 1, n_targets, n_hidden), ``last`` (n_targets, n_hidden), ``bias`` (n_targets,) returns the values, shape
    (n_targets, n_cells). For ``revive``, see :func:`llm4grn.gan.target_generators.rectify`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        genes: Tensor,
        regulators: Tensor,
        noise: Tensor,
        first: Tensor,
        inner: Tensor,
        gamma: Tensor,
        beta: Tensor,
        last: Tensor,
        bias: Tensor,
        statistics: Statistics,
        revive: bool,
    ) -> Tensor:
        tensors = genes, regulators, noise, first, inner, gamma, beta, last, bias
        ctx.save_for_backward(*tensors, statistics.mean, statistics.var)
        ctx.statistics, ctx.revive = statistics, revive
        values = genes.new_empty(len(regulators), genes.shape[1])
        _over_targets(_forward, *tensors, *_kernel_arguments(statistics), values)
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, mean, var = ctx.saved_tensors
        genes, regulators, _, *parameters = tensors
        n_targets, n_regulators = regulators.shape
        wants_genes = ctx.needs_input_grad[0]
        gradients = [torch.zeros_like(parameter) for parameter in parameters]
        inputs = genes.new_zeros((n_targets, n_regulators, genes.shape[1]) if wants_genes else (n_targets, 0, 0))
        statistics = _kernel_arguments(ctx.statistics._replace(mean=mean, var=var))
        _over_targets(_backward, *tensors, *statistics, ctx.revive, gradient.contiguous(), *gradients, inputs)
        to_genes = None
        if wants_genes:
            to_genes = torch.zeros_like(genes).index_add_(0, regulators.flatten(), inputs.flatten(0, 1))
        return to_genes, None, None, *gradients, None, None


def _kernel_arguments(statistics: Statistics) -> tuple[Any, ...]:
    """Return the statistics with constants of the tensors' type, as others would widen float32 to float64."""
    dtype = statistics.mean.numpy().dtype.type
    mean, var, training, batch_size, momentum, eps = statistics
    return mean, var, training, batch_size, dtype(momentum), dtype(eps)


def _over_targets(kernel: Callable[..., None], *arguments: Any) -> None:
    """Run ``kernel(start, stop, ...)`` over all targets, on as many threads as torch uses."""
    arrays = [a.detach().numpy() if isinstance(a, Tensor) else a for a in arguments]
    n_targets = len(arrays[1])
    n_threads = max(1, min(torch.get_num_threads(), n_targets // _MIN_TARGETS_PER_THREAD))
    bounds = np.linspace(0, n_targets, n_threads + 1).astype(int).tolist()
    with _blas().limit(limits=1):  # BLAS threads would compete with the threads here for the cores
        others = [_threads().submit(kernel, a, b, *arrays) for a, b in pairwise(bounds[1:])]
        kernel(bounds[0], bounds[1], *arrays)
        for other in others:
            other.result()


@cache
def _blas() -> ThreadpoolController:
    """Return the controller of the BLAS libraries that numba's products call."""
    return ThreadpoolController().select(user_api="blas")


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="targets")


@_inlined
def _statistics(row: Array) -> tuple[Any, Any]:
    """Return mean and biased variance, from deviations from the first value, as sums of squares would cancel."""
    n, zero = row.dtype.type(len(row)), row.dtype.type(0)
    origin, total, squares = row[0], zero, zero
    for cell in range(n):
        deviation = row[cell] - origin
        total += deviation
        squares += deviation * deviation
    mean = total / n
    return origin + mean, max(squares / n - mean * mean, zero)


@_inlined
def _gather(genes: Array, regulators: Array, noise: Array, inputs: Array) -> None:
    n_regulators = len(regulators)
    for r in range(n_regulators):
        inputs[r] = genes[regulators[r]]
    for p in range(len(noise)):
        inputs[n_regulators + p] = noise[p]


@_compiled
def _forward(
    start: int, stop: int, genes: Array, regulators: Array, noise: Array, first: Array, inner: Array, gamma: Array,
    beta: Array, last: Array, bias: Array, mean: Array, var: Array, training: bool, batch_size: int, momentum: float,
    eps: float, values: Array,
) -> None:  # fmt: skip
    n_cells, n_hidden, zero = genes.shape[1], first.shape[1], genes.dtype.type(0)
    unbiased = genes.dtype.type(batch_size / (batch_size - 1))
    inputs = np.empty((first.shape[2], n_cells), genes.dtype)
    hidden = np.empty((2, n_hidden, n_cells), genes.dtype)
    for t in range(start, stop):
        _gather(genes, regulators[t], noise[t], inputs)
        for layer in range(len(gamma)):
            out = hidden[layer % 2]
            if layer == 0:
                np.dot(first[t], inputs, out)
            else:
                np.dot(inner[layer - 1, t], hidden[(layer - 1) % 2], out)
            for i in range(n_hidden):
                for begin in range(0, n_cells, batch_size):
                    row = out[i, begin : begin + batch_size]
                    m, v = mean[layer, t, i], var[layer, t, i]
                    if training:
                        m, v = _statistics(row)
                        mean[layer, t, i] += momentum * (m - mean[layer, t, i])
                        var[layer, t, i] += momentum * (v * unbiased - var[layer, t, i])
                    scale = gamma[layer, t, i] / np.sqrt(v + eps)
                    shift = beta[layer, t, i] - m * scale
                    for cell in range(len(row)):
                        row[cell] = max(row[cell] * scale + shift, zero)
        value = values[t]
        np.dot(last[t], hidden[(len(gamma) - 1) % 2], value)
        for cell in range(n_cells):
            value[cell] = max(value[cell] + bias[t], zero)


@_inlined
def _recompute(
    t: int, inputs: Array, first: Array, inner: Array, gamma: Array, beta: Array, mean: Array, var: Array,
    training: bool, batch_size: int, eps: float, normal: Array, active: Array, inverse: Array,
) -> None:  # fmt: skip
    """Recompute the layers of one target: normalised values, values after ReLU, and inverse standard deviations."""
    zero, one = inputs.dtype.type(0), inputs.dtype.type(1)
    for layer in range(len(gamma)):
        if layer == 0:
            np.dot(first[t], inputs, normal[0])
        else:
            np.dot(inner[layer - 1, t], active[layer - 1], normal[layer])
        for i in range(first.shape[1]):
            g, b = gamma[layer, t, i], beta[layer, t, i]
            for begin in range(0, inputs.shape[1], batch_size):
                row = normal[layer, i, begin : begin + batch_size]
                out = active[layer, i, begin : begin + batch_size]
                m, v = mean[layer, t, i], var[layer, t, i]
                if training:
                    m, v = _statistics(row)
                inv = one / np.sqrt(v + eps)
                inverse[layer, i, begin // batch_size] = inv
                for cell in range(len(row)):
                    row[cell] = (row[cell] - m) * inv
                    out[cell] = max(row[cell] * g + b, zero)


@_inlined
def _through_norm(
    upstream: Array, normal: Array, active: Array, gamma: float, inverse: Array, training: bool, batch_size: int
) -> tuple[Any, Any]:
    """Propagate a gradient in place through one unit's ReLU and BatchNorm; return the gradients of gamma and beta."""
    zero = upstream.dtype.type(0)
    d_gamma, d_beta = zero, zero
    for begin in range(0, len(upstream), batch_size):
        row, xhat = upstream[begin : begin + batch_size], normal[begin : begin + batch_size]
        out = active[begin : begin + batch_size]
        sum_g, sum_gx = zero, zero
        for cell in range(len(row)):
            row[cell] = row[cell] if out[cell] > 0 else zero
            sum_g += row[cell]
            sum_gx += row[cell] * xhat[cell]
        d_gamma += sum_gx
        d_beta += sum_g
        scale = gamma * inverse[begin // batch_size]
        if training:
            n = upstream.dtype.type(len(row))
            sum_g, sum_gx = sum_g / n, sum_gx / n
        else:
            sum_g, sum_gx = zero, zero
        for cell in range(len(row)):
            row[cell] = scale * (row[cell] - sum_g - xhat[cell] * sum_gx)
    return d_gamma, d_beta


@_compiled
def _backward(
    start: int, stop: int, genes: Array, regulators: Array, noise: Array, first: Array, inner: Array, gamma: Array,
    beta: Array, last: Array, bias: Array, mean: Array, var: Array, training: bool, batch_size: int, momentum: float,
    eps: float, revive: bool, gradient: Array, d_first: Array, d_inner: Array, d_gamma: Array, d_beta: Array,
    d_last: Array, d_bias: Array, d_inputs: Array,
) -> None:  # fmt: skip
    n_cells, n_hidden, n_layers = genes.shape[1], first.shape[1], len(gamma)
    zero = genes.dtype.type(0)
    inputs = np.empty((first.shape[2], n_cells), genes.dtype)
    to_inputs = np.empty_like(inputs)
    normal = np.empty((n_layers, n_hidden, n_cells), genes.dtype)  # normalised, before gamma and beta
    active = np.empty((n_layers, n_hidden, n_cells), genes.dtype)  # after ReLU
    inverse = np.empty((n_layers, n_hidden, n_cells // batch_size), genes.dtype)  # 1 / standard deviation
    value = np.empty(n_cells, genes.dtype)
    upstream = np.empty((2, n_hidden, n_cells), genes.dtype)
    for t in range(start, stop):
        _gather(genes, regulators[t], noise[t], inputs)
        _recompute(t, inputs, first, inner, gamma, beta, mean, var, training, batch_size, eps, normal, active, inverse)
        np.dot(last[t], active[n_layers - 1], value)
        total, dead = zero, revive
        for cell in range(n_cells):
            dead = dead and not value[cell] + bias[t] > 0
        for cell in range(n_cells):  # from here on, value is the gradient before the last ReLU
            value[cell] = gradient[t, cell] if dead or value[cell] + bias[t] > 0 else zero
            total += value[cell]
        d_bias[t] = total
        np.dot(active[n_layers - 1], value, d_last[t])
        top = upstream[n_layers % 2]
        for i in range(n_hidden):
            for cell in range(n_cells):
                top[i, cell] = last[t, i] * value[cell]

        for layer in range(n_layers - 1, -1, -1):
            here, below = upstream[(layer + 1) % 2], upstream[layer % 2]
            for i in range(n_hidden):
                d_gamma[layer, t, i], d_beta[layer, t, i] = _through_norm(
                    here[i], normal[layer, i], active[layer, i], gamma[layer, t, i], inverse[layer, i], training,
                    batch_size,
                )  # fmt: skip
            if layer > 0:
                np.dot(here, active[layer - 1].T, d_inner[layer - 1, t])
                np.dot(inner[layer - 1, t].T, here, below)
            else:
                np.dot(here, inputs.T, d_first[t])
                if d_inputs.shape[1] > 0:
                    np.dot(first[t].T, here, to_inputs)
                    d_inputs[t] = to_inputs[: d_inputs.shape[1]]
