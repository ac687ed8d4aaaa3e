"""Names of scalars as wires and registers, and which of their bits are read."""
from functools import cached_property

from .columns import Operand, Polarity
from .pipeline import Pipeline
from .scalars import Scalars


class Wires:
    """names: of each value; `<name>_q<rank>` is its register of that rank.  Bits that nothing reads are gathered in the end, so
    that lint knows them."""

    def __init__(self, s: Scalars, p: Pipeline):
        self.s, self.p = s, p
        self.names = _unique(s.names)
        self.ranks = p.registers(s)
        self.read: dict[str, int] = {}
        self.idle: list[str] = []

    @cached_property
    def polarity(self) -> Polarity: return Polarity(self.s)

    def at(self, v: int, stage: int) -> str:
        """The value as it is seen in a stage: made there, or from a register."""
        made = self.p.stage[v]
        return self.names[v] if stage == made else f"{self.names[v]}_q{stage}"

    def bits(self, v: int, stage: int, low: int, count: int) -> str:
        """`count` bits from bit `low` on."""
        name, width = self.at(v, stage), self.s.width(v)
        self.read[name] = self.read.get(name, 0) | (1 << count) - 1 << low
        return name if (low, count) == (0, width) else f"{name}[{low}]" if count == 1 else f"{name}[{low + count - 1}:{low}]"

    def whole(self, v: int, stage: int) -> str: return self.bits(v, stage, 0, self.s.width(v))

    def extended(self, v: int, stage: int, width: int) -> str:
        """The value as a word of `width` bits: extended by its sign, or cut."""
        own = self.s.width(v)
        if own >= width:
            return self.bits(v, stage, 0, width)
        sign = f"{{{width - own}{{{self.bits(v, stage, own - 1, 1)}}}}}" if self.s.lo[v] < 0 else f"{width - own}'d0"
        return f"{{{sign}, {self.whole(v, stage)}}}"

    def rank(self, rank: int) -> list[str]:
        """The registers of one rank."""
        held = [v for v, ranks in enumerate(self.ranks) if rank in ranks]
        if not held:
            return []
        rows = [f"\n  // Register rank {rank}: {sum(map(self.s.width, held))} bits",
                *(f"  logic [{self.s.width(v) - 1}:0] {self.at(v, rank)};" for v in held),
                "  always_ff @(posedge clk_i) begin", "    if (en_i) begin"]
        return rows + [f"      {self.at(v, rank)} <= {self.whole(v, rank - 1)};" for v in held] + ["    end", "  end"]

    def unused(self, more: list[str]) -> list[str]:
        """A wire that takes what nothing reads."""
        rows = [*more, *self.idle]
        for v, ranks in enumerate(self.ranks):
            for stage in (self.p.stage[v], *ranks):
                name = self.at(v, stage)
                left = (1 << self.s.width(v)) - 1 & ~self.read.get(name, 0)
                rows += [f"{name}[{b}]" for b in range(left.bit_length()) if left >> b & 1]
        return ["  logic unused;", f"  assign unused = ^{{{', '.join(rows)}}};"] if rows else []


def literal(v: int, width: int) -> str:
    """An integer as a word."""
    return f"{width}'h{v & (1 << width) - 1:x}"


def operand_word(wires: Wires, o: Operand, stage: int, base: int, top: int) -> tuple[str, int]:
    """Columns base .. top - 1 of an operand, and which of them hold a bit of it."""
    low, high = max(o.shift, base), min(o.shift + o.width, top)
    if low >= high:
        return literal(0, top - base), 0
    parts = [literal(0, top - high)] if high < top else []
    parts.append(wires.bits(o.value, stage, o.drop + low - o.shift, high - low))
    parts += [literal(0, low - base)] if low > base else []
    return parts[0] if len(parts) == 1 else f"{{{', '.join(parts)}}}", (1 << high - low) - 1 << low - base


def _unique(names: list[str]) -> list[str]:
    taken, out = set(KEYWORDS), []
    for name in names:
        base = "".join(c if c.isalnum() and c.isascii() else "_" for c in name)
        base = base if base[:1].isalpha() else f"n{base}"
        new, k = base, 2
        while new in taken:
            new, k = f"{base}_v{k}", k + 1
        taken.add(new)
        out.append(new)
    return out


KEYWORDS = {"clk_i", "en_i", "frame_i", "result_o", "unused", "input", "output", "logic", "assign", "wire", "reg", "table", "begin", "end",
            "module", "signed", "unsigned", "bit", "byte", "int", "integer", "real", "time", "if", "else", "case", "for", "while", "do",
            "and", "or", "not", "xor", "buf", "new", "this", "type", "var", "const", "static", "string", "event", "function", "task"}
