"""Products that are one function of one value: x * sigmoid(x) is SiLU, x * relu6(x + 3) / 6 hardswish, x * (1 + erf(x / sqrt 2)) / 2 GELU.

Exporters spell them in many ways, so they are recognised by their values.  Together they are one table lookup, and no
product of two activations.
"""
from dataclasses import replace

import torch

from ..net import FUNCTIONS, Step, compute

GATED = ("silu", "hardswish", "gelu", "gelu_tanh", "mish")
GRID = torch.linspace(-10, 10, 401, dtype=torch.float64)
CLOSE = 1e-6  # of the largest value; constants in float32 are off by 1e-7, GELU and its tanh form differ by 5e-5
DEPTH = 12    # the longest spelling has nine steps


def gate(s: Step, steps: dict[str, Step]) -> list[Step] | None:
    """Steps equal to the product `s`: factor * function(x), the function under a name with an apostrophe; None if it is none."""
    for x in sources(s, steps) if s.shape else ():
        y = values(s, x, steps)
        if y is None:
            continue
        for fn in GATED:
            f = FUNCTIONS[fn](GRID)
            c = y[-1] / f[-1]
            if c != 0 and (y - c * f).abs().max() <= CLOSE * y.abs().max():
                function = replace(s, name=s.name + "'", kind="function", args=(x,), attrs={"fn": fn})
                w = torch.full((s.shape[0],), round(float(c), 6))
                return [function, replace(s, kind="scale", args=(function.name,), attrs={"axis": 0}, weight=w, bias=torch.zeros_like(w))]
        return None  # the nearest single source decides
    return None


def sources(s: Step, steps: dict[str, Step]) -> list[str]:
    """Names of the values that `s` may be a function of, the nearest first."""
    found: dict[str, None] = {}
    edge = list(s.args)
    for _ in range(DEPTH):
        found.update(dict.fromkeys(edge))
        edge = [a for n in edge if elementwise(steps[n]) for a in steps[n].args if a not in found]
    order = {n: i for i, n in enumerate(steps)}
    return sorted(found, key=lambda n: -order[n])


def values(s: Step, x: str, steps: dict[str, Step], depth: int = DEPTH) -> torch.Tensor | None:
    """`s` at the points of GRID as a function of step `x` alone; None if it needs anything else."""
    if s.name == x:
        return GRID
    if not elementwise(s) or not depth:
        return None
    args = [values(steps[a], x, steps, depth - 1) for a in s.args]
    if any(a is None for a in args):
        return None
    if s.kind == "scale":
        return args[0] * s.weight[0].double() + s.bias[0].double()
    return compute(s, *args)


def elementwise(s: Step) -> bool:
    """Whether every element of the result is the same function of its own elements in the arguments."""
    if s.kind == "scale":
        return bool((s.weight == s.weight[0]).all() and (s.bias == s.bias[0]).all())
    return s.kind in ("function", "relu", "clip", "add", "mul")
