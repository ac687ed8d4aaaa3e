"""A language-model core in Verilator beside its graph: tokens, cycles, every value that taps show."""
from dataclasses import dataclass

from hw.lm.design import LmDesign
from ir import UserError
from ir.lm import Sampler, load_lm

from . import taps
from .play import Played, play
from .reference import reference
from .script import ERRORS, Log, Script
from .taps import WrongValue
from .testbench import Bench

SLACK = 4            # times the cycles that a token should take, before it counts as lost
WORST = 16           # the same with stalls


@dataclass(frozen=True)
class Surroundings:
    """How the world around a core behaves: stalls, part of the cycles in which a port stands still; latency of an outer memory in cycles,
    share of the cycles in which it has a beat; seed of all that; power_up: seed of the first values of registers and memories.

    UserError: out of range.
    """
    stalls: float = 0.0
    latency: int = 0
    share: float = 1.0
    seed: int = 1
    power_up: int = 1

    def __post_init__(self):
        if not 0 <= self.stalls < 1:
            raise UserError(f"stalls in a part of {self.stalls:g} of the cycles: give a number from 0 to below 1")
        if not 0 < self.share <= 1:
            raise UserError(f"a memory with a beat in {self.share:g} of the cycles: give a number above 0, up to 1")
        if not 0 <= self.latency < 1 << 16:
            raise UserError(f"a latency of {self.latency} cycles: give 0 to {(1 << 16) - 1}")

    @property
    def settings(self) -> dict[str, int]:
        """As the bench takes them."""
        often = min(255, max(1, round(256 * self.stalls))) if self.stalls else 0
        return {"seed": self.seed if often else 0, "often": often, "latency": self.latency, "share": round(256 * self.share) & 255}


GREEDY, CALM = Sampler(), Surroundings()


@dataclass(frozen=True)
class CoreRun:
    """tokens: simulated; want: those of the graph; wrong: vectors that differ, None if the core has no taps or nobody asked;
    compared: how many values.

    cycles: of each token made, the first one's from the last token of the prompt; log: registers and streams.
    """
    tokens: list[int]
    want: list[int]
    wrong: list[WrongValue] | None
    compared: int
    cycles: list[int]
    log: Log

    @property
    def right(self) -> bool: return self.tokens == self.want and not self.wrong

    @property
    def cycles_per_token(self) -> float:
        """Mean over all but the first token, whose prompt is another matter; of the first if it is the only one."""
        rest = self.cycles[1:] or self.cycles
        return sum(rest) / len(rest)


def bench(d: LmDesign, python: bool = False, recorded: bool = True) -> Bench:
    """The bench of a design; recorded: its taps, if it has them."""
    m = d.machine
    return Bench("qs_top", {}, m.engines, m.beat_bits, max(64, m.lanes * d.params["ActWidth"]), d.params["WeightWords"] if m.far else 0,
                 taps=m.taps and recorded, python=python)


def simulate(d: LmDesign, prompt: list[int], count: int, sampler: Sampler = GREEDY, around: Surroundings = CALM,
             compare: bool = True) -> CoreRun:
    """`count` tokens after a prompt, beside those of the graph; compare: the values that the taps showed, too.

    UserError: a prompt that is empty or out of the vocabulary; an error that the core tells; a core that stands still; a build that fails.
    """
    p = load_lm(d.folder)
    compare = compare and d.machine.taps
    want = reference(p, prompt, count, sampler, {t.node for t in d.taps} if compare else set())
    script = begin(d, around).run(prompt, count, patience(d, around), sampler.k, sampler.inverse, sampler.seed)
    played = run(d, script, around, compare)
    log = played.log
    if why := trouble(log):
        raise UserError(f"the core made {len(log.tokens)} of {count} tokens: {why}")
    wrong = taps.compare(played.rows, d.taps, want.steps, want.answered) if compare else None
    ends = [t.cycle for t in log.tokens]
    shown = sum(t.count for head in want.answered for t in d.taps if head or not t.head) if compare else 0
    return CoreRun(log.values, want.tokens, wrong, shown, [b - a for a, b in zip([log.taken[-1], *ends], ends)], log)


def begin(d: LmDesign, around: Surroundings) -> Script:
    """A reset, and where the weights stand."""
    script, b = Script().set(**around.settings).reset(), bench(d)
    for e in range(b.engines if b.memory_beats else 0):
        script.base(e, b.base(e))
    return script


def run(d: LmDesign, script: Script, around: Surroundings = CALM, recorded: bool = True) -> Played:
    """Carry out a script on a design.  UserError: see `play`."""
    return play(bench(d, recorded=recorded), d.sources, d.folder, script, d.machine.lanes, d.params["ActWidth"], around.power_up)


def patience(d: LmDesign, around: Surroundings) -> int:
    """Cycles in which a token has surely come."""
    q, m = d.params, d.machine
    rows = q["Layers"] * (6 * q["Dim"] + 4 * q["Hidden"]) + q["Vocab"]
    beats, slow = q["WeightWords"], SLACK if not around.stalls else WORST / (1 - around.stalls)
    return int(slow * (beats / around.share + rows + 200 * q["Layers"] + 1000)) + (beats * around.latency // 16 + 4 * around.latency if m.far else 0)


def trouble(log: Log) -> str:
    """What is wrong with a run, or nothing."""
    told = [text for bit, text in ERRORS.items() if log.status & bit]
    return ", ".join(told) or ("" if log.complete else f"it stands still (STATUS {log.status:#x})")
