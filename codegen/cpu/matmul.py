"""Products of two activations: the second one packed as weights are, then tiles of registers.

A stored byte is an integer less a base.  With a = a' + p and b = b' + q, a' and b' what the instruction multiplies, a sum over k is
sum a' b' + p (sum b' + K q) + q sum a': the middle term is one number for each column, the last one for each row.
"""
import itertools

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ir import Ints, Node

from ..tir import bits, cast, reduced
from ..words import calc, magnitude
from .body import Body
from .dots import Four, Halves
from .isa import Isa
from .kernel import Kernel, Tensor, lane, loops, pieces
from .layout import Pack, Packed

SIGN = 0x80808080  # takes unsigned bytes to signed ones, 128 less each


def write_matmul(k: Kernel, n: Node, a: Tensor, b: Tensor, types: dict[str, Ints], body: Body) -> None:
    """In int32 or wider, columns side by side, one row at a time."""
    *lead, rows, columns = n.type.shape
    inner = a.place.shape[-1]
    dtype = calc(magnitude(types[n.args[0]]) * magnitude(types[n.args[1]]) * inner)
    with k.tasks(*lead, rows) as (*i, r):
        for start, count, size in pieces(columns, k.isa.lanes):
            with loops(count) as (q,):
                acc = k.registers(size, dtype)
                c = start + q * size
                with T.vectorized(size) as v:
                    T.buffer_store(acc, tirx.const(0, dtype), [v])
                with loops(inner) as (j,), T.vectorized(size) as v:
                    T.buffer_store(acc, acc[v] + a.value(*i, r, j, dtype=dtype) * b.value(*i, j, c + v, dtype=dtype), [v])
                with T.vectorized(size) as v:
                    body.store([*i, r, c + v], **{n.name: acc[v]})


