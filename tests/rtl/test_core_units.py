"""The units of the sequential core, each alone: loops, weights, array, drain, epilogue, output, fetch; random stalls on every stream."""
from pathlib import Path

import numpy as np
import pytest

from checks import Check, agree
from hw.core.isa import REG_BITS, Command, Mode, Pass, Walk
from hw.core.model import address
from ir import ops
from sim import Case
from sim.build import LIBRARY
from sim.words import mem, pack

pytestmark = pytest.mark.slow
FOLDERS = (LIBRARY, Path(__file__).parent / "sv")
RNG = np.random.default_rng(5)
VALUE = 16


def fields(*parts: tuple[int, int]) -> int:
    """(value, bits), the highest first, as one word."""
    word = 0
    for v, bits in parts:
        word = word << bits | int(v) & (1 << bits) - 1
    return word


def writes(p: Pass) -> list[int]:
    """The beats that set the registers of a pass and start it."""
    return [fields((r, REG_BITS), (v, VALUE)) for r, v in [*p.registers().items(), (0, Command.RUN)]]


def walk(bits: int) -> Walk: return Walk(int(RNG.integers(0, 1 << bits)), tuple(RNG.integers(-40, 40, 6).tolist()))


def loops() -> Check:
    """Three passes, with levels of one step, addresses that wrap around, and positions beyond both ends."""
    cfg, want = [], []
    for counts, digits in [((3, 1, 2, 2, 1, 3), 0), ((1, 1, 1, 1, 1, 1), 7), ((2, 3, 1, 4, 2, 2), 1)]:
        p = Pass("p", Mode.MATRIX, counts, walk(10), Walk(-1, (0, 0, 1, 0, 0, 2)), Walk(-1, (0, 1, 0, 0, 1, 0)), walk(9), rows=3, cols=2, digits=digits)
        cfg += writes(p)
        x, row, col, w = (address(k, counts, inner=True).ravel() for k in (p.x, p.row, p.col, p.w))
        at = np.stack([np.broadcast_to(np.arange(n).reshape([-1 if k == 5 - lvl else 1 for k in range(6)]), counts[::-1]).ravel()
                       for lvl, n in enumerate(counts)])
        for i in range(x.size):
            ended = at[:, i] == np.array(counts) - 1
            level = int(np.argmin(ended)) if not ended.all() else 0
            before = int(np.argmin(at[:, i - 1] == np.array(counts) - 1)) if i else -1
            inside = 0 <= row[i] < 3 and 0 <= col[i] < 2
            want.append(fields((ended.all(), 1), (level - 3, 2), (ended[:3].all(), 1), (before == digits, 1), (at[1, i] == at[2, i] == 0, 1),
                               (at[0, i] > 0, 1), (inside, 1), (w[i], 9), (x[i], 10)))
    return Check(Case("qs_core_loops", dict(XBits=10, WBits=9, PosBits=5, CountBits=4, ValueBits=VALUE), {"c": cfg}, {"m": len(want)}), {"m": want})


