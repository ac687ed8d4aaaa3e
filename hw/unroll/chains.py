"""Sums of two operands, several to a carry chain."""
from . import scalars
from .columns import operands
from .family import Family
from .pipeline import Pipeline
from .scalars import Scalars
from .wires import Wires, literal, operand_word


def chains(s: Scalars, p: Pipeline, family: Family) -> dict[int, list[int]]:
    """First sum -> all sums of its chain, for every sum that needs a chain.

    Those of a chain are made in the same stage at the same depth, so that none waits for another of the same chain.
    """
    depth, rows = [0] * len(s.ops), {}
    for k, op in enumerate(s.ops):
        depth[k] = max((depth[a] for a in s.args(k) if p.stage[a] == p.stage[k]), default=0)
        if isinstance(op, scalars.Sum):
            depth[k] += 1
            if is_added(op):
                rows.setdefault((p.stage[k], depth[k]), []).append(k)
    groups = [row[i:i + family.chain] for row in rows.values() for i in range(0, len(row), family.chain)]
    return {max(group): group for group in groups}


def is_added(op: scalars.Sum) -> bool:
    """Whether anything is added at all: a value shifted is a wire."""
    return len(op.terms) > 1 or bool(op.const) or op.terms[0].negative


def chain(s: Scalars, wires: Wires, group: list[int], stage: int) -> list[str]:
    """One instance of qs_add2 that makes all sums of the group; a sum that may carry beyond its top has a bit 0 above it."""
    words: list[tuple[str, str]] = []
    flips, outs, at, low = [0, 0], [], 0, []
    for n, k in enumerate(group):
        op, width, name = s.ops[k], s.width(k), wires.names[k]
        parts, rest = operands(op.terms, s.lo, s.hi)
        rest = rest + op.const & (1 << width) - 1
        base = free_bits(parts, rest, width)
        sides = [operand_word(wires, o, stage, base, width) for o in parts]
        words.append(tuple([w for w, _ in sides] + [literal(rest >> base, width - base)] * (2 - len(parts))))
        for side, (o, (_, mask)) in enumerate(zip(parts, sides)):
            flips[side] |= (o.flips << o.shift >> base & mask) << at
        outs.append(f"{name}[{width - 1}:{base}]" if base else name)
        at += width - base
        if rest and n < len(group) - 1:
            words.append(("1'd0", "1'd0"))
            outs.append(f"guard_{name}")
            low.append(f"  logic guard_{name};")
            wires.idle.append(f"guard_{name}")
            at += 1
        if base:
            first = min(parts, key=lambda o: o.shift)
            low.append(f"  assign {name}[{base - 1}:0] = {operand_word(wires, first, stage, 0, base)[0]};")
    names = ", ".join(wires.names[k] for k in group)
    params = [f".Width({at})", *(f".Flip{letter}({literal(f, at)})" for letter, f in zip("AB", flips) if f), ".Ccu2c(1'b1)"]
    pins = [f".{pin}({{{', '.join(reversed(parts))}}})" for pin, parts in
            (("a_i", [a for a, _ in words]), ("b_i", [b for _, b in words]), ("sum_o", outs))]
    return [*low, f"  // {names}", f"  qs_add2 #({', '.join(params)})", f"    u_{wires.names[group[0]]} ({', '.join(pins)});"]


def free_bits(parts, rest: int, width: int) -> int:
    """Columns at the low end with the bits of one operand alone, not complemented: wires."""
    lows = sorted(o.shift for o in parts) + ([(rest & -rest).bit_length() - 1] if rest else [])
    first = min(parts, key=lambda o: o.shift)
    lows.remove(first.shift)
    base = min([*lows, width - 1])
    return base if base > first.shift and not first.flips & (1 << base - first.shift) - 1 else min(first.shift, base)
