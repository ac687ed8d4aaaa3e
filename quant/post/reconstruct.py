"""Blocks fitted to what the float net makes of them: learned rounding, then learned steps of the activations."""
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from ir import UserError

from .blocks import Block, float_values
from ..encode import Coding
from ..model import QuantNet
from ..net import compute, constant
from .rounding import Rounding, codes_of, grid_scale, settle
from ..sites.site_layers import Layer
from ..sites.site_tokens import TokenDense, nearest_tokens

STEP_BITS = 8        # activations of more bits keep their steps
SETTLING = 0.1, 40   # last part of the iterations, or so many (at most half), in which the weight of undecided choices grows
PRESSURE = 1e3       # ... by this factor
TRAVEL = 6.0         # ... and in which an argument of the sigmoid can move this far
MASKS = 1 << 20      # of a pool of random choices
CHUNK = 64           # images at a time where no gradient is taken

Weights = dict[str, tuple[torch.Tensor, torch.Tensor]]  # layer -> weights and bias


@dataclass(frozen=True)
class Settings:
    """How blocks are fitted.

    iterations, batch, lr      steps of Adam, images of each, its rate for the choices
    scale_lr                   rate for the logarithms of the weights' scales and for biases; 0: they stay
    weight, warm, beta         of the undecided choices in the loss; the part of the iterations before it counts; its exponent, from, to
    drop_prob                  the chance that an activation is quantized while weights are learned (QDrop; 1: always, as in BRECQ)
    act_iterations, act_lr     steps of the second phase, in which the activations' scales are learned; 0: none
    fisher                     errors weighted with the squared gradient of the net's loss
    images                     calibration images, at most
    """
    iterations: int = 200
    batch: int = 32
    lr: float = 3e-2
    scale_lr: float = 3e-3
    weight: float = 0.01
    warm: float = 0.2
    beta: tuple[float, float] = (20.0, 2.0)
    drop_prob: float = 1.0
    act_iterations: int = 0
    act_lr: float = 1e-3
    fisher: bool = False
    images: int = 256
    seed: int = 0

    def __post_init__(self):
        if self.iterations < 1 or self.batch < 1 or self.images < 1 or not self.lr > 0:
            raise UserError(f"learned rounding with {self.iterations} iterations of {self.batch} images out of {self.images} at a rate of {self.lr}: "
                            "give at least one of each and a rate above 0")
        if not 0 <= self.drop_prob <= 1:
            raise UserError(f"drop_prob is {self.drop_prob}; it is the chance that an activation is quantized, from 0 to 1")
        if self.act_iterations < 0 or not 0 <= self.warm < 1:
            raise UserError(f"{self.act_iterations} iterations for the activations and a warm start of {self.warm}: "
                            "give 0 or more, and a part from 0 to 1")


@dataclass
class Seen:
    """What goes into a block and should come out: inputs as the quantized net and as the float net have them, the float net's result."""
    had: dict[str, torch.Tensor]
    real: dict[str, torch.Tensor]
    wanted: torch.Tensor
    importance: torch.Tensor | None = None

    def __len__(self) -> int: return len(self.wanted)

    def at(self, i) -> "Seen":
        """Some of the images."""
        return Seen({k: v[i] for k, v in self.had.items()}, {k: v[i] for k, v in self.real.items()}, self.wanted[i],
                    None if self.importance is None else self.importance[i])


@dataclass(frozen=True)
class Fitted:
    """Loss of a block with nearest rounding and after it was fitted, how many choices were still open at the end, and the
    loss with the result's own rounding before and after the activations' scales were learned.
    """
    nearest: float
    after: float
    undecided: int
    steps: tuple[float, float] | None = None


def fit(q: QuantNet, block: Block, seen: Seen, s: Settings) -> Fitted:
    """Choose the rounding of the block's weights, then the scales of its activations, and put them into the net; what does not
    make the loss smaller is not taken.

    Nagel et al. 2020 (AdaRound, arXiv 2004.10568); Li et al. 2021 (BRECQ, arXiv 2102.05426); Wei et al. 2022 (QDrop, arXiv 2203.05740).
    We differ: errors are measured in deviations of the float result, so that one weight of the open choices suits every
    layer; that weight grows at the end, so that fewer iterations do; the scales of the weights are learned too.
    """
    twin = Twin(q, block, seen)
    before = twin.total(twin.settled())
    roundings = {site.name: Rounding(site, site.weight.detach()) for site in twin.layers}
    _learn_roundings(twin, roundings, s)
    if twin.total({n: (r.hard().detach(), r.bias().detach()) for n, r in roundings.items()}) < before:
        for r in roundings.values():
            r.keep()
    after, steps = twin.total(twin.settled()), _learn_steps(twin, s) if s.act_iterations else None
    return Fitted(before, after, sum(r.undecided() for r in roundings.values()), steps)


