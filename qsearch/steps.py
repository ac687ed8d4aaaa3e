"""The steps of the road, each a function that can be called alone: the command line does."""
from dataclasses import asdict
from pathlib import Path

import numpy as np

import ir
from ir import Graph, Plan, Table, UserError
from ir.store import digest, load_graph, load_json, save_graph, save_json, whole

from . import backends
from .data import Data
from .evaluate import mismatches, score
from .settings import Settings, budgets_of, menus
from .training import augmentation, recipe

BASIC = ("bytes", "bops", "wbits", "abits", "energy_pj")  # costs that no target is needed for


def capture(model, data: Data):
    """Float model (file, package.module:factory or torch module) -> quant.Net."""
    import quant
    return quant.load_model(model, example=tensor(data.calib_x[:2]))


def calibrate(net, data: Data, s: Settings):
    """Ranges of every tensor of the net on the calibration samples."""
    import quant
    return quant.calibrate(net, tensor(data.calib_x), observer=s.observer)


def cost(net, targets, s: Settings, calibration=None, progress=None) -> dict[str, Table]:
    """Cost tables by resource: bytes, BOPs, bits and modelled energy always, hardware resources for an FPGA target.

    With settings.measured, the targets' latency and resources are measured instead of foretold by a cost model.
    With a calibration, what an FPGA design needs beside its layers (sums, pools, buffers) counts as their `fixed` cost.
    """
    import quant
    from search import cost_tables
    layers, options, goal = quant.geometry(net), menus(net, s), budgets_of(s).get("cycles")
    if isinstance(goal, str):
        raise UserError(f"budget cycles={goal}: cycles are a goal for the folding, so give a number, for example cycles=50000")
    tables = cost_tables(layers, options, names=BASIC, about={"model": net.hash})
    if s.measured:
        from .hardware import measured_costs
        return tables | measured_costs(net, targets, options, calibration, int(goal) if goal else None, progress=progress)
    for t in targets:
        if t.kind == "fpga":
            import hw
            every = list(dict.fromkeys(o for menu in options.values() for o in menu))
            hardware = hw.layer_costs(layers, every, t, cycles=int(goal) if goal else None)
            if calibration is not None:
                beside_layers(net, calibration, hardware, t)
            tables |= hardware
    return tables


def beside_layers(net, calibration, hardware: dict[str, Table], t) -> None:
    """Sets `fixed` of hardware cost tables: a whole design with the cheapest options, less the layers' own part of it."""
    import hw
    import quant
    lut = hardware["lut"].rows
    plan = Plan({name: min(row, key=row.__getitem__) for name, row in lut.items()})
    graph = quant.quantize(net, plan, calibration, bias_correction=False, weight_range="minmax").lower()
    try:
        folding = hw.fold(graph, t, max_cycles=hardware["lut"].about["cycles"], max_lut=float("inf"))
    except UserError:
        return  # no design keeps this pace; the build will say so with the plan that was chosen
    whole = hw.total(hw.graph_costs(graph, folding, t))
    for resource in ("lut", "ff", "dsp", "bram"):
        own = sum(hardware[resource].rows[name][str(o)] for name, o in plan.options.items())
        hardware[resource].fixed = max(0.0, whole[resource] - own)


