"""Sums of products in tiles: some positions by some vectors of channels stay in registers while all inputs of theirs pass."""
import itertools

import numpy as np
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ir import Node

from .body import Body
from .dots import Dot
from .field import Field, flattened
from .kernel import Kernel, Tensor, lane, loops, pieces
from .tiling import tiling


class Tiles:
    """The kernel of a dense layer or convolution under construction."""

    def __init__(self, k: Kernel, n: Node, x: Tensor, body: Body, f: Field, dot: Dot):
        self.k, self.n, self.x, self.body, self.dot = k, n, x, body, dot
        self.f = f = flattened(f, self.outside()) if self.alike() else f
        self.each = len(f.weight) // f.groups                 # channels of a group
        weight = self.taps(f)
        self.kernel = (f.weight.shape[2], weight.shape[1] // f.weight.shape[2])
        self.vectors = -(-self.each // dot.lanes)
        self.steps = -(-weight.shape[2] // dot.each)
        self.plan = tiling(f, dot, self.vectors, weight.shape[1], self.steps, k.isa.registers, k.choices)
        self.blocks = -(-self.vectors // self.plan.vectors)   # of a group
        self.size = self.plan.vectors * dot.lanes
        self.w = k.constant(self.packed(weight))
        self.b = k.constant(self.bias())

    @staticmethod
    def taps(f: Field) -> np.ndarray:
        """Weights (O, taps, channels); a row of taps is one tap of more channels if it reads what lies side by side."""
        w = np.moveaxis(f.weight, 1, -1)
        beside = w.shape[2] > 1 and f.groups == 1 and f.tap[1] == f.depth
        return w.reshape(len(w), w.shape[1] if beside else w.shape[1] * w.shape[2], -1)

    def outside(self) -> list[Tensor]:
        """What the epilogue reads and writes."""
        names = dict.fromkeys([*(a for n in self.body.nodes for a in n.args), self.body.sink])
        return [self.body.tensors[a] for a in names if a in self.body.tensors]

    def alike(self) -> bool:
        """Whether the epilogue does the same at every position."""
        channels = 0 if self.n.op.weight.ndim > 2 else len(self.n.type.shape) - 1
        return all(n.op.axis % len(n.type.shape) == channels for n in self.body.nodes if len(getattr(n.op, "mul", ())) > 1)

    def blocked(self, a: np.ndarray) -> np.ndarray:
        """(O, ...) to (groups * blocks * vectors, lanes, ...), zeros for channels that are not there."""
        a = a.reshape(self.f.groups, self.each, *a.shape[1:])
        missing = self.blocks * self.size - self.each
        a = np.pad(a, ((0, 0), (0, missing), *((0, 0),) * (a.ndim - 2)))
        return a.reshape(-1, self.dot.lanes, *a.shape[2:])

    def packed(self, weight: np.ndarray) -> np.ndarray:
        """Weights in the order in which they are read: (blocks of all groups, taps, steps, vectors, what a step needs)."""
        w = self.dot.pack(self.blocked(weight))
        return w.reshape(-1, self.plan.vectors, *w.shape[1:]).transpose(0, 2, 3, 1, 4)

    def bias(self) -> np.ndarray:
        """What sums begin with: the bias, what makes up for the base of the inputs, and what the epilogue wants subtracted."""
        bias = self.f.bias + (self.x.place.base + self.dot.shift) * self.f.weight.sum((1, 2, 3))
        if (lift := self.body.lift(self.n)) is not None:
            bias = bias - lift
        return self.blocked((bias + (1 << 31)) % (1 << 32) - (1 << 31)).astype(np.int32)

    def write(self) -> None:
        """All tasks, in lines: rows of tiles, or single tiles where all positions are in one row."""
        f, p = self.f, self.plan
        single = f.rows == 1
        lines, rest = divmod(f.columns, p.columns) if single else divmod(f.rows, p.rows)
        chunks = max(1, -(-lines // p.chunk))
        blocks = f.groups * self.blocks
        line = self.tile if single else self.line
        with self.k.tasks(chunks, *(() if p.inside else (blocks,))) as (chunk, *at):
            if lines:
                start = chunk * p.chunk
                count = tirx.min(p.chunk, lines - start) if lines % p.chunk else p.chunk
                with T.serial(count) as i:  # from 0: TVM forgets the least index of the loop around one that does not
                    self.over(blocks, at, lambda b: line(b, start + i, p.columns if single else p.rows))
            if rest and chunks > 1:
                with T.If(chunk == chunks - 1), T.Then():
                    self.over(blocks, at, lambda b: line(b, lines, rest))
            elif rest:
                self.over(blocks, at, lambda b: line(b, lines, rest))

    def over(self, blocks: int, at: list, body) -> None:
        if at:
            return body(at[0])
        with loops(blocks) as (b,):
            body(b)

    def line(self, block, i, rows: int) -> None:
        """A row of tiles, `rows` rows high."""
        whole, rest = divmod(self.f.columns, self.plan.columns)
        if whole:
            with loops(whole) as (j,):
                self.sums(block, i * self.plan.rows, j * self.plan.columns, rows, self.plan.columns)
        if rest:
            self.sums(block, i * self.plan.rows, whole * self.plan.columns, rows, rest)

    def tile(self, block, j, columns: int) -> None: self.sums(block, 0, j * self.plan.columns, 1, columns)

    def sums(self, block, r, c, rows: int, columns: int) -> None:
        """One tile: rows x columns positions from (r, c) on, one block of channels."""
        f, p, dot = self.f, self.plan, self.dot
        positions = list(itertools.product(range(rows), range(columns)))
        acc = [[[self.k.registers(dot.lanes) for _ in range(p.vectors)] for _ in positions] for _ in range(p.ways)]
        whole = T.ramp(0, 1, dot.lanes)
        for u, i, j in itertools.product(range(p.ways), range(len(positions)), range(p.vectors)):
            first = self.b[T.ramp(block * self.size + j * dot.lanes, 1, dot.lanes)] if u == 0 else tirx.const(0, f"int32x{dot.lanes}")
            T.buffer_store(acc[u][i][j], first, [whole])
        start = f.origin + r * f.step[0] + c * f.step[1]
        if f.groups > 1:
            start = start + (block // self.blocks) * f.depth
        taps, each = self.kernel[0] * self.kernel[1], dot.each * dot.lanes
        with loops(*self.kernel, self.steps // p.ways) as (y, z, s):
            for u in range(p.ways):
                t = s * p.ways + u
                w = (((block * taps + y * self.kernel[1] + z) * self.steps + t) * p.vectors) * each
                weights = [dot.weights(self.w, w + j * each) for j in range(p.vectors)]
                at = start + y * f.tap[0] + z * f.tap[1] + t * dot.each
                for i, (dr, dc) in enumerate(positions):
                    value = dot.input(self.x, at + (dr * f.step[0] + dc * f.step[1]))
                    for j in range(p.vectors):
                        T.buffer_store(acc[u][i][j], dot.add(acc[u][i][j][whole], value, weights[j]), [whole])
        for u, i, j in itertools.product(range(1, p.ways), range(len(positions)), range(p.vectors)):
            T.buffer_store(acc[0][i][j], acc[0][i][j][whole] + acc[u][i][j][whole], [whole])
        for (i, (dr, dc)), j in itertools.product(enumerate(positions), range(p.vectors)):
            self.finish(acc[0][i][j], block, j, r + dr, c + dc)

    def finish(self, acc, block, j: int, r, c) -> None:
        """Stores the channels of vector j of a block, as many as there are."""
        lanes, last = self.dot.lanes, self.each - (self.blocks - 1) * self.size - j * self.dot.lanes  # of them in the last block
        group, inner = (block // self.blocks, block % self.blocks) if self.f.groups > 1 else (0, block)
        first = group * self.each + inner * self.size + j * lanes

        def put(count: int) -> None:
            for start, number, size in pieces(max(0, min(count, lanes)), lanes):
                for q in range(number):
                    at = start + q * size
                    self.body.store(self.f.index(lane(first + at, size), r, c), **{self.n.name: acc[lane(at, size)]})
        if last >= lanes or self.blocks == 1:
            put(last)
        else:
            with T.If(inner < self.blocks - 1):
                with T.Then():
                    put(lanes)
                with T.Else():
                    put(last)