def write_pack(k: Kernel, step: Pack) -> None:
    """The second factor as [vector of columns][four of its rows][column][row], signed, zero behind its end.

    With it go what the sums of the columns start from, and what the rows of the first factor add to them.
    """
    a, b, to = k.tensor(step.left), k.tensor(step.right), step.to
    (*lead, inner, _), lanes = b.place.shape, k.isa.lanes
    steps, vectors = to.steps, to.vectors
    codes, starts = k.buffer(to.codes), k.buffer(to.starts)
    flip = tirx.const(SIGN if k.isa.byte == "uint8" else 0, "uint32")
    p, q = step.left.base, to.right_base
    with k.tasks(*lead, vectors) as (*i, o):
        task = flat(i, lead)
        first = (task * vectors + o) * steps * lanes * 4

        def put(s, v, size: int, rows: int):
            """Four rows of `size` columns as words; the last ones may be fewer."""
            if size == 1:
                word = T.reinterpret(b.buffer[T.ramp(b.at(*i, s * 4, o * lanes + v), 1, 4)], dtype="uint32")
            else:
                word = tirx.const(0, f"uint32x{size}")
                for j in range(rows):
                    byte = cast(bits(b.stored(*i, s * 4 + j, lane(o * lanes + v, size)), "uint8"), "uint32")
                    word = word | byte << tirx.const(8 * j, "uint32")
            word = (word ^ flip) & tirx.const((1 << 8 * rows) - 1, "uint32")
            T.buffer_store(codes, T.reinterpret(word, dtype=f"int8x{4 * size}"), [T.ramp(first + (s * lanes + v) * 4, 1, 4 * size)])

        def fours(s, rows: int):
            if b.place.strides[-2] == 1:  # four of a column lie side by side
                with T.serial(lanes) as v:
                    put(s, v, 1, rows)
            else:
                put(s, 0, lanes, rows)
        with loops(inner // 4) as (s,):
            fours(s, 4)
        if inner % 4:
            fours(inner // 4, inner % 4)
        at = T.ramp((task * vectors + o) * lanes, 1, lanes)
        if p:
            of_sums, more = (k.number(("column", i), v, "int32") for i, v in enumerate((p, p * inner * q)))
            T.buffer_store(starts, column_sums(k, codes, first, steps) * of_sums + more, [at])
        else:
            T.buffer_store(starts, T.broadcast(tirx.const(0, "int32"), lanes), [at])
        if to.rows is not None:
            sums, height = k.buffer(to.rows), a.place.shape[-2]
            per = -(-height // vectors)  # this task's share of the rows
            with loops(per) as (j,):  # not from o * per on: TVM 0.27 mistakes a begin that depends on a loop which has one itself
                r = o * per + j
                with T.If(r < height), T.Then():
                    T.buffer_store(sums, total(k, a, [*i, r], inner) * k.number("row", q, "int32"), [task * height + r])


def column_sums(k: Kernel, codes, first, steps: int):
    """The sums of the packed columns."""
    lanes, dot = k.isa.lanes, product(k.isa)
    acc, whole = k.registers(lanes), T.ramp(0, 1, lanes)
    T.buffer_store(acc, T.broadcast(tirx.const(0, "int32"), lanes), [whole])
    ones = T.broadcast(tirx.const(0x01010101, "int32"), lanes)
    with loops(steps) as (s,):
        T.buffer_store(acc, dot.add(acc[whole], dot.operand(ones), dot.weights(codes, first + s * lanes * 4)), [whole])
    return acc[whole]


def product(isa: Isa) -> Four | Halves:
    """How four bytes in each lane are multiplied by four packed ones."""
    return Four(isa.lanes) if isa.four else Halves(isa.lanes)


def total(k: Kernel, a: Tensor, row: list, inner: int):
    """The sum of the stored codes of a row."""
    acc, lanes = k.registers(k.isa.lanes), k.isa.lanes
    T.buffer_store(acc, T.broadcast(tirx.const(0, "int32"), lanes), [T.ramp(0, 1, lanes)])
    for start, count, size in pieces(inner, lanes):
        with loops(count) as (q,), T.vectorized(size) as v:
            T.buffer_store(acc, acc[v] + a.stored(*row, start + q * size + v).astype("int32"), [v])
    return reduced("add", acc[T.ramp(0, 1, lanes)])


def flat(index: list, shape: list[int]):
    """The number of an index when counted through."""
    at = 0
    for i, s in zip(index, shape):
        at = at * s + i
    return at


def write_packed_matmul(k: Kernel, n: Node, a: Tensor, packed: Packed, body: Body) -> None:
    """Rows by vectors of columns in tiles of registers."""
    *lead, rows, columns = n.type.shape
    lanes, steps, vectors, dot = k.isa.lanes, packed.steps, packed.vectors, product(k.isa)
    codes, starts = k.buffer(packed.codes), k.buffer(packed.starts)
    sums = k.buffer(packed.rows) if packed.rows is not None else None
    parts = -(-vectors // (5 if k.isa.registers == 32 else 3 if k.isa.four else 2))
    widths = [vectors // parts + (i < vectors % parts) for i in range(parts)]
    tall = next(t for t in range(min(rows, 24 // max(widths)), 0, -1) if t == 1 or dot.registers(t, max(widths)) <= k.isa.registers)
    lift = body.lift(n, single=True)
    shift = None if lift is None else k.number("lift", -int(lift[0]), "int32")
    tiles, rest = divmod(rows, tall)
    with k.tasks(*lead, tiles + bool(rest)) as (*i, tile):
        task = flat(i, lead)

        def part(count: int, first: int, width: int):
            acc = [k.registers(width * lanes) for _ in range(count)]
            for p, j in itertools.product(range(count), range(width)):
                start = starts[T.ramp((task * vectors + first + j) * lanes, 1, lanes)]
                if sums is not None:
                    row = sums[task * rows + tile * tall + p]
                    start = start + T.broadcast(row if shift is None else row + shift, lanes)
                elif shift is not None:
                    start = start + T.broadcast(shift, lanes)
                T.buffer_store(acc[p], start, [T.ramp(j * lanes, 1, lanes)])
            with loops(steps) as (s,):
                at = [((task * vectors + first + j) * steps + s) * lanes * 4 for j in range(width)]
                ws = [dot.weights(codes, v) for v in at]
                for p in range(count):
                    x = dot.input(a, a.at(*i, tile * tall + p, s * 4))
                    for j in range(width):
                        at = T.ramp(j * lanes, 1, lanes)
                        T.buffer_store(acc[p], dot.add(acc[p][at], x, ws[j]), [at])
            for p, j in itertools.product(range(count), range(width)):
                for start, number, z in pieces(min(lanes, columns - (first + j) * lanes), lanes):
                    for at in (j * lanes + start + m * z for m in range(number)):
                        body.store([*i, tile * tall + p, lane(first * lanes + at, z)], **{n.name: acc[p][lane(at, z)]})

        def all_parts(count: int):
            for first, width in zip(itertools.accumulate([0, *widths]), widths):
                part(count, first, width)
        if tiles and rest:
            with T.If(tile < tiles):
                with T.Then():
                    all_parts(tall)
                with T.Else():
                    all_parts(rest)
        else:
            all_parts(tall if tiles else rest)
