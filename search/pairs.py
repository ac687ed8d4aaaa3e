"""Interactions: what two layers do to the model together, beyond what each does alone."""
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
import math

from ir import UserError
from ir.store import load_json, save_json


@dataclass
class Pairs:
    """(layer, layer) -> (option, option) -> damage of both, less the damages of each alone; may be negative.

    A pair, or a combination of options, that is not listed does not interact.  Layers of a pair are different.
    """
    name: str                                                            # of the metric
    rows: dict[tuple[str, str], dict[tuple[str, str], float]]
    unit: str = ""
    about: dict = field(default_factory=dict)

    def __post_init__(self):
        for (a, b), cells in self.rows.items():
            if a == b or (b, a) in self.rows:
                raise UserError(f"pairs {self.name!r}: {a!r} and {b!r} are {'one layer' if a == b else 'listed twice'}; list each pair once")
            if bad := [(o, v) for o, v in cells.items() if not math.isfinite(v)]:
                raise UserError(f"pairs {self.name!r}: layers {a!r}, {b!r} with {'+'.join(bad[0][0])} give {bad[0][1]}; "
                                "a finite number is needed")

    def total(self, options: Mapping[str, str]) -> float:
        """Sum of the interactions of {layer: option text}."""
        return math.fsum(cells.get((str(options[a]), str(options[b])), 0.0) for (a, b), cells in self.rows.items()
                         if a in options and b in options)

    def save(self, path: Path | str) -> None:
        rows = [[a, b, [[p, q, v] for (p, q), v in cells.items()]] for (a, b), cells in self.rows.items()]
        save_json(path, "pairs", asdict(self) | {"rows": rows})

    @classmethod
    def load(cls, path: Path | str) -> "Pairs":
        known = load_json(path, "pairs")
        return cls(**known | {"rows": {(a, b): {(p, q): v for p, q, v in cells} for a, b, cells in known["rows"]}})
