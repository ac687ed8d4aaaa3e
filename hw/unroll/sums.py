"""The working form of the solver: sums of any number of shifted, signed symbols, and how often each pair of terms occurs in them.

A symbol is an input or a sum.  A term is kept as its key, symbol << 6 | shift, with its sign.  A pattern is what two terms
of a sum have in common with two of another: both symbols, their distance in bits, and whether their signs differ; as a number,
symbol << 32 of the first plus the key of the second less the first one's shift, negative if the signs differ.
"""
from collections import defaultdict

import numpy as np

from ir import UserError

from .digits import signed_digits

SHIFTS = 64     # of a key; half of them are used, as a distance may be negative
Key = int
Pattern = int


def parts_of(p: Pattern) -> tuple[int, int, int, bool]:
    """First symbol, second symbol, second shift minus first, signs differ."""
    at = abs(p)
    second = (at & 0xffffffff) + (SHIFTS >> 1) >> 6
    return at >> 32, second, (at & 0xffffffff) - (second << 6), p < 0


class Sums:
    """rows: sum -> {key: sign}.  users: symbol -> {sum: terms}.  counts: pattern -> occurrences.

    outputs: (symbol, shift, sign) or None; of_output: symbol -> the outputs that are it.  coefs: symbol -> (inputs,) int64,
    its value in terms of the inputs; spans: symbol -> hi - lo.  changed: the sums that were edited; fresh: the patterns that
    became more frequent; log: what `undo` needs (key -1: a sum itself, -2: an output).
    """

    def __init__(self, inputs: int, span: np.ndarray):
        self.inputs, self.span = inputs, np.asarray(span, np.int64)
        self.rows: dict[int, dict[Key, int]] = {}
        self.users: dict[int, dict[int, int]] = {i: {} for i in range(inputs)}
        self.counts: dict[Pattern, int] = defaultdict(int)
        self.outputs: list[tuple[int, int, int] | None] = []
        self.coefs: dict[int, np.ndarray] = dict(enumerate(np.eye(inputs, dtype=np.int64)))
        self.spans: dict[int, int] = {i: int(s) for i, s in enumerate(self.span)}
        self.of_output: dict[int, list[int]] = defaultdict(list)
        self.fresh: list[Pattern] = []
        self.changed: dict[int, None] = {}
        self.log: list[tuple] | None = None
        self.top_shift = 0
        self.next = inputs

    def edit(self, row: int, key: Key, sign: int) -> None:
        """Add a term to a sum; one of the same key is doubled or cancels."""
        terms = self.rows[row]
        old = terms.get(key)
        if old is None: return self._insert(row, terms, key, sign)
        self._delete(row, terms, key, old)
        if old == sign: self.edit(row, key + 1, sign)

    def drop(self, row: int, key: Key) -> None:
        terms = self.rows[row]
        self._delete(row, terms, key, terms[key])

    def _insert(self, row: int, terms: dict[Key, int], key: Key, sign: int) -> None:
        counts, fresh, symbol, shift = self.counts, self.fresh, key >> 6, key & 63
        base = (symbol << 32) - shift
        for k, s in terms.items():
            p = (k >> 6 << 32) + key - (k & 63) if k < key else base + k
            if s != sign: p = -p
            n = counts[p] + 1
            counts[p] = n
            if n > 1: fresh.append(p)
        terms[key] = sign
        at = self.users[symbol]
        at[row] = at.get(row, 0) + 1
        self.changed[row] = None
        if shift > self.top_shift: self.top_shift = self._legal(shift)
        if self.log is not None: self.log.append((row, key, sign, True))

    def _delete(self, row: int, terms: dict[Key, int], key: Key, sign: int) -> None:
        del terms[key]
        counts, symbol, shift = self.counts, key >> 6, key & 63
        base = (symbol << 32) - shift
        for k, s in terms.items():
            p = (k >> 6 << 32) + key - (k & 63) if k < key else base + k
            if s != sign: p = -p
            n = counts[p] - 1
            if n: counts[p] = n
            else: del counts[p]
        at = self.users[symbol]
        if at[row] > 1: at[row] -= 1
        else: del at[row]
        self.changed[row] = None
        if self.log is not None: self.log.append((row, key, sign, False))

    def _legal(self, shift: int) -> int:
        if shift < SHIFTS >> 1: return shift
        raise UserError(f"a coefficient needs a shift by {shift} bits; give coefficients below 2**{(SHIFTS >> 1) - 1}")

    def new(self, coef: np.ndarray) -> int:
        """An empty sum that will have this value."""
        s, self.next = self.next, self.next + 1
        self.rows[s], self.users[s], self.coefs[s] = {}, {}, coef
        self.spans[s] = int(np.abs(coef) @ self.span)
        self.changed[s] = None
        if self.log is not None: self.log.append((s, -1, 0, True))
        return s

    def discard(self, row: int) -> None:
        """Forget a sum that nobody uses."""
        for key in list(self.rows[row]): self.drop(row, key)
        self.changed[row] = None
        if self.log is not None: self.log.append((row, -1, self.coefs[row], False))
        del self.rows[row], self.users[row], self.coefs[row], self.spans[row]

    def undo(self) -> None:
        """Take back everything since `log` was emptied; outputs have to be put back by the caller."""
        log, self.log = self.log, None
        for row, key, sign, done in reversed(log):
            if key == -2: self._renamed(row, sign)
            elif key < 0 and done: del self.rows[row], self.users[row], self.coefs[row], self.spans[row]
            elif key < 0:
                self.rows[row], self.users[row], self.coefs[row] = {}, {}, sign
                self.spans[row] = int(np.abs(sign) @ self.span)
            elif done: self._delete(row, self.rows[row], key, sign)
            else: self._insert(row, self.rows[row], key, sign)
        self.log = []

    def uses(self, row: int, symbol: int) -> list[tuple[int, int]]:
        """(shift, sign) of each term of a sum that is this symbol."""
        terms, base = self.rows[row], symbol << 6
        return [(s, terms[base | s]) for s in range(self.top_shift + 1) if base | s in terms]

    def inline(self, symbol: int, row: int) -> None:
        """In one sum, put a sum's terms in its place."""
        for shift, sign in self.uses(row, symbol):
            self.drop(row, symbol << 6 | shift)
            for k, s in self.rows[symbol].items(): self.edit(row, k + shift, s * sign)

    def extract(self, p: Pattern, allowed=None) -> int | None:
        """Make the pattern a sum of its own and put it wherever it occurs and is allowed; -> the sum, or None if that is only once."""
        a, b, d, differ = parts_of(p)
        low = min(0, d)
        first, second = a << 6 | -low, b << 6 | d - low        # the keys of the pattern's own sum
        few, many = (self.users[a], self.users[b]) if len(self.users[a]) < len(self.users[b]) else (self.users[b], self.users[a])
        found = [(row, s, sign) for row in sorted(set(few) & set(many)) if not allowed or allowed(row) for s, sign in self.uses(row, a)
                 if s + d >= 0 and self.rows[row].get(b << 6 | s + d) == (-sign if differ else sign)]
        if len(found) < 2: return None
        node = next((row for row, s, _ in found if len(self.rows[row]) == 2 and s == -low), None)
        if node is None:
            coef = (self.coefs[a] << -low) + ((-1 if differ else 1) * self.coefs[b] << d - low)
            node, turn = self.new(coef), 1
        else: turn = self.rows[node][first]
        for row, s, sign in found:
            k1, k2 = a << 6 | s, b << 6 | s + d
            terms = self.rows[row]
            if row == node or terms.get(k1) != sign or terms.get(k2) != (-sign if differ else sign): continue
            self.drop(row, k1)
            self.drop(row, k2)
            self.edit(row, node << 6 | s + low, sign * turn)
        if not self.rows[node]:
            self.edit(node, first, 1)
            self.edit(node, second, -1 if differ else 1)
        return node

    def tidy(self, row: int) -> None:
        """A sum of one term, or of none, or with a single user is no sum of its own; nor is one without users."""
        todo = [row]
        while todo:
            row = todo.pop()
            if row not in self.rows: continue
            users, terms, own = self.users[row], self.rows[row], self.of_output.get(row)
            if len(terms) > 1 and (own or len(users) > 1 or sum(users.values()) > 1): continue
            if own and len(terms) > 1: continue
            for u in list(users):
                self.inline(row, u)
                todo.append(u)
            if own: self._rename(row)
            todo += {k >> 6 for k in self.rows[row] if k >> 6 >= self.inputs}
            self.discard(row)

    def _rename(self, row: int) -> None:
        """The outputs that are this sum of one term, or of none, are that term."""
        for j in list(self.of_output[row]):
            _, shift, sign = self.outputs[j]
            if self.log is not None: self.log.append((j, -2, self.outputs[j], None))
            self._renamed(j, next(((k >> 6, shift + (k & 63), s * sign) for k, s in self.rows[row].items()), None))

    def _renamed(self, j: int, term: tuple[int, int, int] | None) -> None:
        """Output j is another term from now on."""
        if self.outputs[j]: self.of_output[self.outputs[j][0]].remove(j)
        self.outputs[j] = term
        if term: self.of_output[term[0]].append(j)


def sums_of(matrix: np.ndarray, span: np.ndarray, share: bool = True) -> Sums:
    """One sum of signed digits for each row of the matrix; rows that differ by a shift or a sign only share theirs if wished."""
    sums, known = Sums(matrix.shape[1], span), {}
    for j, row in enumerate(matrix):
        at = np.flatnonzero(row)
        if not len(at):
            sums.outputs.append(None)
            continue
        shift = int(min((int(v) & -int(v)).bit_length() - 1 for v in row[at]))
        sign = 1 if row[at[0]] > 0 else -1
        coef = sign * row >> shift
        digits = [(int(i) << 6 | s, g) for i in at for s, g in signed_digits(int(coef[i]))]
        if len(digits) == 1: symbol, shift = digits[0][0] >> 6, shift + (digits[0][0] & 63)
        elif share and coef.tobytes() in known: symbol = known[coef.tobytes()]
        else:
            symbol = known[coef.tobytes()] = sums.new(coef)
            for key, g in digits: sums.edit(symbol, key, g)
        sums.outputs.append((symbol, shift, sign))
        sums.of_output[symbol].append(j)
    return sums
