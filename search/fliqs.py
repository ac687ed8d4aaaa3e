"""A policy over formats, trained by REINFORCE beside the weights that all plans share.

FLIQS (Dotzel et al. 2023, arXiv 2308.03290): each step draws one option for every decision from a softmax of logits, trains the
shared weights under it for one batch, and moves the logits by the reward: quality, less a penalty for missing the cost target.
We differ: the baseline starts when the policy does, as losses from before would mislead it; and a budget that the most probable
plan breaks is kept by the most probable plan within it.
"""
import math
from collections.abc import Callable

import numpy as np

from ir import Plan, Registry, Table, UserError

from .allocate import allocate
from .judge import Judge
from .searchers import SEARCHERS, Problem

STEPS, DELAY = 2000, 500
DECAY = 0.99                    # of the mean reward that is the baseline
RATE, BETAS, TINY = 5e-2, (0.9, 0.999), 1e-8   # of Adam
FLOOR = 1e-8                    # least probability

REWARDS: Registry = Registry("reward")      # name -> f(quality, cost / target, beta)
REWARDS |= {
    "absolute": lambda q, c, beta: q - beta * abs(c - 1),           # TuNAS; being too cheap is punished, too
    "one-sided": lambda q, c, beta: q - beta * max(c - 1, 0.0),
    "soft": lambda q, c, beta: q * c ** beta,                       # beta > 0 for a quality below 0, as a negative loss is
    "hard": lambda q, c, beta: q * max(1.0, c) ** beta,
}
SCHEDULES: Registry = Registry("entropy schedule")  # name -> f(part of the search that is over) -> part of the largest weight
SCHEDULES |= {"cosine": lambda u: (1 - math.cos(math.pi * u)) / 2, "linear": lambda u: u, "constant": lambda u: 1.0,
              "step": lambda u: float(u >= 0.5)}


class Policy:
    """Logits (D, M) of D independent decisions among `sizes` options each; entropy > 0 in `gradient` makes it decide.

    The loss is -advantage * mean over decisions of log p[drawn] + entropy * mean over decisions of H(p).
    """

    def __init__(self, sizes, temperature: float = 1.0):
        self.sizes, self.temperature = np.asarray(sizes), temperature
        self.there = np.arange(self.sizes.max()) < self.sizes[:, None]
        self.logits = np.zeros(self.there.shape)
        self._moments, self._steps = np.zeros((2, *self.there.shape)), 0

    def probabilities(self) -> np.ndarray:
        """(D, M), rows sum to 1, 0 where there is no option."""
        z = np.where(self.there, self.logits / self.temperature, -math.inf)
        p = np.exp(z - z.max(1, keepdims=True))
        p = np.where(self.there, np.maximum(p / p.sum(1, keepdims=True), FLOOR), 0.0)
        return p / p.sum(1, keepdims=True)

    def entropy(self) -> float:
        """Mean over decisions, in nats."""
        p = self.probabilities()
        return float(-(p * np.log(p, where=p > 0, out=np.zeros_like(p))).sum(1).mean())

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """One option for each decision, (D,)."""
        return np.minimum((self.probabilities().cumsum(1) < rng.random((len(self.sizes), 1))).sum(1), self.sizes - 1)

    def best(self) -> np.ndarray: return np.where(self.there, self.logits, -math.inf).argmax(1)

    def gradient(self, drawn: np.ndarray, advantage: float, entropy: float = 0.0) -> np.ndarray:
        """Of the loss, with respect to the logits: (D, M)."""
        p = self.probabilities()
        log = np.log(p, where=p > 0, out=np.zeros_like(p))
        towards = np.eye(p.shape[1])[drawn] - p
        spread = -p * (log - (p * log).sum(1, keepdims=True))
        return (-advantage * towards + entropy * spread) / (self.temperature * len(p))

    def descend(self, gradient: np.ndarray, rate: float = RATE) -> None:
        """One step of Adam (Kingma and Ba 2015)."""
        self._steps += 1
        for m, b, g in zip(self._moments, BETAS, (gradient, gradient ** 2)):
            m += (1 - b) * (g - m)
        first, second = (m / (1 - b ** self._steps) for m, b in zip(self._moments, BETAS))
        self.logits -= rate * first / (np.sqrt(second) + TINY)


