"""Products of matrices of bytes, tile by tile: tensor cores (mma) or four products at once (dp4a), with the chain behind them.

A block of threads computes a tile of rows by columns.  Slices of both operands along k go through shared memory in up to three
buffers: while one is multiplied, the others are on their way from memory, copied by the hardware or, where bytes must be made on the way
(padding that is not 0, packed weights), through registers.  Sums are int32, which the caller has proven to be enough.
"""
from collections.abc import Callable
from dataclasses import dataclass

from tvm import tirx

from . import intrinsics
from .kernel import Count, Step, T, when
from .matrix import Rows, Windows
from .values import Value

DEPTH = 64  # bytes of a slice along k
PITCH = DEPTH // 4  # words from row to row in shared memory
STAGES = 3  # slices on their way or in use: 48 KB of shared memory for the largest tile, all that a block has without asking


@dataclass(frozen=True)
class Tile:
    """warps (down, across) of a block and what each computes: `each` (down, across) pieces of 16 x 8 (mma), or 4 x 8 threads' (dp4a)."""
    engine: str
    warps: tuple[int, int]
    each: tuple[int, int]

    @property
    def threads(self) -> int: return 32 * self.warps[0] * self.warps[1]

    @property
    def rows(self) -> int: return self.warps[0] * self.each[0] * (16 if self.engine == "mma" else 4)

    @property
    def columns(self) -> int: return self.warps[1] * self.each[1] * 8


@dataclass(frozen=True, eq=False)
class Product:
    """out[b, z, r, c] = finish(k, sum over bytes of a's row r and b's row c, b, z, r, c), for `rows` r, `columns` c and `stack` z.

    joined: rows of all samples are one after the other, as b does not depend on the sample.  inner: bytes that count (behind them lie
    zeros in one of the operands).  zeros: what is added to each byte of a and of b.  reads: what finish loads.
    """
    a: Rows | Windows
    b: Rows
    inner: int
    rows: int
    columns: int
    stack: int
    joined: bool
    finish: Callable
    reads: list[Value]
    write: Value
    zeros: tuple[int, int] = (0, 0)


