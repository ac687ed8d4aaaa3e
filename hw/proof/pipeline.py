"""Unrolled pipelines against the definition: every input at once, from any state."""
import time

import numpy as np
import z3

from ir import UserError

from ..unroll import emit
from ..unroll.design import Unrolled, orders
from ..design import library
from . import symbolic
from .engine import Proof
from .system import System, sources_in, system

EQUAL = "the result is the graph's, {} cycle{} later, for every input"
HOLDS = "every register holds while en_i is low"


def prove_pipeline(u: Unrolled, seconds: float = 120) -> list[Proof]:
    """That the emitted SystemVerilog of an unrolled graph computes the graph, and stands still when told.

    Both are shown from any state of the registers, so they hold at any time.  Adders of vendors' cells are not translated.
    UserError: they do not hold, or are not proven in `seconds`; a family with cells of its own.
    """
    text = u.text()
    with sources_in({f"{emit.PIPELINE}.sv": text}, library(text)) as files:
        s = system(emit.PIPELINE, {}, sources=files)
    return [_equal(u, s, seconds), _holds(s, seconds)]


def _equal(u: Unrolled, s: System, seconds: float) -> Proof:
    began, g = time.monotonic(), u.graph
    at, latency = orders(g), u.pipeline.latency
    x = symbolic.words(g)
    want = symbolic.run(g, x)[g.output.name].ravel()[at[g.output.name]]
    states = [z3.BitVec(f"s{k}", s.state.size()) for k in range(latency + 1)]
    solver = z3.SolverFor("QF_BV")
    solver.add([w.within() for v in x.values() for w in v.flat])
    solver.add([z3.substitute(s.step, (s.state, a), (s.next, b)) for a, b in zip(states, states[1:])])
    solver.add([z3.substitute(s.wires["en_i"], (s.state, a)) for a in states[:-1]])
    for n in g.inputs:
        port = _vector(z3.substitute(s.wires[emit.port(g, n.name)], (s.state, states[0])))
        solver.add([part == w.wide(n.type.bits) for part, w in zip(_parts(port, n.type.size), x[n.name].ravel()[at[n.name]])])
    got = _parts(_vector(z3.substitute(s.wires["result_o"], (s.state, states[-1]))), len(want))
    for k, (part, w) in enumerate(zip(got, want)):
        _check(solver, part != w.wide(part.size()), f"element {k} of the result", seconds)
    return Proof(EQUAL.format(latency, "s" * (latency != 1)), "induction", latency, round(time.monotonic() - began, 2))


def _holds(s: System, seconds: float) -> Proof:
    began = time.monotonic()
    solver = z3.SolverFor("QF_BV")
    solver.add(s.step, z3.Not(s.wires["en_i"]))
    moved = [e != z3.substitute(e, (s.state, s.next)) for e in s.data.values()]
    _check(solver, z3.Or(moved) if moved else z3.BoolVal(False), "a register", seconds)
    return Proof(HOLDS, "induction", 1, round(time.monotonic() - began, 2))


def _check(solver: z3.Solver, wrong: z3.BoolRef, what: str, seconds: float) -> None:
    solver.push()
    solver.add(wrong)
    solver.set("timeout", int(seconds * 1000))
    found = solver.check()
    if found != z3.unsat:
        raise UserError(f"{emit.PIPELINE}: {what} is {'wrong' if found == z3.sat else f'not proven in {seconds:g} s'}")
    solver.pop()


def _vector(e: z3.ExprRef) -> z3.BitVecRef: return z3.If(e, z3.BitVecVal(1, 1), z3.BitVecVal(0, 1)) if z3.is_bool(e) else e


def _parts(e: z3.BitVecRef, count: int) -> list[z3.BitVecRef]:
    n = e.size() // count
    return [z3.Extract((k + 1) * n - 1, k * n, e) for k in np.arange(count).tolist()]
