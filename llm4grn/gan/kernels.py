"""The networks of many target genes on a CPU, fused: gather, products, BatchNorm and ReLU of one target stay in cache.

Operator by operator, these networks are memory traffic: a few thousand multiplications per target and layer, and every
intermediate result written out and read back several times. Here each target is taken from its regulators to its value
in one go, and the backward pass computes the intermediates again instead of keeping them, so that memory does not grow
with depth. Targets are independent, so the result does not depend on the number of threads.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from torch import Tensor

# Sums may be reordered and fused (once, by the compiler), but NaN and infinity keep their meaning.
_COMPILE = {"nogil": True, "cache": True, "fastmath": {"reassoc", "contract", "arcp", "nsz"}, "error_model": "numpy"}
_MIN_TARGETS_PER_THREAD = 64


class Statistics(NamedTuple):
    """Running statistics of BatchNorm and how to use them.

    Attributes
    ----------
    mean, var
        Shape ``(depth + 1, n_targets, n_hidden)``, updated in place in training.
    training
        Whether to normalise by the statistics of the batch.
    momentum, eps
        As in :class:`torch.nn.BatchNorm1d`.
    """

    mean: Tensor
    var: Tensor
    training: bool
    momentum: float = 0.1
    eps: float = 1e-5


class FusedTargets(torch.autograd.Function):
    """Values of a group of targets from their regulators, as one differentiable operation.

    ``apply(genes, regulators, noise, first, inner, gamma, beta, last, bias, statistics)`` with shapes ``genes``
    (n_genes, n_cells), ``regulators`` (n_targets, n_regulators), ``noise`` (n_targets, noise_per_gene, n_cells),
    ``first`` (n_targets, n_hidden, n_inputs), ``inner`` (depth, n_targets, n_hidden, n_hidden), ``gamma`` and ``beta``
    (depth + 1, n_targets, n_hidden), ``last`` (n_targets, n_hidden), ``bias`` (n_targets,); it returns the values,
    shape (n_targets, n_cells).
    """

    @staticmethod
    def forward(ctx, genes, regulators, noise, first, inner, gamma, beta, last, bias, statistics: Statistics) -> Tensor:
        tensors = genes, regulators, noise, first, inner, gamma, beta, last, bias
        ctx.save_for_backward(*tensors, statistics.mean, statistics.var)
        ctx.statistics = statistics
        values = genes.new_empty(len(regulators), genes.shape[1])
        _over_targets(_forward, *tensors, *_plain(statistics), values)
        return values

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, mean, var = ctx.saved_tensors
        genes, regulators, _, *parameters = tensors
        n_targets, n_regulators = regulators.shape
        wants_genes = ctx.needs_input_grad[0]
        gradients = [torch.zeros_like(parameter) for parameter in parameters]
        inputs = genes.new_zeros((n_targets, n_regulators, genes.shape[1]) if wants_genes else (n_targets, 0, 0))
        statistics = _plain(ctx.statistics._replace(mean=mean, var=var))
        _over_targets(_backward, *tensors, *statistics, gradient.contiguous(), *gradients, inputs)
        to_genes = None
        if wants_genes:
            to_genes = torch.zeros_like(genes).index_add_(0, regulators.flatten(), inputs.flatten(0, 1))
        return to_genes, None, None, *gradients, None


def _plain(statistics: Statistics) -> tuple[Any, ...]:
    dtype = statistics.mean.numpy().dtype.type  # constants of the tensors' type, or float32 would be widened
    return statistics.mean, statistics.var, statistics.training, dtype(statistics.momentum), dtype(statistics.eps)


def _over_targets(kernel, *arguments: Any) -> None:
    """Run ``kernel(start, stop, ...)`` over all targets, on as many threads as torch uses."""
    arrays = [a.detach().numpy() if isinstance(a, Tensor) else a for a in arguments]
    n_targets = len(arrays[1])
    n_threads = max(1, min(torch.get_num_threads(), n_targets // _MIN_TARGETS_PER_THREAD))
    if n_threads == 1:
        kernel(0, n_targets, *arrays)
        return
    bounds = np.linspace(0, n_targets, n_threads + 1).astype(int).tolist()
    others = [_threads().submit(kernel, a, b, *arrays) for a, b in pairwise(bounds[1:])]
    kernel(bounds[0], bounds[1], *arrays)
    for other in others:
        other.result()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="targets")


@numba.njit(**_COMPILE)
def _product(weights, inputs, out):
    """``out = weights @ inputs`` for a small matrix and rows as long as the batch.

    Four inputs at a time: with rows this short, starting a loop costs as much as running it.
    """
    n_out, n_in = weights.shape
    n_cells = inputs.shape[1]
    first = n_in % 4
    w0, w1, w2 = inputs[0], inputs[min(1, n_in - 1)], inputs[min(2, n_in - 1)]
    for i in range(n_out):
        row, weight = out[i], weights[i]
        if first == 0:
            row[:] = 0
        elif first == 1:
            for cell in range(n_cells):
                row[cell] = weight[0] * w0[cell]
        elif first == 2:
            for cell in range(n_cells):
                row[cell] = weight[0] * w0[cell] + weight[1] * w1[cell]
        else:
            for cell in range(n_cells):
                row[cell] = weight[0] * w0[cell] + weight[1] * w1[cell] + weight[2] * w2[cell]
        for j in range(first, n_in, 4):
            a, b, c, d = weight[j], weight[j + 1], weight[j + 2], weight[j + 3]
            w, x, y, z = inputs[j], inputs[j + 1], inputs[j + 2], inputs[j + 3]
            for cell in range(n_cells):
                row[cell] += a * w[cell] + b * x[cell] + c * y[cell] + d * z[cell]


@numba.njit(**_COMPILE)
def _outer_product(row, inputs, out):
    """``out[j] = row . inputs[j]``, four at a time as in :func:`_product`."""
    n_in, n_cells = inputs.shape
    zero = row[0] * 0
    for j in range(0, n_in - 3, 4):
        w, x, y, z = inputs[j], inputs[j + 1], inputs[j + 2], inputs[j + 3]
        a, b, c, d = zero, zero, zero, zero
        for cell in range(n_cells):
            r = row[cell]
            a += r * w[cell]
            b += r * x[cell]
            c += r * y[cell]
            d += r * z[cell]
        out[j], out[j + 1], out[j + 2], out[j + 3] = a, b, c, d
    for j in range(n_in - n_in % 4, n_in):
        w, a = inputs[j], zero
        for cell in range(n_cells):
            a += row[cell] * w[cell]
        out[j] = a


@numba.njit(**_COMPILE)
def _batch_statistics(row):
    """Mean and biased variance over the batch, in two passes as the one-pass formula cancels in float32."""
    n = len(row)
    total = row[0] * 0
    for cell in range(n):
        total += row[cell]
    mean = total / n
    squares = row[0] * 0
    for cell in range(n):
        squares += (row[cell] - mean) * (row[cell] - mean)
    return mean, squares / n


@numba.njit(**_COMPILE)
def _gather(genes, regulators, noise, inputs):
    n_regulators = len(regulators)
    for r in range(n_regulators):
        inputs[r] = genes[regulators[r]]
    for p in range(len(noise)):
        inputs[n_regulators + p] = noise[p]


@numba.njit(**_COMPILE)
def _forward(
    start, stop, genes, regulators, noise, first, inner, gamma, beta, last, bias, mean, var, training, momentum, eps,
    values,
):  # fmt: skip
    n_cells, n_hidden = genes.shape[1], first.shape[1]
    unbiased = n_cells / (n_cells - 1)
    inputs = np.empty((first.shape[2], n_cells), genes.dtype)
    hidden = np.empty((2, n_hidden, n_cells), genes.dtype)
    for t in range(start, stop):
        _gather(genes, regulators[t], noise[t], inputs)
        for layer in range(len(gamma)):
            out = hidden[layer % 2]
            if layer == 0:
                _product(first[t], inputs, out)
            else:
                _product(inner[layer - 1, t], hidden[(layer - 1) % 2], out)
            for i in range(n_hidden):
                row = out[i]
                m, v = mean[layer, t, i], var[layer, t, i]
                if training:
                    m, v = _batch_statistics(row)
                    mean[layer, t, i] += momentum * (m - mean[layer, t, i])
                    var[layer, t, i] += momentum * (v * unbiased - var[layer, t, i])
                scale = gamma[layer, t, i] / np.sqrt(v + eps)
                shift = beta[layer, t, i] - m * scale
                for cell in range(n_cells):
                    row[cell] = max(row[cell] * scale + shift, genes.dtype.type(0))
        final = hidden[(len(gamma) - 1) % 2]
        _product(last[t : t + 1], final, values[t : t + 1])
        for cell in range(n_cells):
            values[t, cell] = max(values[t, cell] + bias[t], genes.dtype.type(0))


@numba.njit(**_COMPILE)
def _backward(
    start, stop, genes, regulators, noise, first, inner, gamma, beta, last, bias, mean, var, training, momentum, eps,
    gradient, d_first, d_inner, d_gamma, d_beta, d_last, d_bias, d_inputs,
):  # fmt: skip
    n_cells, n_hidden, n_layers = genes.shape[1], first.shape[1], len(gamma)
    n_regulators, zero = regulators.shape[1], genes.dtype.type(0)
    inputs = np.empty((first.shape[2], n_cells), genes.dtype)
    normal = np.empty((n_layers, n_hidden, n_cells), genes.dtype)  # normalised, before gamma and beta
    active = np.empty((n_layers, n_hidden, n_cells), genes.dtype)  # after ReLU
    inverse = np.empty((n_layers, n_hidden), genes.dtype)  # 1 / standard deviation
    value = np.empty((1, n_cells), genes.dtype)
    upstream = np.empty((2, n_hidden, n_cells), genes.dtype)
    for t in range(start, stop):
        _gather(genes, regulators[t], noise[t], inputs)
        for layer in range(n_layers):
            if layer == 0:
                _product(first[t], inputs, normal[0])
            else:
                _product(inner[layer - 1, t], active[layer - 1], normal[layer])
            for i in range(n_hidden):
                row, out = normal[layer, i], active[layer, i]
                m, v = mean[layer, t, i], var[layer, t, i]
                if training:
                    m, v = _batch_statistics(row)
                inv = 1 / np.sqrt(v + eps)
                inverse[layer, i] = inv
                g, b = gamma[layer, t, i], beta[layer, t, i]
                for cell in range(n_cells):
                    row[cell] = (row[cell] - m) * inv
                    out[cell] = max(row[cell] * g + b, zero)

        _product(last[t : t + 1], active[n_layers - 1], value)
        top = upstream[n_layers % 2]
        grad = value[0]  # becomes the gradient before the last ReLU
        total = zero
        for cell in range(n_cells):
            grad[cell] = gradient[t, cell] if grad[cell] + bias[t] > 0 else zero
            total += grad[cell]
        d_bias[t] = total
        for i in range(n_hidden):
            row, w, total = active[n_layers - 1, i], last[t, i], zero
            for cell in range(n_cells):
                total += grad[cell] * row[cell]
                top[i, cell] = w * grad[cell]
            d_last[t, i] = total

        for layer in range(n_layers - 1, -1, -1):
            here, below = upstream[(layer + 1) % 2], upstream[layer % 2]
            before = inputs if layer == 0 else active[layer - 1]
            weights = first[t] if layer == 0 else inner[layer - 1, t]
            d_weights = d_first[t] if layer == 0 else d_inner[layer - 1, t]
            for i in range(n_hidden):
                row, out, xhat = here[i], active[layer, i], normal[layer, i]
                sum_g, sum_gx = zero, zero
                for cell in range(n_cells):
                    row[cell] = row[cell] if out[cell] > 0 else zero
                    sum_g += row[cell]
                    sum_gx += row[cell] * xhat[cell]
                d_beta[layer, t, i] = sum_g
                d_gamma[layer, t, i] = sum_gx
                scale = gamma[layer, t, i] * inverse[layer, i]
                if training:
                    sum_g, sum_gx = sum_g / n_cells, sum_gx / n_cells
                else:
                    sum_g, sum_gx = zero, zero
                for cell in range(n_cells):
                    row[cell] = scale * (row[cell] - sum_g - xhat[cell] * sum_gx)
                _outer_product(row, before, d_weights[i])
            if layer > 0:
                _product(weights.T, here, below)
            elif d_inputs.shape[1] > 0:
                _product(weights.T[:n_regulators], here, d_inputs[t])