def _learn_roundings(twin: "Twin", roundings: dict[str, Rounding], s: Settings) -> None:
    groups = [{"params": [r.logit for r in roundings.values()], "lr": s.lr}]
    if s.scale_lr:
        groups.append({"params": [p for r in roundings.values() for p in (r.stretch, r.push) if p.requires_grad], "lr": s.scale_lr})
    optimizer, drops = torch.optim.Adam(groups), Drops(s.drop_prob, s.seed)
    settling = max(1, round(SETTLING[0] * s.iterations), min(SETTLING[1], s.iterations // 2))
    warm, free = round(s.warm * (s.iterations - settling)), s.iterations - settling
    for i, batch in enumerate(_batches(twin.seen, s, s.iterations)):
        loss = twin.loss(batch, {n: (r.soft(), r.bias()) for n, r in roundings.items()}, drop=drops)
        if i >= warm:
            beta = s.beta[1] + (s.beta[0] - s.beta[1]) * max(0.0, (free - i) / (free - warm))
            last = max(0, i + 1 - free) / settling
            optimizer.param_groups[0]["lr"] = max(s.lr, TRAVEL / settling) if last else s.lr
            loss = loss + s.weight * PRESSURE ** last * sum(r.indecision(beta) for r in roundings.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _learn_steps(twin: "Twin", s: Settings) -> tuple[float, float]:
    """Scales of the block's activations by the gradient of LSQ (Esser et al. 2020), the weights at their codes; loss before and after."""
    before, weights = twin.total(twin.settled(), whole=True), twin.settled()
    twin.moves = {c: torch.zeros((), requires_grad=True) for c in twin.steps()}
    if not twin.moves:
        return before, before
    optimizer = torch.optim.Adam(twin.moves.values(), lr=s.act_lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, s.act_iterations)
    for batch in _batches(twin.seen, s, s.act_iterations):
        optimizer.zero_grad()
        twin.loss(batch, weights, whole=True).backward()
        optimizer.step()
        schedule.step()
    if twin.total(weights, whole=True) < before:
        codes = {site: codes_of(site) for site in twin.layers}
        for coding, move in twin.moves.items():
            coding.log_scale.data += move.detach().double()
        for site, c in codes.items():
            settle(site, c)
    twin.moves = {}
    return before, twin.total(twin.settled(), whole=True)


def _batches(seen: Seen, s: Settings, count: int) -> Iterator[Seen]:
    order = torch.Generator().manual_seed(s.seed + 1)
    for _ in range(count):
        yield seen.at(torch.randint(len(seen), (min(s.batch, len(seen)),), generator=order))


class Twin:
    """A block in float32 reals: what its integers stand for but for the last bit, and fast enough to take gradients of.

    `moves`: logarithms by which scales of activations are moved while they are learned.
    """

    def __init__(self, q: QuantNet, block: Block, seen: Seen):
        self.q, self.block, self.seen = q, block, seen
        self.layers = [site for site in block.sites if isinstance(site, Layer)]
        self.unit = float(seen.wanted.var(correction=0).clip(1e-12))
        self.channels = seen.wanted.shape[1 if self.layers[-1].axis == 0 else -1]
        self.moves: dict[Coding, torch.Tensor] = {}

    def settled(self) -> Weights:
        """The weights as the net rounds them now."""
        return {site.name: ((codes_of(site) * grid_scale(site)).float(), site.bias.detach()) for site in self.layers}

    def steps(self) -> list[Coding]:
        """The encodings that the block may change: of its own results, and of its sites' own inputs."""
        own = [site.out for site in self.block.sites if self.q.layout.coding[site.name] == site.name]
        own += [c for site in self.block.sites for c in site.own.values()]
        return [c for c in dict.fromkeys(own) if c.fmt.bits <= STEP_BITS and c.log_scale.requires_grad]

    @torch.no_grad()
    def total(self, weights: Weights, whole: bool = False) -> float:
        """Loss over all images."""
        parts = [self.loss(self.seen.at(slice(i, i + CHUNK)), weights, whole) * min(CHUNK, len(self.seen) - i)
                 for i in range(0, len(self.seen), CHUNK)]
        return float(sum(parts)) / len(self.seen)

    def loss(self, seen: Seen, weights: Weights, whole: bool = False, drop: "Drops | None" = None) -> torch.Tensor:
        """Squared error of the result in its deviations, summed over channels.  whole: with the result's own rounding."""
        error = (self.run(seen, weights, whole, drop) - seen.wanted).square()
        if seen.importance is not None:
            error = error * seen.importance
        return error.mean() * (self.channels / self.unit)

    def run(self, seen: Seen, weights: Weights, whole: bool = False, drop: "Drops | None" = None) -> torch.Tensor:
        """The block's result; drop: which values are quantized (None: all)."""
        drop = drop or ALWAYS
        env = {k: drop.mixed(v, seen.real[k]) for k, v in seen.had.items()}
        for site in self.block.sites:
            step, xs = self.q.net.steps[site.name], [env[a] for a in self.q.args[site.name]]
            for i, coding in site.own.items():
                xs[i] = drop.mixed(self.rounded(xs[i], coding), xs[i])
            if isinstance(site, TokenDense):
                xs = [drop.mixed(nearest_tokens(xs[0], site.token.fmt), xs[0])]
            if isinstance(site, Layer):
                weight, bias = weights[site.name]
                step = replace(step, weight=weight, bias=bias)
            y = compute(step, *xs) if xs else constant(step, len(seen))
            y = y.clip(*site.clamp) if site.clamp != (None, None) else y
            if self.q.layout.coding[site.name] == site.name and (whole or site is not self.block.sites[-1]):
                y = drop.mixed(self.rounded(y, site.out), y)
            env[site.name] = y
        return y

    def rounded(self, x: torch.Tensor, coding: Coding) -> torch.Tensor:
        """The reals of the nearest codes; gradients as in LSQ (Esser et al. 2020)."""
        grid = coding.zero, coding.fmt.lo, coding.fmt.hi
        if coding not in self.moves:
            return torch.fake_quantize_per_tensor_affine(x, float(coding.scale.detach()), *grid)
        scale = (coding.scale.detach().float() * self.moves[coding].exp()).view(1)
        return torch._fake_quantize_learnable_per_tensor_affine(x, scale, torch.full((1,), float(coding.zero)), *grid[1:], 1.0)


class Drops:
    """Which elements are quantized: each with the chance `probability`, drawn once, read from a place drawn anew each time."""

    def __init__(self, probability: float, seed: int):
        self.probability, self.rng = probability, torch.Generator().manual_seed(seed)
        self.pool = (torch.rand(MASKS, generator=self.rng) < probability).float() if probability < 1 else None

    def mixed(self, had: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Elements of `had` and of `real` (QDrop, equation 8)."""
        if self.pool is None:
            return had
        while len(self.pool) < 2 * had.numel():
            self.pool = torch.cat([self.pool, self.pool])
        start = int(torch.randint(len(self.pool) - had.numel(), (), generator=self.rng))
        return torch.lerp(real, had, self.pool[start:start + had.numel()].view(had.shape))


ALWAYS = Drops(1.0, 0)


def importance(q: QuantNet, block: Block, values: dict[str, torch.Tensor], seed: int) -> torch.Tensor:
    """Squared gradient of the float net's loss for each value of the block's result, of mean 1 (the diagonal of the Fisher matrix;
    BRECQ, equation 10).  values: results of the sites before and of the block that are still read.

    We differ: labels are drawn from the net's own outputs, and an output that is no row of class scores is projected on random signs.
    """
    sites = list(q.sites)
    rest, rng, parts = sites[sites.index(block.sites[-1]) + 1:], torch.Generator().manual_seed(seed), []
    for i in range(0, len(values[block.output]), CHUNK):
        env = {k: v[i:i + CHUNK] for k, v in values.items()}
        at = env[block.output] = env[block.output].detach().requires_grad_()
        with torch.enable_grad():
            out = float_values(q, rest, env)[q.output_name]
            (grad,) = torch.autograd.grad(_score(out, rng), at)
        parts.append(grad.square())
    squares = torch.cat(parts)
    return squares / squares.mean().clip(1e-30)


def _score(out: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    if out.dim() != 2 or out.shape[1] < 2:
        return (out * torch.randint(0, 2, out.shape, generator=rng).mul(2).sub(1)).sum()
    label = torch.multinomial(out.detach().softmax(1), 1, generator=rng)
    return -out.log_softmax(1).gather(1, label).sum()
