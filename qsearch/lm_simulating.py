"""`qsearch sim` of a language model's core: its text as simulated, every token and value compared, cycles against the model."""
from dataclasses import dataclass
from pathlib import Path

from ir import UserError, lm

CLOCK_MHZ = 50.0
SHOWN = 5   # wrong values


@dataclass(frozen=True)
class Text:
    """What is asked of a core: tokens after a prompt; the sampler; stalls, latency and pace of the world around it; taps: compare values."""
    prompt: str
    tokens: int = 50
    top_k: int = 1
    temperature: float = 1.0
    seed: int = 1
    stalls: float = 0.0
    latency: int = 0
    share: float = 1.0
    taps: bool = False
    clock: float = 0.0

    def sampler(self) -> lm.Sampler: return lm.Sampler.at(self.top_k, self.temperature, self.seed or 1)


def simulate(folder: Path, t: Text, screen) -> str:
    """Print what comes of it; returns what is wrong, in one line, or nothing."""
    from hw.lm.design import load_lm_design
    from sim.lm import core
    d, p = load_lm_design(folder), lm.load_lm(folder)
    if t.taps and not d.machine.taps:
        raise UserError(f"{folder}: the core has no taps; compile it with --taps")
    if t.top_k > d.params["TopK"]:
        raise UserError(f"top-k of {t.top_k}: the core draws from at most {d.params['TopK']}; compile it with --top-k {t.top_k}")
    around = core.Surroundings(t.stalls, t.latency, t.share, t.seed or 1)
    prompt = encode(p, t.prompt)
    with screen.step(f"simulate {t.tokens} tokens"):
        r = core.simulate(d, prompt, t.tokens, t.sampler(), around, t.taps)
    print(shown(p, prompt, r.tokens))
    said = wrong(r)
    more = "; --taps compares the values within, too" if d.machine.taps else ""
    values = more if r.wrong is None else f", and all {r.compared:,} values within"
    print(said or f"{len(r.tokens)} tokens: all as the model's graph has them{values}")
    for w in (r.wrong or [])[:SHOWN]:
        print(w)
    _cycles(d, p, r, t, screen)
    return said


def encode(p: lm.Program, text: str) -> list[int]:
    """Tokens of a prompt; of a model without a vocabulary they are given as numbers.  UserError: empty, or out of the vocabulary."""
    if not text:
        raise UserError("a language model goes on with a text; give it with --prompt")
    if p.vocab:
        return lm.Pieces(p.vocab).encode(text)
    try:
        return [int(word) for word in text.replace(",", " ").split()]
    except ValueError:
        raise UserError(f"prompt {text!r}: the model has no vocabulary; give tokens as numbers, from 0 to {p.tokens - 1}") from None


def shown(p: lm.Program, prompt: list[int], tokens: list[int]) -> str:
    """The text, the prompt with it; of a model without a vocabulary the tokens as numbers."""
    return lm.Pieces(p.vocab).decode([*prompt, *tokens]) if p.vocab else f"{' '.join(map(str, prompt))} | {' '.join(map(str, tokens))}"


def wrong(r) -> str:
    """What differs in a run, or nothing."""
    if r.wrong:
        return f"{len(r.wrong)} vectors differ; the first: {r.wrong[0]}"
    if r.tokens == r.want:
        return ""
    at = next(k for k, (a, b) in enumerate(zip(r.tokens, r.want)) if a != b)
    return f"token {at} after the prompt is {r.tokens[at]} instead of {r.want[at]}"


def computed(d, p: lm.Program, k: int) -> int:
    """Cycles of a token by the model of the core's schedule."""
    from hw.lm import micro
    from hw.lm.cycles import cycles
    return cycles(micro.steps(p, d.machine), d.params, k).token


def _cycles(d, p: lm.Program, r, t: Text, screen) -> None:
    from hw.lm.pace import token
    from hw.lm.shape import Shape
    from sim.lm.script import Reg
    clock, m = t.clock or CLOCK_MHZ, d.machine
    model = computed(d, p, t.top_k)
    sizes = token(Shape.of(p), m.engines, m.trits, m.lanes, t.share if m.far else 1.0).cycles
    undisturbed = not t.stalls and not (m.far and (t.latency or t.share < 1))
    screen.table("", [{
        "cycles a token": f"{r.cycles_per_token:,.1f}", "model": f"{model:,}",
        "error": f"{100 * (r.cycles_per_token / model - 1):+.2f} %" if undisturbed else "", "by the sizes alone": f"{sizes:,.0f}",
        f"tokens/s at {clock:g} MHz": f"{clock * 1e6 / r.cycles_per_token:,.1f}"}])
    waited = f"; engines waited {r.log.registers[Reg.UNDERRUNS]:,} cycles for weights" if m.far else ""
    print(f"{r.log.registers[Reg.CYCLES]:,} cycles for all{waited}")
