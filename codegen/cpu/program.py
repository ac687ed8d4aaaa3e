"""The program of a graph: its kernels in order, working memory that values share, and threads.

One public function, main(inputs..., output, weights, workspace, n, threads), computes n samples.  Threads take samples if there are enough of
them, and else the tasks of each kernel, with a barrier between kernels; they are started once a call.
"""
import itertools
from dataclasses import dataclass

import numpy as np
import tvm
from tvm_ffi import structural_equal
from tvm import tirx
from tvm.ir import Call, GlobalVar, PrimType
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from ir import Graph

from .choices import Choices
from .isa import Isa
from .kernel import Kernel
from .layout import Copy, Layout, Pack
from .matmul import write_pack
from .moves import write_copy, write_fill
from .places import Storage
from .rules import writers

ALIGN = 64
PRODUCTS, VALUES = 150e3, 4e3  # in a microsecond, about
SPLIT_US = 2.0   # a shorter step is left to one thread: to wait for another takes part of a microsecond
THREADS_US = 20.0  # a shorter sample is: to start the others takes some


@dataclass(frozen=True)
class Step:
    """Kernels that may run side by side, each with what its pointers point to, and about how many microseconds they take."""
    calls: list[tuple[GlobalVar, Kernel]]
    us: float = 0.0


@dataclass(frozen=True)
class Program:
    """`module` for TVM; the bytes of all constants; bytes of working memory for one sample."""
    module: tvm.IRModule
    weights: np.ndarray
    workspace: int


def program(g: Graph, isa: Isa, choices: Choices | None = None, copies: bool = True) -> Program:
    """The program of a graph for processors of this kind; copies: with what brings values from one layout into another."""
    layout = Layout(g, isa)
    functions: dict[GlobalVar, tirx.PrimFunc] = {}
    steps = [kernels(g, isa, step, functions, choices) for step in layout.steps if copies or not isinstance(step, Copy)]
    weights = constants(steps)
    size = plan(steps)
    serial, threaded = GlobalVar("sample"), GlobalVar("main")
    functions[serial] = sample(steps, layout.ends)
    functions[threaded] = main(steps, layout.ends, serial, size)
    return Program(tvm.IRModule(functions), weights, size)


def kernels(g: Graph, isa: Isa, step, functions: dict, choices: Choices | None = None) -> Step:
    """The kernels of a step of the layout; equal ones are one function."""
    made = []

    def add(writer) -> None:
        k = Kernel(isa, choices or Choices())
        with k.define():
            writer(k)
        same = next((v for v, f in functions.items() if structural_equal(f, k.func)), None)
        gv = same or GlobalVar(f"kernel{len(functions)}")
        functions.setdefault(gv, k.func)
        made.append((gv, k))
    if isinstance(step, Copy):
        add(lambda k: write_copy(k, step.source, step.to))
    elif isinstance(step, Pack):
        add(lambda k: write_pack(k, step))
        return Step(made, estimate(g, step))
    else:
        for writer in writers(g, step):
            add(writer)
    if any(map(any, step.to.halo)):
        add(lambda k: write_fill(k, step.to))
    return Step(made, estimate(g, step))


def estimate(g: Graph, step) -> float:
    """Microseconds of a step, roughly: what sums of products and what single values take."""
    group = getattr(step, "group", None)
    anchor = group and group.anchor
    if not anchor:
        moved = step.right if isinstance(step, Pack) else step.to
        return moved.type.size * (len(group.body) if group else 1) / VALUES
    inner = anchor.op.weight[0].size if hasattr(anchor.op, "weight") else g.nodes[anchor.args[0]].type.shape[-1] if len(anchor.args) > 1 else 1
    return anchor.type.size * (inner / PRODUCTS + len(group.nodes) / VALUES)


