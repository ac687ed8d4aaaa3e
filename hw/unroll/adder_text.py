"""One sum as SystemVerilog, for each kind of device."""
from . import scalars
from .adders import Term
from .family import Family
from .scalars import Scalars
from .wires import Wires, literal, operand_word


def add(s: Scalars, wires: Wires, k: int, stage: int, family: Family) -> list[str]:
    """Lines that make sum k."""
    op: scalars.Sum = s.ops[k]
    if len(op.terms) == 1 and not op.const and not op.terms[0].negative:
        return [f"  assign {wires.names[k]} = {_word(s, wires, op.terms[0], stage, 0, s.width(k))};"]
    if family.operands == 3:
        return _columns(s, wires, k, stage, family)
    return _expression(s, wires, k, stage)


def low_bits(op: scalars.Sum) -> int:
    """Bits below which a sum is just its lowest term: nothing is added there."""
    if op.const:
        zeros = [(op.const & -op.const).bit_length() - 1]
    else:
        zeros = []
    if len(op.terms) + len(zeros) == 1:
        return 0
    first, *more = sorted(op.terms, key=lambda t: t.shift)
    others = [t.shift for t in more] + zeros
    return min(others) if first.shift <= min(others) and not first.negative else min(first.shift, *others)


def _expression(s: Scalars, wires: Wires, k: int, stage: int) -> list[str]:
    """+ and - of words as wide as the result, above the bits that are just wires."""
    op, width, name = s.ops[k], s.width(k), wires.names[k]
    base = min(low_bits(op), width)
    below = min(op.terms, key=lambda t: t.shift)
    words = [(t.negative, _word(s, wires, t, stage, base, width - base)) for t in op.terms]
    if op.const:
        words.append((False, literal(op.const >> base, width - base)))
    words.sort()  # what is added first, so that the expression does not begin with a minus
    text = " ".join([f"-{words[0][1]}" if words[0][0] else words[0][1], *(f"{'-' if n else '+'} {w}" for n, w in words[1:])])
    if not base:
        return [f"  assign {name} = {text};"]
    low = _word(s, wires, below, stage, 0, base)
    return [f"  assign {name}[{width - 1}:{base}] = {text};", f"  assign {name}[{base - 1}:0] = {low};"]


def _word(s: Scalars, wires: Wires, t: Term, stage: int, base: int, width: int) -> str:
    """Bits base .. base + width - 1 of a term, its sign aside."""
    zeros, drop = max(t.shift - base, 0), max(base - t.shift, 0)
    own = s.width(t.value)
    if zeros >= width:
        return literal(0, width)
    room, left = width - zeros, own - drop
    parts = []
    if left <= 0:
        parts.append(f"{{{room}{{{wires.bits(t.value, stage, own - 1, 1)}}}}}" if s.lo[t.value] < 0 else literal(0, room))
    else:
        if left < room:
            parts.append(f"{{{room - left}{{{wires.bits(t.value, stage, own - 1, 1)}}}}}" if s.lo[t.value] < 0 else literal(0, room - left))
        parts.append(wires.bits(t.value, stage, drop, min(left, room)))
    parts += [literal(0, zeros)] if zeros else []
    return parts[0] if len(parts) == 1 else f"{{{', '.join(parts)}}}"


def _columns(s: Scalars, wires: Wires, k: int, stage: int, family: Family) -> list[str]:
    """An instance of qs_add3: unsigned operands, the constant that is left over as one of them."""
    op, width, name = s.ops[k], s.width(k), wires.names[k]
    parts, rest = wires.polarity.operands(op, s, k)
    base = wires.polarity.free(parts, rest, width, k)
    pins, params = [], [f".Width({width - base})"]
    for letter, o in zip("abc", parts):
        word, mask = operand_word(wires, o, stage, base, width)
        params += [f".Mask{letter.upper()}({literal(mask, width - base)})"]
        if flips := o.flips << o.shift >> base & mask:
            params.append(f".Flip{letter.upper()}({literal(flips, width - base)})")
        pins.append(f".{letter}_i({word})")
    for letter in "abc"[len(parts):]:
        params.append(f".Mask{letter.upper()}({literal(0, width - base)})")
        pins.append(f".{letter}_i({literal(0, width - base)})")
    if rest:
        params.append(f".Flip{'abc'[len(parts)].upper()}({literal(rest >> base, width - base)})")
    out = f"{name}[{width - 1}:{base}]" if base else name
    rows = [f"  qs_add3 #({', '.join(params)}, .Carry({family.carry}))", f"    u_{name} ({', '.join(pins)}, .sum_o({out}));"]
    if base:
        word, _ = operand_word(wires, min(parts, key=lambda o: o.shift), stage, 0, base)
        rows.append(f"  assign {name}[{base - 1}:0] = {word};")
    return rows
