"""Dense layers and convolutions: sums of products in tiles of registers, some positions by some channels."""
import itertools
from dataclasses import dataclass

import numpy as np
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ir import Conv, Dense, Ints, Node
from ir.infer import exact_bound

from ..words import magnitude
from .body import Body, calc
from .kernel import Kernel, Tensor, loops, pieces


@dataclass(frozen=True)
class Field:
    """A dense layer or convolution as one over rows and columns: y[r, c, o] = bias[o] + sum w[o, i, kr, kc] x[r*sr + kr*dr, c*sc + kc*dc, i].

    strides are those of x in memory: (channel, row, column); `origin` where x[0, 0, 0] lies, halo included.
    """
    weight: np.ndarray        # (O, I of a group, kernel rows, kernel columns)
    bias: np.ndarray          # (O,)
    groups: int
    rows: int
    columns: int
    step: tuple[int, int]     # elements of memory from an output row (column) to the next
    tap: tuple[int, int]      # the same from a kernel row (column) to the next
    origin: int
    index: object             # (o, r, c) -> logical index of the output


def field_of(n: Node, x: Tensor) -> Field:
    """The node as a Field over the tensor that it reads."""
    op, place = n.op, x.place
    if isinstance(op, Dense):
        lead = place.shape[:-1]
        rows, columns = (1, 1) if not lead else (int(np.prod(lead[:-1])), lead[-1])
        step = (place.strides[-3] if len(lead) > 1 else 0, place.strides[-2] if lead else 0)

        def index(o, r, c):
            at = []
            for size in reversed(lead[:-1]):
                at.append(r % size)
                r = r // size
            return [*reversed(at), *([c] if lead else []), o]
        return Field(op.weight[:, :, None, None], op.bias, 1, rows, columns, step, (0, 0), place.offset, index)
    assert isinstance(op, Conv)
    two = len(op.stride) == 2
    weight = op.weight if two else op.weight[:, :, None]
    (sr, sc), (dr, dc) = ((op.stride, op.dilation) if two else ((1, *op.stride), (1, *op.dilation)))
    (_, *size), (_, *mr_mc) = n.type.shape, place.strides
    mr, mc = mr_mc if two else (0, *mr_mc)
    before = sum(p[0] * m for p, m in zip(op.padding, place.strides[1:]))
    rows, columns = size if two else (1, *size)
    return Field(weight, op.bias, op.groups, rows, columns, (sr * mr, sc * mc), (dr * mr, dc * mc), place.offset - before,
                 (lambda o, r, c: [o, r, c]) if two else (lambda o, r, c: [o, c]))


def write_plain(k: Kernel, n: Node, x: Tensor, types: dict[str, Ints], body: Body) -> None:
    """Any dense layer or convolution, in int32 or wider: channels side by side, one position at a time."""
    f, t = field_of(n, x), types[n.args[0]]
    dtype, each, per = calc(max(exact_bound(n.op, t), magnitude(n.type))), len(f.weight) // f.groups, f.weight.shape[1]
    lanes = k.isa.lanes
    w = k.constant(np.moveaxis(f.weight, 0, -1).astype("int32" if magnitude_of(f.weight) < 1 << 31 else "int64"))  # (I, kr, kc, O)
    b = k.constant(f.bias.astype(dtype if dtype != "uint64" else "int64"))
    per_i, kr, kc = f.weight.shape[1:]
    blocks = [(start + i * size, size) for start, count, size in pieces(each, lanes) for i in range(count)]
    with k.tasks(f.rows, f.columns) as (r, c), loops(f.groups) as (g,):
        for start, size in blocks:
            acc = k.registers(size, dtype)
            o = g * each + start
            with T.vectorized(size) as v:
                T.buffer_store(acc, b[o + v].astype(dtype), [v])
            with loops(per, kr, kc) as (i, y, z):
                at = f.origin + r * f.step[0] + c * f.step[1] + y * f.tap[0] + z * f.tap[1] + (g * per + i) * x.place.strides[channel_axis(n)]
                value = x.buffer[at].astype(dtype) + tirx.const(x.place.base, dtype)
                with T.vectorized(size) as v:
                    T.buffer_store(acc, acc[v] + value * w[((i * kr + y) * kc + z) * len(f.weight) + o + v].astype(dtype), [v])
            with T.vectorized(size) as v:
                body.store(f.index(o + v, r, c), **{n.name: acc[v]})


