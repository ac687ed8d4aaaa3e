"""Which partial sums to share: greedily first, then by taking some apart and sharing anew, again and again.

Greedy: the pattern of two terms that saves most is made a sum of its own (Hartley 1996); sums with a single user are put back
into it, so that patterns grow to any size.  After that, large neighbourhood search (Shaw 1998) under simulated annealing.
"""
import heapq
import random
from dataclasses import dataclass

from .cost import AdderCost
from .sums import Sums, parts_of
from .trees import cost_of, ripple, two


REFUSALS = 100  # patterns in a row that would come too late: there is no time left for any


def levels(load: int, fan_in: int, constant: bool) -> int:
    """Least depth of a tree for terms that arrive at levels d, load = sum(fan_in**d); a constant takes one operand of the root (Golumbic 1976)."""
    depth = int(constant)
    while fan_in ** depth - constant * fan_in ** (depth - 1) < load: depth += 1
    return depth


@dataclass(frozen=True)
class Taste:
    """How the greedy part chooses.  power: of an adder's width in the value of a pattern; spare: uses that pay for the pattern
    itself; lateness: bits that one level of difference in arrival counts for; noise: random part of the value."""
    power: float = 1.0
    spare: float = 1.0
    lateness: float = 0.0
    noise: float = 0.0


class Search:
    """Sums with their cost and depth kept up to date.

    biased: for each output, whether a constant is added to it.  limit: greatest depth of an output in adders, None for any.
    """

    def __init__(self, sums: Sums, family: AdderCost, biased: list[bool], limit: int | None, seed: int = 0):
        self.sums, self.family, self.limit, self.biased = sums, family, limit, biased
        self.random = random.Random(seed)
        self.fan_in = family.terms
        self.weights = [family.terms ** d for d in range(256)]
        self.depth: dict[int, int] = {i: 0 for i in range(sums.inputs)}
        self.costs: dict[int, float] = {}
        self.total = 0.0
        self.refresh(list(sums.rows))
        self.settle()

    def cost(self, row: int) -> float:
        s = self.sums
        items = [(s.spans[k >> 6] << (k & 63), k & 63) for k in s.rows[row]]
        total, own = cost_of(items, self.rooted(row), self.family), s.of_output.get(row, ())
        if own and not self.rooted(row): total += sum(cost_of([(s.spans[row], 0)], True, self.family) for j in own if self.biased[j])
        return total

    def refresh(self, rows) -> list[int]:
        """Depths of these sums and of all that are made of them; -> those that changed."""
        todo, changed, users = dict.fromkeys(r for r in rows if r in self.sums.rows), [], self.sums.users
        while todo:
            row = next(iter(todo))
            del todo[row]
            deep = self.level(row)
            if deep != self.depth.get(row):
                self.depth[row] = deep
                changed.append(row)
                todo.update(dict.fromkeys(users[row]))
        return changed

    def level(self, row: int) -> int:
        """Least depth of a sum whose terms arrive as they do."""
        return levels(self.load(row), self.fan_in, self.rooted(row))

    def load(self, row: int) -> int:
        depth, weights = self.depth, self.weights
        load = 0
        for k in self.sums.rows[row]: load += weights[depth.get(k >> 6, 0)]
        return load

    def rooted(self, row: int) -> bool:
        """The constant of an output is added by the last adder of this sum, which nobody else uses."""
        own = self.sums.of_output.get(row)
        return own is not None and len(own) == 1 and self.biased[own[0]] and not self.sums.users[row]

    def late(self, rows=None) -> bool:
        """An output among these sums, or any, is deeper than the limit."""
        if self.limit is None: return False
        own, biased, depth = self.sums.of_output, self.biased, self.depth
        return any(depth[r] + (biased[j] and not self.rooted(r)) > self.limit for r in (own if rows is None else rows) for j in own.get(r, ()))

    def value(self, p: int, taste: Taste) -> float:
        """What a pattern is worth, <= 0 for nothing."""
        s, n = self.sums, self.sums.counts.get(p, 0)
        if n <= taste.spare: return 0.0
        a, b, d, _ = parts_of(p)
        low = min(0, d)
        x, y = (s.spans[a] << -low, -low), (s.spans[b] << d - low, d - low)
        width = ripple(x, y) + self.family.chain if self.family.ripple else two(x, y)
        v = (n - taste.spare) * max(width, 1) ** taste.power
        if taste.lateness: v -= taste.lateness * abs(self.depth[a] - self.depth[b])
        return v * (1 + taste.noise * self.random.random()) if taste.noise else v

    def greedy(self, taste: Taste) -> None:
        """Extract patterns until none is worth it."""
        s = self.sums
        heap = [(-v, p) for p, n in list(s.counts.items()) if n > 1 and (v := self.value(p, taste)) > 0]
        heapq.heapify(heap)
        s.fresh.clear()
        refused = 0
        while heap and refused < REFUSALS:
            v, p = heapq.heappop(heap)
            now = self.value(p, taste)
            if now <= 0: continue
            if not taste.noise and now < -v:
                heapq.heappush(heap, (-now, p))
                continue
            s.log = []
            if not self.extract(p):
                refused += 1
                continue
            refused = 0
            for q in dict.fromkeys(s.fresh):
                if (v := self.value(q, taste)) > 0: heapq.heappush(heap, (-v, q))
            s.fresh.clear()
        s.log = None
        self.settle()

    def extract(self, p: int) -> bool:
        """Share a pattern and tidy up behind it; False if it does not occur twice, or only where it would come too late."""
        for allowed in (None, self.in_time(p)) if self.limit is not None else (None,):
            done = self.share(p, allowed)
            touched = list(self.sums.changed)
            deeper = self.refresh(touched)
            if done and not self.late(touched + deeper): return True
            self.sums.undo()
            self.refresh(touched)
        return False

    def in_time(self, p: int):
        """row -> whether it is an output and nothing else, and has time for the pattern's sum."""
        a, b, _, _ = parts_of(p)
        f, da, db = self.fan_in, self.depth.get(a, 0), self.depth.get(b, 0)
        more = f ** (1 + max(da, db)) - f**da - f**db
        return lambda row: not self.sums.users[row] and levels(self.load(row) + more, f, self.rooted(row)) <= self.limit

    def share(self, p: int, allowed=None) -> bool:
        s = self.sums
        a, b, _, _ = parts_of(p)
        if a not in s.users or b not in s.users: return False
        node = s.extract(p, allowed)
        if node is None: return False
        for row in [r for r in s.changed if r in s.rows and len(s.rows[r]) < 2] + [a, b]:
            if row >= s.inputs: s.tidy(row)
        return True

    def settle(self) -> None:
        """Costs of the sums that were edited."""
        s = self.sums
        for r in s.changed:
            self.total -= self.costs.pop(r, 0.0)
            if r in s.rows:
                self.costs[r] = self.cost(r)
                self.total += self.costs[r]
        s.changed.clear()
