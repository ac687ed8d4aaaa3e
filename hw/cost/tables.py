"""Cost tables before anything is quantized: what each layer would take of an FPGA with each option."""
from ir import Layer, Option, Table, UserError
from ir.example import example

from ..folding.choose import Choice, choose
from .graph import constants, usual
from ..folding.fold import FULL
from ..targets import Target, fpga

UNITS = {"lut": "LUT", "ff": "FF", "dsp": "DSP", "bram": "BRAM", "cycles": "cycles/frame"}


def layer_costs(layers: dict[str, Layer], options: list[Option | str], target: Target | str | None = None,
                cycles: int | None = None) -> dict[str, Table]:
    """Tables "lut", "ff", "dsp", "bram" and "cycles": each layer with each option, folded as little as the goal needs.

    A layer is its line buffer, its products and its requant; `cycles` is the goal for a frame, by default the best at
    which all layers, each with its dearest option, still fit the target.  Cycles of layers do not add up: the slowest
    counts.  Multipliers and memories are the usual ones; hw.fold may find better ones for the whole.  Weights are taken as
    normally distributed, the output as wide as the input.  UserError: a goal out of reach.
    """
    t = fpga(target)
    menu = [o if isinstance(o, Option) else Option.parse(o) for o in options]
    if cycles is None:
        cycles = _goal(layers, menu, t)
    rows = {r: {} for r in UNITS}
    for layer in layers.values():
        for o in menu:
            found = best(layer, o, t, cycles)
            for r, v in {**found.cost, "cycles": found.cycles}.items():
                rows[r].setdefault(layer.name, {})[str(o)] = round(float(v), 1)
    about = {"target": t.name, "cycles": cycles, "constants": constants(t.family)["hash"]}
    combine = {"cycles": {"combine": "max"}}
    return {r: Table(r, "cost", rows[r], unit, about | combine.get(r, {})) for r, unit in UNITS.items()}


def best(layer: Layer, o: Option, t: Target, cycles: int) -> Choice:
    """The folding of fewest LUTs with which a layer keeps this pace, and its costs.  UserError: none does."""
    return choose({layer.name: _choices(layer, o, t, cycles)}, cycles)[layer.name]


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
    return usual(g, g.nodes["layer"], t, max_cycles=max_cycles)