def constants(steps: list[Step]) -> np.ndarray:
    """Places all constants in one array of bytes, equal ones once."""
    parts, seen, end = [], {}, 0
    for s in (s for step in steps for _, k in step.calls for s in k.storages if s.kind == "weights"):
        key = (s.dtype, s.data.tobytes())
        if key not in seen:
            seen[key] = end
            parts.append((end, s.data))
            end += -(-s.bytes // ALIGN) * ALIGN
        s.offset = seen[key]
    out = np.zeros(end + ALIGN, np.uint8)
    for at, data in parts:
        out[at:at + data.nbytes] = data.view(np.uint8)
    return out


def plan(steps: list[Step]) -> int:
    """Gives every value of the working memory an offset such that those in use at a time do not overlap; the bytes in all."""
    lives: dict[Storage, list[int]] = {}
    for i, step in enumerate(steps):
        for s in (s for _, k in step.calls for s in k.storages if s.kind == "workspace"):
            lives.setdefault(s, [i, i])[1] = i
    placed: list[Storage] = []
    for s in sorted(lives, key=lambda s: -s.bytes):
        begin, end = lives[s]
        near = sorted((p for p in placed if lives[p][0] <= end and begin <= lives[p][1]), key=lambda p: p.offset)
        at = 0
        for p in near:
            if at + s.bytes <= p.offset:
                break
            at = max(at, -(-(p.offset + p.bytes) // ALIGN) * ALIGN)
        s.offset = at
        placed.append(s)
    return -(-max((s.offset + s.bytes for s in placed), default=0) // ALIGN) * ALIGN + ALIGN


def sample(steps: list[Step], ends: list[Storage]) -> tirx.PrimFunc:
    """One sample by one thread: (inputs..., output, weights, workspace) as addresses."""
    with IRBuilder() as builder:
        with T.prim_func(is_private=True, s_tir=True):
            T.func_name("sample")
            T.func_attr({"tirx.noalias": True})
            pointers = {s: T.arg(f"e{i}", tirx.Var(f"e{i}", tvm.ir.PointerType(PrimType(s.dtype)))) for i, s in enumerate(ends)}
            blobs = {kind: T.arg(kind, tirx.Var(kind, tvm.ir.PointerType(PrimType("uint8")))) for kind in ("weights", "workspace")}
            for step in steps:
                for gv, k in step.calls:
                    call(gv, 0, k.count, [address(s, pointers, blobs) for s in k.storages])
    return builder.get()


def main(steps: list[Step], ends: list[Storage], serial: GlobalVar, size: int) -> tirx.PrimFunc:
    with IRBuilder() as builder:
        with T.prim_func(s_tir=True):
            T.func_name("main")
            names = [f"x{i}" for i in range(len(ends) - 1)] + ["y"]
            handles = [T.arg(name, T.handle()) for name in (*names, "weights", "workspace")]
            n, threads = T.arg("n", T.int32()), T.arg("threads", T.int32())
            sizes = [tirx.Var(f"size{i}", "int64") for i in range(len(handles))]  # named: the names that TVM gives change from time to time
            held = [T.match_buffer(h, (size,), s.dtype) for h, size, s in zip(handles, sizes, ends)]
            weights, workspace = (T.match_buffer(h, (size,), "uint8", align=ALIGN) for h, size in zip(handles[-2:], sizes[-2:]))

            def points(i, thread=0):
                own = {s: T.address_of(b[i * s.size]) for s, b in zip(ends, held)}
                return own, {"weights": T.address_of(weights[0]), "workspace": T.address_of(workspace[thread * size])}

            def samples(begin, end, thread):
                with T.serial(begin, end) as i:
                    own, blobs = points(i.astype("int64"), thread)
                    T.evaluate(Call(serial, [*own.values(), *blobs.values()], ret_ty=PrimType("void")))
            short = sum(step.us for step in steps) < THREADS_US
            with T.If(tirx.any(threads < 2, n < 2) if short else threads < 2):
                with T.Then():
                    samples(0, n, 0)
                with T.Else():
                    with T.If(n >= threads):
                        with T.Then(), T.parallel(threads) as t:
                            samples(n * t // threads, n * (t + 1) // threads, t)
                        with T.Else(), T.serial(n) as i:
                            own, blobs = points(i.astype("int64"))
                            with T.attr(0, "pragma_parallel_launch_point", 1):
                                for split, some in itertools.groupby(steps, lambda step: step.us >= SPLIT_US):
                                    for part in ([step] for step in some) if split else [list(some)]:
                                        together(part, own, blobs, threads, split)
    return builder.get()


def together(steps: list[Step], own, blobs, threads, split: bool) -> None:
    """The tasks of a step by all threads, or several whole steps by the first; then a barrier."""
    calls = [(gv, k, [address(s, own, blobs) for s in k.storages]) for step in steps for gv, k in step.calls]
    with T.attr(0, "pragma_parallel_barrier_when_finish", 1), T.parallel(threads) as t:
        if split:
            for gv, k, pointers in calls:
                call(gv, k.count * t // threads, k.count * (t + 1) // threads, pointers)
        else:
            with T.If(t < 1), T.Then():
                for gv, k, pointers in calls:
                    call(gv, 0, k.count, pointers)


def call(gv: GlobalVar, begin, end, pointers: list) -> None:
    begin, end = (tirx.const(v, "int32") if isinstance(v, int) else v for v in (begin, end))
    T.evaluate(Call(gv, [begin, end, *pointers], ret_ty=PrimType("void")))


def address(s: Storage, own: dict, blobs: dict):
    """Where a storage lies, given the addresses of the caller's memory and of the two blobs."""
    return own[s] if s in own else T.handle_add_byte_offset(blobs[s.kind], s.offset)