def step(name: str, p: Product, tile: Tile, least: int = 1, most: int | None = None) -> Step:
    """The kernel for calls of `least` to `most` samples."""
    across = -(-p.columns // tile.columns)
    down = Count(p.rows, tile.rows) if p.joined else Count(-(-p.rows // tile.rows))
    return Step(name, [p.a.value, p.b.value, *p.reads], p.write, (down, across, p.stack), tile.threads, lambda k: _body(k, p, tile), least, most)


def _body(k, p: Product, tile: Tile) -> None:
    z, column0 = k.block[2], k.block[1] * tile.columns
    tiles = -(-p.rows // tile.rows)
    first = k.block[0] * tile.rows if p.joined else k.block[0] % tiles * tile.rows
    end = k.n * p.rows if p.joined else p.rows
    def sample(row): return (row // p.rows, row % p.rows) if p.joined else (k.block[0] // tiles, row)
    steps = -(-p.a.depth // DEPTH)
    stages = max(2, min(STAGES, steps))
    sides = [_Side(k, p.a, tile.rows, tile.threads, stages, lambda r: p.a.row(*_around(sample(_below(first + r, end)), z))),
             _Side(k, p.b, tile.columns, tile.threads, stages,
                   lambda c: p.b.row(0 if p.joined else k.block[0] // tiles, z, _below(column0 + c, p.columns)))]
    engine = (_Mma if tile.engine == "mma" else _Dp4a)(k, p, tile, sides)
    engine.start()
    for early in range(stages - 1):
        if early < steps:
            for s in sides:
                s.ask(early, early)
                s.keep(early)
        intrinsics.commit()
    with T.serial(steps) as at:
        intrinsics.arrived(stages - 2)
        _barrier()  # the slice is here for all threads, and all are done with the one before, whose buffer is filled next
        ahead = at + stages - 1
        with when(ahead < steps):
            for s in sides:
                s.ask(ahead, ahead % stages)
        intrinsics.commit()
        engine.multiply(at % stages)
        with when(ahead < steps):
            for s in sides:
                s.keep(ahead % stages)

    def finish(r, c, value):
        row, column = first + r, column0 + c
        with when(tirx.all(row < end, column < p.columns)):
            b, inner = sample(row)
            p.finish(k, value, b, z, inner, column)
    engine.finish(finish)


def _below(i, end):
    """i, or 0 where there is no such row: what is computed of it is not stored."""
    return tirx.Select(i < end, i, tirx.const(0, "int32"))


def _around(sample, z): return sample[0], z, sample[1]


def _barrier() -> None: T.evaluate(tirx.call_intrin("int32", "tirx.tvm_storage_sync", "shared"))


class _Side:
    """One operand's slices on their way to shared memory: rows of 64 bytes, each 16 of them where `_word` says."""

    def __init__(self, k, m, count: int, threads: int, stages: int, row):
        self.k, self.m, self.row, self.threads = k, m, row, threads
        self.per = DEPTH // m.vector                  # loads of a row
        self.loads = -(-count * self.per // threads)  # of a thread
        self.whole = count * self.per % threads == 0
        self.limit = count * self.per
        self.held = None if m.direct else T.alloc_buffer((self.loads * m.vector // 4,), "uint32", scope="local")
        self.shared = T.alloc_buffer((stages * count * PITCH,), "uint32", scope="shared")
        self.size = count * PITCH

    def _each(self, body) -> None:
        with T.unroll(self.loads) as i:
            at = i * self.threads + self.k.thread
            with when(None if self.whole else at < self.limit):
                body(i * (self.m.vector // 4), at // self.per, at % self.per * self.m.vector)

    def ask(self, slice_, buffer) -> None:
        """Starts to bring a slice; direct copies go to the buffer, others wait in registers for keep()."""
        def one(i, r, at):
            byte = slice_ * DEPTH + at
            place, inside = self.m.chunk(self.row(r), byte)
            inside = inside + ([byte < self.m.depth] if self.m.depth % DEPTH else [])
            inside = tirx.all(*inside) if inside else None
            if self.m.direct:
                intrinsics.copy(self.k, self.m.value, self.m.vector, self.shared, self._word(buffer, r, at // 4), place, inside)
            else:
                self.m.load(self.k, self.held, i, place, inside)
        self._each(one)

    def keep(self, buffer) -> None:
        def one(i, r, at):
            for j in range(self.m.vector // 4):
                T.buffer_store(self.shared, self.held[i + j], [self._word(buffer, r, at // 4) + j])
        if not self.m.direct:
            self._each(one)

    def _word(self, buffer, r, w):
        """Where word w of row r is: its sixteen bytes change places with others of the row, so that eight rows lie in different banks."""
        return buffer * self.size + r * PITCH + (w // 4 ^ r // 2 % 4) * 4 + w % 4

    def word(self, buffer, r, w): return self.shared[self._word(buffer, r, w)]

    def matrices(self, target, first: int, buffer, r, sixteen) -> None:
        """target[first:first+4] = four 8 x 16 byte matrices, of which each thread names one row: row r, sixteen bytes from 16 * `sixteen` on."""
        intrinsics.matrices(target, first, self.shared, self._word(buffer, r, sixteen * 4))


class _Mma:
    """A warp's pieces of 16 x 8 in the tensor cores; the fragments are those of PTX's mma.m16n8k32 for 8-bit integers."""

    def __init__(self, k, p: Product, tile: Tile, sides):
        self.p, (self.down, self.across), (self.a, self.b) = p, tile.each, sides
        warp, lane = k.thread // 32, k.thread % 32
        self.lane, self.group, self.t = lane, lane // 4, lane % 4
        self.row0, self.column0 = warp // tile.warps[1] * self.down * 16, warp % tile.warps[1] * self.across * 8
        self.sums = T.alloc_buffer((self.down * self.across * 4,), "int32", scope="local")
        self.fa = T.alloc_buffer((self.down * 4,), "uint32", scope="local")
        self.fb = T.alloc_buffer((self.across * 2,), "uint32", scope="local")
        # Sums of the rows of a, for what is added to b, and the other way round: products with ones, which fall where they are needed.
        self.ones = T.alloc_buffer((4,), "uint32", scope="local") if any(p.zeros) else None
        self.of_a = T.alloc_buffer((self.down * 4,), "int32", scope="local") if p.zeros[1] else None
        self.of_b = T.alloc_buffer((self.across * 4,), "int32", scope="local") if p.zeros[0] else None

    def start(self) -> None:
        for buffer, size, value in ((self.sums, self.down * self.across * 4, 0), (self.of_a, self.down * 4, 0), (self.of_b, self.across * 4, 0),
                                    (self.ones, 4, 0x01010101)):
            if buffer is not None:
                with T.unroll(size) as i:
                    T.buffer_store(buffer, tirx.const(value, buffer.dtype), [i])

    def multiply(self, buffer) -> None:
        a_type, b_type = self.p.a.dtype, self.p.b.dtype
        with T.unroll(DEPTH // 32) as s:
            with T.unroll(self.down) as i:
                self.a.matrices(self.fa, i * 4, buffer, self.row0 + i * 16 + self.lane % 16, s * 2 + self.lane // 16)
            with T.unroll(self.across // 2) as i:
                self.b.matrices(self.fb, i * 4, buffer, self.column0 + i * 16 + self.lane // 16 * 8 + self.lane % 8, s * 2 + self.lane // 8 % 2)
            with T.unroll(self.down) as i, T.unroll(self.across) as j:
                intrinsics.mma(a_type, b_type, self.sums, (i * self.across + j) * 4, self.fa, i * 4, self.fb, j * 2)
            if self.of_a is not None:
                with T.unroll(self.down) as i:
                    intrinsics.mma(a_type, "uint8", self.of_a, i * 4, self.fa, i * 4, self.ones, 0)
            if self.of_b is not None:
                with T.unroll(self.across) as j:
                    intrinsics.mma("uint8", b_type, self.of_b, j * 4, self.ones, 0, self.fb, j * 2)

    def finish(self, store) -> None:
        za, zb = self.p.zeros
        with T.unroll(self.down) as i, T.unroll(self.across) as j, T.unroll(4) as c:
            value = self.sums[(i * self.across + j) * 4 + c]
            if zb:
                value = value + self.of_a[i * 4 + c] * zb
            if za:
                value = value + self.of_b[j * 4 + c] * za
            store(self.row0 + i * 16 + self.group + c // 2 * 8, self.column0 + j * 8 + self.t * 2 + c % 2,
                  value + za * zb * self.p.inner if za and zb else value)


class _Dp4a:
    """A thread's elements, 4 rows and 8 columns apart; a warp's threads are 4 x 8."""

    def __init__(self, k, p: Product, tile: Tile, sides):
        self.p, (self.down, self.across), (self.a, self.b) = p, tile.each, sides
        warp, lane = k.thread // 32, k.thread % 32
        self.row0 = warp // tile.warps[1] * self.down * 4 + lane // 8
        self.column0 = warp % tile.warps[1] * self.across * 8 + lane % 8
        self.sums = T.alloc_buffer((self.down * self.across,), "int32", scope="local")
        self.fa = T.alloc_buffer((self.down,), "uint32", scope="local")
        self.fb = T.alloc_buffer((self.across,), "uint32", scope="local")
        self.of_a = T.alloc_buffer((self.down,), "int32", scope="local") if p.zeros[1] else None
        self.of_b = T.alloc_buffer((self.across,), "int32", scope="local") if p.zeros[0] else None

    def start(self) -> None:
        for buffer, size in ((self.sums, self.down * self.across), (self.of_a, self.down), (self.of_b, self.across)):
            if buffer is not None:
                with T.unroll(size) as i:
                    T.buffer_store(buffer, tirx.const(0, "int32"), [i])

    def multiply(self, buffer) -> None:
        a_type, b_type, one = self.p.a.dtype, self.p.b.dtype, tirx.const(0x01010101, "uint32")
        with T.serial(DEPTH // 4) as w:
            with T.unroll(self.down) as i:
                T.buffer_store(self.fa, self.a.word(buffer, self.row0 + i * 4, w), [i])
            with T.unroll(self.across) as j:
                T.buffer_store(self.fb, self.b.word(buffer, self.column0 + j * 8, w), [j])
            with T.unroll(self.down) as i, T.unroll(self.across) as j:
                at = i * self.across + j
                T.buffer_store(self.sums, intrinsics.dp4a(a_type, b_type, self.fa[i], self.fb[j], self.sums[at]), [at])
            if self.of_a is not None:
                with T.unroll(self.down) as i:
                    T.buffer_store(self.of_a, intrinsics.dp4a(a_type, "uint8", self.fa[i], one, self.of_a[i]), [i])
            if self.of_b is not None:
                with T.unroll(self.across) as j:
                    T.buffer_store(self.of_b, intrinsics.dp4a(b_type, "uint8", self.fb[j], one, self.of_b[j]), [j])

    def finish(self, store) -> None:
        za, zb = self.p.zeros
        with T.unroll(self.down) as i, T.unroll(self.across) as j:
            value = self.sums[i * self.across + j]
            if zb:
                value = value + self.of_a[i] * zb
            if za:
                value = value + self.of_b[j] * za
            store(self.row0 + i * 4, self.column0 + j * 8, value + za * zb * self.p.inner if za and zb else value)
