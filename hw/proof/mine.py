"""Guesses of what always holds between a module's registers and the counts of its streams, read off random runs.

A guess is only a candidate: engine.py keeps those that it proves.  Forms: affine equalities (found as the null space of the
samples), equalities of three terms modulo the length of a counter, intervals, and intervals where another quantity has some
value; and, for the data, which register holds a beat.
"""
import itertools
import re
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import z3

from .sample import Samples
from .streams import Side, Streams
from .system import System, bits
from .unroll import View

WIDE = 16     # bits in which the guesses are written
MOST = 12     # bits of a register that is taken for a counter
FEW, MANY = 4, 400  # pairs of a register and a beat: up to FEW a memory is looked at word by word, more than MANY are left
VALUES = 16   # different values up to which a quantity is looked at one by one

Guess = Callable[[View], z3.BoolRef]


class Quantity:
    """A small number of each cycle: a register that the reset sets, a beat counter, a distance in frames between two streams."""

    def __init__(self, name: str, at: Callable[[View], z3.BitVecRef]):
        self.name, self.at = name, at

    def wide(self, v: View) -> z3.BitVecRef:
        return self.at(v)


def quantities(system: System, watch: Streams) -> list[Quantity]:
    """What guesses are made of."""
    sides, out = watch.claim.sides, []
    beat_bits = {s.bits for s in sides}
    small = {n: e for n, e in system.data.items() if bits(e) <= MOST and all(bits(e) % b for b in beat_bits)}
    for name, e in (system.reset | small).items():
        if bits(e) <= MOST:
            out.append(Quantity(name, lambda v, e=e: _unsigned(v.at(e))))
    last = watch.claim.outs[0]
    for s in sides:
        out += [Quantity(f"held.{s.name}", lambda v, n=f"held.{s.name}": _unsigned(v.ghost[n])),
                Quantity(f"odd.{s.name}", lambda v, n=f"frame.{s.name}": z3.ZeroExt(WIDE - 1, z3.Extract(0, 0, v.ghost[n])))]
        if s is not last:
            out.append(Quantity(f"frame.{s.name}", lambda v, s=s: _apart(watch, v, s, last)))
        if s.beats > 1:
            out.append(Quantity(f"beat.{s.name}", lambda v, s=s: _unsigned(v.ghost[f"beat.{s.name}"])))
            out.append(Quantity(f"total.{s.name}", lambda v, s=s: _apart(watch, v, s, last) * s.beats + _unsigned(v.ghost[f"beat.{s.name}"])))
    if last.beats > 1:
        out.append(Quantity("issued", lambda v: _unsigned(v.ghost[f"beat.{last.name}"]) + _bit(last.valid(v))))
    return out


def _apart(watch: Streams, v: View, s: Side, last: Side) -> z3.BitVecRef:
    """Frames that stream s has finished and the last output has not."""
    return z3.SignExt(WIDE - watch.width, v.ghost[f"frame.{s.name}"] - v.ghost[f"frame.{last.name}"])


def samples(system: System, watch: Streams, wanted: Sequence[Quantity], seed: int = 0) -> np.ndarray:
    """(cycles, quantities): different values in random runs after the reset, all of them reached by the module."""
    view = View(system, 0, watch.ghosts)
    table = Samples(system, watch, [q.wide(view) for q in wanted], view, seed).table().astype(np.int64)
    return table - ((table >> WIDE - 1) << WIDE)


def broken(system: System, watch: Streams) -> bool:
    """Does a random run show that a property of the watch does not hold?"""
    view = View(system, 0, watch.ghosts)
    return bool((Samples(system, watch, list(watch.check(view).values()), view).table() == 0).any())


def counts(system: System, watch: Streams, seed: int = 0) -> list[Guess]:
    """Candidates about registers and counts."""
    wanted = quantities(system, watch)
    if not wanted:
        return []
    seen = samples(system, watch, wanted, seed)
    if not len(seen):
        return []
    return [*_affine(wanted, seen), *_modular(wanted, seen), *_ranges(wanted, seen), *_where(wanted, seen)]


