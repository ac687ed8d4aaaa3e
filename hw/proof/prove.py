"""Proofs of single modules of the library: the rules of their streams, and what comes out of them."""
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import z3

from ir import UserError

from . import engine, mine
from .engine import Broken, Proof
from .meaning import Meaning, meaning
from .sample import CYCLES
from .streams import Claim, Side, Streams
from .system import System, system
from .unroll import Run

MOVES = "with every input offered and every output taken, each stream moves within {} cycle{}"
FIRST = 4  # cycles that are searched before lemmas are
MOST = 64  # cycles within which a stream is expected to move


@dataclass(frozen=True)
class Report:
    """What was proven of one module; `lemmas` were found and proven on the way."""
    module: str
    params: Mapping[str, int | str]
    proofs: list[Proof]
    lemmas: int
    seconds: float


def prove_module(module: str, params: Mapping[str, int | str], mems: Mapping[str, str] | None = None, seconds: float = 120,
                 sources: list[Path] | None = None, bound: int = 16) -> Report:
    """All properties of a library module with these parameters (all of them) and memory files.

    A reset of one cycle out of any state is where every run begins.  seconds: after which what is not proven for all time
    is left at the cycles reached so far.
    UserError: an unknown module, a property that does not hold (with the cycles that show it), Yosys missing.
    """
    began = time.monotonic()
    meant = meaning(module, params, mems or {})
    s = system(module, params, mems, sources)
    watch = Streams(claim(s, meant))
    until = began + seconds
    search = engine.Search(s, watch)
    try:
        search.upto(FIRST, until)
        if mine.broken(s, watch):
            search.upto(CYCLES, until)
        known = engine.lemmas(s, watch, mine.counts(s, watch), until)
        known += engine.lemmas(s, watch, mine.places(s, watch), until, known)
        moving = _moves(s, watch, known, until)
        proofs = engine.prove(s, watch, known, search, bound=bound, deadline=until)
    except Broken as e:
        raise UserError(f"{module} {_text(params)}: {e.property}: not so; {_shown(e.cycles)}") from None
    return Report(module, dict(params), [*proofs, moving], len(known), round(time.monotonic() - began, 2))


def claim(s: System, m: Meaning) -> Claim:
    """The streams at the ports of a system, with their meaning."""
    sides: dict[bool, list[Side]] = {True: [], False: []}
    for port in s.ports:
        if not (found := re.fullmatch(r"(\w+?)(_valid_[io]|_tvalid)", port)):
            continue
        name, is_in, count = found[1], port in s.inputs, s.ports[port]
        axis = found[2] == "_tvalid"
        wires = (port, f"{name}_tready" if axis else f"{name}_ready_{'o' if is_in else 'i'}",
                 ((f"{name}_tdata",) if is_in else (f"{name}_tdata", f"{name}_tlast")) if axis else (f"{name}_data_{port[-1]}",))
        total = sum(s.ports[w] for w in wires[2])
        shared = name in m.beats  # a vector of streams with one data bus, or a single stream
        for k in range(count):
            label = f"{name}[{k}]" if count > 1 or not shared else name
            sides[is_in].append(Side(label, m.beats[name if shared else label], total if shared else total // count, wires))
    order = {n: k for k, n in enumerate(m.beats)}
    ins = sorted(sides[True], key=lambda x: order.get(x.name, 0))
    return Claim(ins, sides[False], m.frame, m.given, m.holds)


def _moves(s: System, watch: Streams, known: list[mine.Guess], until: float) -> Proof:
    """The least number of cycles after which, from any state that the lemmas allow, each stream has moved."""
    began, depth = time.monotonic(), 0
    for side in watch.claim.sides:
        run, solver = Run(s, watch, False), z3.SolverFor("QF_BV")
        for k in range(1, MOST + 1):
            v = run.views[-1]
            solver.add([g(v) for g in known] + [x.valid(v) for x in watch.claim.ins] + [x.ready(v) for x in watch.claim.outs])
            solver.add(z3.Not(side.fires(v)))
            solver.add(run.take())
            solver.set("timeout", max(1, int(min(until - time.monotonic(), 1e6) * 1000)))
            if (found := solver.check()) == z3.unsat:
                depth = max(depth, k)
                break
            if found == z3.unknown:
                return Proof(MOVES.format("?", "s"), "open", k, round(time.monotonic() - began, 2))
            run.extend()
        else:
            return Proof(MOVES.format(f"more than {MOST}", "s"), "open", MOST, round(time.monotonic() - began, 2))
    return Proof(MOVES.format(depth, "s" * (depth != 1)), "induction", depth, round(time.monotonic() - began, 2))


def _text(params: Mapping[str, int | str]) -> str: return " ".join(f"{k}={v}" for k, v in params.items())


def _shown(cycles: list[dict[str, int]]) -> str:
    """Values of the ports, cycle by cycle, in one line."""
    return "; ".join(f"cycle {k}: " + " ".join(f"{n}={v:x}" for n, v in c.items()) for k, c in enumerate(cycles))