@SEARCHERS.register("fliqs")
def fliqs(problem: Problem, *, seed: int = 0, evaluations: int | None = None, time_limit: float = math.inf, progress=None,
          delay: int | None = None, reward: str = "absolute", beta: float = 1.0, schedule: str = "cosine", entropy: float = 0.1,
          rate: float = RATE, temperature: float = 1.0) -> list[Plan]:
    """FLIQS, a policy learned while shared weights train: the plan that it believes in after `evaluations` steps.

    2000 steps by default, `delay` of them (500, or a quarter if that is less) with uniform draws for the weights alone.

    The objective is called once a step with a plan and gives the loss of that step (quality is its negative); it may train weights
    meanwhile (quant.sensing.oneshot.OneShot does); the plan's damage is then the mean loss of the last steps.  Each budget is a cost
    target; several penalties add up.  beta: weight of the cost in the reward; entropy: its largest weight, reached at the end by
    `schedule`; both are in the unit of the loss.
    UserError: unknown reward or schedule, no budget, a budget that is not above 0, a loss that is no number.
    """
    steps = STEPS if evaluations is None else evaluations
    wait = min(DELAY, steps // 4) if delay is None else delay
    rewarded, weight = REWARDS[reward], SCHEDULES[schedule]
    if bad := [r for r, most in problem.budgets.items() if not most > 0] or ([] if problem.budgets else ["nothing"]):
        raise UserError(f"fliqs needs a cost target above 0, and has none for {bad[0]}; give a budget")
    if not 0 <= wait < steps:
        raise UserError(f"a delay of {wait} steps out of {steps} leaves none for the policy; give more evaluations or a shorter delay")
    policy, rng, clock = Policy(problem.sizes, temperature), np.random.default_rng(seed), Judge(problem, time_limit=time_limit)
    loss, mean, done = None, None, 0
    history: list[list[float]] = []  # [steps, mean reward, entropy], about a hundred times
    while done < steps and not (done and clock.done):
        if progress:
            progress(done, steps, f"entropy {policy.entropy():.3f}")
        genes = policy.draw(rng)
        now = problem.damage(genes)
        loss = _mean(loss, now)
        if done >= wait:
            got = _reward(rewarded, -now, problem, genes, beta)
            mean = _mean(mean, got)
            policy.descend(policy.gradient(genes, got - mean, entropy * weight((done - wait) / (steps - wait))), rate)
        done += 1
        if mean is not None and done % max(1, steps // 100) == 0:
            history.append([done, mean, policy.entropy()])
    chosen, fits = _believed(problem, policy)
    about = clock.why("fliqs", seed, delay=wait, reward=reward, entropy=policy.entropy(), argmax_fits=fits)
    damage = loss if problem.function else problem.damage(chosen)
    return [problem.plan(chosen, damage, **about | {"evaluations": done, "history": history})]


def _mean(so_far: float | None, now: float) -> float: return now if so_far is None else DECAY * so_far + (1 - DECAY) * now


def _reward(rewarded: Callable, quality: float, problem: Problem, genes, beta: float) -> float:
    """Quality less the penalties; each budget counts."""
    for r, paid in problem.paid(genes).items():
        quality = rewarded(quality, paid / problem.budgets[r], beta)
    return quality


def _believed(problem: Problem, policy: Policy) -> tuple[tuple[int, ...], bool]:
    """The most probable plan within the budgets, and whether it is the most probable of all."""
    best = tuple(policy.best().tolist())
    if problem.fits(best):
        return best, True
    unlikely = -np.log(np.maximum(policy.probabilities(), 1e-300))
    rows = {k: {o: float(unlikely[g, i]) / len(group) for i, o in enumerate(menu)}
            for g, (group, menu) in enumerate(zip(problem.groups, problem.choices)) for k in group}
    table = Table("unlikely", "damage", {k: rows[k] for k in problem.menus})
    return problem.genes(allocate(table, problem.task.costs, problem.budgets, **problem.rules).options), False
