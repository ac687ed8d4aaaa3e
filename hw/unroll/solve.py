"""A constant matrix of integers as a graph of adders, as cheap as can be found on an FPGA family."""
import numpy as np

from ir import UserError

from .adders import Adders
from .build import build, is_plain
from .cost import COSTS, AdderCost, cost
from .decompose import differences
from .digits import weight
from .improve import Improve
from .search import Taste, levels
from .sums import Sums, sums_of

SLACK = 2  # levels of adders beyond the fewest possible: sharing needs a little room
TASTES = [Taste(), Taste(power=0.5), Taste(lateness=4.0)]
STEPS = (1, 2)      # depths of the trees of differences
FEWER = 0.95        # part of the digits that a tree of differences must do with to be tried
HOT, COLD = 10.0, 1.0  # look-up tables


def solve(matrix: np.ndarray, lo, hi, bias=None, family: str = "xcup", max_depth: int | None = None, effort: int = 30, seed: int = 0) -> Adders:
    """The map x -> matrix @ x + bias for lo <= x <= hi, exactly.

    matrix: (outputs, inputs) integers; lo, hi: (inputs,) or one number; bias: (outputs,), most of it is added inside the graph
    (`Adders.totals` is all of it).  max_depth: levels of adders, None: the fewest possible plus 2.  effort: how
    often, on average, each shared sum is taken apart to find a cheaper one; 0 is one greedy pass, 300 is thorough.  The same
    arguments give the same graph.  UserError: not integers, shapes that do not fit, a depth that cannot be reached.
    """
    matrix, lo, hi, bias = _checked(matrix, lo, hi, bias)
    job = _Job(matrix, lo, hi, bias, COSTS[family])
    limit = job.least + SLACK if max_depth is None else max_depth
    if limit < job.least: raise UserError(f"max_depth={max_depth}: adders of {job.family.terms} need {job.least} levels for this matrix")
    found = [job.shared(limit, effort, seed), job.apart(limit)]
    return min((g for g in found if g.depth <= limit), key=lambda g: cost(g, family))


class _Job:
    """One call of `solve`."""

    def __init__(self, matrix: np.ndarray, lo: np.ndarray, hi: np.ndarray, bias: np.ndarray, family: AdderCost):
        self.matrix, self.lo, self.hi, self.bias, self.family = matrix, lo, hi, bias, family
        signed = (matrix < 0).any(1) | ((matrix != 0) & (lo < 0)).any(1)
        self.biased = [not is_plain(bias, family) and bool(b) for b in signed | (bias != 0)]
        terms = weight(matrix).sum(1)
        self.least = max((levels(int(n), family.terms, b) for n, b in zip(terms, self.biased) if n), default=0)

    def shared(self, limit: int, effort: int, seed: int) -> Adders:
        span = self.hi - self.lo
        plain = sums_of(self.matrix, span)
        starts = [(plain, TASTES[0])]
        if effort:
            digits = sum(map(len, plain.rows.values()))
            trees = [differences(self.matrix, span, steps) for steps in STEPS]
            starts += [(sums_of(self.matrix, span), t) for t in TASTES[1:]]
            starts += [(t, TASTES[0]) for t in trees if sum(map(len, t.rows.values())) < FEWER * digits]
        tried = [Improve(sums, self.family, self.biased, limit, seed) for sums, _ in starts]
        for t, (_, taste) in zip(tried, starts):
            if not t.late(): t.greedy(taste)
        best = min((t for t in tried if not t.late()), key=lambda t: t.total, default=tried[0])
        if not best.late(): best.run(effort * len(best.sums.rows), HOT, COLD)
        return build(best.sums, self.lo, self.hi, self.bias, self.family, limit)

    def apart(self, limit: int) -> Adders:
        """Every output on its own: as shallow as can be."""
        return build(sums_of(self.matrix, self.hi - self.lo, share=False), self.lo, self.hi, self.bias, self.family, limit)


def fuse(adders: Adders, family: str = "xcup", max_depth: int | None = None) -> Adders:
    """The same map with the same shared sums, added up anew with the adders of a family: of three operands where it has them."""
    sums = Sums(adders.inputs, adders.hi - adders.lo)
    coefs = adders.coefficients()
    for k, terms in enumerate(adders.adds, adders.inputs):
        if sums.new(coefs[k]) != k or any(t.shift < 0 for t in terms): raise UserError("fuse needs terms that are shifted to the left or not at all")
        for t in terms: sums.edit(k, t.value << 6 | t.shift, -1 if t.negative else 1)
    for j, t in enumerate(adders.outputs):
        sums.outputs.append(t and (t.value, t.shift, -1 if t.negative else 1))
        if t: sums.of_output[t.value].append(j)
    for row in list(sums.rows): sums.tidy(row)
    return build(sums, adders.lo, adders.hi, adders.totals(), COSTS[family], max_depth)


def _checked(matrix, lo, hi, bias) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.integer):
        raise UserError(f"a matrix of integers (outputs, inputs) is needed; given {matrix.dtype} {matrix.shape}")
    outputs, inputs = matrix.shape
    lo, hi = (np.broadcast_to(np.asarray(v, np.int64), (inputs,)) if np.ndim(v) == 0 else np.asarray(v, np.int64) for v in (lo, hi))
    bias = np.zeros(outputs, np.int64) if bias is None else np.asarray(bias, np.int64)
    if bias.shape != (outputs,): raise UserError(f"one bias for each of the {outputs} outputs is needed; given {bias.shape}")
    if lo.shape != (inputs,) or hi.shape != (inputs,): raise UserError(f"lo and hi are one number or {inputs}; given {lo.shape} and {hi.shape}")
    return matrix.astype(np.int64), lo, hi, bias