def array(pe: int, simd: int, xb: int, wb: int, acc: int, products: int) -> Check:
    """Groups of every mode, of one step and of several, weights of two digits, ends of the ranges."""
    beats, want = [], []
    mask = (1 << acc) - 1
    for k in range(60):
        mode, steps = Mode(k % (5 if products else 4)), int(RNG.integers(1, 5))
        sx, sy, wide = RNG.integers(0, 2), RNG.integers(0, 2), mode in (Mode.MATRIX, Mode.LANES) and k % 7 == 0
        steps += mode == Mode.PRODUCT and steps % 2
        total, brought = [None] * simd, 0
        for i in range(steps):
            second = i % 2 if mode in (Mode.PRODUCT, Mode.SUM) else 0
            outside = mode == Mode.MAX and RNG.random() < .4
            code = RNG.integers(0, 1 << xb, simd) if k % 5 else np.full(simd, (1 << xb) - 1 if i % 2 else 1 << xb - 1)
            x = code - ((code >> xb - 1) << xb) * (sy if second else sx)
            w = RNG.integers(-(1 << wb - 1), 1 << wb - 1, (pe, simd))
            first, again = i < 2 if mode in (Mode.PRODUCT, Mode.SUM) else i == 0, bool(wide and i)
            starts = first and second == (mode == Mode.PRODUCT)
            beats.append(fields((k, 2), (k == 59, 1), (i == steps - 1, 1), (again, 1), (first, 1), (second, 1), (outside, 1), (sy, 1), (sx, 1), (mode, 3),
                                (pack(w, w.size, wb)[0], w.size * wb), (pack(code, simd, xb)[0], simd * xb)))
            if mode == Mode.PRODUCT and not second:
                brought = x
                continue
            terms = {Mode.MATRIX: [*(w @ x).tolist(), *(w[0] * x).tolist()[pe:]], Mode.LANES: w[0] * x, Mode.SUM: x, Mode.MAX: x,
                     Mode.PRODUCT: x * brought}[mode]
            low = -(1 << acc - 1)
            for lane, t in enumerate(map(int, terms)):
                held = (low if mode == Mode.MAX else 0) if starts else total[lane] << wb if again else total[lane]
                total[lane] = held + t if mode != Mode.MAX else max(held, low if outside else t)
        want.append(fields((k, 2), (k == 59, 1), *((v & mask, acc) for v in reversed(total))))
    return Check(Case("qs_core_array", dict(Pe=pe, Simd=simd, XWidth=xb, WWidth=wb, AccWidth=acc, Products=products), {"s": beats}, {"m": len(want)}),
                 {"m": want})


