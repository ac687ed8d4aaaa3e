"""The microprogram of a core: what is done for one token, in order, and what each step waits for.  Encoding: hw/rtl/qs_lm_core.sv."""
from dataclasses import dataclass, field
from enum import IntEnum

from ir.lm import Gain, Program

from .layout import Machine

UNITS = ("vector", "codes0", "codes1", "codes2", "norm", "scalar")  # that a step may wait for
V0, V1, V2, UNIT = range(4)  # vectors
SHIFT_BITS = 6


class Op(IntEnum):
    END = 0
    END_UNLESS_HEAD = 1
    EMBED = 2
    MATRIX = 3
    HEAD = 4
    QUANT = 5
    SCALAR = 6


class Mode(IntEnum):
    """What the vector path makes of rows."""
    RAW = 0
    FORGET = 1
    INPUT = 2
    GLU = 3
    RESIDUAL = 4
    EMBED = 5


class Scalar(IntEnum):
    ROOT = 0
    FACTOR = 1
    GATED = 2
    DOWN = 3


PAYLOADS = {
    Op.EMBED: "mode rows beats buf factor shift product gain_shifts gain_base base all".split(),
    Op.QUANT: "norm vec buf extra count".split(), Op.SCALAR: "op factor top shift num".split(), Op.END: [], Op.END_UNLESS_HEAD: []}
PAYLOADS |= {op: PAYLOADS[Op.EMBED] for op in (Op.MATRIX, Op.HEAD)}


@dataclass(frozen=True)
class Step:
    """One word: fields that are not named are 0.  waits: indices into UNITS."""
    op: Op
    what: str
    waits: tuple[int, ...] = ()
    fields: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Gains:
    """The gains of vectors that are made at once: v0 and the norm's, for a layer's input those of v1 and v2, too; where they stand."""
    first: Gain
    unit: Gain
    more: tuple[Gain, ...]
    base: int
    more_base: int

    def fields(self) -> dict[str, int]:
        """Of a command that makes these vectors."""
        shifts = [self.first.shift, *(g.shift for g in self.more or (self.first,) * 2), self.unit.shift]
        return {"gain_shifts": sum(s << SHIFT_BITS * k for k, s in enumerate(shifts)), "gain_base": self.base, "base": self.more_base,
                "all": int(bool(self.more))}


def gains(p: Program) -> list[Gains]:
    """In the order in which they are used: of each layer input, o, gate, down; then the head."""
    out: list[Gains] = []

    def add(first: Gain, unit: Gain, more: tuple[Gain, ...] = ()) -> None:
        base = out[-1].base + len(out[-1].first.mul) if out else 0
        out.append(Gains(first, unit, more, base, p.dim * sum(bool(g.more) for g in out) if more else 0))
    for layer in p.layers:
        a, m = layer.attn, layer.mlp
        add(a.g.gain, a.unit, (a.f.gain, a.i.gain))
        add(a.o.gain, a.gated_unit)
        add(m.gate.gain, m.unit)
        add(m.down.gain, m.gated_unit)
    add(p.head.gain, p.unit)
    return out


def steps(p: Program, m: Machine) -> list[Step]:
    """The program of one token."""
    made = gains(p)
    out = [Step(Op.EMBED, "embeddings", (), {"mode": Mode.EMBED, "rows": p.dim} | made[0].fields())]
    for n in range(len(p.layers)):
        out += _mixer(p, m, n, made[4 * n + 1:]) + _glu(p, m, n, made[4 * n + 3:])
    draws = [_quant("norm.u", UNIT, p.dim)] if min(m.top_k, p.tokens) > 1 else []
    out += [Step(Op.END_UNLESS_HEAD, "end of a token without an answer", _units("vector")), *draws, _quant("lm_head", V0, p.dim, 0)]
    if draws:
        out += [_root("norm"), _factor("lm_head", 0, V0, p.head.num)]
    return out + [Step(Op.HEAD, "lm_head", _units("codes0", "scalar"), {"rows": p.tokens, "beats": m.beats(p.dim)}), Step(Op.END, "end")]


def _mixer(p: Program, m: Machine, n: int, made: list[Gains]) -> list[Step]:
    """made: vectors of o, and those after it."""
    at, a, h = f"layers.{n}.attn.", p.layers[n].attn, p.dim

    def matrix(k: str, mode: Mode, buf: int, *waits: str, **fields: int) -> Step:
        return _matrix(m, f"{at}{k}_proj", mode, h, h, buf, *waits, **fields)
    return [
        # The sums of g are used as they are: its codes go first, and while its rows pass, which make no vector, the others are quantized.
        _quant(f"{at}g_proj", V0, h, 0), _quant(f"{at}norm.u", UNIT, h), matrix("g", Mode.RAW, 0, shift=a.square),
        _quant(f"{at}f_proj", V1, h, 1, made=True), _root(f"{at}norm"), _factor(f"{at}f_proj", 0, V1, a.f.num),
        _quant(f"{at}i_proj", V2, h, 2, made=True), _factor(f"{at}i_proj", 1, V2, a.i.num),
        matrix("f", Mode.FORGET, 1, factor=0, shift=a.f.shift, base=n * h),
        matrix("i", Mode.INPUT, 2, "scalar", factor=1, shift=a.i.shift, product=a.product, **made[0].fields() | {"base": n * h}),
        Step(Op.SCALAR, f"{at}gated.eps", (), {"op": Scalar.GATED, "num": a.eps_mul, "shift": a.eps_shift}),
        _quant(f"{at}gated.norm.u", UNIT, h, extra=True), _quant(f"{at}o_proj", V0, h, 0),
        _root(f"{at}gated.norm"), _factor(f"{at}o_proj", 0, V0, a.o.num),
        matrix("o", Mode.RESIDUAL, 0, "scalar", factor=0, shift=a.o.shift, **made[1].fields())]


