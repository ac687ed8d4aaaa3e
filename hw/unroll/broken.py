"""Linear maps broken up into adders: only the rows that something depends on, equal maps once."""
from collections.abc import Callable

import numpy as np

from . import scalars
from .adders import Adders
from .scalars import Linear, Ref, Scalars, Sum, constant, gathered

Solver = Callable[[np.ndarray, np.ndarray, np.ndarray], Adders]  # (matrix (outputs, inputs), lo, hi)


def broken(old: Scalars, solve: Solver) -> Scalars:
    """The same scalars without Linear and without what nothing depends on; the solver makes adders of each map."""
    new, live, made = Scalars(), old.live(), {}
    rows: dict[int, list[int]] = {}
    for k, op in enumerate(old.ops):
        if live[k] and isinstance(op, Linear):
            rows.setdefault(op.block, []).append(op.row)
    solved: dict[tuple, Adders] = {}
    done: dict[tuple[int, int], Ref] = {}
    for k, op in enumerate(old.ops):
        if not live[k]:
            continue
        if isinstance(op, Linear):
            if (op.block, op.row) not in done:
                done |= _block(new, old, op.block, rows[op.block], made, solve, solved)
            made[k] = done[op.block, op.row]
        else:
            made[k] = _again(new, op, old, k, made)
    new.outputs = [constant(r.offset) if r.value is None else new.whole(_through(made[r.value], r), f"result_{i}")
                   for i, r in enumerate(old.outputs)]
    return new


def _block(new: Scalars, old: Scalars, block: int, rows: list[int], made: dict[int, Ref], solve: Solver, solved: dict) -> dict:
    """(block, row) -> where it is now, of all live rows."""
    b = old.blocks[block]
    matrix = b.matrix[rows]
    used = np.flatnonzero(matrix.any(0))
    values, columns, consts = gathered([made[b.args[a]] for a in used], matrix[:, used])
    lo, hi = (np.array([bound[v] for v in values], np.int64) for bound in (new.lo, new.hi))
    key = columns.tobytes(), columns.shape, lo.tobytes(), hi.tobytes()
    if key not in solved:
        solved[key] = solve(columns, lo, hi)
    a, at = solved[key], list(values)
    for n, terms in enumerate(a.adds):
        at.append(new.add(Sum(tuple(t._replace(value=at[t.value]) for t in terms)), f"{b.name}_t{n}"))
    return {(block, row): constant(c) if t is None else Ref(at[t.value], t.shift, t.negative, int(c))
            for row, t, c in zip(rows, a.outputs, consts)}


def _again(new: Scalars, op: scalars.Op, old: Scalars, k: int, made: dict[int, Ref]) -> Ref:
    """The value once more, of what its operands have become."""
    name = old.names[k]

    def value(v: int) -> int: return new.whole(made[v], f"{old.names[v]}_sum").value
    match op:
        case scalars.Input():
            return Ref(new.add(op, name, old.lo[k], old.hi[k]))
        case Sum((t,), const):
            return _through(made[t.value], Ref(t.value, t.shift, t.negative, const))
        case scalars.Floor(v, bits):
            return Ref(new.add(scalars.Floor(value(v), bits), name))
        case scalars.Clamp(v, lo, hi):
            return Ref(new.add(scalars.Clamp(value(v), lo, hi), name))
        case scalars.Largest(a, b):
            return Ref(new.add(scalars.Largest(value(a), value(b)), name))
        case scalars.Product(a, b):
            return Ref(new.add(scalars.Product(value(a), value(b)), name))
        case scalars.Table(v, words):
            return Ref(new.add(scalars.Table(value(v), words), name))
    raise AssertionError(op)


def _through(inner: Ref, outer: Ref) -> Ref:
    """`outer` of a value that is `inner`."""
    if inner.value is None:
        return constant(outer.scaled(inner.offset) + outer.offset)
    return Ref(inner.value, inner.shift + outer.shift, inner.negative != outer.negative, outer.scaled(inner.offset) + outer.offset)