def drain(lanes: int, out: int) -> Check:
    """Rows whose end is filling, parameters that move and that stand, all levels."""
    cfg, groups, want = [], [], []
    for count, line, keep, moves in [(lanes, 2 * lanes, lanes + 1, True), (1, 1, 1, False), (lanes // 2 or 1, lanes // 2 or 1, lanes // 2 or 1, True)]:
        counts = (1, 1, 1, 2, 3, 2)
        p = Pass("p", Mode.SUM, counts, y=walk(9), p=walk(6), count=count, line=line, keep=keep, moves=moves)
        cfg += writes(p)
        ys, ps = address(p.y, counts), address(p.p, counts)
        at = np.indices(counts[::-1])[::-1].reshape(6, -1)
        for i in range(12):
            ended = at[:, i] == np.array(counts) - 1
            level = int(np.argmin(ended)) - 3 if not ended.all() else 0
            accs = RNG.integers(0, 1 << 20, lanes)
            groups.append(fields((level, 2), (i == 11, 1), (pack(accs, lanes, 20)[0], 20 * lanes)))
            for b in range(0, count, out):
                bits = sum((b + e < count and i * count % line + b + e < keep) << e for e in range(out))
                want.append(fields((i == 11 and b + out >= count, 1), (bits, out), (ys[i] + b, 9), (ps[i] + (b // out if moves else 0), 6),
                                   (pack(accs[b:b + out], out, 20)[0] if len(accs[b:b + out]) == out else 0, 20 * out)))
    return Check(Case("qs_core_drain", dict(Lanes=lanes, Out=out, AccWidth=20, YBits=9, PBits=6, RowBits=5, ValueBits=VALUE),
                      {"c": cfg, "s": groups}, {"m": len(want)}), {"m": want})


def epilogue(out: int, shift: int, zero: int, lo: int, hi: int, table: bool = False) -> Check:
    """Ties, both bounds, both ends of the accumulator, negative multipliers."""
    acc, bias_bits, mul_bits, width, n = 20, 12, 9, 10, 300
    bias, mul = RNG.integers(-2048, 2048, (4, out)), RNG.choice([1, -1, 2, 64, 128, -256, 255, 77], (4, out))
    x, p, tag = RNG.integers(-(1 << 16), 1 << 16, (n, out)), RNG.integers(0, 4, n), RNG.integers(0, 16, n)
    x[:40] = RNG.integers(-40, 40, (40, out)) * (1 << shift >> 1)
    x[40, 0], x[41, 0] = -(1 << 19) + 4096, (1 << 19) - 4096
    y = ops.requant(x + bias[p], mul[p], shift, zero, lo, hi)
    entries = RNG.integers(-500, 500, hi - lo + 1)
    if table:
        y = entries[y - lo]
    feed = [fields((t, 4), (q, 2), (pack(v, out, acc)[0], out * acc)) for t, q, v in zip(tag, p, x)]
    want = [fields((t, 4), (pack(v, out, width)[0], out * width)) for t, v in zip(tag, y)]
    rows = [sum(fields((m, mul_bits), (b, bias_bits)) << e * (bias_bits + mul_bits) for e, (b, m) in enumerate(zip(*row))) for row in zip(bias, mul)]
    mems = {"p.mem": mem(rows, out * (bias_bits + mul_bits))} | ({"t.mem": mem(entries, width)} if table else {})
    return Check(Case("core_epilogue", dict(
        Out=out, AccWidth=acc, BiasWidth=bias_bits, MulWidth=mul_bits, ShiftBits=5, OutWidth=width, Shift=shift, Zero=zero, Lo=lo, Hi=hi, Base=-lo,
        Entries=len(entries) if table else 1, ParamFile="p.mem", TableFile="t.mem" if table else ""), {"s": feed}, {"m": n}, mems), {"m": want})


def weights(pe: int, simd: int, width: int, halvings: int) -> Check:
    """Every address of every format, all rows and one row."""
    words, units = 4, pe << halvings
    bits = pe * simd * width
    content = [int.from_bytes(RNG.bytes(bits // 8 + 1), "little") & (1 << bits) - 1 for _ in range(words)]
    flat = sum(w << bits * k for k, w in enumerate(content))
    addr_bits, unit = (words * units).bit_length(), simd * (width >> halvings)
    feed, want = [], []
    for form in range(halvings + 1):
        for one_row in (0, 1):
            rows, step = (1 if one_row else pe), ((1 if one_row else pe) << halvings) >> form
            for at in range(0, words * units, step):
                b = width >> form
                codes = [flat >> at * unit + i * b & (1 << b) - 1 for i in range(rows * simd)]
                row = sum(((c - ((c >> b - 1) << b)) & (1 << width) - 1) << i * width for i, c in enumerate(codes))
                if not one_row:
                    feed.append(fields((0, 1), (form, 2), (at, addr_bits)))
                    want.append(row)
                elif pe == 1:
                    feed.append(fields((1, 1), (form, 2), (at, addr_bits)))
                    want.append(row)
    return Check(Case("core_weights", dict(Pe=pe, Simd=simd, Width=width, Halvings=halvings, Words=words, AddrWidth=addr_bits, WordBits=bits),
                      {"f": [fields((k, 2), (w, bits)) for k, w in enumerate(content)], "s": feed}, {"m": len(want)}), {"m": want})


def output(n: int) -> Check:
    counts, beats = RNG.integers(0, n + 1, 80), RNG.integers(0, 256, (80, n))
    feed = [fields(((1 << c) - 1, n), (pack(b, n, 8)[0], 8 * n)) for c, b in zip(counts, beats)]
    want = [int(v) for c, b in zip(counts, beats) for v in b[:c]]
    return Check(Case("qs_core_out", dict(In=n, Width=8), {"s": feed}, {"m": len(want)}), {"m": want})


def fetch() -> Check:
    cfg, asked, words, want = [], [], [], []
    for far, near, n in [(1000, 3, 5), (7, 0, 1), (60_000, 10, 6)]:
        cfg += [fields((r, REG_BITS), (v, VALUE)) for r, v in [(80, far), (81, near), (82, n), (0, Command.FETCH)]]
        asked.append(fields((n, 5), (far, 16)))
        words += RNG.integers(0, 1 << 32, n).tolist()
        want += [fields((near + k, 4), (words[len(want) + k], 32)) for k in range(n)]
    return Check(Case("qs_core_fetch", dict(WordBits=32, FarBits=16, NearBits=4, ValueBits=VALUE), {"c": cfg, "s": words},
                      {"a": len(asked), "m": len(want)}), {"a": asked, "m": want})


def sequencer(program: list[tuple[int, int]], want: list[int], beats: int) -> Check:
    """The words in order, again after HALT; after an error none.  want: indices of the words that come, -1 for the error."""
    words = [fields((r, REG_BITS), (v, VALUE)) for r, v in program]
    bits = REG_BITS + VALUE
    out = [(1 << bits + 4) - 1 if k < 0 else fields((0, 1), (k, 3), (words[k], bits)) for k in want]
    params = dict(Words=len(words), ValueBits=VALUE, AddrWidth=3, File="p.mem")
    return Check(Case("core_seq", params, {}, {"m": beats}, {"p.mem": mem(words, bits)}, surplus=True), {"m": out})


def axi_read(word: int, bus: int, burst: int, base: int, faulty: int = -1) -> Check:
    """Runs that cross borders of 4096 bytes and bursts that are full; an error in one beat is told from then on."""
    asked, requests, beats, want, error = [], [], [], [], 0
    for far, n in [(3, 1), (500, 15), (31, 9), (200, 0), (255, 4)]:
        asked.append(fields((n, 4), (far, 9)))
        at, left = base + far * word // 8, n * word // bus
        while left:
            size = min(left, burst, (4096 - at % 4096) // (bus // 8))
            requests.append(fields((1, 2), ((bus // 8).bit_length() - 1, 3), (size - 1, 8), (at, 32)))
            at, left = at + size * bus // 8, left - size
        for _ in range(n):
            parts = [int.from_bytes(RNG.bytes(bus // 8), "little") for _ in range(word // bus)]
            for v in parts:
                bad = len(beats) == faulty
                error |= bad
                beats.append(fields((0, 1), (2 * bad, 2), (v, bus)))
            want.append(fields((error, 1), (sum(v << bus * k for k, v in enumerate(parts)), word)))
    return Check(Case("core_axi_read", dict(WordBits=word, FarBits=9, DataWidth=bus, Burst=burst, Base=base), {"a": asked, "r": beats},
                      {"q": len(requests), "m": len(want)}), {"q": requests, "m": want})


def test_units(tmp_path):
    """All of them side by side in one build."""
    agree([loops(), array(2, 4, 8, 8, 24, 1), array(4, 4, 5, 4, 20, 0), array(1, 16, 8, 2, 20, 0), array(8, 16, 4, 4, 22, 1), drain(4, 2), drain(8, 1),
           drain(4, 4), epilogue(2, 7, 5, -100, 90), epilogue(1, 0, 0, -512, 511), epilogue(4, 13, -3, 0, 60, True), epilogue(2, 1, 200, 0, 255),
           weights(2, 4, 8, 1), weights(1, 8, 4, 0), weights(4, 2, 8, 2), weights(1, 4, 8, 2), output(1), output(4), fetch(),
           sequencer([(9, 7), (0, 1), (64, 300), (0, 3), (0, 0)], [0, 1, 2, 3, 4] * 4, 20), sequencer([(9, 7), (0, 4), (0, 0), (8, 1), (0, 0)], [0, -1, -1], 3),
           sequencer([(9, 7), (0, 1), (5, 5), (6, 6), (7, 7)], [0, 1, 2, 3, 4, -1, -1], 7),
           axi_read(128, 64, 16, 4096 - 64), axi_read(64, 64, 256, 0), axi_read(512, 32, 64, 128, 40)],
          tmp_path, folders=FOLDERS)
