"""Vectors in TIR, as the kernels of this package write them."""
import numpy as np
from tvm import tirx
from tvm.script.ir_builder import tirx as T


def splat(value: int, dtype: str, lanes: int):
    """A constant in every lane; `value` is taken modulo 2**bits."""
    return T.broadcast(tirx.const(int(np.array(value, np.int64).astype(dtype)), dtype), lanes)


def constant(values: np.ndarray):
    """A constant vector of bytes, as int8."""
    words = [tirx.const(int(w), "int32") for w in np.ascontiguousarray(values, np.uint8).view(np.int32)]
    return T.bind(T.reinterpret(f"int8x{4 * len(words)}", tirx.Shuffle(words, list(range(len(words))))))


def prefetch(buffer, at) -> None:
    """Asks for the cache line that holds buffer[at], into the second level: the first has few places for what is under way.

    Harmless where there is no memory.
    """
    read, second, data = T.int32(0), T.int32(2), T.int32(1)
    T.evaluate(T.call_llvm_intrin("void", T.llvm_lookup_intrinsic_id("llvm.prefetch.p0"), T.address_of(buffer[at]), read, second, data))


def as_signed(v, lanes: int): return T.reinterpret(f"int8x{lanes}", v)


class Accumulator:
    """A vector of int32 that lives in a register: memory that is read and written at constant places only."""

    def __init__(self, lanes: int):
        self.lanes = lanes
        self.memory = T.alloc_buffer((lanes,), "int32")

    @property
    def value(self): return self.memory.vload([0], f"int32x{self.lanes}") if self.lanes > 1 else self.memory[0]

    def set(self, value) -> None:
        T.buffer_store(self.memory, value, [T.ramp(0, 1, self.lanes) if self.lanes > 1 else 0])

    def set_part(self, value, part: int, lanes: int) -> None:
        """Sets lanes part * lanes up to the next part."""
        T.buffer_store(self.memory, value, [T.ramp(part * lanes, 1, lanes)])

    def clear(self) -> None:
        self.set(splat(0, "int32", self.lanes))
