"""What scalars compute, adder by adder: beside ir.run, and every bound looked at."""
import numpy as np

from hw.unroll import scalars
from hw.unroll.scalars import Scalars


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
