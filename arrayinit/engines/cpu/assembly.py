"""A small language for loops over vectors, translated to LLVM's by llvmlite.

A :class:`Value` is a number of the program, or a vector of them, with Python's operators. Integers wrap, `>>` fills
with zeros, and a number beside a vector applies to each of its lanes. :class:`Code` writes functions, loops, loads and
stores.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

__all__ = ["F32", "F64", "I16", "I32", "I64", "Code", "Value"]

I16, I32, I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
F32, F64 = ir.FloatType(), ir.DoubleType()


class Value:
    """A number or a vector of numbers."""

    __slots__ = ("builder", "ir")

    def __init__(self, builder: Any, value: Any):
        self.builder = builder
        self.ir = value

    @property
    def lanes(self) -> int:
        """The number of lanes of a vector; 0 for a single number."""
        return int(getattr(self.ir.type, "count", 0))

    @property
    def element(self) -> Any:
        """The type of each number."""
        return self.ir.type.element if self.lanes else self.ir.type

    def _with(self, other: Any, operation: Callable[[Any, Any], Any]) -> "Value":
        if not isinstance(other, Value):
            kind = self.ir.type
            other = Value(self.builder, ir.Constant(kind, [other] * self.lanes if self.lanes else other))
        a, b = self.spread(other.lanes), other.spread(self.lanes)
        return Value(self.builder, operation(a.ir, b.ir))

    def _arithmetic(self, other: Any, name: str) -> "Value":
        is_float = isinstance(self.element, (ir.FloatType, ir.DoubleType))
        return self._with(other, getattr(self.builder, ("f" if is_float else "") + name))

    def __add__(self, other: Any) -> "Value":
        return self._arithmetic(other, "add")

    def __sub__(self, other: Any) -> "Value":
        return self._arithmetic(other, "sub")

    def __mul__(self, other: Any) -> "Value":
        return self._arithmetic(other, "mul")

    def __floordiv__(self, other: Any) -> "Value":
        return self._with(other, self.builder.udiv)

    def __and__(self, other: Any) -> "Value":
        return self._with(other, self.builder.and_)

    def __or__(self, other: Any) -> "Value":
        return self._with(other, self.builder.or_)

    def __xor__(self, other: Any) -> "Value":
        return self._with(other, self.builder.xor)

    def __lshift__(self, other: Any) -> "Value":
        return self._with(other, self.builder.shl)

    def __rshift__(self, other: Any) -> "Value":
        return self._with(other, self.builder.lshr)

    def compare(self, how: str, other: Any) -> "Value":
        """One bit a lane: whether it compares as `how` ("<", ">", "==", ...) with the other's; integers have a sign."""
        is_float = isinstance(self.element, (ir.FloatType, ir.DoubleType))
        compare = self.builder.fcmp_ordered if is_float else self.builder.icmp_signed
        return self._with(other, lambda a, b: compare(how, a, b))

    def choose(self, yes: "Value", no: "Value") -> "Value":
        """`yes` in the lanes where this bit is set, else `no`."""
        lanes = self.lanes or yes.lanes or no.lanes
        return Value(self.builder, self.builder.select(self.ir, yes.spread(lanes).ir, no.spread(lanes).ir))

    def most(self, low: "Value") -> "Value":
        """The larger of the two."""
        return self.compare(">", low).choose(self, low.spread(self.lanes))

    def least(self, high: "Value") -> "Value":
        """The smaller of the two."""
        return self.compare("<", high).choose(self, high.spread(self.lanes))

    def spread(self, lanes: int) -> "Value":
        """A vector with this number in each lane; a vector is returned as it is."""
        if self.lanes or not lanes:
            return self
        empty = ir.Constant(ir.VectorType(self.ir.type, lanes), ir.Undefined)
        one = Value(self.builder, self.builder.insert_element(empty, self.ir, ir.Constant(I32, 0)))
        return one.pick(one, [0] * lanes)

    def pick(self, other: "Value", lanes: Sequence[int]) -> "Value":
        """The lanes with these numbers; lane j of `other` has number `self.lanes + j`."""
        mask = ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes))
        return Value(self.builder, self.builder.shuffle_vector(self.ir, other.ir, mask))

    def bits(self, kind: Any) -> "Value":
        """The same bits as numbers of another type."""
        size = {I16: 16, I32: 32, F32: 32, I64: 64, F64: 64}
        lanes = self.lanes * size[self.element] // size[kind]
        return Value(self.builder, self.builder.bitcast(self.ir, ir.VectorType(kind, lanes) if lanes else kind))

    def to(self, kind: Any) -> "Value":
        """The same numbers in another type. Integers lose upper bits or gain zeros; signed ones become floats."""
        target = ir.VectorType(kind, self.lanes) if self.lanes else kind
        if isinstance(kind, (ir.FloatType, ir.DoubleType)):
            return Value(self.builder, self.builder.sitofp(self.ir, target))
        cast = self.builder.trunc if kind.width < self.element.width else self.builder.zext
        return self if kind == self.element else Value(self.builder, cast(self.ir, target))

    def signed(self) -> "Value":
        """64-bit lanes with the low 32 bits of these lanes, as signed numbers."""
        thirty_two = ir.Constant(self.ir.type, [32] * self.lanes if self.lanes else 32)
        return Value(self.builder, self.builder.ashr(self.builder.shl(self.ir, thirty_two), thirty_two))


