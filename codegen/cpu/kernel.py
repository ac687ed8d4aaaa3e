"""One function under construction: what it reads and writes, its constants, and its tasks."""
import math
from contextlib import ExitStack, contextmanager

import numpy as np
from tvm import tirx
from tvm.ir import PointerType, PrimType
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from ..tir import cast, kind_of
from .choices import Choices
from .isa import Isa
from .places import Place, Storage

STACK = 1024  # bytes
PLAIN = (-1, 0, 1, -128, 127, 128, 255, -32768, 32767)
NUMBERS = 64  # at most so many of each dtype are kept out of a kernel's code


class Kernel:
    """A private PrimFunc (begin, end, pointers...) that does the tasks [begin, end) of `count` independent ones.

    `storages` lists what the pointers point to, constants among them; `func` is the function after `define`.
    """

    def __init__(self, isa: Isa, choices: Choices):
        self.choices = choices
        self.isa, self.count, self.storages = isa, 1, []
        self._buffers: dict[Storage, tirx.Buffer] = {}
        self._pointers: dict[Storage, tirx.Var] = {}
        self._numbers: dict[str, tuple[Storage, dict]] = {}

    @contextmanager
    def define(self):
        with IRBuilder() as builder:
            with T.prim_func(is_private=True, s_tir=True):
                T.func_name("kernel")
                T.func_attr({"tirx.noalias": True})
                self.begin, self.end = T.arg("begin", T.int32()), T.arg("end", T.int32())
                yield self
                for i, pointer in enumerate(self._pointers.values()):
                    T.arg(f"p{i}", pointer)
        made = builder.get()
        declared = [tirx.DeclBuffer(b, data=self._pointers[s]) for s, b in self._buffers.items()]
        self.func = tirx.PrimFunc(made.params, tirx.SeqStmt([*declared, made.body]), made.ret_type, made.attrs)

    @contextmanager
    def tasks(self, *extents: int):
        """Indices of the tasks, one for each index of these extents."""
        self.count = math.prod(extents)
        with T.serial(self.begin, self.end) as task:
            index = []
            for e in reversed(extents[1:]):
                index.append(task % e)
                task = task // e
            yield [task, *reversed(index)] if extents else []

    def buffer(self, storage: Storage) -> tirx.Buffer:
        """The memory of `storage` as a flat buffer."""
        if storage not in self._buffers:
            i = len(self.storages)
            self._pointers[storage] = tirx.Var(f"p{i}", PointerType(PrimType(storage.dtype)))
            self._buffers[storage] = tirx.decl_buffer((storage.size,), storage.dtype, name=f"b{i}", data=self._pointers[storage])
            self.storages.append(storage)
        return self._buffers[storage]

    def constant(self, values: np.ndarray) -> tirx.Buffer:
        """An array of the program's constants, flat."""
        flat = np.ascontiguousarray(values).reshape(-1)
        return self.buffer(Storage("weights", str(flat.dtype), flat.size, data=flat))

    def number(self, key, value: int, dtype: str):
        """A number that the kernel reads from memory, so that kernels that differ in it alone are one function; `key` names its use.

        Short codes stay in the code.
        """
        if value in PLAIN:
            return tirx.const(value, dtype)
        storage, slots = self._numbers.setdefault(dtype, (Storage("weights", dtype, NUMBERS, data=np.zeros(NUMBERS, dtype)), {}))
        if key not in slots and len(slots) == NUMBERS:
            return tirx.const(value, dtype)
        at = slots.setdefault(key, len(slots))
        storage.data[at] = value
        return self.buffer(storage)[at]

    def tensor(self, place: Place) -> "Tensor": return Tensor(place, self.buffer(place.storage), self)

    def registers(self, count: int, dtype: str = "int32") -> tirx.Buffer:
        """Scratch memory of less than 1 KB, on the stack; with constant indices only, LLVM keeps it in registers."""
        assert count * np.dtype(dtype).itemsize < STACK, "TVM takes larger buffers from a pool of its runtime"
        return T.alloc_buffer((count,), dtype)


class Tensor:
    """A value as a kernel sees it."""

    def __init__(self, place: Place, buffer: tirx.Buffer, k: Kernel):
        self.place, self.buffer, self.k = place, buffer, k

    def at(self, *index):
        """Where the element lies in `buffer`; with one index a vector of `lane`, where they lie, or the one where all do."""
        along = next((i for i in index if isinstance(i, tirx.Ramp)), None)
        first = [i.base if i is along else i for i in index]
        start = sum((i * s for i, s in zip(first, self.place.strides, strict=True)), self.place.offset)
        step = 0 if along is None else self.place.strides[next(a for a, i in enumerate(index) if i is along)]
        return T.ramp(start, step, along.lanes) if step else start

    def stored(self, *index): return self.buffer[self.at(*index)]

    def value(self, *index, dtype: str = "int32"):
        """The integer."""
        v = cast(self.stored(*index), dtype)
        return v + self.base(dtype) if self.place.base else v

    def put(self, value, *index) -> None:
        """Stores an integer."""
        self.put_stored(value - self.base(kind_of(value)[0]) if self.place.base else value, *index)

    def base(self, dtype: str): return self.k.number((self.buffer.name, "base"), self.place.base, dtype)

    def put_stored(self, code, *index) -> None: T.buffer_store(self.buffer, cast(code, self.place.dtype), [self.at(*index)])


@contextmanager
def loops(*extents: int):
    """Indices of nested serial loops."""
    with ExitStack() as stack:
        yield [stack.enter_context(T.serial(e)) if e > 1 else 0 for e in extents]


def pieces(width: int, lanes: int):
    """(start, number, size): vectors of `lanes`, and of smaller powers of two for the rest, that cover range(width)."""
    start, size = 0, lanes
    while start < width:
        if count := (width - start) // size:
            yield start, count, size
        start, size = start + count * size, size // 2


def across(width: int, lanes: int, body) -> None:
    """body(j) for every j < width, in vectors (spelled out: LLVM's own vectorizer is off, codegen/tvm.py says why)."""
    for start, count, size in pieces(width, lanes):
        with loops(count) as (o,), T.vectorized(size) as v:
            body(start + o * size + v)


def lane(start, size: int):
    """The index start, start + 1, ... of a vector that is spelled out; an index as any other if its size is 1."""
    return T.ramp(start, 1, size) if size > 1 else start


@contextmanager
def starts(task, sizes: tuple[int, ...], wide: tuple[int, ...]):
    """Where the tiles of a task start on each axis: the last task of an axis has a second one that ends where the axis ends, if a rest is left."""
    with ExitStack() as stack:
        found = []
        for i, size, width in zip(task, sizes, wide):
            number, rest = divmod(size, width)
            if rest:
                again = stack.enter_context(T.serial(tirx.if_then_else(i == number - 1, 2, 1)))
                i = i * width + again * rest
            else:
                i = i * width
            found.append(i)
        yield found


def shuffle(vectors: list, order: list[int]):
    """Elements of vectors of one length, in this order."""
    have = len(vectors) * vectors[0].ty.dtype.lanes
    return tirx.Shuffle(vectors * -(-len(order) // have), [tirx.const(i, "int32") for i in order])  # TVM wants no more indices than elements
