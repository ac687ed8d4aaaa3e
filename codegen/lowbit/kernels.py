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

STREAMS = 2   # panels far apart that are read side by side: the memory gives more to two streams than to one, most of all from small pages
AHEAD = {"base3": 12288}  # bytes between what is asked for and what is unpacked; quick formats leave that to the processor, which asking disturbs
FOLDED = 4    # lines whose products are summed in int16, where it holds them
PAIR = 2      # fields
TALL = 12     # rows of activations that share unpacked weights, at most


def tasks(g: Geometry) -> int:
    """How many pieces the work has."""
    return g.panels


def emit(isa: Isa, g: Geometry, x, x_at, w, w_at, store, begin, end) -> None:
    """Tasks begin..end of the product."""
    (_vector if g.m == 1 else _matrix)(Product(isa, g, x, w, w_at, store), x_at, begin, end)


def _vector(p: "Product", x_at, begin, end) -> None:
    """One row of activations: panels in as many streams as there are sums for, and what is left one by one."""
    start = T.bind(x_at(0))
    total = p.isa.total(p.x, start, p.g.k) if p.offset else None
    each = T.bind((end - begin) // p.panels) if p.panels > 1 else 0
    if p.panels > 1:
        with T.serial(each) as i:
            p.tile([begin + (each * s + i) for s in range(p.panels)], [start], 0, total)
    with T.serial(begin + each * p.panels, end) as panel:
        p.tile([panel], [start], 0, total)


def _matrix(p: "Product", x_at, begin, end) -> None:
    """Several rows of activations, in tiles."""
    whole, rest = divmod(p.g.m, p.height)
    with T.serial(begin, end) as panel:
        if whole:
            with T.serial(whole) as i:
                p.tile([panel], [T.bind(x_at(i * p.height + n)) for n in range(p.height)], i * p.height)
        if rest:
            p.tile([panel], [T.bind(x_at(T.int32(whole * p.height + n))) for n in range(rest)], T.int32(whole * p.height))


class Product:
    """A kernel under construction: its registers, and the code for a tile, a few panels by a few rows of activations."""

    def __init__(self, isa: Isa, g: Geometry, x, w, w_at, store):
        self.isa, self.g, self.x, self.w, self.w_at, self.store = isa, g, x, w, w_at, store
        if isa.signed and g.m > 1:
            raise ValueError(f"{g.m} rows of signed activations: these kernels multiply one")
        self.decode = Decoder(isa, g.format, centred=g.m > 1)
        self.mixes = self.decode.mixes
        self.offset = any(m.more for m in self.mixes)
        fields, whole = g.format.fields, isa.wide or g.m == 1
        self.at_once = fields if whole else PAIR                                               # fields whose sums are in registers
        self.chunks = max(1, min(LINE // isa.width, isa.sums // fields)) if whole else 1       # and vectors of a line
        room = max(1, isa.sums // (self.at_once * self.chunks))
        self.panels = min(room, STREAMS, g.panels) if g.m == 1 else 1                          # and panels
        self.height = -(-g.m // -(-g.m // min(room, TALL))) if g.m > 1 else 1                  # and rows, in tiles as even as can be
        self.ahead = AHEAD.get(g.format.name) if g.m == 1 else None
        self.unroll = self._unroll()
        self.chains = 2 if isa.wide and self.unroll > 1 else 1
        places = [(i, p) for i in range(self.height) for p in range(self.panels)]
        self.sums = {ip: [[[Accumulator(isa.lanes) for _ in range(fields)] for _ in range(self.chains)] for _ in range(self.chunks)]
                     for ip in places}
        self.out = {ip: [Accumulator(LANES) for _ in range(fields)] for ip in places}

    def _unroll(self) -> int:
        """Lines at a time: so many that sums need not wait for each other, or fill what an int16 holds."""
        if not self.isa.wide:
            return max(1, min(FOLDED, *(self.isa.room(m.magnitude) for m in self.mixes)))
        return 2 if self.height * self.panels * self.g.format.fields * self.chunks < 4 else 1

    def tile(self, panels: list, starts: list, row, total=None) -> None:
        """Panels by rows of activations that begin at x[starts], the first of them being `row`; total: as isa.total."""
        ats = [T.bind(self.w_at + p.astype("int64") * self.g.panel_bytes) for p in panels]
        places = [(i, p) for i in range(len(starts)) for p in range(len(panels))]
        with _loop(LINE // self.isa.width // self.chunks) as step:
            chunks = [step * self.chunks + c for c in range(self.chunks)]
            for field in range(0, self.g.format.fields, self.at_once):
                self._pass(ats, starts, places, chunks, range(self.g.format.fields)[field:field + self.at_once])
            for ip, c in [(ip, c) for ip in places for c in range(self.chunks)]:
                for j, value in enumerate(self._weights(self.sums[ip][c], total)):
                    self.out[ip][j].set_part(value, chunks[c], self.isa.lanes)
        for i, p in places:
            self._stored(panels[p], row + i, self.out[i, p])

    def _pass(self, ats: list, starts: list, places: list, chunks: list, fields: range) -> None:
        """Sums of some vectors and fields of every line of the panels at w[ats]."""
        for s in (chain[j] for ip in places for c in self.sums[ip] for chain in c for j in fields):
            s.clear()
        whole = self.g.k // QUAD // self.unroll
        if whole:
            with T.serial(whole) as n:
                self._lines(ats, starts, n * self.unroll, [QUAD] * self.unroll, chunks, fields)
        left = self.g.k - whole * self.unroll * QUAD
        if left:
            self._lines(ats, starts, whole * self.unroll, [min(QUAD, left - j) for j in range(0, left, QUAD)], chunks, fields)

    def _lines(self, ats: list, starts: list, first, valid: list[int], chunks: list, fields: range) -> None:
        """Adds neighbouring lines, from line `first`; valid: activations that each of them meets."""
        xs = [[self.isa.activations(self.x, start + (first + n) * QUAD, v) for n, v in enumerate(valid)] for start in starts]
        for p, at in enumerate(ats):
            lines = [T.bind(at + (first + n) * LINE) for n in range(len(valid))]
            if self.ahead and not fields[0]:
                for line in lines:
                    prefetch(self.w, line + self.ahead)
            for slot, c in enumerate(chunks):
                found = [self.decode(T.bind(self.w.vload([line + c * self.isa.width], f"uint8x{self.isa.width}"))) for line in lines]
                for i, j in [(i, j) for i in range(len(starts)) for j in fields]:
                    self._add(self.sums[i, p][slot], j, [(x, f[j]) for x, f in zip(xs[i], found)])

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
def _loop(count: int):
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