def quantize(net, plan: Plan, calibration, data: Data, s: Settings, out: Path, progress=None):
    """The integer graph in `out/graph`, the rows of the float, fake-quant and integer models, and the reference's outputs."""
    import quant
    import torch
    ready, ranges, suited = quant.prepare(net, calibration, plan, s.prepare)
    qnet = quant.quantize(ready, suited, ranges, rounding=s.rounding, act_range=s.act_range)
    training = [net.hash, {k: str(v) for k, v in plan.options.items()}, asdict(s), data.key]
    checkpoint = out / f"tune.{digest(ir.store.canonical(training))}.pt"
    if s.tune:
        labels = None if data.calib_y is None else torch.from_numpy(data.calib_y)
        how = recipe(s.recipe)
        hooks = [pruner(qnet, s, len(data.calib_x), how.get("batch", 32))] if s.prune else []
        quant.tune(qnet, tensor(data.calib_x), labels, epochs=s.tune, lr=s.learning_rate, seed=s.seed, progress=progress,
                   checkpoint=checkpoint, distill=net if s.distill else None, augment=augmentation(s.augment), after_step=hooks, **how)
    graph = qnet.lower()
    real, fake = (batched(m, data.x) for m in (net, qnet))
    expected = reference(graph, data.x)
    exact = score(decode(graph, expected), data.y, real)
    fakes = score(fake, data.y, real)
    agree = mismatches(graph.encodings[graph.output.name].encode(fake, graph.output.type.lo, graph.output.type.hi), expected)
    size = sum(w.numel() for step in net.steps.values() for w in (step.weight, step.bias) if w is not None) * 4
    from search import cost_tables
    small = cost_tables(quant.geometry(net), {n: [str(o)] for n, o in plan.options.items()}, ["bytes"])["bytes"]
    packed = int(sum(v for cells in small.rows.values() for v in cells.values()))
    rows = [row("float", score(real, data.y, real) if data.y is not None else None, None, size),
            row("fake-quant (torch)", fakes, agree, None), row("integer (numpy)", exact, 0, packed)]
    save_graph(graph, out / "graph")
    with whole(out / "expected.npz") as tmp, open(tmp, "wb") as f:
        np.savez_compressed(f, y=expected)
    save_json(out / "accuracy.json", "accuracy", {"rows": rows})
    checkpoint.unlink(missing_ok=True)  # it was for a training that is stopped midway
    return graph, rows, expected


def pruner(qnet, s: Settings, samples: int, batch: int):
    """Masks that follow the cubic schedule over the first three quarters of the training."""
    import quant
    end = max(1, s.tune * -(-samples // batch) * 3 // 4)
    return quant.Pruner(qnet, s.prune, end, every=min(100, max(1, end // 10)))


def build(t, graph: Graph, data: Data, expected: np.ndarray, s: Settings, out: Path) -> dict:
    """Compile for a target, run some samples there and count the values that are not the reference's."""
    n = min(s.simulate if t.kind == "fpga" else s.check, len(data.x))
    x = encode(graph, data.x[:n])
    made = backends.build(t, graph, out / t.name, s, x)
    r = compare(t, made, graph, x, expected[:n], None if data.y is None else data.y[:n])
    save_json(out / f"{t.name}.check.json", "check", r)
    return r


def check(folder: Path, data, screen) -> dict:
    """A build folder, run on the evaluation samples of `data` and compared with the graph that lies in it: one row."""
    name = load_json(folder / "build.json", "build")["target"]
    t, graph = backends.target(name), load_graph(folder / "graph" if (folder / "graph").exists() else folder)
    x = encode(graph, data.x)
    with screen.step(f"run on {name}"):
        return compare(t, folder, graph, x, ir.run(graph, x), data.y)


def compare(t, made: Path, graph: Graph, x: np.ndarray, expected: np.ndarray, labels: np.ndarray | None) -> dict:
    """Integers x on the built thing against the reference's `expected`: one row."""
    got, facts = backends.execute(t, made, x)
    value = score(decode(graph, got), labels, decode(graph, expected))
    return row(backends.title(t), value, mismatches(got, expected), facts.pop("bytes", None), samples=len(x), **facts)


def row(name: str, value, wrong: int | None, size: int | None, samples: int | None = None, **facts) -> dict:
    """One line of the table."""
    return {"model": name, "score": "" if value is None else str(value), "samples": samples, "mismatches": wrong, "bytes": size,
            "cycles_per_frame": None if facts.get("cycles_per_frame") is None else round(facts["cycles_per_frame"])}


def encode(graph: Graph, x: np.ndarray) -> np.ndarray:
    """Real inputs to the integers that the graph takes."""
    node = graph.inputs[0]
    return graph.encodings[node.name].encode(x, node.type.lo, node.type.hi)


def decode(graph: Graph, q: np.ndarray) -> np.ndarray:
    """Integers of the output to reals."""
    return graph.encodings[graph.output.name].decode(q)


def reference(graph: Graph, x: np.ndarray) -> np.ndarray:
    """What the integer graph makes of real inputs, as integers."""
    return ir.run(graph, encode(graph, x))


def tensor(x: np.ndarray):
    """Samples as torch takes them."""
    import torch
    return torch.from_numpy(np.ascontiguousarray(x, np.float32))


def batched(model, x: np.ndarray, size: int = 100) -> np.ndarray:
    """Outputs of a torch model, `size` samples at a time."""
    import torch
    with torch.no_grad():
        return np.concatenate([model(tensor(x[i:i + size])).numpy() for i in range(0, len(x), size)])
