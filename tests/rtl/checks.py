"""Modules against the reference: the beats of `ir.interpret.evaluate`'s arguments in, the beats of its result wanted."""
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw import Fold
from hw.dataflow.flow import Flow, Take
from hw.dataflow.netlist import Netlist
from hw.dataflow.orders import channels_inner
from hw.dataflow.requants import requant
from hw.dataflow.rule import Rule
from ir import Graph, Input, Ints, Op, Requant
from ir.infer import infer
from ir.interpret import evaluate
from sim import Case, run_modules
from sim.words import pack, stream

SEEDS = (None, 1, 2, 3)  # no stalls at all, then random ones on every stream


@dataclass(frozen=True)
class Check:
    case: Case
    want: dict[str, list[int]]


def check(op: Op, types: Sequence[Ints], xs: Sequence[np.ndarray], top: str, params: dict, mems: dict | None = None,
          lanes: int | Sequence[int] = 1, names: Sequence[str] = ("s",), out_lanes: int | None = None) -> Check:
    """Module `top` as `op` of the arrays xs (batch first); stream k carries `lanes[k]` elements of the width of its type."""
    out = infer(op, *types)
    y = evaluate(op, tuple(types), *xs)
    lanes = [lanes] * len(xs) if isinstance(lanes, int) else lanes
    inputs = {n: pack(stream(x), k, t.bits) for n, x, t, k in zip(names, xs, types, lanes)}
    want = pack(stream(y), out_lanes or lanes[0], out.bits)
    return Check(Case(top, params, inputs, {"m": len(want)}, mems or {}), {"m": want})


def agree(checks: Sequence[Check], work: Path, seeds: Sequence[int | None] = SEEDS, resets: bool = False, **options) -> None:
    """All modules side by side in one build, once for each seed of stalls: every beat is the one wanted.

    resets: from seed 2 on they are reset at some cycle, in the middle of whatever they do, and all is played again.
    """
    for seed in seeds:
        reset = random.Random(seed).randrange(3, 120) if resets and seed and seed > 1 else 0
        got = run_modules([c.case for c in checks], work, seed, reset=reset, **options)
        for k, (c, g) in enumerate(zip(checks, got)):
            for s, want in c.want.items():
                bad = [i for i, (a, b) in enumerate(zip(g[s], want)) if a != b]
                assert not bad and len(g[s]) == len(want), \
                    f"seed {seed}, case {k} {c.case.top} {dict(c.case.params)}: beat {bad[:1]} of {s} is {g[s][bad[0]]:x}, not {want[bad[0]]:x}"


def lowered(t: Ints, op: Requant, lanes: int, how: str) -> tuple[Netlist, dict]:
    """The netlist of a requant alone, and its parameters as numbers and names."""
    g, net = Graph(), Netlist()
    g.add("x", Input(t))
    g.add("q", op, "x")
    order = channels_inner(t.shape, 0 if len(t.shape) == 3 else len(t.shape) - 1)
    flow = Flow(order, lanes, (Take(lanes),), fold=Fold(requant=how))
    requant(Rule(net, g.nodes["q"], [t], [Flow(order, lanes)], flow, [net.stream("s", lanes, t.bits, t.signed, t.size)]))
    return net, {k: getattr(v, "value", v) for k, v in net.instances[0].params.items()}


def random_ints(t: Ints, count: int, seed: int = 0) -> np.ndarray:
    """(count, *shape) over the whole type, its two ends first."""
    x = np.random.default_rng(seed).integers(t.lo, t.hi, (count, *t.shape), endpoint=True)
    x.flat[:2] = t.lo, t.hi
    return x


def packed(values: Sequence[int], bits: int = 32) -> int:
    """A parameter that holds `bits` bits a value, the first in the lowest."""
    return sum(int(v) << bits * k for k, v in enumerate(values))