def _glu(p: Program, m: Machine, n: int, made: list[Gains]) -> list[Step]:
    """made: vectors of down, and those after it."""
    at, g, h, i = f"layers.{n}.mlp.", p.layers[n].mlp, p.dim, p.hidden
    return [
        _quant(f"{at}gate_proj", V0, h, 1), _quant(f"{at}norm.u", UNIT, h),
        _matrix(m, f"{at}gate_proj.v", Mode.RAW, i, h, 1), _root(f"{at}norm"), _factor(f"{at}gate_proj", 0, V0, g.gate.num),
        _matrix(m, f"{at}gate_proj.u", Mode.GLU, i, h, 1, "scalar", factor=0, shift=g.gate.shift, product=g.product, **made[0].fields()),
        Step(Op.SCALAR, f"{at}gated.eps", (), {"op": Scalar.DOWN, "num": g.eps_num, "factor": 0}),
        _quant(f"{at}gated.norm.u", UNIT, i, extra=True), _quant(f"{at}down_proj", V0, i, 2),
        _root(f"{at}gated.norm"), _factor(f"{at}down_proj", 0, V0, g.down.num),
        _matrix(m, f"{at}down_proj", Mode.RESIDUAL, h, i, 2, "scalar", factor=0, shift=g.down.shift, **made[1].fields())]


def _matrix(m: Machine, what: str, mode: Mode, rows: int, columns: int, buf: int, *waits: str, **fields: int) -> Step:
    own = {"mode": mode, "rows": rows, "beats": m.beats(columns), "buf": buf}
    return Step(Op.MATRIX, what, _units(f"codes{buf}", *waits), own | fields)


def _quant(what: str, vec: int, count: int, buf: int | None = None, extra: bool = False, made: bool = False) -> Step:
    """Codes into a buffer, or a norm where there is none; both need the whole vector, the norm its epsilon, too.  made: the vector is there."""
    own = {"vec": vec, "count": count, "norm": int(buf is None), "buf": buf or 0, "extra": int(extra)}
    return Step(Op.QUANT, f"{what}.codes" if buf is not None else what, _units(*["vector"] * (not made), *["scalar"] * extra), own)


def _root(what: str) -> Step: return Step(Op.SCALAR, f"{what}.root", _units("norm"), {"op": Scalar.ROOT})


def _factor(what: str, factor: int, top: int, num: int) -> Step:
    return Step(Op.SCALAR, f"{what}.factor", (), {"op": Scalar.FACTOR, "factor": factor, "top": top, "num": num})


def _units(*names: str) -> tuple[int, ...]: return tuple(UNITS.index(n) for n in names)


def widths(params: dict[str, int]) -> dict[str, int]:
    """Bits of every field, as qs_lm_core has them."""
    def bits(count: int) -> int: return max(1, (count - 1).bit_length())
    depth, shift = max(params["Dim"], params["Hidden"]), params["ShiftBits"]
    return {
        "mode": 3, "rows": max(params["Vocab"], depth).bit_length(), "beats": (-(-depth // params["Trits"])).bit_length(), "buf": 2, "factor": 2,
        "shift": shift, "product": shift, "gain_shifts": 4 * shift, "gain_base": bits(params["GainRows"]),
        "base": bits(params["Layers"] * params["Dim"]), "all": 1, "norm": 1, "vec": 2, "extra": 1, "count": depth.bit_length(), "op": 2,
        "top": 2, "num": params["NumWidth"]}


def words(program: list[Step], params: dict[str, int]) -> tuple[list[int], int]:
    """The words of the program, and their bits."""
    width = widths(params)
    payload = max(sum(width[f] for f in fields) for op, fields in PAYLOADS.items() if op != Op.QUANT)
    out = []
    for s in program:
        word = s.op << len(UNITS) | sum(1 << u for u in s.waits)
        inner = 0
        for f in PAYLOADS[s.op]:
            value = int(s.fields.get(f, 0))
            if not 0 <= value < 1 << width[f]:
                raise ValueError(f"{s.what}: {f} of {value} in {width[f]} bits")
            inner = inner << width[f] | value
        out.append(word << payload | inner)
    return out, 3 + len(UNITS) + payload


def listing(program: list[Step]) -> str:
    """The program as text, a line a step: what it makes, what it waits for, its fields."""
    rows = []
    for k, s in enumerate(program):
        waits = f" after {', '.join(UNITS[u] for u in s.waits)}" if s.waits else ""
        values = " ".join(f"{f}={int(v)}" for f, v in s.fields.items() if v and f not in ("mode", "op"))
        rows.append(f"{k:5}  {kind(s)} {s.what}{waits}   {values}".rstrip())
    return "\n".join(rows) + "\n"


def kind(s: Step) -> str:
    """The op, and what of it."""
    match s.op:
        case Op.MATRIX:
            return f"matrix {Mode(s.fields['mode']).name.lower()}"
        case Op.SCALAR:
            return Scalar(s.fields["op"]).name.lower()
        case Op.QUANT:
            return "norm" if s.fields["norm"] else "codes"
    return s.op.name.lower()
