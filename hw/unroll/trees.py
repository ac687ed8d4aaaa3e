"""How a sum of many terms is added up: adders of two or three operands, the narrowest terms first.

An item is (span << shift, shift): what a term can vary by, and its lowest bit.  Merging the narrowest first is Huffman's rule;
with three operands an odd adder of two is spent where it costs least: on the narrowest terms, or at the root, where it adds a constant.
"""
from bisect import insort

from .cost import AdderCost

Item = tuple[int, int]


def two(a: Item, b: Item) -> int:
    """Bits in which both have something, taken unsigned."""
    n = min(a[0].bit_length(), b[0].bit_length()) - max(a[1], b[1])
    return n if n > 0 else 0


def three(a: Item, b: Item, c: Item) -> int:
    """Bits from the second lowest operand's first one to the second highest operand's last, and one for the carry into the third."""
    h1, h2, h3 = sorted((a[0].bit_length(), b[0].bit_length(), c[0].bit_length()))
    _, low, _ = sorted((a[1], b[1], c[1]))
    n = h2 - low + (h3 > h2)
    return n if n > 0 else 0


def ripple(a: Item, b: Item) -> int:
    """Bits of a carry chain from the first bit that both have up to the last of the result; 0 if they lie side by side."""
    low = max(a[1], b[1])
    if min(a[0].bit_length(), b[0].bit_length()) <= low: return 0
    return (a[0] + b[0]).bit_length() - low


def cost_of(items: list[Item], biased: bool, family: AdderCost) -> float:
    """Look-up tables of a sum, `biased` by a constant or not."""
    return _ternary(sorted(items), biased) if family.terms == 3 else _binary(sorted(items), biased, family)


def _ternary(items: list[Item], biased: bool) -> float:
    n, total = len(items), 0.0
    if n > 1 and n & 1 == biased:
        a, b = items[0], items[1]
        total += two(a, b)
        del items[:2]
        insort(items, (a[0] + b[0], min(a[1], b[1])))
    while len(items) > 2:
        a, b, c = items[0], items[1], items[2]
        total += three(a, b, c)
        del items[:3]
        insort(items, (a[0] + b[0] + c[0], min(a[1], b[1], c[1])))
    if biased: total += items[-1][0].bit_length() + 1 - (min(i[1] for i in items))
    elif len(items) == 2: total += two(*items)
    return total


def _binary(items: list[Item], biased: bool, family: AdderCost) -> float:
    total = 0.0
    while len(items) > 1:
        a, b = items[0], items[1]
        n = ripple(a, b)
        if n: total += n + family.chain
        del items[:2]
        insort(items, (a[0] + b[0], min(a[1], b[1])))
    if biased: total += items[0][0].bit_length() + 1 - items[0][1] + family.chain
    return total


def groups(pieces: list, keep: int, fan_in: int, merge, hurry: bool) -> list:
    """Merge pieces (with span, shift, depth) in the order of `cost_of` until `keep` are left; in a hurry, those that arrive first."""
    order = (lambda p: (p.depth, p.span, p.shift)) if hurry else (lambda p: (p.span, p.shift, p.depth))
    pieces = sorted(pieces, key=order)
    over = (len(pieces) - keep) % (fan_in - 1)
    while len(pieces) > keep:
        n = 1 + over if over else fan_in
        over = 0
        first, pieces = pieces[:n], pieces[n:]
        insort(pieces, merge(first), key=order)
    return pieces
