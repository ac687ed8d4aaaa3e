"""Products of activation bytes and packed weights in TIR: exact int32, unpacked in registers.

A lane of a sum is a row of weights, so nothing is added across lanes.  A task is a panel of weights; the package explains the arguments.
"""
from contextlib import contextmanager

from tvm.script.ir_builder import tirx as T

from .decode import Decoder
from .formats import LANES, LINE, QUAD
from .geometry import Geometry
from .isa import Isa
from .vectors import Accumulator, prefetch, splat

AHEAD = 8192  # bytes of weights between what is asked for and what is computed
FOLDED = 4    # lines whose products are summed in int16, where it holds them
PAIR = 2      # fields
TALL = 12     # rows of activations that share unpacked weights, at most


def tasks(g: Geometry) -> int:
    """How many pieces the work has."""
    return g.panels


def emit(isa: Isa, g: Geometry, x, x_at, w, w_at, store, begin, end) -> None:
    """Tasks begin..end of the product."""
    kernel = Product(isa, g, x, w, store)
    start = T.bind(x_at(0)) if g.m == 1 else None
    total = isa.total(x, start, g.k) if g.m == 1 and kernel.offset else None
    with T.serial(begin, end) as panel:
        at = T.bind(w_at + panel.astype("int64") * g.panel_bytes)
        if g.m == 1:
            return kernel.tile(panel, at, [start], 0, total)
        whole, rest = divmod(g.m, kernel.height)
        if whole:
            with T.serial(whole) as i:
                kernel.tile(panel, at, [T.bind(x_at(i * kernel.height + n)) for n in range(kernel.height)], i * kernel.height)
        if rest:
            kernel.tile(panel, at, [T.bind(x_at(T.int32(whole * kernel.height + n))) for n in range(rest)], T.int32(whole * kernel.height))


