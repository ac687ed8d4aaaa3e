"""Random runs of a system and of what watches its streams: the cycles from which lemmas are guessed."""
import numpy as np
import z3

from .numbers import WORD, Program
from .streams import Streams
from .system import RESET, System, equations, pieces, place
from .unroll import View

RUNS, CYCLES = 160, 48


class Samples:
    """Cycles of many runs after a reset, stalls at random on every stream; `of` computes an expression in all of them."""

    def __init__(self, system: System, watch: Streams, extra: list[z3.ExprRef], view: View, seed: int = 0):
        self.view, rng = view, np.random.default_rng(seed)
        transition = [(e.arg(1), e.arg(0)) for e in equations(system.step)]  # a register of the next state, what it becomes
        news = [view.at(e) for _, e in transition]
        step = watch.step(view)
        ghosts = list(watch.ghosts)
        program = Program([*news, *(step.get(n, view.ghost[n]) for n in ghosts), *extra], view.state)
        state = str(view.state)
        at = {(state, *place(r)): k for k, (r, _) in enumerate(transition)}
        inputs = {n: (n, w - 1, 0) for n, w in system.inputs.items()}
        parts = {n: pieces(system.wires[n]) for n in system.inputs}
        now = {leaf: self._random(rng, leaf) for leaf in program.leaves if leaf[0] == state}
        now |= {(str(view.ghost[n]),): rng.integers(0, 1 << min(w, WORD), RUNS) for n, w in watch.ghosts.items()}
        first = watch.first()
        now |= {(str(view.ghost[n]),): np.full(RUNS, int(v)) for n, v in first.items() if v is not None}
        self.allowed = {s.name: _allowed(known, s.bits, rng) for s in watch.claim.ins if (known := watch.claim.given.get(s.name))}
        self.rows: list[list[np.ndarray]] = []
        eager = rng.choice([.2, .5, .9, 1.], (len(watch.claim.sides), RUNS))
        for t in range(-1, CYCLES):
            self._drive(rng, now, inputs, watch, eager, reset=t < 0)
            whole = {(state, *p): now[inputs[n]] >> at & (1 << p[0] - p[1] + 1) - 1 for n, ps in parts.items() for at, p in ps}
            now |= {leaf: v for leaf in program.leaves if leaf[0] == state and (v := _part(whole, leaf)) is not None}
            values = program.run(now)
            if t >= 0:
                self.rows.append(values[len(news) + len(ghosts):])
                now |= {(str(view.ghost[n]),): v for n, v in zip(ghosts, values[len(news):])}
            registers = {leaf: values[k] for leaf, k in at.items()}
            now |= {leaf: v for leaf in program.leaves if leaf[0] == state and (v := _part(registers, leaf)) is not None}

    def table(self) -> np.ndarray:
        """(different cycles, extra)."""
        return np.unique(np.concatenate([np.stack(np.broadcast_arrays(*r, np.zeros(RUNS))[:-1], 1) for r in self.rows]), axis=0)

    @staticmethod
    def _random(rng, leaf) -> np.ndarray:
        bits = leaf[1] - leaf[2] + 1
        if bits <= WORD:
            return rng.integers(0, 1 << bits, RUNS)
        return np.array([int(v) << 40 ^ int(w) for v, w in rng.integers(0, 1 << 40, (RUNS, 2))], object) & (1 << bits) - 1

    def _drive(self, rng, now, inputs, watch, eager, reset: bool) -> None:
        """New values of the inputs; an input stream that waits stays as it is."""
        bits = {n: leaf[1] - leaf[2] + 1 for n, leaf in inputs.items()}
        now |= {leaf: self._random(rng, leaf) for n, leaf in inputs.items()}
        if RESET in inputs:
            now[inputs[RESET]] = np.full(RUNS, int(not reset))
        for k, s in enumerate(watch.claim.sides):
            is_in = s in watch.claim.ins
            held = now[(str(self.view.ghost[f"held.{s.name}"]),)] == 1
            wire = s.wires[0 if is_in else 1]
            on = (rng.random(RUNS) < eager[k]) | (held & is_in)
            leaf = inputs[wire]
            now[leaf] = now[leaf] & ~(1 << s.index) | on.astype(np.int64) << s.index if bits[wire] > 1 else on.astype(np.int64)
            if is_in:
                at = s.index * s.bits if len(s.wires[2]) == 1 and bits[s.wires[2][0]] > s.bits else 0
                kept = now[(str(self.view.ghost[f"kept.{s.name}"]),)]
                if s.name in self.allowed:
                    kept = np.where(held, kept, rng.choice(self.allowed[s.name], RUNS))
                for w in s.wires[2]:
                    mine = min(s.bits, bits[w])
                    ones = (1 << mine) - 1
                    put = now[inputs[w]] & ~(ones << at) | (kept & ones) << at
                    now[inputs[w]] = np.where(held | (s.name in self.allowed), put, now[inputs[w]])
                    kept = kept >> mine


def _allowed(known, bits: int, rng) -> np.ndarray:
    """Beats of an input of which this is known."""
    beat = z3.BitVec("beat", bits)
    tried = np.arange(1 << bits) if bits <= 12 else rng.integers(0, 1 << min(bits, WORD), 4096)
    [good] = Program([known(beat)], z3.BitVec("state", 1)).run({("beat",): tried})
    return tried[good == 1]


def _part(words: dict[tuple, np.ndarray], leaf: tuple) -> np.ndarray | None:
    """The leaf out of the register or input that it belongs to, if it is one of these."""
    _, high, low = leaf
    for (_, h, lo), v in words.items():
        if lo <= low and high <= h:
            return v if (h, lo) == (high, low) else (v >> low - lo) & ((1 << high - low + 1) - 1)
    return None
