"""The whole road as a straight list of steps: a model in, a plan, an integer graph and checked builds out.

Each step is a function that can be called alone (the command line does); `run` chains them in a folder, so that a run that
was stopped goes on where it was.
"""
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import ir
from ir import Graph, Plan, Table, UserError
from ir.store import digest, graph_hash, load_graph, load_json, save_graph, save_json, whole

from . import backends
from .data import Data, load_data
from .evaluate import mismatches, score
from .journal import Journal
from .screen import Screen

DEFAULT_OPTIONS = "ternary,int2,int3,int4,int5,int6,int8/uint8"


@dataclass
class Settings:
    """Everything that decides the result of a run, beside the model and the data."""
    targets: tuple[str, ...] = ("cpu", "onnx")
    budgets: tuple[str, ...] = ("bytes=25%",)      # as written: "lut=20000", "bytes=25%", "wbits=4"
    metrics: tuple[str, ...] = ("kl", "sqnr")      # the first one is what the plan minimises
    options: str = DEFAULT_OPTIONS
    rules: tuple[str, ...] = ()                    # menus of their own: "first=int8/uint8", "features.*=int4,int8/uint8"
    ties: tuple[tuple[str, ...], ...] = ()
    observer: str = "mse"
    rounding: str = "nearest"
    samples: int = 128                             # calibration samples that the metrics look at
    tune: int = 0                                  # epochs of training under the plan
    learning_rate: float = 1e-3
    check: int = 1000                              # samples at most on which TVM and ONNX Runtime are compared
    simulate: int = 3                              # samples on which the simulated hardware is compared
    pareto: int = 0                                # points of the front over the first budget's resource
    solver: str = "highs"
    seed: int = 0


@dataclass
class Result:
    """What a run leaves behind, also on disk in `folder`."""
    folder: Path
    plan: Plan
    graph: Graph
    rows: list[dict]                               # the table: one row a backend
    seconds: dict[str, float]

    @property
    def mismatches(self) -> int:
        """Values, over all backends, that are not the reference's."""
        return sum(r["mismatches"] or 0 for r in self.rows)


def run(model, data, out: Path | str, settings: Settings | None = None, screen: Screen | None = None) -> Result:
    """Everything in one go, resumable, in the folder `out`; see Settings.  `model` and `data`: see load_model, load_data."""
    s, screen = settings or Settings(), screen or Screen(quiet=True)
    targets = [backends.target(t) for t in s.targets]
    data = load_data(data)
    net = capture(model, data)
    journal, out = Journal(out, screen), Path(out)
    key = [net.hash, data.key, ir.store.VERSION]
    screen.say(f"{model if isinstance(model, (str, Path)) else type(model).__name__}: {len(net.layers)} layers, {sum(p.macs for p in net.steps.values()) / 1e6:.1f} M multiply-accumulates, "
               f"{len(data.calib_x)} calibration and {len(data.x)} evaluation samples")
    for note in net.notes:
        screen.say(f"  note: {note}")
    budgets_of(s), menus(net, s)  # what is mistyped is refused before the long work
    with screen.step("calibrate"):
        calibration = calibrate(net, data, s)
    damage = journal.step("sense", f"sensitivity ({', '.join(s.metrics)})", key + [s.metrics, s.options, s.rules, s.observer, s.samples, s.seed],
                          lambda progress: save_tables(sense(net, calibration, data, s, out / "sense.cache", progress), out, "damage"),
                          lambda: load_tables(s.metrics, out, "damage"))
    costs = cost(net, targets, s, calibration)
    save_tables(costs, out, "cost")
    plan_key = key + [s.metrics, s.options, s.rules, s.budgets, s.ties, s.solver, s.targets, s.pareto, *(canonical_rows(t) for t in costs.values())]
    plan = journal.step("plan", "allocate bits", plan_key,
                        lambda progress: save_plan(choose(damage, costs, s, net.hash), out / "plan.json"), lambda: Plan.load(out / "plan.json"))
    front = journal.step("front", "Pareto front", plan_key,
                         lambda progress: save_front(pareto(damage, costs, s), out), lambda: load_front(out)) if s.pareto else []
    quant_key = plan_key + [{k: str(v) for k, v in plan.options.items()}, s.rounding, s.observer, s.tune, s.learning_rate, s.seed]
    graph, rows, expected = journal.step(
        "quantize", "quantize" + (" and train" if s.tune else ""), quant_key,
        lambda progress: quantize(net, plan, calibration, data, s, out, progress), lambda: load_quantized(out))
    for t in targets:
        rows.append(journal.step(t.name, f"compile and check for {t.name}", [graph_hash(graph), asdict(s)["budgets"], s.check, s.simulate, data.key],
                                 lambda progress, t=t: build(t, graph, data, expected, s, out, progress),
                                 lambda t=t: load_json(out / f"{t.name}.check.json", "check")))
    result = Result(out, plan, graph, rows, journal.seconds)
    save_json(out / "result.json", "result", {"rows": rows, "seconds": result.seconds, "settings": asdict(s), "graph": graph_hash(graph)})
    from .report import write_report
    with screen.step("report"):
        write_report(out, tables=list(damage.values()), plan=plan, front=front, rows=rows, costs=list(costs.values()))
    return result


