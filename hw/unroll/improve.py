"""Take a few shared sums apart and share anew; keep what is cheaper (large neighbourhood search, Shaw 1998, under simulated annealing)."""
import math

from .search import Search, Taste


class Improve(Search):
    """A search that can take a step back."""

    def run(self, moves: int, hot: float, cold: float) -> None:
        """Make that many moves; one that costs d look-up tables more is kept with probability exp(-d / t), t from hot to cold."""
        if not moves: return
        self.sums.log, self.pool, self.where = None, [], {}
        for row in self.sums.rows: self._enter(row)
        best, kept = self.total, self._copy()
        for n in range(moves):
            if not self.pool: break
            t = hot * (cold / hot) ** (n / moves)
            if self.step(t) and self.total < best - 1e-9: best, kept = self.total, self._copy()
        self.sums.log = None
        self._restore(kept)

    def step(self, t: float) -> bool:
        """One move; whether it was kept."""
        s, rnd = self.sums, self.random
        s.log = []
        s.changed.clear()
        s.fresh.clear()
        before = self.total
        node = rnd.choice(self.pool)
        if node not in s.rows or not s.users[node]:
            self._leave(node)
            return False
        banned = self.tabu(node) if rnd.random() < 0.8 else ()
        self.dissolve(node)
        while rnd.random() < 0.4:
            near = [k >> 6 for r in s.changed if r in s.rows for k in s.rows[r] if k >> 6 >= s.inputs]
            if near: self.dissolve(rnd.choice(near))
            else: break
        self.reshare(Taste(rnd.choice((0.0, 0.5, 1.0)), rnd.choice((0.8, 1.0, 1.0, 1.5)), 0.0, rnd.choice((0.1, 0.5, 1.0))), banned)
        touched = list(s.changed)
        self.refresh([r for r in touched if r in s.rows])
        old = {r: self.costs.get(r) for r in touched}
        self.settle()
        if not self.late() and (self.total <= before or rnd.random() < math.exp((before - self.total) / t)):
            for r in touched:
                for k in s.rows.get(r, ()): self._enter(k >> 6)
                if r not in s.rows: self._leave(r)
            return True
        s.undo()
        for r, c in old.items():
            if c is None: self.costs.pop(r, None)
            else: self.costs[r] = c
        self.total = before
        self.refresh([r for r in s.changed if r in s.rows])
        return False

    def dissolve(self, node: int) -> None:
        """Put a sum's terms wherever it is used."""
        s = self.sums
        if node not in s.rows: return
        for row in list(s.users[node]): s.inline(node, row)
        if not s.of_output[node]: s.discard(node)

    def tabu(self, node: int) -> set[int]:
        """A pattern of a sum's own terms, so that another sum comes out."""
        (k1, s1), (k2, s2) = sorted(self.random.sample(list(self.sums.rows[node].items()), 2))
        p = (k1 >> 6 << 32) + k2 - (k1 & 63)
        return {-p if s1 != s2 else p}

    def reshare(self, taste: Taste, banned) -> None:
        """Share patterns that the edits have made frequent."""
        s, values = self.sums, {}
        while True:
            for p in s.fresh:
                if p not in values and p not in banned and (v := self.value(p, taste)) > 0: values[p] = v
            s.fresh.clear()
            if not values: return
            p = max(values, key=values.get)
            del values[p]
            if s.counts.get(p, 0) > 1: self.share(p)

    def _enter(self, row: int) -> None:
        if row in self.where or row < self.sums.inputs or not self.sums.users[row]: return
        self.where[row] = len(self.pool)
        self.pool.append(row)

    def _leave(self, row: int) -> None:
        at = self.where.pop(row, None)
        if at is None: return
        last = self.pool.pop()
        if last != row: self.pool[at], self.where[last] = last, at

    def _copy(self):
        return {r: dict(t) for r, t in self.sums.rows.items()}, list(self.sums.outputs), dict(self.sums.coefs)

    def _restore(self, kept) -> None:
        """Make the sums those of a copy."""
        rows, outputs, coefs = kept
        s = self.sums
        fresh = type(s)(s.inputs, s.span)
        for r in rows:
            fresh.next = r
            fresh.new(coefs[r])
        for r, terms in rows.items():
            for k, g in terms.items(): fresh.edit(r, k, g)
        fresh.outputs = outputs
        for j, o in enumerate(outputs):
            if o: fresh.of_output[o[0]].append(j)
        self.sums = fresh