def places(system: System, watch: Streams, seed: int = 1) -> list[Guess]:
    """Candidates that say where a marked beat lies: "if it is inside, and two facts hold, then this register has it"."""
    out, base = watch.claim.outs[0], f"frame.{watch.claim.outs[0].name}"
    ahead = Quantity("ahead", lambda v: z3.SignExt(WIDE - watch.width, v.ghost["marked"] - v.ghost[base]))
    queued = Quantity("queued", lambda v: ahead.at(v) - z3.If(out.valid(v), z3.BitVecVal(1, WIDE), z3.BitVecVal(0, WIDE)))
    odd = Quantity("odd", lambda v: z3.ZeroExt(WIDE - 1, z3.Extract(0, 0, v.ghost["marked"])))
    wanted = [*quantities(system, watch), ahead, queued, odd]
    beats = [(s, b) for s in watch.claim.ins for b in range(s.beats)]
    inside = [Quantity("", lambda v, s=s, b=b: _bit(z3.And(ahead.at(v) >= 0, watch.taken(v, s, b)))) for s, b in beats]
    widths = {s.bits for s in watch.claim.ins if s.bits > 1}
    chunks = [(e, k, w) for w in widths for e in system.data.values() if bits(e) % w == 0 for k in range(0, bits(e), w)]
    pairs = [(c, i) for c in chunks for i, (s, _) in enumerate(beats) if c[2] == s.bits]
    same = [Quantity("", lambda v, c=c, n=f"in.{beats[i][0].name}.{beats[i][1]}": _bit(_chunk(v, *c) == v.ghost[n])) for c, i in pairs]
    if len(pairs) > FEW and len(beats) == watch.claim.outs[0].beats == 1 and memories(system, beats[0][0].bits):
        return _slots(system, watch, [ahead, queued], seed)
    if not pairs or len(pairs) > MANY:
        return []
    seen = samples(system, watch, [*wanted, *inside, *same], seed)
    found = []
    for n, (_, i) in enumerate(pairs):
        rows = seen[seen[:, len(wanted) + i] == 1]
        for x in (0, 1):  # of a double buffer one half has the odd frames
            part = rows[rows[:, len(wanted) - 1] == x]
            for facts in _when(wanted, part[:, :len(wanted)], part[:, len(wanted) + len(inside) + n] == 1):
                facts = [(inside[i], 1), (odd, x), *facts]
                found.append(lambda v, n=n, f=facts: z3.Implies(z3.And([q.wide(v) == y for q, y in f]), same[n].at(v) == 1))
    return found


def _slots(system: System, watch: Streams, ways: list[Quantity], seed: int) -> list[Guess]:
    """For memories with many words: "what waits `way` behind a pointer lies at pointer + way, modulo the number of words"."""
    s = watch.claim.ins[0]
    pointers = [q for q in quantities(system, watch) if q.name.startswith("register")]
    at: list[Quantity] = []
    for words in memories(system, s.bits):
        for way in ways:
            for q in pointers:
                at.append(Quantity("", lambda v, words=words, way=way, q=q: _bit(z3.And([
                    z3.Implies(z3.And(way.at(v) >= 0, z3.Or([q.wide(v) + way.at(v) == k + n * len(words) for n in (0, 1)])),
                               v.at(e) == v.ghost[f"in.{s.name}.0"]) for k, e in enumerate(words)]))))
    out = watch.claim.outs[0]
    here = Quantity("", lambda v: _bit(z3.Implies(z3.And(ways[0].at(v) == 0, out.valid(v)), out.data(v) == v.ghost[f"in.{s.name}.0"])))
    at = [*at, here] if out.bits == s.bits and s.beats == out.beats == 1 else []
    inside = Quantity("", lambda v: _bit(z3.And(ways[0].at(v) >= 0, watch.taken(v, s, 0))))
    seen = samples(system, watch, [inside, *at], seed)
    seen = seen[seen[:, 0] == 1]
    return [lambda v, q=q: z3.Implies(inside.at(v) == 1, q.at(v) == 1) for k, q in enumerate(at, 1) if len(seen) and seen[:, k].all()]


def memories(system: System, width: int) -> list[list[z3.ExprRef]]:
    """The words of each memory whose words have this many bits, from address 0 on."""
    found: dict[str, dict[int, z3.ExprRef]] = {}
    for name, e in system.wires.items():
        if (m := re.fullmatch(r"(.+)\[(\d+)\]", name)) and bits(e) == width:
            found.setdefault(m[1], {})[int(m[2])] = e
    return [[words[k] for k in range(len(words))] for words in found.values() if set(words) == set(range(len(words)))]


def _when(wanted: list[Quantity], rows: np.ndarray, holds: np.ndarray) -> list[list[tuple[Quantity, int]]]:
    """The weakest conditions "quantity = value", none, one or two of them, under which `holds` was always seen."""
    if holds.all():
        return [[]] if len(rows) else []
    facts = [(k, int(x)) for k in range(len(wanted)) for x in np.unique(rows[:, k]) if np.unique(rows[:, k]).size > 1]
    if not facts:
        return []
    table = np.stack([rows[:, k] == x for k, x in facts], 1).astype(np.int64)
    bad, all_ = table[~holds].T @ table[~holds], table.T @ table
    alone = [j for j in range(len(facts)) if bad[j, j] == 0]
    rest = [j for j in range(len(facts)) if bad[j, j]]
    two = [(a, b) for a, b in itertools.combinations(rest, 2) if bad[a, b] == 0 < all_[a, b] and facts[a][0] != facts[b][0]]
    return [[(wanted[facts[j][0]], facts[j][1]) for j in js] for js in [*((j,) for j in alone), *two]]