class Code:
    """A module that is being written, and the position of the next instruction."""

    def __init__(self, triple: str):
        self.module = ir.Module()
        self.module.triple = triple
        self.builder: Any = None

    @contextmanager
    def function(self, name: str, kinds: Sequence[Any], is_public: bool = False) -> Iterator[list[Value]]:
        """Write a function without a result: the context gives its arguments, and is its body."""
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), kinds), name)
        if not is_public:
            function.linkage = "internal"
            function.attributes.add("noinline")
        # Vectors that don't fit into registers go on the stack, which callers align to less than their size.
        function.attributes.alignstack = 64
        outer, self.builder = self.builder, ir.IRBuilder(function.append_basic_block())
        yield [self.value(argument) for argument in function.args]
        self.builder.ret_void()
        self.builder = outer

    def call(self, name: str, *arguments: Value) -> None:
        """Call a function that has been written before."""
        self.builder.call(self.module.get_global(name), [argument.ir for argument in arguments])

    def value(self, x: Any) -> Value:
        """A Python integer as 64 bits, a sequence of them as a vector, or an LLVM value."""
        if isinstance(x, int):
            x = ir.Constant(I64, x)
        elif isinstance(x, (list, tuple)):
            x = ir.Constant(ir.VectorType(I64, len(x)), list(x))
        return Value(self.builder, x)

    @contextmanager
    def loop(self, start: Value | int, stop: Value, step: int) -> Iterator[Value]:
        """For i = start, start + step, ... below stop."""
        b, first = self.builder, start if isinstance(start, Value) else self.value(start)
        entry, body, end = b.block, b.append_basic_block(), b.append_basic_block()
        b.cbranch(first.compare("<", stop).ir, body, end)
        b.position_at_end(body)
        i = b.phi(I64)
        i.add_incoming(first.ir, entry)
        yield self.value(i)
        following = self.value(i) + step
        i.add_incoming(following.ir, b.block)
        b.cbranch(following.compare("<", stop).ir, body, end)
        b.position_at_end(end)

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """Only where the condition holds."""
        with self.builder.if_then(condition.ir):
            yield

    def load(self, address: Value, kind: Any, lanes: int = 0, align: int = 0) -> Value:
        """A number, or a vector of neighbouring ones."""
        target = ir.VectorType(kind, lanes) if lanes else kind
        pointer = self.builder.inttoptr(address.ir, target.as_pointer())
        return self.value(self.builder.load(pointer, align=align or _size(kind)))

    def store(self, address: Value, x: Value, streams: bool = False) -> None:
        """Write a number or a vector. A streamed one goes past the caches, to a multiple of its size."""
        pointer = self.builder.inttoptr(address.ir, x.ir.type.as_pointer())
        store = self.builder.store(x.ir, pointer, align=_size(x.element) * (x.lanes if streams else 1))
        if streams:
            store.set_metadata("nontemporal", self.module.add_metadata([ir.Constant(I32, 1)]))

    def fence(self) -> None:
        """Make streamed stores visible before all later ones, an order that the processor does not keep by itself."""
        self.builder.fence("seq_cst")


def _size(kind: Any) -> int:
    """Bytes of a number."""
    return {I16: 2, I32: 4, F32: 4, I64: 8, F64: 8}[kind]
