"""When a layer's <WL,FL> changes: PushDown by divergence of histograms, PushUp by gradient diversity (AdaPT, arXiv 2107.13490).

"paper" and "code" are the two readings of the method; where the official code departs from what its text says, they differ:

 1. divergence   paper: KL(w || Q(w)) of probabilities, in nats, at most `eps`.  code: sum(exp(q) (q - p)) / bins, at most 0 -
                 what torch's KL with a log target gives for probabilities; it may be negative, which counts as no loss.
 2. what is seen  paper: the whole tensor.  code: its first row or filter.
 3. bisection     paper: each midpoint is tried, and the bound that passes is returned.  code: fraction bits are tried at the lower
                 bound and not at the midpoint, and both searches return the bound that fails; PushUp's extra bits hide it.
 4. rounding      paper: to the nearest, bins reach one step beyond the values, SMOOTHING in empty ones, and `eps` is not 0: an exact
                 0 asks for about twice the bits.  code: stochastic, bins end at the values, and what is rounded beyond them is lost.
 5. loss          both: the penalty of word lengths and density has no gradient (both are integers); it steers the strategy.  code:
                 the strength of l1 is always 1e-4, whatever was asked.
 6. activations   paper: a layer's rounded input is its own.  code: the input is rounded in place, so that a residual branch that
                 reads the same tensor sees it too.
 7. cost model    see quant/fixed/adapt_cost.py.
 8. <8,4>         both start there by default, which clips at 8; a word keeps WL > FL from then on.
 9. diversity     paper: sum of norms / norm of the sum, so a gradient that rounds to nothing counts as nothing.  code: it counts 1.
10. strategy      paper: the mean of the last avg(lookback) losses.  code: the sum of one loss more, divided by avg(lookback).
"""
import math
from dataclasses import dataclass, field

import torch

from ir import UserError
from .adapt_numbers import WIDEST, Word, fixed

MODES = ("paper", "code")
STRATEGIES = ("min", "mean", "max")
SMOOTHING = 1e-6   # of a value, added to each bin's count
FEWEST = 4         # fraction bits that PushDown goes down to


@dataclass(frozen=True)
class Rules:
    """How words are switched.  The defaults are those of the official AlexNet on CIFAR-10; its ResNet has buffer 8, inertia .9.

    mode: "paper" or "code".  start: <WL,FL> of every layer at first.  eps: nats that PushDown may lose (paper).  resolution: fewest
    and most bins of a histogram.  lookback: fewest and most steps between switches.  strategy: of PushUp at first.  buffer: bits
    kept for results above FL.  inertia: weight of a new lookback against the old one.
    """
    mode: str = "paper"
    start: Word = Word(8, 4)
    eps: float = 1e-3
    resolution: tuple[int, int] = (50, 150)
    lookback: tuple[int, int] = (25, 100)
    strategy: str = "min"
    buffer: int = 4
    inertia: float = 0.33

    def __post_init__(self):
        object.__setattr__(self, "start", Word.of(self.start))
        if self.mode not in MODES:
            raise UserError(f"unknown AdaPT mode {self.mode!r} (known: {', '.join(MODES)})")
        if self.strategy not in STRATEGIES:
            raise UserError(f"unknown strategy {self.strategy!r} (known: {', '.join(STRATEGIES)})")
        for name in ("resolution", "lookback"):
            lo, hi = getattr(self, name)
            if not 1 <= lo <= hi:
                raise UserError(f"{name} from {lo} to {hi}: give whole numbers from 1 upwards, the smaller one first")
        if not 0 <= self.buffer < WIDEST or self.start.fraction > WIDEST - self.buffer or self.start.fraction >= self.start.bits:
            raise UserError(f"start <{self.start.bits},{self.start.fraction}> with {self.buffer} buffer bits: FL must be below WL and at "
                            f"most {WIDEST} - buffer")
        if not (self.eps >= 0 and 0 < self.inertia <= 1):
            raise UserError(f"eps {self.eps}, inertia {self.inertia}: give an eps of 0 or more and an inertia in (0, 1]")


def divergence(w: torch.Tensor, rounded: torch.Tensor, bins: int, step: float) -> float:
    """KL(histogram of w || histogram of rounded) in nats, over their common range and one step beyond on either side."""
    w, rounded = w.detach().reshape(-1).float(), rounded.detach().reshape(-1).float()
    lo, hi = float(torch.minimum(w.min(), rounded.min())) - step, float(torch.maximum(w.max(), rounded.max())) + step
    p, q = (torch.histc(v, bins, lo, hi).double() + SMOOTHING for v in (w, rounded))
    p, q = p / p.sum(), q / q.sum()
    return max(0.0, float((p * (p / q).log()).sum()))


def pseudo_divergence(w: torch.Tensor, rounded: torch.Tensor, bins: int) -> float:
    """What the official code takes for the divergence: sum(exp(q) (q - p)) / bins of the probabilities; may be negative."""
    lo, hi = float(w.min()), float(w.max())
    p, q = (torch.histc(v.float(), bins, lo, hi) for v in (w, rounded))
    p, q = p / p.sum(), q / q.sum()
    return float((q.exp() * (q - p)).sum()) / bins


def push_down(w: torch.Tensor, word: Word, bins: int, rules: Rules, rng: torch.Generator | None = None) -> Word:
    """The smallest fraction in [4, FL], then the smallest word up to WL, that do not lose the histogram of w; by bisection.

    A word that loses it already stays as it is.  rng: of the stochastic rounding in "code".
    """
    return _push_down_as_coded(w, word, bins, rng) if rules.mode == "code" else _push_down(w, word, bins, rules.eps)


