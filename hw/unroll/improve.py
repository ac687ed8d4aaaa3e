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
        many = any(len({k >> 6 for k in t}) < len(t) for t in self.sums.rows.values())
        self.moves = [self.apart] * 6 + [self.replace] + [self.respell] * 2 * many
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
        banned = rnd.choice(self.moves)()
        if banned is None:
            s.undo()
            return False
        self.reshare(Taste(rnd.choice((0.0, 0.5, 1.0)), rnd.choice((0.8, 1.0, 1.0, 1.5)), 0.0, rnd.choice((0.1, 0.5, 1.0))), banned)
        for row in [r for r in s.changed if r in s.rows and len(s.rows[r]) < 2]: s.tidy(row)     # terms have cancelled
        touched = list(s.changed)
        deeper = self.refresh(touched)
        old = {r: self.costs.get(r) for r in touched}
        self.settle()
        if not self.late(touched + deeper) and (self.total <= before or rnd.random() < math.exp((before - self.total) / t)):
            for r in touched:
                for k in s.rows.get(r, ()): self._enter(k >> 6)
                if r not in s.rows: self._leave(r)
            return True
        s.undo()
        for r, c in old.items():
            if c is None: self.costs.pop(r, None)
            else: self.costs[r] = c
        self.total = before
        self.refresh(touched)
        return False

    def apart(self) -> set[int] | None:
        """Take apart a sum, often others near it."""
        s, rnd = self.sums, self.random
        node = rnd.choice(self.pool)
        if node not in s.rows or not s.users[node]: return self._leave(node)
        banned = self.tabu(node) if rnd.random() < 0.8 else set()
        self.dissolve(node)
        while rnd.random() < 0.4:
            near = [k >> 6 for r in s.changed if r in s.rows for k in s.rows[r] if k >> 6 >= s.inputs]
            if not near: break
            self.dissolve(rnd.choice(near))
        return banned

    def replace(self) -> set[int] | None:
        """Write a sum as another one that has terms in common with it, plus the difference."""
        s, rnd = self.sums, self.random
        row = rnd.choice(list(s.rows))
        key = rnd.choice(list(s.rows[row]))
        other = rnd.choice(list(s.users[key >> 6]))
        shifts = [(key & 63) - at for at, _ in s.uses(other, key >> 6)]
        shift = rnd.choice(shifts)
        if other == row or shift < 0 or self.depth[other] > self.depth[row]: return None    # it might be made of this row
        sign = s.rows[row][key] * s.rows[other][key - shift]
        terms = [(k + shift, g * sign) for k, g in s.rows[other].items()]
        if 2 * sum(s.rows[row].get(k) == g for k, g in terms) < len(terms): return None
        for k, g in terms: s.edit(row, k, -g)
        s.edit(row, other << 6 | shift, sign)
        return set()

    def respell(self) -> set[int] | None:
        """3x = 2x + x = 4x - x: another way to write a multiple with as many digits."""
        s, rnd = self.sums, self.random
        row = rnd.choice(list(s.rows))
        terms = s.rows[row]
        ways = [(k, 1) for k, g in terms.items() if terms.get(k + 1) == g] + [(k, 2) for k, g in terms.items() if terms.get(k + 2) == -g]
        if not ways: return None
        key, step = rnd.choice(ways)
        sign = terms[key]
        s.drop(row, key)
        s.drop(row, key + step)
        s.edit(row, key, -sign)
        s.edit(row, key + 3 - step, sign if step == 1 else -sign)
        return set()

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
