"""What scalars compute, adder by adder: beside ir.run, and every bound looked at."""
import numpy as np

from hw.unroll import scalars
from hw.unroll.adders import Adders, Term
from hw.unroll.broken import broken
from hw.unroll.digits import signed_digits
from hw.unroll.family import FAMILIES
from hw.unroll.graph import scalars_of
from hw.unroll.place import placed
from hw.unroll.scalars import Scalars
from ir import Graph


def plainly(g: Graph, family: str) -> Scalars:
    """The graph as sums of signed digits, nothing shared: what any solver may be put in place of."""
    f = FAMILIES[family]
    return placed(broken(scalars_of(g, f.table_bits), solve_naive), f)


def evaluate(s: Scalars, feeds: dict[str, np.ndarray]) -> np.ndarray:
    """{input: (N, *shape)} -> (N, elements of the result), each value within its bounds."""
    flat = {k: v.reshape(len(v), -1) for k, v in feeds.items()}
    count = len(next(iter(flat.values())))
    v: list[np.ndarray] = []
    for k, op in enumerate(s.ops):
        match op:
            case scalars.Input(port, index):
                r = flat[port][:, index]
            case scalars.Sum(terms, const):
                r = sum(term(v[t.value], t) for t in terms) + const
            case scalars.Linear(block, row):
                b = s.blocks[block]
                r = sum(int(c) * v[a] for a, c in zip(b.args, b.matrix[row]))
            case scalars.Floor(a, bits):
                r = v[a] >> bits
            case scalars.Clamp(a, lo, hi):
                r = v[a].clip(lo, hi)
            case scalars.Largest(a, b):
                r = np.maximum(v[a], v[b])
            case scalars.Product(a, b):
                r = v[a] * v[b]
            case scalars.Table(a, words):
                r = np.array(words)[v[a] - s.lo[a]]
        assert s.lo[k] <= r.min() and r.max() <= s.hi[k], (s.names[k], op, s.lo[k], s.hi[k])
        v.append(r)
    return np.stack([np.full(count, r.offset) if r.value is None else v[r.value] for r in s.outputs], 1)


def term(v: np.ndarray, t) -> np.ndarray:
    assert t.shift >= 0 or not (v & (1 << -t.shift) - 1).any(), "a negative shift drops zeros only"
    v = v << t.shift if t.shift >= 0 else v >> -t.shift
    return -v if t.negative else v


def solve_naive(matrix: np.ndarray, lo: np.ndarray, hi: np.ndarray) -> Adders:
    """Every row on its own: its canonical signed digits, summed two by two."""
    a = Adders(lo, hi)
    for row in matrix.tolist():
        terms = [Term(k, shift, sign < 0) for k, w in enumerate(row) for shift, sign in signed_digits(w)]
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
