"""`qsearch demo lm`: a trained language model speaks twice, compiled for this CPU and on its simulated core, and both say the same."""
import time
from pathlib import Path
from statistics import median

from ir import UserError, lm

from . import backends, lm_simulating
from .screen import Screen

SHIPPED = Path(__file__).parent / "data" / "lm"   # the model that comes with the project
PROMPT = "ROMEO:\n"
TOKENS = 80
TOP_K, TEMPERATURE, SEED = 8, 0.8, 1
MEASURED, TIMES = 2000, 5                          # tokens of a measurement on the CPU, of which the median counts
ENGINES, TRITS, LANES = 2, 80, 2
CLOCK_MHZ = lm_simulating.CLOCK_MHZ


def demo(out: Path, screen: Screen, seed: int = SEED, model: Path | None = None, prompt: str = "", tokens: int = TOKENS) -> bool:
    """Both builds land in `out`; returns whether every token and every value agree.  UserError: no model, a prompt out of its vocabulary."""
    folder = shipped() if model is None else model
    p = lm.load_lm(folder)
    given = lm_simulating.encode(p, prompt or opening(p))
    sampler = lm.Sampler.at(min(TOP_K, p.tokens), TEMPERATURE, seed or SEED)
    screen.say(f"  {folder}: {sum(q.codes.size for q in p.projections().values()):,} ternary weights, width {p.dim}, {len(p.layers)} layers")
    spoken, pace = on_cpu(p, out / "cpu", given, tokens, sampler, screen)
    run, computed = on_core(p, out / "core", given, tokens, sampler, screen)
    beside(p, given, spoken, run.tokens, screen)
    figures(pace, run, computed, screen)
    same = spoken == run.tokens == run.want and not run.wrong
    print(f"{tokens} tokens: the CPU, the core and the model's graph have the same, and all {run.compared:,} values in the core are right" if same
          else f"they differ: {lm_simulating.wrong(run) or 'the CPU says something else'}; this is a defect, please report it with {out}")
    print(f"everything is in {out}: {out / 'cpu' / 'lm'} {prompt or opening(p)!r} goes on with a text; qsearch sim {out / 'core'} --prompt ...")
    return same


def shipped() -> Path:
    """The model that comes with the project.  UserError: this copy has none."""
    if not lm.is_lm(SHIPPED):
        raise UserError(f"{SHIPPED}: no trained model came with this copy; train one with: qsearch train TEXT -o DIR; then give --model DIR/lm")
    return SHIPPED


def opening(p: lm.Program) -> str:
    """The prompt if none is given: PROMPT if the model knows its letters, else its first piece."""
    if not p.vocab:
        return "0"
    return PROMPT if set(PROMPT) <= set(p.vocab) else p.vocab[0]


def on_cpu(p: lm.Program, out: Path, prompt: list[int], tokens: int, sampler: lm.Sampler, screen: Screen) -> tuple[list[int], float]:
    """What the compiled model says, and its tokens a second on one thread."""
    from codegen import lm as engine
    with screen.step("compile for this CPU"):
        engine.build(p, out, backends.processor(backends.target("cpu")))
    m = engine.load(out)
    m.sampler_of(sampler.k, sampler.inverse, sampler.seed)
    spoken = list(m.generate(prompt, tokens))
    seconds = []
    for _ in range(TIMES):
        start = time.perf_counter()
        for _ in m.generate(prompt, MEASURED):
            pass
        seconds.append((time.perf_counter() - start) / (MEASURED + len(prompt) - 1))
    return spoken, 1 / median(seconds)


def on_core(p: lm.Program, out: Path, prompt: list[int], tokens: int, sampler: lm.Sampler, screen: Screen):
    """The run of the simulated core, and the cycles of a token as computed."""
    from hw.lm.design import lm_design
    from hw.lm.layout import Machine
    from sim.lm import core
    with screen.step("generate the core"):
        d = lm_design(p, out, Machine(ENGINES, TRITS, LANES, top_k=sampler.k, taps=True))
    with screen.step(f"build its simulation, and simulate {tokens} tokens"):
        run = core.simulate(d, prompt, tokens, sampler)
    return run, lm_simulating.computed(d, p, sampler.k)


def beside(p: lm.Program, prompt: list[int], cpu: list[int], core: list[int], screen: Screen) -> None:
    """Both texts, line by line."""
    left, right = (lm_simulating.shown(p, prompt, t).split("\n") for t in (cpu, core))
    rows = max(len(left), len(right))
    left, right = ([*lines, *[""] * (rows - len(lines))] for lines in (left, right))
    screen.table("", [{"compiled for this CPU": a, "simulated core": b} for a, b in zip(left, right)])


def figures(pace: float, run, computed: int, screen: Screen) -> None:
    screen.table("", [
        {"": "compiled for this CPU, one thread", "tokens/s": f"{pace:,.0f}", "cycles a token": "", "computed": ""},
        {"": f"core at {CLOCK_MHZ:g} MHz", "tokens/s": f"{CLOCK_MHZ * 1e6 / run.cycles_per_token:,.0f}",
         "cycles a token": f"{run.cycles_per_token:,.1f}", "computed": f"{computed:,}"}])
