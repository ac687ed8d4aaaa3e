"""Options, tables and plans: what crosses between the search and everything else, as small, diffable JSON files."""
import math
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import store
from .errors import UserError
from .formats import FORMATS, NumberFormat


GROUP_BITS = 6  # of the integer by which the scale of a group of weights differs from that of its channel


@dataclass(frozen=True, order=True)
class Option:
    """What one layer may get: format of its weights / format of its input, and how scales are shared.

    Text: `int4/uint8` (a scale for each output channel), `int4t/uint8` (one for the tensor), `int4g64/int8` (one for
    each 64 inputs of a channel); `int4/int8d`: the input's scale is found anew for each token.
    `int4/-` and `-/uint8` leave the other side in float: a sensitivity sweep may ask what one side alone does, a plan may not.
    """
    weights: str
    acts: str
    granularity: str = ""  # "" channel, "t" tensor, "g<size>" group
    dynamic: bool = False  # whether the input's scale follows the largest value of each token

    @classmethod
    def parse(cls, text: str) -> "Option":
        """The option written `text`.  UserError: not of that form, or an unknown format."""
        w, slash, a = str(text).partition("/")
        if not slash or not w or not a or w == a == "-":
            raise UserError(f"option {text!r} is not of the form weights/activations, for example int4/uint8")
        m = None if w in FORMATS or w == "-" else re.fullmatch(r"(.+?)(t|g[1-9]\d*)", w)
        w, granularity = (m[1], m[2]) if m and m[1] in FORMATS else (w, "")  # an unknown format is named as it was written
        dynamic = a not in FORMATS and a.endswith("d") and a[:-1] in FORMATS
        a = a[:-1] if dynamic else a
        return cls("-" if w == "-" else FORMATS[w].name, "-" if a == "-" else FORMATS[a].name, granularity, dynamic)

    @property
    def whole(self) -> bool:
        """Whether both sides are quantized."""
        return "-" not in (self.weights, self.acts)

    @property
    def weight_format(self) -> NumberFormat: return FORMATS[self.weights]

    @property
    def act_format(self) -> NumberFormat: return FORMATS[self.acts]

    @property
    def group(self) -> int:
        """Inputs of a channel that share a scale; 0 where a channel or the tensor has one."""
        return int(self.granularity[1:]) if self.granularity.startswith("g") else 0

    def __str__(self) -> str: return f"{self.weights}{self.granularity}/{self.acts}{'d' if self.dynamic else ''}"


@dataclass
class Table:
    """layer -> option text -> number: the damage that a metric measures, or the cost that a target pays."""
    name: str                              # of the metric ("kl") or the resource ("lut")
    kind: str                              # "damage" or "cost"
    rows: dict[str, dict[str, float]]
    unit: str = ""
    about: dict = field(default_factory=dict)  # model hash, target, samples, seed ... whatever made these numbers
    fixed: float = 0.0                     # cost of what has no options (pools, adds, FIFOs, ...)

    def __post_init__(self):
        if self.kind not in ("damage", "cost"):
            raise UserError(f"table {self.name!r}: kind is 'damage' or 'cost', not {self.kind!r}")
        for layer, row in self.rows.items():
            for option, v in row.items():
                if not math.isfinite(v):
                    raise UserError(f"table {self.name!r}: layer {layer!r}, option {option!r} is {v}; a finite number is needed")

    def save(self, path: Path | str) -> None: store.save_json(path, "table", asdict(self))

    @classmethod
    def load(cls, path: Path | str) -> "Table": return cls(**store.load_json(path, "table"))


@dataclass
class Plan:
    """layer -> option, and why."""
    options: dict[str, Option]
    damage: dict[str, float] = field(default_factory=dict)    # metric -> predicted sum
    costs: dict[str, float] = field(default_factory=dict)     # resource -> sum
    budgets: dict[str, float] = field(default_factory=dict)   # resource -> bound
    target: str = ""
    model: str = ""                                           # hash of the float model
    why: dict = field(default_factory=dict)                   # solver, status, gap, weights of the metrics, versions

    def __post_init__(self):
        self.options = {k: v if isinstance(v, Option) else Option.parse(v) for k, v in self.options.items()}
        if half := [k for k, o in self.options.items() if not o.whole]:
            raise UserError(f"plan: layer {half[0]!r} has {self.options[half[0]]}, one side left in float; name a format on either side")

    def __getitem__(self, layer: str) -> Option:
        if layer not in self.options:
            raise UserError(f"the plan has no layer {layer!r} (it has {', '.join(self.options)})")
        return self.options[layer]

    def save(self, path: Path | str) -> None:
        store.save_json(path, "plan", asdict(self) | {"options": {k: str(v) for k, v in self.options.items()}})

    @classmethod
    def load(cls, path: Path | str) -> "Plan": return cls(**store.load_json(path, "plan"))

    @classmethod
    def uniform(cls, layers, option: str) -> "Plan":
        """The same option everywhere."""
        return cls({name: Option.parse(option) for name in layers})
