"""What a user decides of a run."""
from dataclasses import dataclass

from ir import UserError

DEFAULT_OPTIONS = "ternary,int2,int3,int4,int5,int6,int8/uint8"


@dataclass
class Settings:
    """Everything that decides the result of a run, beside the model and the data."""
    targets: tuple[str, ...] = ("cpu", "onnx")
    budgets: tuple[str, ...] = ("bytes=25%",)      # as written: "lut=20000", "bytes=25%", "wbits=4"
    metrics: tuple[str, ...] = ("kl", "sqnr")      # the first is what the plan minimises; or those with a weight: "kl=0.7", "task=0.3"
    options: str = DEFAULT_OPTIONS
    rules: tuple[str, ...] = ()                    # menus of their own: "first=int8/uint8", "features.*=int4,int8/uint8"
    forbid: tuple[str, ...] = ()                   # options that a layer may not get: "first=int2/*"
    ties: tuple[tuple[str, ...], ...] = ()         # layers that get the same option, or the name of a tie: ("residual",)
    floors: tuple[str, ...] = ()                   # "information=0.05": no option with more damage than this in that table
    reference: str = ""                            # what budgets in % are of: an option everywhere, or a plan file; "": the dearest
    groups: tuple[str, ...] = ()                   # "content=ff|attn2:ssim": layers with a metric and an integer programme of their own
    ratios: tuple[float, ...] = ()                 # how the groups share a budget; every one is tried
    pairs: str = ""                                # interactions of layers: "predicted", or measured: "adjacent", "window:3", "top:6", "all"
    order: str = "weighted"                        # of several metrics; or "lexicographic", within `tolerance` of the one before
    tolerance: float = 0.01
    searcher: str = "exact"                        # a name of search.SEARCHERS
    evaluations: int = 250                         # plans that a searcher measures, at most
    measured: bool = False                         # costs of the targets measured on the machine and through synthesis
    observer: str = "mse"
    rounding: str = "gptq"
    prepare: tuple[str, ...] = ()                  # changes of the float net before it is quantized: names of quant.PREPARATIONS
    act_range: str = "observer"                    # or "output": ranges scaled by what is best for the layers that read them
    samples: int = 128                             # calibration samples that the metrics look at
    apart: bool = False                            # damage of weights and of activations measured one side at a time, and added
    engine: str = "local"                          # where damage is measured: a name of search.ENGINES
    workers: int = 1                               # processes at most
    tune: int = 0                                  # epochs of training under the plan
    learning_rate: float = 1e-3
    recipe: tuple[str, ...] = ()                   # of the training, as written: "mode=lsq+", "norms=virtual", "accumulator_bits=16"
    distill: bool = False                          # whether the float net teaches beside the labels
    augment: str = "none"                          # of the images in training: a name of training.AUGMENT
    prune: float = 0.0                             # share of each layer's weights that training takes to 0
    check: int = 1000                              # samples at most on which TVM and ONNX Runtime are compared
    simulate: int = 3                              # samples on which the simulated hardware is compared
    pareto: int = 0                                # points of the front over the first budget's resource
    solver: str = "highs"
    time_limit: float = 60.0                       # seconds for the integer programme
    gap: float = 1e-4                              # how far above the least possible damage its plan may be proven
    seed: int = 0


def budgets_of(s: Settings) -> dict[str, float | str]:
    """The budgets as search takes them."""
    from search import parse_budget
    return dict(parse_budget(b) for b in s.budgets)


def weights_of(s: Settings) -> list[tuple[str, float, str]]:
    """(metric, weight, layers) of what the plan makes small: the metrics with a weight, in their order; else the first.

    layers: names or patterns, as in `kl=0.7@encoder.*`; "" for all.  UserError: a weight that is no number.
    """
    parts = [m.partition("=") for m in s.metrics]
    try:
        weighed = [(name.strip(), float(w.partition("@")[0]), w.partition("@")[2]) for name, equals, w in parts if equals]
    except ValueError:
        raise UserError(f"metrics {', '.join(s.metrics)}: a weight is a number, for example kl=0.7 or kl=0.7@encoder.*") from None
    if s.order == "lexicographic" and not weighed:
        return [(name, 1.0, "") for name, _, _ in parts]
    return weighed or [(parts[0][0], 1.0, "")]


def floors_of(s: Settings) -> list[tuple[str, float]]:
    """(metric, most damage of a layer's option).  UserError: not of that form."""
    found = []
    for text in s.floors:
        name, equals, most = text.partition("=")
        try:
            found.append((name.strip(), float(most)))
        except ValueError:
            raise UserError(f"floor {text!r} is not of the form metric=damage, for example information=0.05") from None
    return found


def metrics_of(s: Settings) -> list[str]:
    """Names of all metrics to measure: those asked for, of floors and of groups.  UserError: unknown."""
    from search import METRICS, parse_groups
    names = [m.partition("=")[0].strip() for m in s.metrics] + [name for name, _ in floors_of(s)]
    names += [g.metric for g in parse_groups(s.groups)] if s.groups else []
    return [METRICS[n].name for n in dict.fromkeys(names)]


def sensible(s: Settings) -> None:
    """UserError: a number out of its range, an unknown order, or two settings of which one would go unheeded."""
    from search import ORDERS
    for name, value in (("samples", s.samples), ("workers", s.workers), ("evaluations", s.evaluations)):
        if value < 1:
            raise UserError(f"--{name} {value}: give 1 or more")
    if s.pareto == 1 or s.pareto < 0:
        raise UserError(f"--pareto {s.pareto}: a front has 2 or more plans; 0 asks for none")
    if bad := [f"{name}={most:g}" for name, most in floors_of(s) if not most >= 0]:
        raise UserError(f"--floor {bad[0]}: give a damage of 0 or more")
    if s.order not in ORDERS:
        raise UserError(f"order {s.order!r} is not one of {', '.join(ORDERS)}")
    if len(s.groups) > 2:
        raise UserError(f"{len(s.groups)} groups; the command takes one or two, search.decoupled any number")
    if s.ratios and not s.groups:
        raise UserError("--ratio says how groups share a budget, and there are none; give --group, or leave it out")
    lexicographic = s.order == "lexicographic"
    if s.groups:
        _unheeded("--group", {f"--searcher {s.searcher}": s.searcher != "exact", "--pairs": s.pairs, "--forbid": s.forbid,
                              f"--order {s.order}": lexicographic})
    if s.searcher != "exact":
        _unheeded(f"--searcher {s.searcher}", {"--pairs": s.pairs, f"--order {s.order}": lexicographic})


def _unheeded(what: str, others: dict) -> None:
    if found := next((name for name, given in others.items() if given), None):
        raise UserError(f"{what} takes no account of {found}; leave out one of the two")


def menus(net, s: Settings) -> dict[str, tuple[str, ...]]:
    """The options of each layer."""
    from search import menu, parse_rules, per_layer
    return per_layer(list(net.layers), menu(s.options), parse_rules(s.rules))