# ---- the steps ----

def capture(model, data: Data):
    """Float model (file, package.module:factory or torch module) -> quant.Net."""
    import quant
    return quant.load_model(model, example=_tensor(data.calib_x[:2]))


def calibrate(net, data: Data, s: Settings):
    """Ranges of every tensor of the net on the calibration samples."""
    import quant
    return quant.calibrate(net, _tensor(data.calib_x), observer=s.observer)


def sense(net, calibration, data: Data, s: Settings, cache: Path | None, progress=None) -> dict[str, Table]:
    """Damage tables by metric, over every layer and option; finished cells survive in `cache`."""
    import quant
    from search import measure
    probe = quant.Simulation(net, calibration, _tensor(data.calib_x[:s.samples]))
    return measure(probe, list(s.metrics), menus(net, s), cache=cache, progress=progress)


def cost(net, targets, s: Settings, calibration=None) -> dict[str, Table]:
    """Cost tables by resource: bytes, BOPs and weight bits always, hardware resources for an FPGA target.

    With a calibration, what an FPGA design needs beside its layers (sums, pools, buffers) counts as their `fixed` cost.
    """
    import quant
    from search import cost_tables
    layers, options, goal = quant.geometry(net), menus(net, s), budgets_of(s).get("cycles")
    tables = cost_tables(layers, options)
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


def choose(damage: dict[str, Table], costs: dict[str, Table], s: Settings, model: str = "") -> Plan:
    """The plan of least damage (of the first metric) within the budgets."""
    from search import allocate
    plan = allocate(damage[s.metrics[0]], costs, budgets_of(s), ties=s.ties, solver=s.solver)
    plan.model, plan.target = model, ",".join(s.targets)
    for name, table in damage.items():
        plan.damage[name] = sum(table.rows[layer][str(o)] for layer, o in plan.options.items())
    return plan


def pareto(damage: dict[str, Table], costs: dict[str, Table], s: Settings) -> list[Plan]:
    """Plans between the cheapest and the dearest in the resource of the first budget."""
    from search import pareto as front
    resource = next(iter(budgets_of(s)), "bytes")
    return front(damage[s.metrics[0]], costs, resource, points=s.pareto, budgets=budgets_of(s), ties=s.ties, solver=s.solver)


