"""Floating-point operations and bytes of a training step, operator by operator, and the time that a device needs.

The count is torch's own view of a step: every operator that is not a view, with the tensors it reads and writes. Matrix
products are counted by torch's formulas. Caches are ignored, so the bytes are what the operators would move if each
were one kernel that finds nothing in a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

#: Operators that allocate or rename memory, and move nothing.
_FREE = ("empty", "detach", "lift_fresh", "profiler", "is_same_size", "_unsafe_view", "_local_scalar")


@dataclass(frozen=True)
class Operation:
    """One operator of a step.

    Attributes
    ----------
    name
        Name in torch, such as ``aten.mm``.
    dtype
        Data type of its first tensor, such as ``bfloat16``.
    flops
        Operations of a matrix product; 0 for all other operators.
    n_bytes
        Bytes that it reads and writes.
    """

    name: str
    dtype: str
    flops: int
    n_bytes: int

    @property
    def is_necessary(self) -> bool:
        """True for products and optimizers; a perfect compiler would merge all other operators into these."""
        return self.flops > 0 or "_fused_adam" in self.name


class _Count(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name, schema = str(func.overloadpacket), func._schema
        aliases = [each.alias_info for each in schema.returns]
        is_view = any(alias is not None and not alias.is_write for alias in aliases)
        if is_view or any(free in name for free in _FREE):
            return result
        read = _tensors((args, kwargs))
        fresh = [] if any(alias is not None for alias in aliases) else _tensors(result)
        changed: list[Tensor] = []
        for argument, value in zip(schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                changed += _tensors(value)
        formula = flop_registry.get(func.overloadpacket)
        flops = formula(*args, **kwargs, out_val=result) if formula else 0
        dtype = str(read[0].dtype).removeprefix("torch.") if read else ""
        n_bytes = sum(tensor.numel() * tensor.element_size() for tensor in (*read, *fresh, *changed))
        self.operations.append(Operation(name, dtype, int(flops), n_bytes))
        return result


def _tensors(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def count(step: Callable[[], object]) -> list[Operation]:
    """Run ``step`` once, eagerly, and return its operators in order."""
    with _Count() as counted:
        step()
    return counted.operations


def totals(operations: Sequence[Operation]) -> dict[str, float]:
    """Return the number of operators, TFLOP and GB of a step, and the GB that are left if products absorb the rest."""
    return {
        "operators": len(operations),
        "products": sum(each.flops > 0 for each in operations),
        "tflop": sum(each.flops for each in operations) / 1e12,
        "gb": sum(each.n_bytes for each in operations) / 1e9,
        "necessary_gb": sum(each.n_bytes for each in operations if each.is_necessary) / 1e9,
    }


def roofline_seconds(
    operations: Sequence[Operation], flops_per_second: Mapping[str, float], bytes_per_second: float
) -> dict[str, float]:
    """Return the least seconds of a step on a device of these measured rates.

    Parameters
    ----------
    operations
        See :func:`count`.
    flops_per_second
        Rate of matrix products by data type.
    bytes_per_second
        Memory bandwidth, bytes read plus bytes written.

    Returns
    -------
    products
        The operations of all products at their rates: no program that computes these products takes less.
    roofline
        Products and optimizers, each at its rate or at the bandwidth, whichever takes longer: all other operators
        merged into them.
    unfused
        All operators, each a kernel of its own.
    """

    def seconds(each: Operation) -> float:
        products = each.flops / flops_per_second[each.dtype] if each.flops else 0.0
        return max(products, each.n_bytes / bytes_per_second)

    return {
        "products": sum(each.flops / flops_per_second[each.dtype] for each in operations if each.flops),
        "roofline": sum(seconds(each) for each in operations if each.is_necessary),
        "unfused": sum(seconds(each) for each in operations),
    }
