"""Where constants are added: wherever that costs nothing, and else where it costs least.

Between the adders of a linear map a constant may stand anywhere.  On devices with columns of unsigned operands each sum takes
the constant that lets nothing be left over, and what the last sum still lacks goes to one that has an operand to spare.
"""
from . import scalars
from .adders import Term
from .columns import operands
from .family import Family
from .scalars import Ref, Scalars, Sum

TRIES = 4  # rounds in which a constant that is moved may change the width, and so the constant, of where it came from


class _Sums:
    """The sums of a netlist with their constants open to change.  Bounds are those without constants (`low`, `high`), which
    never change, plus the constant of all that is below (`total`)."""

    def __init__(self, s: Scalars):
        self.s, self.ops = s, list(s.ops)
        self.low = [a - c for a, c in zip(s.lo, s.consts)]
        self.high = [a - c for a, c in zip(s.hi, s.consts)]
        self.total = list(s.consts)
        self.readers = s.readers()
        self.fixed = self._fixed()

    def _fixed(self) -> list[bool]:
        """Values whose bits are read as they are: by something that is no sum, or that drops bits known to be 0."""
        fixed = [False] * len(self.ops)
        for op in self.ops:
            for a in scalars.args(op, []):
                if not isinstance(op, Sum) or any(t.value == a and t.shift < 0 for t in op.terms):
                    fixed[a] = True
        for r in self.s.outputs:
            if r.value is not None:
                fixed[r.value] = True
        return fixed

    def free(self, k: int) -> bool: return isinstance(self.ops[k], Sum) and not self.fixed[k]

    def terms(self, k: int) -> tuple[Term, ...]: return self.ops[k].terms

    def below(self, k: int) -> int:
        """The constant that the terms of sum k bring along."""
        return sum(_moved(self.total[t.value], t) for t in self.terms(k))

    def rest(self, k: int) -> int:
        """What a sum of the bare operands of k lacks, beside its own constant."""
        lo = {t.value: self.low[t.value] + self.total[t.value] for t in self.terms(k)}
        hi = {t.value: self.high[t.value] + self.total[t.value] for t in self.terms(k)}
        return operands(self.terms(k), lo, hi)[1]

    def lacks(self, k: int) -> int:
        """The constant operand that sum k needs, as its bits."""
        width = scalars.Ints((), self.low[k] + self.total[k], self.high[k] + self.total[k]).bits
        return self.total[k] - self.below(k) + self.rest(k) & (1 << width) - 1

    def settle(self, k: int, extra: int = 0) -> None:
        """Give sum k the constant with which it lacks just `extra`."""
        self.total[k] = self.below(k) - self.rest(k) + extra


def placed(s: Scalars, family: Family) -> Scalars:
    """The same results from sums of at most family.operands operands, constants counted."""
    s = fused(s, 3 if family.columns else 2)
    return _columns(s, family) if family.columns else s


def fused(s: Scalars, limit: int) -> Scalars:
    """A sum of one value takes over that value's terms, where nothing else reads it and `limit` operands suffice."""
    readers, new, made = s.readers(), Scalars(), {}
    gone = {r.value for r in s.outputs}
    inner = {}
    for k, op in enumerate(s.ops):
        match op:
            case Sum((t,), const) if isinstance(below := s.ops[t.value], Sum) and readers[t.value] == [k] and t.value not in gone \
                    and t.shift >= 0 and (limit > 2 or len(below.terms) + (const + _moved(below.const, t) != 0) <= limit):
                inner[t.value] = k
    for k, op in enumerate(s.ops):
        if k in inner:
            continue
        if isinstance(op, Sum) and len(op.terms) == 1 and inner.get(op.terms[0].value) == k:
            t = op.terms[0]
            below = s.ops[t.value]
            op = Sum(tuple(u._replace(shift=u.shift + t.shift, negative=u.negative != t.negative) for u in below.terms),
                     op.const + _moved(below.const, t))
        made[k] = new.add(_renumbered(op, made), s.names[k], *((s.lo[k], s.hi[k]) if isinstance(op, scalars.Input) else ()))
    new.outputs = [r if r.value is None else Ref(made[r.value]) for r in s.outputs]
    return new


def _columns(s: Scalars, family: Family) -> Scalars:
    sums, apart = _Sums(s), {}
    for k in range(len(s.ops)):
        if sums.free(k):
            sums.settle(k)
        elif isinstance(s.ops[k], Sum) and len(sums.terms(k)) >= family.operands and sums.lacks(k) and not _moved_down(sums, k, family):
            apart[k] = True  # an adder of its own
    new, made = Scalars(), {}
    for k, op in enumerate(s.ops):
        bounds = (s.lo[k], s.hi[k]) if isinstance(op, scalars.Input) else ()
        if k in apart:
            bare = tuple(t._replace(value=made[t.value]) for t in op.terms)
            rest = operands(bare, new.lo, new.hi)[1]
            first = new.add(Sum(bare, -rest), f"{s.names[k]}_bare")
            made[k] = new.add(Sum((Term(first),), sums.total[k] - sums.below(k) + rest), s.names[k])
            continue
        if isinstance(op, Sum):
            op = op._replace(const=sums.total[k] - sums.below(k))
        made[k] = new.add(_renumbered(op, made), s.names[k], *bounds)
    new.outputs = [r if r.value is None else Ref(made[r.value]) for r in s.outputs]
    return new


def _moved_down(sums: _Sums, k: int, family: Family) -> bool:
    """Move the constant that sum k lacks to a sum below it that only counts in k and has an operand to spare."""
    for way in sorted(_ways(sums, k, family.operands), key=lambda w: sums.high[w[-1]] - sums.low[w[-1]]):
        kept = {v: sums.total[v] for v in way}
        extra = 0
        for _ in range(TRIES):
            lacks, factor = sums.lacks(k), _factor(sums, k, way)
            if not lacks:
                return True
            if lacks % abs(factor):
                break
            extra += lacks // factor
            sums.settle(way[-1], extra)
            for v in reversed(way[:-1]):
                sums.settle(v)
        else:
            if not sums.lacks(k):
                return True
        for v, total in kept.items():
            sums.total[v] = total
    return False


def _ways(sums: _Sums, k: int, limit: int) -> list[list[int]]:
    """Ways down from k through sums with no other reader, to those with an operand to spare."""
    found, todo = [], [[k]]
    while todo:
        way = todo.pop()
        for t in sums.terms(way[-1]):
            if sums.free(t.value) and len(sums.readers[t.value]) == 1:
                longer = [*way, t.value]
                todo.append(longer)
                if len(sums.terms(t.value)) < limit:
                    found.append(longer[1:])
    return found


def _factor(sums: _Sums, k: int, way: list[int]) -> int:
    """What the last value of the way counts in k."""
    factor = 1
    for above, below in zip([k, *way], way):
        t = next(t for t in sums.terms(above) if t.value == below)
        factor = _moved(factor, t)
    return factor


def _renumbered(op: scalars.Op, made: dict[int, int]) -> scalars.Op:
    match op:
        case Sum(terms, const):
            return Sum(tuple(t._replace(value=made[t.value]) for t in terms), const)
        case scalars.Largest(a, b) | scalars.Product(a, b):
            return type(op)(*sorted((made[a], made[b])))
        case scalars.Input():
            return op
    return op._replace(value=made[op.value])


def _moved(v: int, t: Term) -> int:
    """A constant as it counts behind a term."""
    v = v << t.shift if t.shift >= 0 else v >> -t.shift
    return -v if t.negative else v
