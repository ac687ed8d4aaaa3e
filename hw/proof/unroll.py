"""A system and what watches it, cycle by cycle."""
from __future__ import annotations

from typing import Protocol

import z3

from .system import RESET, System


class Watch(Protocol):
    """A machine of its own beside the system: it sees every wire and says what has to hold.

    ghosts: name -> bits of a register (1: a Bool).  first: their values after the reset, None for any value, which then is
    the same in every cycle unless `step` says otherwise.
    """
    ghosts: dict[str, int]

    def first(self) -> dict[str, int | bool | None]: ...
    def assume(self, v: View) -> list[z3.BoolRef]: ...
    def step(self, v: View) -> dict[str, z3.ExprRef]: ...
    def check(self, v: View) -> dict[str, z3.BoolRef]: ...


class View:
    """One cycle: v["wire"], v.ghost["name"]."""

    def __init__(self, system: System, k: int, ghosts: dict[str, int]):
        self.system, self.k, self.state = system, k, z3.BitVec(f"s{k}", system.state.size())
        self.ghost = {n: z3.Bool(f"g{k}.{n}") if w == 1 else z3.BitVec(f"g{k}.{n}", w) for n, w in ghosts.items()}
        self._wires: dict[str, z3.ExprRef] = {}

    def __getitem__(self, wire: str) -> z3.ExprRef:
        if wire not in self._wires:
            self._wires[wire] = self.at(self.system.wires[wire])
        return self._wires[wire]

    def at(self, e: z3.ExprRef) -> z3.ExprRef:
        return z3.substitute(e, (self.system.state, self.state))

    def vector(self, wire: str) -> z3.BitVecRef:
        """The wire as a bit-vector, also where it has one bit."""
        e = self[wire]
        return z3.If(e, z3.BitVecVal(1, 1), z3.BitVecVal(0, 1)) if z3.is_bool(e) else e

    def registers(self) -> list[z3.ExprRef]:
        s = self.system
        return [self.at(e) for e in (*s.reset.values(), *s.data.values())] + list(self.ghost.values())


class Run:
    """Cycles 0, 1, ... of a system out of its reset (`start`), or out of any state at all."""

    def __init__(self, system: System, watch: Watch, start: bool):
        self.system, self.watch = system, watch
        self.views = [View(system, 0, watch.ghosts)]
        self.facts: list[z3.BoolRef] = []   # not yet given to a solver
        self._cycle(self.views[0], reset=start)
        if start:  # any state, one edge in reset, then what the reset has made of it
            self._edge()
            self._cycle(self.views[1], reset=False)
            self.views = self.views[1:]
            self.facts += [self.views[0].ghost[n] == v for n, v in watch.first().items() if v is not None]

    def extend(self) -> View:
        """One cycle more."""
        old = self.views[-1]
        new = self._edge()
        step = self.watch.step(old)
        self.facts += [new.ghost[n] == step.get(n, old.ghost[n]) for n in self.watch.ghosts]
        self._cycle(new, reset=False)
        return new

    def take(self) -> list[z3.BoolRef]:
        """The facts that came since the last call."""
        out, self.facts = self.facts, []
        return out

    def _edge(self) -> View:
        old = self.views[-1]
        new = View(self.system, old.k + 1, self.watch.ghosts)
        self.facts.append(z3.substitute(self.system.step, (self.system.state, old.state), (self.system.next, new.state)))
        self.views.append(new)
        return new

    def _cycle(self, v: View, reset: bool) -> None:
        if RESET in self.system.wires:
            self.facts.append(v[RESET] == z3.BoolVal(not reset))
        if not reset:
            self.facts += self.watch.assume(v)


def moves(a: View, b: View) -> z3.BoolRef:
    """That some register differs between two cycles: what stands still can be left out of a run."""
    pairs = [x != y for x, y in zip(a.registers(), b.registers())]
    return z3.Or(pairs) if pairs else z3.BoolVal(True)
