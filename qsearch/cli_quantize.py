"""The verbs between a plan and a build: quantize, import, eval, compile, size."""
from pathlib import Path
from typing import Annotated

import typer

from ir import UserError

from . import cli_lm
from .cli_args import (ActRange, Augment, Budgets, DataOption, Distill, Engines, Far, LearningRate, Model, Observer, Out, Prepare, Prune, Rounding,
                       Seed, Taps, TopK, Train, Trits, Tune)
from .cli_search import screen
from .data import load_data
from .settings import Settings

GraphArgument = Annotated[str, typer.Argument(help="folder of an integer graph, or a quantized ONNX file (QDQ, QOperator, QONNX)")]
FORMS = ("integer", "qdq", "qonnx")


def quantize(model: Model, plan: Annotated[str, typer.Argument(help="plan.json, or an option for every layer: int8/uint8")], data: DataOption,
             out: Out = Path("quantized"), prepare: Prepare = [], observer: Observer = "mse", act_range: ActRange = "observer",  # noqa: B006
             rounding: Rounding = "gptq", tune: Tune = 0, lr: LearningRate = 1e-3, train: Train = [], distill: Distill = False,  # noqa: B006
             augment: Augment = "none", prune: Prune = 0.0, seed: Seed = 0) -> None:
    """Quantize after a plan (and train with --tune): an integer graph, its accuracy and its size."""
    import quant
    from . import steps
    s = Settings(observer=observer, act_range=act_range, rounding=rounding, prepare=tuple(prepare), tune=tune, learning_rate=lr,
                 recipe=tuple(train), distill=distill, augment=augment, prune=prune, seed=seed)
    if not tune and (unheeded := next((k for k, v in {"--train": train, "--distill": distill, "--prune": prune}.items() if v), None)):
        raise UserError(f"{unheeded} is about training, and there is none; add --tune EPOCHS")
    d = load_data(data)
    net = steps.capture(model, d)
    p = _plan(plan, net)
    with screen.step("quantize") as progress:
        graph, rows, _ = steps.quantize(net, p, steps.calibrate(net, d, s), d, s, out, progress)
    screen.table("", rows)
    print(quant.size_report(graph, p, out / "graph").text(quant.size_report(net)))
    print(out / "graph")


def _plan(text: str, net):
    """A plan file that was made for the net, or the same option everywhere."""
    import ir
    if text.endswith(".json") or Path(text).exists():
        p = ir.Plan.load(text)
        if p.model and p.model != net.hash:
            raise UserError(f"{text} was made for another model (hash {p.model}, this one has {net.hash}); make the plan again")
        return p
    if "/" not in text:
        raise UserError(f"{text!r} is neither a plan file that exists nor an option such as int8/uint8")
    return ir.Plan.uniform(net.layers, text)


def import_(file: Annotated[Path, typer.Argument(help="a quantized ONNX file (QDQ, QOperator, QONNX), or the folder of a MatMul-free LM's "
                                                      "checkpoint (config.json and weights)")], out: Out = Path("imported")) -> None:
    """The integer graph of a quantized ONNX file, with the codes that the file means; or the integers of a published language model."""
    import ir
    import quant
    if quant.is_checkpoint(file):
        return cli_lm.import_folder(file, out)
    with screen.step("import"):
        g = quant.load_quantized(file)
        ir.store.save_graph(g, out / "graph")
    print(g)
    print(out / "graph")


def evaluate(model: Annotated[str, typer.Argument(help="a model, the folder of an integer graph or of a language model, or a quantized ONNX file")],
             data: Annotated[str, typer.Option("--data", "-d", help="file.npz (x, y) or package.module:factory; of a language model: a text, or "
                                                                    "tokens as .npy")],
             valid: Annotated[float, typer.Option(help="of a language model: share of the text, at its end, that is scored")] = 1.0,
             length: Annotated[int, typer.Option(help="of a language model: tokens of a stretch of text")] = 128,
             stretches: Annotated[int, typer.Option(help="of a language model: how many, evenly spread; 0: all")] = 0) -> None:
    """Score of a float model or of an integer graph on the evaluation samples; of a language model its loss in float and in integers."""
    from ir import lm
    if lm.is_lm(model):
        return cli_lm.evaluate(Path(model), Path(data), valid, length, stretches)
    from . import steps
    from .evaluate import score
    d = load_data(data)
    if d.y is None:
        raise UserError(f"{data}: no labels y, so there is nothing to score against")
    if (g := integer_graph(model)) is not None:
        outputs = steps.decode(g, steps.reference(g, d.x))
    else:
        outputs = steps.batched(steps.capture(model, d), d.x)
    print(score(outputs, d.y, outputs), f"on {len(d.x)} samples")


