"""Groups of layers, each with its metric, its own integer programme and its share of one budget; the shares are then swept.

MixDQ (Zhao et al., 2024, section 4 and its released code).  A metric of one group says nothing of another's: similarities near 1
and decibels have no common unit, so they are never summed; what each group gets of the budget is decided on the model itself.
"""
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ir import Option, Plan, Table, UserError
from ir.store import load_json, save_json

from .allocate import allocate
from .budgets import bound, combines_by_max, total
from .groups import Group
from .measure import measure as measure_table
from .probe import Probe

MIXDQ_RATIOS = tuple(float(k) for k in np.linspace(0.46, 1.36, 10))  # content to quality, weights

Measure = Callable[[dict[str, str]], float]


@dataclass
class Choice:
    """Options for all layers, what each group was allowed and pays, and what was measured of them together."""
    options: dict[str, str]
    ratios: tuple[float, ...]             # of each group's budget for a unit of size to the last group's
    share: float                          # of the whole budgets
    budgets: dict[str, dict[str, float]]  # group -> resource -> bound
    damage: dict[str, float]              # group -> sum of its metric
    costs: dict[str, float]               # resource -> what all layers pay
    score: float = math.nan               # of the final measure; lower is better


@dataclass
class Decoupled:
    """What a sweep found: `plans`, every different one, as they were tried; `trail`, each trial and what became of it."""
    plans: list[Choice]
    chosen: Choice
    trail: list[dict]
    budgets: dict[str, float]  # resource -> bound of the whole
    model: str = ""            # hash of the float model
    target: str = ""

    def plan(self) -> Plan:
        """The chosen plan.  UserError: it leaves a side of a layer in float, as one of weights alone does."""
        c = self.chosen
        why = {"decoupled": {"ratios": c.ratios, "share": c.share, "budgets": c.budgets, "tried": len(self.trail), "plans": len(self.plans)}}
        return Plan(c.options, c.damage | {"measured": c.score}, c.costs, self.budgets, self.target, self.model, why)

    def save(self, path: Path | str) -> None: save_json(path, "decoupled", asdict(self))

    @classmethod
    def load(cls, path: Path | str) -> "Decoupled":
        known = load_json(path, "decoupled")
        plans = [Choice(**c | {"ratios": tuple(c["ratios"])}) for c in known["plans"]]
        at = next(i for i, c in enumerate(known["plans"]) if c == known["chosen"])
        return cls(**known | {"plans": plans, "chosen": plans[at]})


