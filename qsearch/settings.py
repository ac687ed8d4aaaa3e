"""What a user decides of a run."""
from dataclasses import dataclass

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
    rounding: str = "gptq"
    samples: int = 128                             # calibration samples that the metrics look at
    apart: bool = False                            # damage of weights and of activations measured one side at a time, and added
    engine: str = "local"                          # where damage is measured: a name of search.ENGINES
    workers: int = 1                               # processes at most
    tune: int = 0                                  # epochs of training under the plan
    learning_rate: float = 1e-3
    check: int = 1000                              # samples at most on which TVM and ONNX Runtime are compared
    simulate: int = 3                              # samples on which the simulated hardware is compared
    pareto: int = 0                                # points of the front over the first budget's resource
    solver: str = "highs"
    seed: int = 0


def budgets_of(s: Settings) -> dict[str, float | str]:
    """The budgets as search takes them."""
    from search import parse_budget
    return dict(parse_budget(b) for b in s.budgets)


def metrics_of(s: Settings) -> list:
    """The metrics by name.  UserError: unknown."""
    from search import METRICS
    return [METRICS[m] for m in s.metrics]


def menus(net, s: Settings) -> dict[str, tuple[str, ...]]:
    """The options of each layer."""
    from search import menu, parse_rules, per_layer
    return per_layer(list(net.layers), menu(s.options), parse_rules(s.rules))
