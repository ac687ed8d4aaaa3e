"""Products of activation bytes and packed weights in TIR: exact int32, unpacked in registers.

A lane of a sum is a row of weights, so nothing is added across lanes.  A task is one panel of 16 rows (a vector of activations) or a
group of panels (a matrix of activations); the package explains the arguments.
"""
from functools import reduce
from operator import add

from tvm.script.ir_builder import tirx as T

from .decode import Decoder
from .formats import LINE, QUAD, ROWS
from .geometry import Geometry
from .isa import Isa
from .vectors import Accumulator, prefetch, splat

AHEAD = 4096  # bytes of weights between what is asked for and what is computed


def tasks(isa: Isa, g: Geometry) -> int:
    """How many pieces the work has."""
    return g.panels if g.m == 1 else -(-g.panels // isa.tile[0])


def emit(isa: Isa, g: Geometry, x, x_at, w, w_at, store, begin, end) -> None:
    """Tasks begin..end of the product."""
    (gemv if g.m == 1 else gemm)(isa, g, x, x_at, w, w_at, store, begin, end)


def gemv(isa: Isa, g: Geometry, x, x_at, w, w_at, store, begin, end) -> None:
    """One row of activations: a linear stream of weights."""
    decode, start = Decoder(isa, g.format, exact=False), T.bind(x_at(0))
    unroll, chunks = _unroll(isa, decode), range(LINE // isa.width)
    sums = [_sums(isa, unroll * len(decode.fields)) for _ in chunks]
    correction = _correction(isa, g, decode, x, start, unroll)
    out = Accumulator(ROWS)

    def lines(at, first, count: int, valid: list[int]) -> None:
        """Adds `count` lines, from line `first`, of the panel that starts at w[at]."""
        terms = [[] for _ in chunks]
        for n in range(count):
            line = T.bind(at + (first + n) * LINE)
            prefetch(w, line + AHEAD)
            xs = _activations(isa, g, x, start, first + n, valid)
            for c in chunks:
                found = decode(T.bind(w.vload([line + c * isa.width], f"uint8x{isa.width}")))
                terms[c] += [(u, v, f.magnitude) for u, v, f in zip(xs, found, decode.fields)]
        for c in chunks:
            isa.add(sums[c], terms[c])

    with T.serial(begin, end) as panel:
        at = T.bind(w_at + panel.astype("int64") * g.panel_bytes)
        for total in (s for c in sums for s in c):
            total.clear()
        _over(g, unroll, lambda *about: lines(at, *about))
        for c in chunks:
            total = _joined(isa, sums[c], decode)
            out.set_part(total if correction is None else total - correction.value, c, isa.lanes)
        _stored(g, panel, lambda lanes: store(out.memory, 0, panel * ROWS, lanes))


def gemm(isa: Isa, g: Geometry, x, x_at, w, w_at, store, begin, end) -> None:
    """Several rows of activations: weights are unpacked once for each tile of them."""
    group = isa.tile[0]
    height = -(-g.m // -(-g.m // isa.tile[1]))  # tiles as even as can be
    decode = Decoder(isa, g.format, exact=True)
    sums = [[[Accumulator(isa.lanes) for _ in range(LINE // isa.width)] for _ in range(group)] for _ in range(height)]
    out = Accumulator(ROWS)

    def tile(first_panel, panels: int, first_row, rows: int) -> None:
        starts = [T.bind(x_at(first_row + i)) for i in range(rows)]
        at = T.bind(w_at + first_panel.astype("int64") * g.panel_bytes)
        used = [(i, p, c) for i in range(rows) for p in range(panels) for c in range(LINE // isa.width)]
        for i, p, c in used:
            sums[i][p][c].clear()

        def lines(first, count: int, valid: list[int]) -> None:
            for n in range(count):
                places = {(p, c): at + (p * g.panel_bytes + (first + n) * LINE + c * isa.width) for p, c in {u[1:] for u in used}}
                found = {pc: decode(T.bind(w.vload([a], f"uint8x{isa.width}"))) for pc, a in places.items()}
                for part in isa.parts(len(valid)):
                    for i in range(rows):
                        xs = {j: isa.activations(x, starts[i] + (first + n) * g.format.depth + QUAD * j, valid[j]) for j in part}
                        for (p, c), vectors in found.items():
                            isa.add([sums[i][p][c]], [(xs[j], vectors[j], decode.fields[j].magnitude) for j in part])
        _over(g, 1, lines)
        for i in range(rows):
            for p in range(panels):
                for c in range(LINE // isa.width):
                    out.set_part(sums[i][p][c].value, c, isa.lanes)
                _stored(g, first_panel + p, lambda lanes, i=i, p=p: store(out.memory, first_row + i, (first_panel + p) * ROWS, lanes))

    def column(first_panel, panels: int) -> None:
        whole, rest = divmod(g.m, height)
        if whole:
            with T.serial(whole) as i:
                tile(first_panel, panels, i * height, height)
        if rest:
            tile(first_panel, panels, T.int32(whole * height), rest)

    with T.serial(begin, end) as task:
        rest = g.panels % group
        if not rest:
            column(task * group, group)
        elif g.panels < group:
            column(task * group, rest)
        else:
            with T.If(task < g.panels // group):
                with T.Then():
                    column(task * group, group)
                with T.Else():
                    column(task * group, rest)


def _over(g: Geometry, unroll: int, lines) -> None:
    """lines(first, count, valid) over all lines of a panel: `unroll` at a time, then one by one; valid as in Geometry.valid."""
    whole = g.whole_lines // unroll
    if whole:
        with T.serial(whole) as i:
            lines(i * unroll, unroll, g.valid(0))
    for n in range(whole * unroll, g.lines):
        lines(n, 1, g.valid(n))


def _activations(isa: Isa, g: Geometry, x, start, line, valid: list[int]) -> list:
    return [isa.activations(x, start + (line * g.format.depth + QUAD * j), v) for j, v in enumerate(valid)]


def _unroll(isa: Isa, decode: Decoder) -> int:
    """Lines that are added at once: so many that sums need not wait for each other, or fill what an int16 holds."""
    if isa.scales:
        return 2 if len(decode.fields) < 4 else 1
    return max(1, min(4, isa.room(decode.fields[0].magnitude) // len(decode.fields)))


def _sums(isa: Isa, terms: int) -> list[Accumulator]:
    """One sum, or where scales differ one for each term."""
    return [Accumulator(isa.lanes) for _ in range(terms if isa.scales else 1)]


def _joined(isa: Isa, sums: list[Accumulator], decode: Decoder):
    """The sum of sums whose terms had a scale: each is a multiple of its own."""
    return reduce(add, (_divided(s.value, decode.fields[j % len(decode.fields)].scale, isa.lanes) for j, s in enumerate(sums)))


def _divided(total, scale: int, lanes: int):
    """total / scale of multiples of scale: a shift, and a product with the inverse of what is odd in it, modulo 2**32."""
    power = (scale & -scale).bit_length() - 1
    odd = scale >> power
    total = total >> splat(power, "int32", lanes) if power else total
    return total * splat(pow(odd, -1, 1 << 32), "int32", lanes) if odd > 1 else total


def _correction(isa: Isa, g: Geometry, decode: Decoder, x, start, unroll: int) -> Accumulator | None:
    """In every lane what offsets added to a row, sum over k of offset * x; None where there are no offsets."""
    offsets = [f.offset for f in decode.fields]
    if not any(offsets):
        return None
    sums = _sums(isa, unroll * len(offsets))
    for s in sums:
        s.clear()

    def lines(first, count: int, valid: list[int]) -> None:
        xs = [u for n in range(count) for u in zip(_activations(isa, g, x, start, first + n, valid), offsets) if u[1]]
        isa.add(sums, [(u, splat(o, "int8", isa.width), o) for u, o in xs])
    _over(g, unroll, lines)
    sums[0].set(reduce(add, (s.value for s in sums)))
    return sums[0]


def _stored(g: Geometry, panel, store) -> None:
    """store(lanes): all rows of a panel, or what the last one has."""
    rest = g.rows % ROWS
    if not rest:
        return store(ROWS)
    if g.rows < ROWS:
        return store(rest)
    with T.If(panel < g.rows // ROWS):
        with T.Then():
            store(ROWS)
        with T.Else():
            store(rest)
