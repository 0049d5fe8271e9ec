"""Sixteen numbers at once in numba: vectors that live in registers, one lane per target gene.

Numba has no vector type, and what its compiler makes of a loop over sixteen lanes depends on what it can prove about
aliasing. Here the vectors are LLVM's own: each operation is one or a few instructions on any processor, and rounds as
the scalar operation does, so that a lane's result depends neither on its neighbours nor on the processor.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, overload, register_model

LANES = 16


class Lanes(types.Type):
    """Type of a vector of ``LANES`` numbers; ``boolean`` ones are masks."""

    def __init__(self, dtype: types.Type) -> None:
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, lanes: Lanes) -> None:
        super().__init__(manager, lanes, _vector(lanes.dtype))


_BITS = {types.boolean: ir.IntType(1), types.uint8: ir.IntType(8), types.int32: ir.IntType(32)}
_FLOATS = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}
MASK, BYTES, INTS, FLOATS, DOUBLES = map(Lanes, (types.boolean, types.uint8, types.int32, types.float32, types.float64))


def _vector(dtype: types.Type) -> ir.VectorType:
    return ir.VectorType({**_BITS, **_FLOATS}[dtype], LANES)


def _address(context, builder, array_type, array, row):
    data = context.make_array(array_type)(context, builder, array).data
    offset = builder.mul(row, row.type(LANES))
    return builder.gep(data, [offset])


@intrinsic
def load(typing_context, array, row):
    """Lanes ``array[row * LANES : (row + 1) * LANES]`` of a flat, contiguous array; no bounds are checked."""

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature.args[0], *arguments)
        vector = _vector(array.dtype)
        pointer = builder.bitcast(address, vector.as_pointer())
        return builder.load(pointer, align=array.dtype.bitwidth // 8, typ=vector)

    return Lanes(array.dtype)(array, types.intp), generate


@intrinsic
def store(typing_context, array, row, lanes):
    """Write ``lanes`` to where :func:`load` reads them."""

    def generate(context, builder, signature, arguments):
        address = _address(context, builder, signature.args[0], *arguments[:2])
        pointer = builder.bitcast(address, _vector(array.dtype).as_pointer())
        builder.store(arguments[2], pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@intrinsic
def splat(typing_context, number):
    """The same number in all lanes."""

    def generate(context, builder, signature, arguments):
        vector = _vector(number)
        one = builder.insert_element(ir.Constant(vector, ir.Undefined), arguments[0], ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)

    return Lanes(number)(number), generate


@intrinsic
def select(typing_context, mask, yes, no):
    """``yes`` where the mask is set, else ``no``."""

    def generate(context, builder, signature, arguments):
        return builder.select(*arguments)

    return yes(mask, yes, no), generate


@intrinsic
def _inverted(typing_context, mask):
    def generate(context, builder, signature, arguments):
        return builder.not_(arguments[0])

    return mask(mask), generate


@overload(operator.invert)
def _invert(mask):
    return (lambda mask: _inverted(mask)) if mask == MASK else None


@intrinsic
def widen(typing_context, lanes):
    """float32 lanes as float64."""

    def generate(context, builder, signature, arguments):
        return builder.fpext(arguments[0], _vector(types.float64))

    return DOUBLES(lanes), generate


def _operator(function, emit: dict[Lanes, Callable], result: Lanes | None = None) -> None:
    """Give an operator to the lanes in ``emit``; ``result`` is its type if it is not that of the operands."""

    @intrinsic
    def operation(typing_context, left, right):
        def generate(context, builder, signature, arguments):
            return emit[left](builder, *arguments)

        return (result or left)(left, right), generate

    @overload(function)
    def implementation(left, right):
        if left == right and left in emit:
            return lambda left, right: operation(left, right)
        return None


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
