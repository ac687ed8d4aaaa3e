"""What an adder of an unrolled design costs: look-up tables of each FPGA family, operands taken as in `columns`."""
from dataclasses import dataclass

from ir import Registry, UserError

from .adders import Adders, Term
from .columns import Operand, free_columns, operand

COSTS: Registry = Registry("FPGA family of an unrolled design")


@dataclass(frozen=True)
class AdderCost:
    """How a family adds."""
    name: str
    terms: int                  # operands of one adder, a constant being one
    ripple: bool                # every bit above the lowest common one is a cell of the chain, a wire or not
    chain: float                # cells that a carry chain costs besides its bits


def _family(name: str, *rest) -> None: COSTS.register(name)(AdderCost(name, *rest))


_family("xcup", 3, False, 0)
_family("xc7", 3, False, 0)
_family("ecp5", 2, True, 1.2)    # half a cell to make a chain even, and what nextpnr adds to lead carries in and out
_family("ice40", 2, True, 1)


def operands(adders: Adders, k: int, lo, hi) -> tuple[list[Operand], int]:
    """Add k as a sum of unsigned operands and one constant.  lo, hi: `adders.intervals()`."""
    parts = [operand(t, int(lo[t.value]), int(hi[t.value])) for t in adders.adds[k]]
    return [o for o, _ in parts], adders.constants.get(k, 0) + sum(rest for _, rest in parts)


def luts(parts: list[Operand], rest: int, width: int, family: AdderCost, exact: bool = False) -> float:
    """Look-up tables (ECP5: TRELLIS_COMB) of one adder whose result has `width` bits, none of them complemented if `exact`."""
    if family.ripple:
        return _chain_cells(parts, rest, width, family)
    base = free_columns(parts, rest, width, exact)
    if len(parts) + (rest != 0) > family.terms:        # one more adder for the constant
        return _columns(parts, 0, base, width) + _columns([Operand(-1, 0, 0, width, 0)], rest, 0, width)
    return _columns(parts, rest, base, width)


def _columns(parts: list[Operand], rest: int, base: int, width: int) -> int:
    """One dual-output look-up table for each bit in which at least two things are added; the second output is a carry of weight 2."""
    total, carry = 0, 0
    for bit in range(base, width):
        live = [o for o in parts if o.shift <= bit < o.shift + o.width]
        flipped = sum(o.flips >> (bit - o.shift) & 1 for o in live)
        one = rest >> bit & 1
        inputs = len(live) + carry
        total += inputs >= 2 or inputs == 1 and (flipped + one) % 2
        carry = int(inputs + one >= 3)
    return int(total)


def _chain_cells(parts: list[Operand], rest: int, width: int, family: AdderCost) -> float:
    """Two-operand carry chains: from the second lowest operand's first bit to the top."""
    tops = sorted((o.shift + o.width, o.shift, o.flips) for o in parts)
    lows = sorted(o.shift for o in parts)
    if rest: lows = sorted([*lows, (rest & -rest).bit_length() - 1])
    if len(lows) < 2: return 0 if not tops or not tops[0][2] else width - lows[0]
    cells, top = 0.0, max(t for t, _, _ in tops)
    for n in range(1, len(lows)):
        bits = (width if n == len(lows) - 1 or rest else min(width, top)) - lows[n]
        if n == 1 and not rest and len(parts) == 2 and tops[0][0] <= tops[1][1]: bits = 0  # side by side
        cells += bits + family.chain if bits > 0 else 0
    return cells


def bits(lo: int, hi: int) -> int:
    """Bits of a value in [lo, hi]: unsigned if it cannot be negative."""
    return hi.bit_length() if lo >= 0 else 1 + max(hi.bit_length(), (~lo).bit_length())


def add_costs(adders: Adders, family: str) -> list[float]:
    """(adds,): look-up tables of each add."""
    rules, (lo, hi), found = COSTS[family], adders.intervals(), []
    exact = {t.value for t in adders.outputs if t}
    flipped = [0] * (adders.inputs + len(adders.adds))   # bits that are passed on complemented, see columns.Polarity
    for k, v in enumerate(range(adders.inputs, len(flipped))):
        width = bits(int(lo[v]), int(hi[v]))
        parts, rest = operands(adders, k, lo, hi)
        if rules.ripple:     # signs extended along the chain, one operand subtracted: that needs a carry in and no constant
            rest = rest if k in adders.constants or sum(t.negative for t in adders.adds[k]) > 1 else 0
        else:
            parts = [o._replace(flips=o.flips ^ flipped[o.value] & (1 << o.width) - 1) for o in parts]
            lowest = min(parts, key=lambda o: o.shift)
            if v not in exact: flipped[v] = lowest.flips << lowest.shift & (1 << free_columns(parts, rest, width, False)) - 1
        found.append(luts(parts, rest, width, rules, v in exact))
    return found


def cost(adders: Adders, family: str) -> float:
    """Look-up tables of the whole graph, the additions of `bias` with them."""
    rules, (lo, hi) = COSTS[family], adders.intervals()
    return sum(add_costs(adders, family)) + sum(_output(adders, j, t, lo, hi, rules) for j, t in enumerate(adders.outputs))


def _output(adders: Adders, j: int, term: Term | None, lo, hi, family: AdderCost) -> float:
    """What an output costs that is not simply a wire: its negation, its bias."""
    bias = 0 if adders.bias is None else int(adders.bias[j])
    if term is None or not (term.negative or bias): return 0
    part, rest = operand(term, int(lo[term.value]), int(hi[term.value]))
    a, b = ((-int(v[term.value]) if term.negative else int(v[term.value])) << max(term.shift, 0) for v in (lo, hi))
    return luts([part], rest + bias, bits(min(a, b) + bias, max(a, b) + bias), family, True)


def ff_bits(adders: Adders, cut: int) -> int:
    """Flip-flops if values are registered after every `cut` levels of adders, the outputs not counted."""
    if cut < 1: raise UserError(f"a pipeline needs at least one level of adders in a stage; given {cut}")
    depth, (lo, hi) = adders.depths(), adders.intervals()
    stage = (depth - 1).clip(0) // cut
    last = stage.copy()
    for k, terms in enumerate(adders.adds, adders.inputs):
        for t in terms: last[t.value] = max(last[t.value], stage[k])
    final = max(int(stage.max()), 0) if len(stage) else 0
    for t in adders.outputs:
        if t: last[t.value] = final
    return sum(int(last[v] - stage[v]) * bits(int(lo[v]), int(hi[v])) for v in range(len(stage)))
