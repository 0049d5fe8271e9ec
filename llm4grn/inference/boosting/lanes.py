"""Vectors of sixteen numbers for numba, held in registers, with one lane per target gene.

Numba has no vector type, and whether its compiler vectorises a loop over sixteen lanes depends on what it can prove
about aliasing. These vectors are LLVM's: each operation is one or a few instructions on any processor and rounds as the
scalar operation does, so a lane's result depends neither on the other lanes nor on the processor.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, overload, register_model

LANES = 16

#: Value of the numba type :class:`Lanes`, which exists in compiled code only.
Vector = Any
#: Function that emits an instruction: (context, builder, signature, arguments) to its value.
Generate = Callable[[Any, Any, Any, Any], Any]


class Lanes(types.Type):
    """Numba type of a vector of ``LANES`` numbers; vectors of ``boolean`` are masks."""

    def __init__(self, dtype: types.Type) -> None:
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Lanes) -> None:
        super().__init__(manager, lanes, _vector(lanes.dtype))


_ELEMENTS: dict[Any, ir.Type] = {
    types.boolean: ir.IntType(1),
    types.uint8: ir.IntType(8),
    types.int32: ir.IntType(32),
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
}
MASK, BYTES, INTS, FLOATS, DOUBLES = map(Lanes, (types.boolean, types.uint8, types.int32, types.float32, types.float64))


def _vector(dtype: types.Type) -> ir.VectorType:
    return ir.VectorType(_ELEMENTS[dtype], LANES)


def _instruction(define: Callable[..., tuple[Any, Generate]]) -> Callable[..., Any]:
    """Register an instruction; compiled code calls it without the typing context that ``define`` takes first."""
    return intrinsic(define)


def _address(context: Any, builder: Any, array_type: Any, array: Any, row: Any) -> Any:
    """Return the address of the first lane of ``row``."""
    data = context.make_array(array_type)(context, builder, array).data
    offset = builder.mul(row, row.type(LANES))
    return builder.gep(data, [offset])


@_instruction
def load(typing_context: Any, array: Any, row: Any) -> tuple[Any, Generate]:
    """Load ``array[row * LANES : (row + 1) * LANES]`` of a flat, contiguous array, without a bounds check."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature.args[0], *arguments)
        vector = _vector(array.dtype)
        pointer = builder.bitcast(address, vector.as_pointer())
        return builder.load(pointer, align=array.dtype.bitwidth // 8, typ=vector)

    return Lanes(array.dtype)(array, types.intp), generate


@_instruction
def store(typing_context: Any, array: Any, row: Any, lanes: Any) -> tuple[Any, Generate]:
    """Store ``lanes`` where :func:`load` reads them."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature.args[0], *arguments[:2])
        pointer = builder.bitcast(address, _vector(array.dtype).as_pointer())
        builder.store(arguments[2], pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@_instruction
def splat(typing_context: Any, number: Any) -> tuple[Any, Generate]:
    """Return a vector with the same number in all lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = _vector(number)
        one = builder.insert_element(ir.Constant(vector, ir.Undefined), arguments[0], ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)

    return Lanes(number)(number), generate


@_instruction
def select(typing_context: Any, mask: Any, yes: Any, no: Any) -> tuple[Any, Generate]:
    """Return ``yes`` where the mask is set, else ``no``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(*arguments)

    return yes(mask, yes, no), generate


@_instruction
def _inverted(typing_context: Any, mask: Any) -> tuple[Any, Generate]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.not_(arguments[0])

    return mask(mask), generate


@overload(operator.invert)
def _invert(mask: Any) -> Callable[..., Any] | None:
    def invert(mask: Any) -> Any:
        return _inverted(mask)

    return invert if mask == MASK else None


@_instruction
def widen(typing_context: Any, lanes: Any) -> tuple[Any, Generate]:
    """Convert float32 lanes to float64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fpext(arguments[0], _vector(types.float64))

    return DOUBLES(lanes), generate


def _operator(function: Callable, emit: dict[Lanes, Callable], result: Lanes | None = None) -> None:
    """Define an operator for the types in ``emit``; ``result`` is its type if it differs from that of the operands."""

    @_instruction
    def operation(typing_context: Any, left: Any, right: Any) -> tuple[Any, Generate]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return emit[left](builder, *arguments)

        return (result or left)(left, right), generate

    @overload(function)
    def implementation(left: Any, right: Any) -> Callable[..., Any] | None:
        def apply(left: Any, right: Any) -> Any:
            return operation(left, right)

        return apply if left == right and left in emit else None


_operator(operator.add, dict.fromkeys((FLOATS, DOUBLES), ir.IRBuilder.fadd))
_operator(operator.sub, dict.fromkeys((FLOATS, DOUBLES), ir.IRBuilder.fsub))
_operator(operator.mul, dict.fromkeys((FLOATS, DOUBLES), ir.IRBuilder.fmul))
_operator(operator.and_, dict.fromkeys((MASK, BYTES), ir.IRBuilder.and_))
_operator(operator.eq, dict.fromkeys((BYTES, INTS), lambda builder, x, y: builder.icmp_unsigned("==", x, y)), MASK)
_operator(
    operator.gt,
    {
        FLOATS: lambda builder, x, y: builder.fcmp_ordered(">", x, y),
        INTS: lambda builder, x, y: builder.icmp_signed(">", x, y),
    },
    MASK,
)