def channel_axis(n: Node) -> int: return -1 if isinstance(n.op, Dense) else 0


def magnitude_of(a: np.ndarray) -> int: return int(abs(a).max())


def write_tiles(k: Kernel, n: Node, x: Tensor, types: dict[str, Ints], body: Body) -> None:
    """Bytes by bytes with four products an instruction: wt positions by nt vectors of channels stay in registers."""
    f, isa = field_of(n, x), k.isa
    (out, per, kr, kc), lanes = f.weight.shape, isa.lanes
    vectors = -(-out // lanes)
    nt = next(t for t in (4, 2, 3, 1) if vectors % t == 0 and (t < 4 or f.columns * f.rows < 4 or vectors == 4)) if vectors > 1 else 1
    wt = max(1, min(f.columns, 24 // nt if lanes == 16 else 12 // nt))
    merge = kc > 1 and f.tap[1] == per and n.op.groups == 1 if isinstance(n.op, Conv) else False
    taps = [(y, 0) for y in range(kr)] if merge else [(y, z) for y in range(kr) for z in range(kc)]
    inner = per * kc if merge else per
    steps = -(-inner // 4)
    w = np.moveaxis(f.weight, 1, -1)  # (O, kr, kc, I)
    w = w.reshape(out, len(taps), inner)
    w = np.pad(w, ((0, vectors * lanes - out), (0, 0), (0, steps * 4 - inner)))
    packed = w.reshape(vectors // nt, nt, lanes, len(taps), steps, 4).transpose(0, 3, 4, 1, 2, 5)  # block, tap, step, vector, lane, 4
    wb = k.constant(packed.astype(np.int8))
    bias = np.zeros(vectors * lanes, np.int64)
    bias[:out] = f.bias + x.place.base * f.weight.sum((1, 2, 3))
    if (lift := body.lift(n)) is not None:
        bias[:out] -= lift
    bb = k.constant(((bias + (1 << 31)) % (1 << 32) - (1 << 31)).astype(np.int32))
    size = nt * lanes
    tiles, rest = divmod(f.columns, wt)
    with k.tasks(vectors // nt, f.rows, tiles + bool(rest)) as (block, r, tile):
        def put(acc, j, block, r, c, count):
            for first, number, z in pieces(count, lanes):
                for q in range(number):
                    at = j * lanes + first + q * z
                    with T.vectorized(z) as v:
                        body.store(f.index(block * size + at + v, r, c), **{n.name: acc[at + v]})

        def one(width):
            acc = [k.registers(size) for _ in range(width)]
            for p in range(width):
                for j in range(nt):
                    T.buffer_store(acc[p], bb[T.ramp(block * size + j * lanes, 1, lanes)], [T.ramp(j * lanes, 1, lanes)])
            start = f.origin + r * f.step[0] + tile * (wt * f.step[1])
            for t, (y, z) in enumerate(taps):
                base = start + y * f.tap[0] + z * f.tap[1]
                with loops(steps) as (s,):
                    at = ((block * len(taps) + t) * steps + s) * (size * 4)
                    ws = [wb[T.ramp(at + j * lanes * 4, 1, lanes * 4)] for j in range(nt)]
                    for p in range(width):
                        xs = T.reinterpret(x.buffer[T.ramp(base + p * f.step[1] + s * 4, 1, 4)], dtype="int32")
                        for j in range(nt):
                            a = T.ramp(j * lanes, 1, lanes)
                            T.buffer_store(acc[p], isa.dot(acc[p][a], xs, ws[j]), [a])
            for p, j in itertools.product(range(width), range(nt)):
                last = min(lanes, max(0, out - (vectors - nt + j) * lanes))  # channels of this vector in the last block
                c = tile * wt + p
                if last == lanes or vectors == nt:
                    put(acc[p], j, block, r, c, last)
                else:
                    with T.If(block < vectors // nt - 1):
                        with T.Then():
                            put(acc[p], j, block, r, c, lanes)
                        with T.Else():
                            put(acc[p], j, block, r, c, last)
        if tiles and rest:
            with T.If(tile < tiles):
                with T.Then():
                    one(wt)
                with T.Else():
                    one(rest)
        else:
            one(wt if tiles else rest)
