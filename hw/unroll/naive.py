"""Balanced sums of signed digits: what any solver is measured against."""
import numpy as np

from .adders import Adders, Term


def solve_naive(matrix: np.ndarray, lo: np.ndarray, hi: np.ndarray) -> Adders:
    """Every row on its own: its canonical signed digits, summed two by two."""
    a = Adders(lo, hi)
    for row in matrix.tolist():
        terms = [Term(k, shift, negative) for k, w in enumerate(row) for shift, negative in _digits(w)]
        a.outputs.append(_tree(a, terms) if terms else None)
    return a


def _tree(a: Adders, terms: list[Term]) -> Term:
    while len(terms) > 1:
        pairs = [_pair(a, p, q) for p, q in zip(terms[:-1:2], terms[1::2])]
        terms = pairs + terms[2 * len(pairs):]
    return terms[0]


def _pair(a: Adders, p: Term, q: Term) -> Term:
    """p + q, without what both have in common of shift and sign."""
    shift, negative = min(p.shift, q.shift), p.negative and q.negative
    a.adds.append(tuple(t._replace(shift=t.shift - shift, negative=t.negative != negative) for t in (p, q)))
    return Term(a.inputs + len(a.adds) - 1, shift, negative)


def _digits(w: int) -> list[tuple[int, bool]]:
    """(shift, negative) of each nonzero digit of the canonical signed form."""
    out, shift = [], 0
    while w:
        if w & 1:
            digit = 2 - w % 4
            out.append((shift, digit < 0))
            w -= digit
        w >>= 1
        shift += 1
    return out
