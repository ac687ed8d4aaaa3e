"""Cost tables before anything is quantized: what each layer would take of an FPGA with each option."""
import numpy as np

from ir import Conv, Dense, Graph, Input, Ints, Layer, Option, Requant, Table, UserError

from .choose import Choice, choose
from .cost import choices, constants
from .fold import FULL
from .targets import Target, fpga

SPREAD = 3.0   # typical weights: a normal distribution whose 3 sigma are the format's largest value
MUL_BITS = 15  # of a requant's multiplier
UNITS = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram": "BRAM", "cycles": "cycles/frame"}


def layer_costs(layers: dict[str, Layer], options: list[Option | str], target: Target | str | None = None,
                cycles: int | None = None) -> dict[str, Table]:
    """Tables "lut", "ff", "dsp", "bram" and "cycles": each layer with each option, folded as little as the goal needs.

    A layer is its line buffer, its products and its requant; `cycles` is the goal for a frame, by default the best at
    which all layers, each with its dearest option, still fit the target.  Cycles of layers do not add up: the slowest
    counts.  Weights are taken as normally distributed, the output as wide as the input.  UserError: a goal out of reach.
    """
    t = fpga(target)
    menu = [o if isinstance(o, Option) else Option.parse(o) for o in options]
    if cycles is None:
        cycles = _goal(layers, menu, t)
    rows = {r: {} for r in UNITS}
    for layer in layers.values():
        for o in menu:
            best = choose({layer.name: _choices(layer, o, t, cycles)}, cycles)[layer.name]
            for r, v in {**best.cost, "cycles": best.cycles}.items():
                rows[r].setdefault(layer.name, {})[str(o)] = round(float(v), 1)
    about = {"target": t.name, "cycles": cycles, "constants": constants(t.family)["hash"]}
    combine = {"cycles": {"combine": "max"}}
    return {r: Table(r, "cost", rows[r], unit, about | combine.get(r, {})) for r, unit in UNITS.items()}


def _goal(layers: dict[str, Layer], menu: list[Option], t: Target) -> int:
    dearest = max(menu, key=lambda o: (o.weight_format.bits * o.act_format.bits, o.weight_format.bits))
    every = {name: _choices(layer, dearest, t) for name, layer in layers.items()}
    try:
        found = choose(every, limits={"lut": FULL * t.resources["lut"], "dsp": t.resources["dsp"]})
    except UserError:  # not even fully folded: then fully folded is what there is to compare
        return max(max(c.cycles for c in found) for found in every.values())
    return max(c.cycles for c in found.values())


def _choices(layer: Layer, o: Option, t: Target, max_cycles: int | None = None) -> list[Choice]:
    g = example(layer, o)
    return choices(g, g.nodes["layer"], t, max_cycles=max_cycles)


def example(layer: Layer, o: Option) -> Graph:
    """A graph of this one layer with typical weights: input, products (node "layer"), requant."""
    acts, weights = o.act_format, o.weight_format
    r = np.random.default_rng(0)
    shape = (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel)
    w = np.clip(np.rint(r.standard_normal(shape) * (weights.hi / SPREAD)), weights.lo, weights.hi).astype(np.int64)
    w.flat[0] = weights.lo
    bias = np.zeros(layer.out_channels, np.int64)
    g = Graph()
    shape = (layer.in_channels, *layer.in_space) if layer.kind == "conv" else (*layer.in_space, layer.in_channels)
    g.add("x", Input(Ints(shape, acts.lo, acts.hi)))
    if layer.kind == "conv":
        pad = [max(0, (n - 1) * s + k - i) for n, s, k, i in zip(layer.out_space, layer.stride, layer.kernel, layer.in_space)]
        g.add("layer", Conv(w, bias, layer.stride, tuple((p // 2, p - p // 2) for p in pad), (1,) * len(pad), layer.groups), "x")
    else:
        g.add("layer", Dense(w, bias), "x")
    mul = np.full(layer.out_channels, (1 << MUL_BITS) - 1) - np.arange(layer.out_channels) % 7
    shift = max(0, g.output.type.bits + MUL_BITS - acts.bits)
    g.add("y", Requant(mul, shift, 0, acts.lo, acts.hi, 0 if layer.kind == "conv" else -1), "layer")
    return g