def _affine(wanted: list[Quantity], seen: np.ndarray) -> list[Guess]:
    """sum of coefficient * quantity = constant."""
    table = np.concatenate([seen, np.ones((len(seen), 1), np.int64)], 1)
    out = []
    for row in null_space(table.tolist()):
        scale = np.lcm.reduce([f.denominator for f in row])
        whole = [int(f * scale) for f in row]
        if max(map(abs, whole)) < 1 << 10:
            out.append(lambda v, w=whole: _sum(v, wanted, w[:-1]) == -w[-1])
    return out


def null_space(rows: list[list[int]]) -> list[list[Fraction]]:
    """A basis of the vectors that every row annuls, by Gauss and Jordan."""
    m = [[Fraction(x) for x in r] for r in rows]
    pivots: list[int] = []
    for col in range(len(rows[0])):
        k = len(pivots)
        pivot = next((r for r in range(k, len(m)) if m[r][col]), None)
        if pivot is None:
            continue
        m[k], m[pivot] = m[pivot], m[k]
        m[k] = [x / m[k][col] for x in m[k]]
        for r in range(len(m)):
            if r != k and m[r][col]:
                f = m[r][col]
                m[r] = [a - f * b for a, b in zip(m[r], m[k])]
        pivots.append(col)
        m = m[:k + 1] + [r for r in m[k + 1:] if any(r)]
    out = []
    for free in set(range(len(rows[0]))) - set(pivots):
        vector = [Fraction(0)] * len(rows[0])
        vector[free] = Fraction(1)
        for k, p in enumerate(pivots):
            vector[p] = -m[k][free]
        out.append(vector)
    return out


def _modular(wanted: list[Quantity], seen: np.ndarray) -> list[Guess]:
    """a - b, a - b - c or a - b + c is a constant modulo the number of values of a."""
    out, n = [], len(wanted)
    varies = [k for k in range(n) if seen[:, k].max() > seen[:, k].min()]
    for a in varies:
        period = int(seen[:, a].max()) + 1
        if period < 2 or seen[:, a].min() < 0:
            continue
        for b, c, sign in [*((b, None, 0) for b in varies), *((b, c, s) for b in varies for c in varies for s in (-1, 1) if b != c)]:
            if a in (b, c):
                continue
            left = seen[:, a] - seen[:, b] + (sign * seen[:, c] if sign else 0)
            values = np.unique(left)
            if 1 < len(values) <= 3 and not ((values - values[0]) % period).any():
                w = [0] * n
                w[a], w[b] = 1, -1
                if sign:
                    w[c] = sign
                out.append(lambda v, w=w, values=values: z3.Or([_sum(v, wanted, w) == int(x) for x in values]))
    return out


def _ranges(wanted: list[Quantity], seen: np.ndarray) -> list[Guess]:
    out = []
    for k, q in enumerate(wanted):
        lo, hi = int(seen[:, k].min()), int(seen[:, k].max())
        out += [lambda v, q=q, lo=lo: q.wide(v) >= lo, lambda v, q=q, hi=hi: q.wide(v) <= hi]
    return out


def _where(wanted: list[Quantity], seen: np.ndarray) -> list[Guess]:
    """Where one quantity has a value, another one lies in an interval narrower than its own."""
    out = []
    for k, q in enumerate(wanted):
        values = np.unique(seen[:, k])
        if not 1 < len(values) <= VALUES:
            continue
        for x in values.tolist():
            rows = seen[seen[:, k] == x]
            for j, other in enumerate(wanted):
                lo, hi = int(rows[:, j].min()), int(rows[:, j].max())
                if j != k and lo > seen[:, j].min():
                    out.append(lambda v, q=q, x=x, o=other, lo=lo: z3.Implies(q.wide(v) == x, o.wide(v) >= lo))
                if j != k and hi < seen[:, j].max():
                    out.append(lambda v, q=q, x=x, o=other, hi=hi: z3.Implies(q.wide(v) == x, o.wide(v) <= hi))
    return out


def _sum(v: View, wanted: list[Quantity], weights: list[int]) -> z3.BitVecRef:
    return sum((q.wide(v) * w for q, w in zip(wanted, weights) if w), z3.BitVecVal(0, WIDE))


def _bit(e: z3.BoolRef) -> z3.BitVecRef: return z3.If(e, z3.BitVecVal(1, WIDE), z3.BitVecVal(0, WIDE))


def _chunk(v: View, e: z3.ExprRef, at: int, n: int) -> z3.BitVecRef: return z3.Extract(at + n - 1, at, v.at(e))


def _unsigned(e: z3.ExprRef) -> z3.BitVecRef:
    return z3.If(e, z3.BitVecVal(1, WIDE), z3.BitVecVal(0, WIDE)) if z3.is_bool(e) else z3.ZeroExt(WIDE - e.size(), e)