def _push_down(w: torch.Tensor, word: Word, bins: int, eps: float) -> Word:
    def passes(bits: int, fraction: int) -> bool:
        there = Word(bits, fraction)
        return divergence(w, fixed(w, there), bins, there.step) <= eps

    fraction = _smallest(lambda f: passes(word.bits, f), min(FEWEST, word.fraction), word.fraction)
    return Word(_smallest(lambda n: passes(n, fraction), min(fraction + 1, word.bits), word.bits), fraction)


def _smallest(passes, lo: int, hi: int) -> int:
    """The smallest of lo..hi that passes if all above it do; hi if none does."""
    while lo < hi:
        middle = (lo + hi) // 2
        lo, hi = (lo, middle) if passes(middle) else (middle + 1, hi)
    return hi


def _push_down_as_coded(w: torch.Tensor, word: Word, bins: int, rng: torch.Generator | None) -> Word:
    row = w[0].detach().reshape(-1)

    def loses(bits: int, fraction: int) -> bool:
        return pseudo_divergence(row, fixed(row, Word(bits, fraction), rng), bins) > 0

    low, high = FEWEST, word.fraction
    for _ in range(high - low):
        middle = math.ceil((high + low) / 2)
        low, high = (middle, high) if loses(word.bits, low) else (low, middle)
        if high - low <= 1:
            break
    fraction, low, high = low, low, word.bits
    for _ in range(high - low):
        middle = math.ceil((high + low) / 2)
        low, high = (middle, high) if loses(middle, fraction) else (low, middle)
        if high - low <= 1:
            break
    return Word(low, fraction)


def push_up(word: Word, diversity: float, strategy: str, buffer: int) -> Word:
    """More bits, as many as learning needs: few where gradients agree, more where they are diverse.

    s = 1, or with L = ln(diversity) - 1 > 0 one of s1 = ceil(1/L**2) and s2 = min(ceil(32 L**2), 32) - FL, at least 0: the smaller,
    their mean or the larger.  FL grows by s, WL by one beyond it, and `buffer` bits stay above FL.
    """
    more, log = 1, math.log(diversity) - 1 if 0 < diversity < math.inf else 0.0
    if log > 0:
        one = max(math.ceil(min(1 / max(log * log, 1e-9), WIDEST)), 1)
        two = max(min(math.ceil(WIDEST * log * log), WIDEST) - word.fraction, 0)
        more = {"min": min(one, two), "mean": math.ceil((one + two) / 2), "max": max(one, two)}[strategy]
    fraction = min(word.fraction + more, WIDEST)
    bits = min(max(word.bits, fraction) + 1, WIDEST)
    fraction = min(fraction, WIDEST - buffer)
    return Word(max(min(fraction + buffer, WIDEST), bits), fraction)


def gradient_diversity(norms: float, total: torch.Tensor) -> float:
    """sum ||g|| / ||sum g||: 1 for gradients that agree, sqrt(n) for n orthogonal ones of one length, inf if they cancel."""
    size = float(total.norm())
    return norms / size if size > 0 else math.inf


@dataclass
class LayerState:
    """One layer's word, and what it has seen since its last switch."""
    word: Word
    lookback: int
    resolution: int
    count: int = 0
    norms: float = 0.0
    total: torch.Tensor | None = None

    def observe(self, g: torch.Tensor, rules: Rules) -> bool:
        """Take in a rounded gradient of norm 1 (or of zeros); whether a switch is due."""
        self.count += 1
        self.norms += 1.0 if rules.mode == "code" else float(g.norm())
        self.total = g.clone() if self.total is None else self.total + g
        d, (least, most) = self.diversity, rules.lookback
        wish = math.ceil(min(max(most / d, least), most)) if d > 0 else most
        self.lookback = math.ceil(round(rules.inertia * wish + (1 - rules.inertia) * self.lookback, 9))
        turn = (self.lookback == most) - (self.lookback == least)
        self.resolution = min(max(self.resolution + turn, rules.resolution[0]), rules.resolution[1])
        return self.count >= self.lookback

    @property
    def diversity(self) -> float: return gradient_diversity(self.norms, self.total)

    def switch(self, master: torch.Tensor, rules: Rules, strategy: str, rng: torch.Generator) -> None:
        """PushDown on the float weights, PushUp by the gradients seen; then it begins anew."""
        word = push_down(master, self.word, self.resolution, rules, rng)
        self.word = push_up(word, self.diversity, strategy, rules.buffer)
        self.count, self.norms, self.total = 0, 0.0, None


@dataclass
class Strategy:
    """How far PushUp goes, for all layers: further while the loss does not fall, least as soon as it does."""
    name: str
    losses: list[float] = field(default_factory=list)

    def see(self, loss: float, lookback: int, mode: str) -> None:
        """Take in a step's loss; `lookback` is the layers' mean, rounded down."""
        if len(self.losses) > lookback if mode == "code" else len(self.losses) >= lookback:
            usual = abs(sum(self.losses) / lookback) if mode == "code" else abs(sum(self.losses[-lookback:]) / lookback)
            self.name = "min" if usual > abs(loss) else STRATEGIES[min(STRATEGIES.index(self.name) + 1, 2)]
            self.losses = self.losses[-lookback:]
        self.losses.append(loss)
