"""A kernel in TIR: a grid of blocks of threads, and the memory that it reads and writes."""
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import tvm
from tvm import tirx
from tvm.ir import PointerType, PrimType
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from .values import Value

THREADS = 256  # of a block, where nothing else decides
EXTENT = (1 << 31) - 1  # of a buffer: its bounds are its users' care


@dataclass(frozen=True)
class Count:
    """Blocks along an axis of the grid: ceil(n * each / block), n samples."""
    each: int
    block: int = 1

    def of(self, n): return (n * self.each + (self.block - 1)) // self.block


@dataclass(eq=False)
class Step:
    """One kernel of the program: it reads and writes values; body(kernel) fills it in.  grid: (x, y, z), of which x may be a Count.

    It is run in calls of `least` to `most` samples (None: any more); steps with other limits take its place in others.
    """
    name: str
    reads: list[Value]
    write: Value
    grid: tuple
    threads: int
    body: Callable
    least: int = 1
    most: int | None = None
    also: list[Value] = field(default_factory=list)  # what it writes besides

    @property
    def values(self) -> list[Value]: return [*self.reads, self.write, *self.also]


class Kernel:
    """The PrimFunc of a step under construction.  `n` samples; `block` and `thread` are its indices; indices are int32."""

    def __init__(self, step: Step, params: list[str]):
        """params: names of the pointers that each kernel is given, before the number of samples."""
        self.step = step
        with IRBuilder() as ib:
            with T.prim_func(s_tir=True):
                T.func_name(step.name)
                T.func_attr({"tirx.noalias": True})
                self.pointers = {p: T.arg(p, tirx.Var(p, PointerType(PrimType("uint8")))) for p in params}
                self.n = T.arg("n", T.int32())
                with ExitStack() as stack:
                    self.block = [stack.enter_context(T.launch_thread(f"blockIdx.{a}", c.of(self.n) if isinstance(c, Count) else c))
                                  for a, c in zip("xyz", step.grid)]
                    self.thread = stack.enter_context(T.launch_thread("threadIdx.x", step.threads))
                    self.buffers = {}
                    for v in step.values:
                        for dtype in (v.dtype, "uint8", "uint32"):
                            self.view(v, dtype)
                    step.body(self)
        self.func = ib.get()

    def view(self, v: Value, dtype: str):
        """The parameter that v lies in as a buffer of dtype; declared in the order of the first call, before any loop."""
        key = v.root.where, dtype
        if key not in self.buffers:
            self.buffers[key] = T.decl_buffer((EXTENT,), dtype, data=self.pointers[v.root.where])
        return self.buffers[key]

    def place(self, v: Value, at, dtype: str | None = None):
        """Index into view(v, dtype) of element number `at` of v's root (in elements of that dtype)."""
        base = v.root.base // tvm.DataType(dtype or v.dtype).itemsize
        return at if not base else at + (self.n * base if v.root.where == "workspace" else base)

    def load(self, v: Value, b, *index):
        stored = self.view(v, v.dtype)[self.place(v, v.flat(b, *index))]
        return stored.astype("int32") + v.zero if v.zero else stored

    def store(self, v: Value, value, b, *index):
        T.buffer_store(self.view(v, v.dtype), value.astype(v.dtype), [self.place(v, v.flat(b, *index))])

    def store_four(self, v: Value, value, axis: int, b, *index) -> None:
        """value(j), j < 4, at the index and the three behind it along an axis; bytes in one word where they are neighbours and aligned."""
        if not in_words(v, axis):
            with T.unroll(4) as j:
                self.store(v, value(j), b, *(i + j if a == axis else i for a, i in enumerate(index)))
            return
        four = T.alloc_buffer((4,), "uint32", scope="local")
        with T.unroll(4) as j:
            T.buffer_store(four, value(j).astype(v.dtype).astype("uint8").astype("uint32"), [j])
        word = four[0] | four[1] << 8 | four[2] << 16 | four[3] << 24
        T.buffer_store(self.view(v, "uint32"), word, [self.place(v, v.flat(b, *index) // 4, "uint32")])


def in_words(v: Value, axis: int) -> bool:
    """Whether its bytes along an axis can be stored four at once."""
    steps = [s for a, (s, n) in enumerate(zip(v.strides, v.shape)) if a != axis and n > 1]
    return v.dtype in ("int8", "uint8") and v.strides[axis] == 1 and all(s % 4 == 0 for s in (*steps, v.batch, v.offset, v.shape[axis]))


@contextmanager
def loops(*extents: int):
    """Indices of nested serial loops."""
    with ExitStack() as stack:
        yield [stack.enter_context(T.serial(e)) for e in extents]


@contextmanager
def when(condition):
    """The statements inside run where the condition holds; None always holds."""
    if condition is None:
        yield
        return
    with T.If(condition), T.Then():
        yield


def unflattened(i, extents) -> list:
    """Index in C order of flat number i."""
    index = []
    for e in reversed(extents):
        index.append(i % e if e > 1 else 0)
        i = i // e if e > 1 else i
    return index[::-1]


def flattened(index, extents):
    """Number in C order of an index."""
    at = 0
    for i, e in zip(index, extents):
        at = at * e + i
    return at


def each(k: Kernel, out: Value, body) -> None:
    """body(b, *index) by one thread for every element of `out`, neighbours in memory by neighbours; the grid is `grid_of(out)`."""
    order, at = out.order(), k.block[0] * k.step.threads + k.thread
    with when(at < k.n * out.size):
        index = unflattened(at % out.size, [out.shape[a] for a in order])
        body(at // out.size, *(index[order.index(a)] for a in range(len(order))))


def grid_of(out: Value) -> tuple: return (Count(out.size, THREADS),)