class Product:
    """A kernel under construction: its registers, and the code for one panel by a few rows of activations (a tile)."""

    def __init__(self, isa: Isa, g: Geometry, x, w, store):
        self.isa, self.g, self.x, self.w, self.store = isa, g, x, w, store
        self.decode = Decoder(isa, g.format, centred=g.m > 1)
        self.mixes = self.decode.mixes
        self.offset = any(m.more for m in self.mixes)
        fields, chunks = g.format.fields, LINE // isa.width
        self.at_once = fields if isa.wide or g.m == 1 else PAIR        # fields whose sums are in registers
        self.chunks = max(1, min(chunks, isa.sums // fields)) if isa.wide or g.m == 1 else 1  # and vectors of a line
        most = max(1, min(TALL, isa.sums // (self.at_once * self.chunks))) if g.m > 1 else 1  # and rows of activations,
        self.height = -(-g.m // -(-g.m // most))                                              # in tiles as even as can be
        self.unroll = self._unroll()
        chains = self.unroll if isa.wide else 1
        self.sums = [[[[Accumulator(isa.lanes) for _ in range(fields)] for _ in range(chains)] for _ in range(self.chunks)]
                     for _ in range(self.height)]
        self.out = [[Accumulator(LANES) for _ in range(fields)] for _ in range(self.height)]

    def _unroll(self) -> int:
        """Lines at a time: so many that sums need not wait for each other, or fill what an int16 holds."""
        if not self.isa.wide:
            return max(1, min(FOLDED, *(self.isa.room(m.magnitude) for m in self.mixes)))
        return 2 if self.height * self.g.format.fields * self.chunks < 4 else 1

    def tile(self, panel, at, starts: list, row, total=None) -> None:
        """Rows of activations that begin at x[starts], the first of them being `row`, by the panel at w[at]; total: as isa.total."""
        with loop(LINE // self.isa.width // self.chunks) as step:
            chunks = [step * self.chunks + c for c in range(self.chunks)]
            for field in range(0, self.g.format.fields, self.at_once):
                self._pass(at, starts, chunks, range(self.g.format.fields)[field:field + self.at_once])
            for i, c in [(i, c) for i in range(len(starts)) for c in range(self.chunks)]:
                for j, value in enumerate(self._weights(self.sums[i][c], total)):
                    self.out[i][j].set_part(value, chunks[c], self.isa.lanes)
        for i in range(len(starts)):
            self._stored(panel, row + i, self.out[i])

    def _pass(self, at, starts: list, chunks: list, fields: range) -> None:
        """Sums of some vectors and fields of every line of a panel."""
        for sums in self.sums[:len(starts)]:
            for s in (chain[j] for c in sums for chain in c for j in fields):
                s.clear()
        whole = self.g.k // QUAD // self.unroll
        if whole:
            with T.serial(whole) as n:
                self._lines(at, starts, n * self.unroll, [QUAD] * self.unroll, chunks, fields)
        left = self.g.k - whole * self.unroll * QUAD
        if left:
            self._lines(at, starts, whole * self.unroll, [min(QUAD, left - j) for j in range(0, left, QUAD)], chunks, fields)

    def _lines(self, at, starts: list, first, valid: list[int], chunks: list, fields: range) -> None:
        """Adds neighbouring lines, from line `first`; valid: activations that each of them meets."""
        places = [T.bind(at + (first + n) * LINE) for n in range(len(valid))]
        xs = [[self.isa.activations(self.x, start + (first + n) * QUAD, v) for n, v in enumerate(valid)] for start in starts]
        if not fields[0]:
            for place in places:
                prefetch(self.w, place + AHEAD)
        for slot, c in enumerate(chunks):
            found = [self.decode(T.bind(self.w.vload([place + c * self.isa.width], f"uint8x{self.isa.width}"))) for place in places]
            for i, j in [(i, j) for i in range(len(starts)) for j in fields]:
                self._add(self.sums[i][slot], j, [(x, f[j]) for x, f in zip(xs[i], found)])

    def _add(self, chains: list, j: int, products: list) -> None:
        """Adds to the sums of field j: to one, or product by product to as many as there are."""
        if len(chains) == 1:
            return self.isa.add(chains[0][j], products, self.mixes[j].magnitude)
        for chain, product in zip(chains, products):
            self.isa.add(chain[j], [product], self.mixes[j].magnitude)

    def _weights(self, chains: list, total) -> list:
        """From the sums of the mixes those of the weights, one after the other; modulo 2**32 all but the shifts, which are exact."""
        lanes, found = self.isa.lanes, []
        for j, mix in enumerate(self.mixes):
            value = chains[0][j].value
            for chain in chains[1:]:
                value = value + chain[j].value
            for by, known in zip(mix.by, found):
                value = value - known * splat(by, "int32", lanes) if by else value
            if mix.more:
                value = value - T.broadcast(total * mix.more, lanes)
            found.append(T.bind(_divided(value, mix.by[j], lanes)))
        return found

    def _stored(self, panel, row, out: list[Accumulator]) -> None:
        """store() for every field of a panel; of the last one only what has rows."""
        def stored(lanes: list[int]) -> None:
            for j, n in enumerate(lanes):
                self.store(out[j].memory, row, panel * self.g.format.rows + LANES * j, n)
        last, whole = self.g.panels - 1, [LANES] * self.g.format.fields
        if not last or self.g.lanes(last) == whole:
            return stored(self.g.lanes(last))
        with T.If(panel < last):
            with T.Then():
                stored(whole)
            with T.Else():
                stored(self.g.lanes(last))


@contextmanager
def loop(count: int):
    """The index of a loop; 0 where it is made once."""
    if count == 1:
        yield 0
    else:
        with T.serial(count) as i:
            yield i


def _divided(value, by: int, lanes: int):
    """value / by of multiples of by: a shift, and a product with the inverse of what is odd in it, modulo 2**32."""
    power = (by & -by).bit_length() - 1
    odd = by >> power
    value = value >> splat(power, "int32", lanes) if power else value
    return value * splat(pow(odd, -1, 1 << 32), "int32", lanes) if odd > 1 else value