def integer_graph(text: str):
    """The graph in a folder, that of a quantized ONNX file, or None for a float model."""
    import ir
    import quant
    if Path(text).is_dir() or text.endswith(".json"):
        return ir.store.load_graph(text)
    return quant.load_quantized(text) if text.endswith(".onnx") and quant.is_quantized(text) else None


def needed(text: str):
    """As integer_graph, where nothing else will do."""
    import ir
    if (g := integer_graph(text)) is not None:
        return g
    if Path(text).exists():
        raise UserError(f"{text}: neither the folder of an integer graph nor a quantized ONNX file; `qsearch quantize` makes graphs")
    return ir.store.load_graph(text)


def compile_(graph: GraphArgument, target: Annotated[str, typer.Option("--target", "-t", help="one of `qsearch list targets`")],
             out: Out = Path("build"), budget: Budgets = [],  # noqa: B006
             form: Annotated[str, typer.Option(help="of --target onnx: integer (exact everywhere), qdq or qonnx; of a language model's weights: "
                                               "base3 or two_bit, on an FPGA fields, too")] = "integer",
             mcpu: Annotated[str, typer.Option(help="of --target cpu or aarch64: LLVM's name of the processor (x86-64-v3, cortex-a55 ...)")] = "",
             arch: Annotated[list[str], typer.Option(help="of --target cuda: sm_80, sm_90 ...; may be repeated")] = [],  # noqa: B006
             tune: Annotated[int, typer.Option(help="of --target cpu: time this many forms of each layer's kernel and keep the fastest")] = 0,
             name: Annotated[str, typer.Option(help="of a CPU's library and program")] = "model",
             threads: Annotated[int, typer.Option(help="of a language model on a CPU: how many threads it can run on")] = 1,
             core: Annotated[str, typer.Option(help="of an FPGA: sequential core, no streams: 8x8 (lanes, rows), 8x8:WORDS, auto")] = "",
             unroll: Annotated[bool, typer.Option("--unroll", help="of an FPGA: every weight an adder of its own, a frame a cycle")] = False,
             stages: Annotated[int, typer.Option(help="with --unroll: stages of logic between registers (0: of about five adders each)")] = 0,
             lanes: Annotated[int, typer.Option(help="with --unroll: elements of a frame in one beat (0: all); of a language model on an FPGA: "
                                                "values that its quantizer takes at once")] = 0,
             engines: Engines = 0, trits: Trits = 0, top_k: TopK = 0, far: Far = False, taps: Taps = False) -> None:
    """Library and program for a CPU or GPU, ONNX file or SystemVerilog design of an integer graph or a language model."""
    import ir.lm
    from . import backends, compiling, lm_build, lm_core
    t = backends.target(target)
    if ir.lm.is_lm(graph) and t.kind == "fpga":
        with screen.step(f"compile for {target}"):
            lines = lm_core.for_fpga(graph, t, out, form, engines, trits, lanes, top_k, far, taps)
        return print("\n".join(lines))
    lm_core.refuse({"--engines": engines, "--trits": trits, "--top-k": top_k, "--far": far, "--taps": taps})
    if ir.lm.is_lm(graph):
        with screen.step(f"compile for {target}"):
            lines = lm_build.for_processor(graph, t, out, form, mcpu, name, threads)
        return print("\n".join(lines))
    if form not in FORMS or form != "integer" and t.kind != "onnx":
        raise UserError(f"form {form!r} of target {target}: give {', '.join(FORMS)}, the last two with --target onnx")
    choices = compiling.choices(t, mcpu, tuple(arch), tune, name, core, unroll, stages, lanes)
    g = needed(graph)
    if tune:
        with screen.step(f"tune for {target}") as progress:
            choices["tiles"] = compiling.tuned(g, tune, progress)
    with screen.step(f"compile for {target}"):
        if form != "integer":
            return print(backends.save_form(g, form, out / "model.onnx"))
        made = backends.build(t, g, out, Settings(budgets=tuple(budget)), **choices)
    print("\n".join([str(made), *compiling.facts(t, made)]))


def size(graph: GraphArgument, plan: Annotated[Path | None, typer.Option(help="the plan it was made with: the bits of each layer's codes")] = None,
         files: Annotated[Path | None, typer.Option(help="a folder or file as it is shipped, in place of the graph's own files")] = None) -> None:
    """Bytes of an integer graph: weights, metadata, container and compressed, each on its own line."""
    import ir
    import quant
    g = needed(graph)
    print(quant.size_report(g, ir.Plan.load(plan) if plan else None, files or Path(graph)).text())