def split(average: float, ratios: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """Budgets for a unit of size of each group, in these ratios to the last group's, whose mean over all sizes is `average`.

    For two groups MixDQ's B (1 + rho) / (k rho + 1) and k times that.  ratios: one for each group but the last; sizes: of all.
    """
    k = np.array([*ratios, 1.0])
    return list(k * average * math.fsum(sizes) / math.fsum(k * sizes))


def measure_groups(probe: Probe, groups: Mapping[str, Group], options: Mapping[str, Iterable[str]],
                   cache: Path | str | None = None, progress: Callable[[int, int, str], None] | None = None) -> dict[str, Table]:
    """{group: damage table} of each group's own metric over its own layers; as `measure`."""
    return {name: measure_table(probe, [g.metric], {k: tuple(options[k]) for k in g.layers}, cache, progress)[g.metric]
            for name, g in groups.items()}


def output_error(probe: Probe) -> Measure:
    """A final measure: mean squared error of the model's output against float with all layers of the options quantized."""
    exact = np.asarray(probe.reference(), np.float64)
    return lambda options: float(np.mean((np.asarray(probe.outputs(options), np.float64) - exact) ** 2))


def decoupled(damage: Mapping[str, Table], costs: Mapping[str, Table], budgets: Mapping[str, float | str], measure: Measure,
              ratios: Sequence[float | Sequence[float]] | None = None, shares: Sequence[float] = (1.0,),
              sizes: Mapping[str, float] | None = None, given: Mapping[str, str] | None = None, reference: str | None = None,
              ties: Iterable[Sequence[str]] = (), progress: Callable[[int, int, str], None] | None = None, **how) -> Decoupled:
    """The plan with the least final `measure` among those that are best for each group under some split of the budgets.

    damage: {group: table over its layers}, the last group is what ratios refer to; costs, budgets, reference: as in allocate.
    measure: {layer: option} -> number, lower is better; it sees each different plan once.
    ratios: trials, each a number for each group but the last (one number for two groups; None: MixDQ's for weights, .46 to 1.36).
    shares: of the whole budgets, tried with each ratio; MixDQ tries 10 from 1 - 0.3 / bits to 1, as its programme is coarse.
    sizes: {layer: size} that ratios are per unit of; None: what the layer's dearest option costs, of each resource by itself.
    given: {layer: option} of one side, chosen before; the options here are then of the other side, as MixDQ takes weights first
    and activations under them.  how: goes to allocate (fixed, solver, gap, time_limit).
    We differ: budgets bound from above only (`mixdq` has its two-sided window), and of any resource, not only bits; where a group
    cannot use all it is given the rest stays unused, and the trial counts.
    UserError: layers in two tables, a tie across groups, no split that leaves each group a plan, a measure that is no number.
    """
    if not len(shares) or not all(0 < s < math.inf for s in shares):
        raise UserError(f"shares {list(shares)} of the budgets: give numbers above 0, such as 0.95 and 1")
    trials = [(k, s) for s in shares for k in _trials(ratios, list(damage))]
    sweep = _Sweep(damage, costs, budgets, sizes, reference, [tuple(t) for t in ties], how)
    plans: dict[tuple, Choice] = {}
    trail: list[dict] = []
    for done, (k, share) in enumerate(trials):
        if progress:
            progress(done, len(trials), f"ratios {', '.join(f'{v:.3g}' for v in k)}, share {share:.3g}")
        entry = {"ratios": list(k), "share": share, "budgets": sweep.bounds(k, share)}
        trail.append(entry)
        try:
            choice = sweep.choice(k, share, entry["budgets"])
        except UserError as e:
            entry["refused"] = str(e)
            continue
        choice.options = _join(given, choice.options) if given else choice.options
        key = tuple(sorted(choice.options.items()))
        if key not in plans:
            plans[key] = replace(choice, score=_number(measure(dict(choice.options)), choice))
        entry |= {"plan": list(plans).index(key), "score": plans[key].score}
    if not plans:
        raise UserError(f"none of {len(trail)} splits of the budgets leaves each group a plan; the last: {trail[-1]['refused']}")
    found = list(plans.values())
    least = min(found, key=lambda c: (c.score, sum(c.costs.values())))
    return Decoupled(found, least, trail, sweep.most, _about("model", damage), _about("target", costs))


def _about(what: str, tables: Mapping[str, Table]) -> str: return next((str(t.about[what]) for t in tables.values() if what in t.about), "")


def _trials(ratios, names: list[str]) -> list[tuple[float, ...]]:
    if not names:
        raise UserError("no groups; give a damage table for each")
    if ratios is None:
        if len(names) > 2:
            raise UserError(f"{len(names)} groups ({', '.join(names)}): give ratios, {len(names) - 1} numbers for each trial")
        ratios = MIXDQ_RATIOS if len(names) == 2 else [()]
    found = [tuple(map(float, np.atleast_1d(k))) for k in ratios]
    for k in found:
        if len(k) != len(names) - 1 or not all(0 < v < math.inf for v in k):
            raise UserError(f"ratios {k}: each trial is {len(names) - 1} number{'s' * (len(names) > 2)} above 0, the budget of "
                            f"{', '.join(names[:-1])} over that of {names[-1]}")
    if not found:
        raise UserError("no ratios to try; give at least one, such as 1.0")
    return found


def _number(score: float, choice: Choice) -> float:
    if not math.isfinite(score):
        raise UserError(f"the final measure gives {score} for the plan of ratios {choice.ratios}; it has to be a finite number, lower is better")
    return float(score)


def _join(given: Mapping[str, str], options: Mapping[str, str]) -> dict[str, str]:
    """Both sides of each layer: `int4/-` and `-/uint8` are `int4/uint8`."""
    joined = dict(given)
    for layer, text in options.items():
        new, old = Option.parse(text), Option.parse(given[layer]) if layer in given else None
        if old is None or {new.weights == "-", new.acts == "-"} != {True, False} or (new.weights == "-") == (old.weights == "-") or old.whole:
            raise UserError(f"layer {layer!r}: {given.get(layer, 'nothing')} was chosen before and {text} now; give one side of it, "
                            "such as int4/-, and offer the other, such as -/uint8")
        w, a = (old, new) if new.weights == "-" else (new, old)
        joined[layer] = str(Option(w.weights, a.acts, w.granularity))
    return joined


class _Sweep:
    """The groups' programmes: each solved once for each set of bounds."""

    def __init__(self, damage, costs, budgets, sizes, reference, ties, how):
        self.damage, self.how, self.solved = damage, how, {}
        home = {}
        for name, t in damage.items():
            for layer in t.rows:
                if layer in home:
                    raise UserError(f"layer {layer!r} is in two groups, {home[layer]!r} and {name!r}; measure it in one of them")
                home[layer] = name
        for r, t in costs.items():
            if odd := sorted(t.rows.keys() ^ home.keys()):
                raise UserError(f"cost table {r!r} and the damage tables do not have the same layers: {odd[0]!r} is only in one; "
                                "make all from the same model")
        if unknown := [r for r in budgets if r not in costs]:
            raise UserError(f"a budget for {unknown[0]!r}, but costs are known only for: {', '.join(costs) or 'nothing'}")
        if lost := [k for k in [*(how.get("fixed") or {}), *(k for t in ties for k in t), *(sizes or {})] if k not in home]:
            raise UserError(f"no layer {lost[0]!r} in the damage tables (they have {', '.join(home)})")
        if sizes and (lost := [k for k in home if k not in sizes]):
            raise UserError(f"no size of layer {lost[0]!r}; give one for each layer, or none at all")
        for t in ties:
            if len({home[k] for k in t}) > 1:
                raise UserError(f"tied layers {', '.join(t)} are in different groups; put them in one group or untie them")
        self.order, self.costs, self.ties = list(home), costs, {g: [t for t in ties if t and home[t[0]] == g] for g in damage}
        self.most = {r: bound(costs[r], b, reference) for r, b in budgets.items()}
        self.sizes = {r: [math.fsum(sizes[k] if sizes else max(costs[r].rows[k].values()) for k in t.rows) for t in damage.values()]
                      for r in budgets}

    def bounds(self, ratios: tuple[float, ...], share: float) -> dict[str, dict[str, float]]:
        """group -> resource -> bound; what a worst layer decides is not split."""
        found: dict[str, dict[str, float]] = {g: {} for g in self.damage}
        for r, most in self.most.items():
            n, fixed = self.sizes[r], self.costs[r].fixed
            by_max = combines_by_max(self.costs[r])
            each = [most] * len(n) if by_max else np.multiply(split((share * most - fixed) / math.fsum(n), ratios, n), n)
            for g, b in zip(found, each):
                found[g][r] = float(b)
        return found

    def choice(self, ratios: tuple[float, ...], share: float, bounds: dict[str, dict[str, float]]) -> Choice:
        """UserError: some group has no plan within its bounds."""
        parts = {g: self._solve(g, b) for g, b in bounds.items()}
        options = {k: o for p in parts.values() for k, o in p.items()}
        return Choice({k: options[k] for k in self.order}, ratios, share, bounds,
                      {g: total(self.damage[g], p) for g, p in parts.items()}, {r: total(t, options) for r, t in self.costs.items()})

    def _solve(self, group: str, bounds: dict[str, float]) -> dict[str, str]:
        key = group, tuple(bounds.items())
        if key not in self.solved:
            self.solved[key] = self._programme(group, bounds)
        return self.solved[key]

    def _programme(self, group: str, bounds: dict[str, float]) -> dict[str, str]:
        rows = self.damage[group].rows
        names = {layer: _whole(layer, row) for layer, row in rows.items()}

        def part(t: Table) -> Table:
            return replace(t, rows={k: {names[k][o]: v for o, v in t.rows[k].items() if o in names[k]} for k in rows}, fixed=0.0)

        how = self.how | {"fixed": {k: names[k].get(o, o) for k, o in (self.how.get("fixed") or {}).items() if k in rows}}
        try:
            plan = allocate(part(self.damage[group]), {r: part(self.costs[r]) for r in bounds}, bounds, ties=self.ties[group], **how)
        except UserError as e:
            raise UserError(f"group {group!r}: {e}") from None
        texts = {k: {whole: o for o, whole in row.items()} for k, row in names.items()}
        return {k: texts[k][str(o)] for k, o in plan.options.items()}


def _whole(layer: str, options: Iterable[str]) -> dict[str, str]:
    """Option -> a name that allocate takes: a side left in float is named as some format, which costs and damages know nothing of."""
    parsed = {o: Option.parse(o) for o in options}
    names = {text: str(Option("int8" if o.weights == "-" else o.weights, "int8" if o.acts == "-" else o.acts, o.granularity))
             for text, o in parsed.items()}
    if len(set(names.values())) < len(names):
        raise UserError(f"layer {layer!r} may choose between {', '.join(names)}; offer one side or both, not a mixture")
    return names
