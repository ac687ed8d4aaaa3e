"""Costs measured on the hardware at hand: latency on this machine's processor, resources through synthesis."""
from collections.abc import Iterable, Mapping
from pathlib import Path

from ir import Graph, Option, Plan, Table, UserError
from ir.target import Target

LATENCY = {"cpu": "latency_us", "onnx": "latency_onnx_us"}


def measured_costs(net, targets, menus: Mapping[str, Iterable[str]], calibration=None, goal_cycles: int | None = None,
                   cache: Path | str | None = None, progress=None, limit: int | None = None, check: bool = False) -> dict[str, Table]:
    """Cost tables of a quant.Net over `menus`, {layer: option texts}, measured on each of `targets` (ir targets).

    "latency_us" for the cpu, "latency_onnx_us" for onnx; "lut", "ff", "dsp", "bram" and "cycles" for an FPGA, at the pace
    `goal_cycles`, with at most `limit` new runs of Yosys, the rest fitted.  With a calibration, what a network needs beside its
    layers counts as `fixed`, measured on a uniform plan, and about["additive_error"] compares the sum for a mixed plan with the
    whole network.  An FPGA takes two whole designs for it: without `check`, `fixed` is the cost model's and no error is told.
    cache: folder of finished measurements (None: the user's).
    UserError: a layer with no option that the target can run, a missing tool.
    """
    import quant
    layers, menus, tables = quant.geometry(net), {k: [str(o) for o in menu] for k, menu in menus.items()}, {}
    for t in targets:
        if t.kind in LATENCY:
            made = {LATENCY[t.kind]: latency(net, layers, t, menus, calibration, cache, progress)}
        elif t.kind == "fpga":
            made = resources(net, layers, t, menus, calibration, goal_cycles, cache, progress, limit, check)
        else:
            raise UserError(f"target {t.name!r}: nothing is measured on a {t.kind}; leave it out, or choose cpu, onnx or an FPGA")
        for table in made.values():
            table.about["model"] = net.hash
        tables |= made
    return tables


def latency(net, layers, t: Target, menus, calibration, cache, progress) -> Table:
    """The latency table of one processor target; with a calibration fitted to a uniform plan and checked on a mixed one."""
    from codegen import latency as timed
    table = timed.latency_table(layers, menus, t.kind, cache, progress)
    if calibration is not None:
        plain, mixed = uniform(table), rotated(table)
        left = timed.fit_fixed(table, lowered(net, plain, calibration), plain, t.kind, cache)
        table.about["additive_error"] = {
            "fitted to": plain, "fitted_relative": left, "checked on": mixed,
            **timed.additive_error(table, lowered(net, mixed, calibration), mixed, t.kind, cache)}
    return table


def resources(net, layers, t: Target, menus, calibration, goal_cycles, cache, progress, limit, check) -> dict[str, Table]:
    """The tables of an FPGA: fitted first, then measured cell by cell."""
    import hw
    from ir.example import menus as runnable

    from .steps import beside_layers
    offered = runnable(layers, menus, t.name)
    every = list(dict.fromkeys(o for menu in offered.values() for o in menu))
    fitted = hw.layer_costs({k: layers[k] for k in offered}, every, t, goal_cycles)
    if calibration is not None:
        beside_layers(net, calibration, fitted, t)
    tables = hw.measure(layers, offered, t, fitted=fitted, limit=limit, cache=cache, progress=progress)
    if calibration is not None and check:
        plain, mixed = uniform(tables["lut"]), rotated(tables["lut"])
        hw.fit_fixed(tables, *design(net, plain, calibration, t, tables["lut"].about["cycles"]), t, cache)
        found = hw.additive_error(tables, *design(net, mixed, calibration, t, tables["lut"].about["cycles"]), t, cache)
        for r, error in found.items():
            tables[r].about["additive_error"] = {"fitted to": plain, "checked on": mixed, **error}
    return tables


def design(net, options: Mapping[str, str], calibration, t: Target, cycles: int) -> tuple[Graph, Mapping[str, str], dict]:
    """(graph, {layer: option}, folding at this pace) of a plan's design, however many LUTs it takes."""
    import hw
    graph = lowered(net, options, calibration)
    return graph, options, hw.fold(graph, t, max_cycles=cycles, max_lut=float("inf"))


def uniform(table: Table) -> dict[str, str]:
    """{layer: its widest option}."""
    def bits(o: str) -> int: return Option.parse(o).weight_format.bits * Option.parse(o).act_format.bits
    return {k: max(row, key=bits) for k, row in table.rows.items()}


def rotated(table: Table) -> dict[str, str]:
    """{layer: option}, a mixed plan: each layer the next option of its row, around and around."""
    return {k: list(row)[i % len(row)] for i, (k, row) in enumerate(table.rows.items())}


def lowered(net, options: Mapping[str, str], calibration) -> Graph:
    """The integer graph of the net under {layer: option}, quickly: rounded to nearest, biases not corrected."""
    import quant
    return quant.quantize(net, Plan(dict(options)), calibration, bias_correction=False, weight_range="minmax").lower()