def quantize(net, plan: Plan, calibration, data: Data, s: Settings, out: Path, progress=None):
    """The integer graph in `out/graph`, the rows of the float, fake-quant and integer models, and the reference's outputs."""
    import quant
    import torch
    qnet = quant.quantize(net, plan, calibration, rounding=s.rounding)
    checkpoint = out / f"tune.{digest(net.hash, ir.store.canonical([{k: str(v) for k, v in plan.options.items()}, asdict(s), data.key]))}.pt"
    if s.tune:
        labels = None if data.calib_y is None else torch.from_numpy(data.calib_y)
        quant.tune(qnet, _tensor(data.calib_x), labels, epochs=s.tune, lr=s.learning_rate, seed=s.seed, progress=progress,
                   checkpoint=checkpoint)
    graph = qnet.lower()
    with torch.no_grad():
        real, fake = (_batched(m, data.x) for m in (net, qnet))
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


def build(t, graph: Graph, data: Data, expected: np.ndarray, s: Settings, out: Path, progress=None) -> dict:
    """Compile for a target, run some samples there and count the values that are not the reference's."""
    n = min(s.simulate if t.kind == "fpga" else s.check, len(data.x))
    x = encode(graph, data.x[:n])
    made = backends.build(t, graph, out / t.name, s, x)
    got, facts = backends.execute(t, made, x, progress)
    wrong = mismatches(got, expected[:n])
    r = row(backends.title(t), score(decode(graph, got), None if data.y is None else data.y[:n], decode(graph, expected[:n])), wrong,
            facts.pop("bytes", None), samples=n, **facts)
    save_json(out / f"{t.name}.check.json", "check", r)
    return r


# ---- small pure parts ----

def budgets_of(s: Settings) -> dict[str, float | str]:
    """The budgets as search takes them."""
    from search import parse_budget
    return dict(parse_budget(b) for b in s.budgets)


def menus(net, s: Settings) -> dict[str, tuple[str, ...]]:
    """The options of each layer."""
    from search import menu, parse_rules, per_layer
    return per_layer(list(net.layers), menu(s.options), parse_rules(s.rules))


def row(name: str, value, wrong: int | None, size: int | None, samples: int | None = None, **facts) -> dict:
    """One line of the table."""
    return {"model": name, "score": "" if value is None else str(value), "samples": samples, "mismatches": wrong, "bytes": size,
            "cycles_per_frame": facts.get("cycles_per_frame")}


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


def save_tables(tables: dict[str, Table], out: Path, kind: str) -> dict[str, Table]:
    for name, t in tables.items():
        t.save(out / f"{kind}.{name}.table.json")
    return tables


def load_tables(names, out: Path, kind: str) -> dict[str, Table]:
    return {n: Table.load(out / f"{kind}.{n}.table.json") for n in names}


def save_plan(plan: Plan, path: Path) -> Plan:
    plan.save(path)
    return plan


def save_front(plans: list[Plan], out: Path) -> list[Plan]:
    for i, p in enumerate(plans):
        p.save(out / "front" / f"{i:02d}.plan.json")
    save_json(out / "front" / "front.json", "front", {"plans": len(plans)})
    return plans


def load_front(out: Path) -> list[Plan]:
    n = load_json(out / "front" / "front.json", "front")["plans"]
    return [Plan.load(out / "front" / f"{i:02d}.plan.json") for i in range(n)]


def load_quantized(out: Path):
    try:
        with np.load(out / "expected.npz") as z:
            expected = z["y"]
    except Exception as e:
        raise UserError(f"{out / 'expected.npz'}: damaged ({e})") from None
    return load_graph(out / "graph"), load_json(out / "accuracy.json", "accuracy")["rows"], expected


def canonical_rows(t: Table) -> str: return digest(t.name, ir.store.canonical(t.rows), str(t.fixed))


def _tensor(x: np.ndarray):
    import torch
    return torch.from_numpy(np.ascontiguousarray(x, np.float32))


def _batched(model, x: np.ndarray, size: int = 100) -> np.ndarray:
    return np.concatenate([model(_tensor(x[i:i + size])).numpy() for i in range(0, len(x), size)])
