"""What the vector path of a core computes, command by command, with ir.ops; the beats that go in and those that must come out."""
from dataclasses import dataclass, field

import numpy as np

from checks import Check
from ir import ops
from ir.lm import Curve, Words
from sim import Case
from sim.words import mem, pack

TAPS = ("value", "curve", "forget", "state", "silu", "gated", "residual", "vector")
RAW, FORGET, INPUT, GLU, RESIDUAL, EMBED = range(6)
SHIFT_BITS, TAG_BITS, SUM_BITS = 6, 4, 52


def fields(*parts: tuple[int, int]) -> int:
    """(value, bits), the highest first, as one word."""
    word = 0
    for v, bits in parts:
        word = word << bits | int(v) & (1 << bits) - 1
    return word


def bits(n: int) -> int: return max((n - 1).bit_length(), 1)


@dataclass
class Path:
    """A path of given widths, its memories, and all beats so far.  Gains are (rows of GainFile, 2) and (layers * dim, 2), v0 or v1 first."""
    words: Words
    dim: int
    hidden: int
    layers: int
    sigmoid: Curve
    silu: Curve
    gains: np.ndarray
    more: np.ndarray
    lower: np.ndarray
    lanes: int = 2
    acc_bits: int = 17
    emb_bits: int = 16
    limits: dict = field(default_factory=dict)  # parameters that bound the shifts
    commands: list = field(default_factory=list)
    sums: list = field(default_factory=list)
    rows: list = field(default_factory=list)
    tops: list = field(default_factory=list)
    reads: list = field(default_factory=list)

    def __post_init__(self):
        self.depth = max(self.dim, self.hidden)
        self.row_bits = self.depth.bit_length()
        self.taps = {t: [] for t in TAPS}
        self.kept = np.zeros(self.depth, np.int64)
        self.gate = np.zeros(self.dim, np.int64)
        self.h = np.zeros(self.dim, np.int64)
        self.state = np.zeros(self.layers * self.dim, np.int64)
        self.vectors = [np.zeros(self.dim if j in (1, 2) else self.depth, np.int64) for j in range(4)]
        self.top, self.sum, self.tag = [None] * 4, None, 0

    def command(self, mode: int, acc, factor: int = 1, shift: int = 0, product: int = 0, gain_shifts=(0,) * 4, gain_base: int = 0, base: int = 0,
                everything: bool = False, fresh: bool = False, wait: bool = False) -> None:
        """Rows of `acc` (of the embedding in EMBED) under one command; wait: only when nothing of the commands before is under way."""
        acc, n, w = np.asarray(acc, np.int64), len(acc), self.words
        self.tag = (self.tag + 1) % (1 << TAG_BITS)
        self.commands.append(self._word(int(wait), mode, n, factor, shift, product, gain_shifts, gain_base, base, everything, fresh))
        width = self.emb_bits if mode == EMBED else self.acc_bits
        (self.rows if mode == EMBED else self.sums).extend(fields((k, self.row_bits), (a, width)) for k, a in enumerate(acc))
        at = np.arange(n)
        x = None
        if mode == RAW:
            self.kept[:n] = acc
            self.sum = int((ops.round_shift(acc, shift) ** 2).sum())
        elif mode == EMBED:
            x = self.h[:n] = acc
            self._tap("residual", x, w.residual_bits)
        else:
            y = ops.clamp(ops.round_shift(acc * factor, shift), *(w.residuals if mode == RESIDUAL else w.gates))
            self._tap("value", y, max(w.residual_bits, self.gate_bits))
        if mode == RESIDUAL:
            x = self.h[:n] = ops.clamp(self.h[:n] + y, *w.residuals)
            self._tap("residual", x, w.residual_bits)
        if mode == FORGET:
            f = self._curve(self.sigmoid, y)
            self.gate[:n] = ops.clamp(self.lower[base + at] + ops.round_shift(f * ((1 << w.sigmoid) - self.lower[base + at]), w.sigmoid), 0, (1 << w.sigmoid) - 1)
            self._tap("forget", self.gate[:n], w.sigmoid)
        if mode == INPUT:
            c = ((1 << w.sigmoid) - self.gate[:n]) * self._curve(self.silu, y) << w.state - w.gate
            old = self.state[base + at] * (not fresh)
            state = ops.clamp(ops.round_shift(self.gate[:n] * old + c, w.sigmoid), -1 << 31, (1 << 31) - 1)
            self.state[base + at] = state
            self._tap("state", state, 32)
            z = line(self.silu, ops.clamp(ops.round_shift(state, w.state - w.gate), *w.gates), w.piece_bits)
            self._tap("silu", z, self.gate_bits)
        if mode == GLU:
            z = self._curve(self.silu, y)
        if mode in (INPUT, GLU):
            x = ops.clamp(ops.round_shift(self.kept[:n] * z, product), -w.vector, w.vector)
            self._tap("gated", x, w.vector_bits)
        if x is not None:
            self._gains(x, gain_shifts, gain_base, base, everything)

    def ask(self) -> None:
        """The largest magnitudes and the sum, when nothing is under way."""
        self.commands.append(self._word(2))
        self.tops.append(fields(*((t, self.words.vector_bits - 1) for t in self.top[::-1]), (self.sum, SUM_BITS)))

    def read(self, vector: int, address: int) -> None:
        """One word of a vector."""
        self.commands.append(self._word(3, vector=vector, address=address))
        part = self.vectors[vector][self.lanes * address:self.lanes * (address + 1)]
        self.reads.append(pack(part, self.lanes, self.words.vector_bits)[0])

    def check(self) -> Check:
        w = self.words
        mems = {"gains.mem": [fields((u, 18), (v, 18)) for v, u in self.gains], "more.mem": [fields((b, 18), (a, 18)) for a, b in self.more]}
        mems = {n: mem(rows, 36) for n, rows in mems.items()} | {"lower.mem": mem(self.lower, w.sigmoid + 1)}
        curves = [[fields((s, 14), (v, 30)) for s, v in zip(c.slope.tolist(), c.value.tolist())] for c in (self.sigmoid, self.silu)]
        mems |= {"curves.mem": mem(curves[0] + curves[1], 44), "silu.mem": mem(curves[1], 44)}
        params = dict(
            Dim=self.dim, Hidden=self.hidden, Layers=self.layers, Lanes=self.lanes, AccWidth=self.acc_bits, FactorWidth=w.factor_bits,
            ResWidth=w.residual_bits, VecWidth=w.vector_bits, EmbWidth=self.emb_bits, Gate=w.gate, GateWidth=self.gate_bits, PieceBits=w.piece_bits,
            Sigmoid=w.sigmoid, State=w.state, SigmoidShift=self.sigmoid.shift, SigmoidLo=self.sigmoid.lo, SigmoidHi=self.sigmoid.hi,
            SiluShift=self.silu.shift, SiluLo=self.silu.lo, SiluHi=self.silu.hi, GainRows=len(self.gains), GainFile="gains.mem", MoreFile="more.mem",
            LowerFile="lower.mem", CurvesFile="curves.mem", SiluFile="silu.mem", RowBits=self.row_bits, BaseBits=bits(self.layers * self.dim),
            GainBits=bits(len(self.gains)), ReadBits=self.read_bits, YWidth=max(w.residual_bits, self.gate_bits), CurveWidth=self.curve_bits, **self.limits)
        want = {"top": self.tops, "read": self.reads, **self.taps}
        return Check(Case("lm_vector", params, {"c": self.commands, "s": self.sums, "e": self.rows}, {k: len(v) for k, v in want.items()}, mems), want)

    @property
    def gate_bits(self) -> int: return self.words.gate + self.words.whole + 1

    @property
    def curve_bits(self) -> int: return max(self.gate_bits, self.words.sigmoid + 1)

    @property
    def read_bits(self) -> int: return bits(-(-self.depth // self.lanes))

    def _word(self, kind: int, mode: int = 0, n: int = 0, factor: int = 0, shift: int = 0, product: int = 0, gain_shifts=(0,) * 4, gain_base: int = 0,
              base: int = 0, everything: bool = False, fresh: bool = False, vector: int = 0, address: int = 0) -> int:
        return fields((kind, 2), (mode, 3), (n, self.row_bits), (factor, self.words.factor_bits), (shift, SHIFT_BITS), (product, SHIFT_BITS),
                      *((s, SHIFT_BITS) for s in gain_shifts[::-1]), (gain_base, bits(len(self.gains))), (base, bits(self.layers * self.dim)),
                      (everything, 1), (fresh, 1), (self.tag, TAG_BITS), (vector, 2), (address, self.read_bits))

    def _tap(self, name: str, values, width: int) -> None:
        self.taps[name] += [fields((self.tag, TAG_BITS), (k, self.row_bits), (v, width)) for k, v in enumerate(np.asarray(values).tolist())]

    def _curve(self, c: Curve, y):
        out = line(c, y, self.words.piece_bits)
        self._tap("curve", out, self.curve_bits)
        return out

    def _gains(self, x, shifts, gain_base: int, base: int, everything: bool) -> None:
        at, w = np.arange(len(x)), self.words
        muls = [self.gains[gain_base + at, 0], self.gains[gain_base + at, 1]]
        muls[1:1] = [self.more[base + at, 0], self.more[base + at, 1]] if everything else [None, None]
        made = [None if m is None else ops.clamp(ops.round_shift(x * m, s), -w.vector, w.vector) for m, s in zip(muls, shifts)]
        for j, v in enumerate(made):
            if v is not None:
                self.vectors[j][:len(x)] = v
                self.top[j] = max(1, int(np.abs(v).max()))
        valid = fields(*((v is not None, 1) for v in made[::-1]))
        self.taps["vector"] += [fields((self.tag, TAG_BITS), (valid, 4), (k, self.row_bits), *((0 if v is None else v[k], w.vector_bits) for v in made[::-1]))
                                for k in at]


def line(c: Curve, x, piece_bits: int):
    """ir.lm's curve, at once."""
    piece = ops.round_shift(x, piece_bits)
    p = piece + len(c.value) // 2
    return ops.clamp(ops.round_shift(c.value[p] + c.slope[p] * (x - (piece << piece_bits)), c.shift), c.lo, c.hi)
