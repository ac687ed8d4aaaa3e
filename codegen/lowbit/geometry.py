"""The shape of a product of activations and packed weights."""
from dataclasses import dataclass

from ir import UserError

from .formats import LANES, LINE, Format, lines

MAX_K = 1 << 16  # 128 * 255 * MAX_K < 2**31: no sum that a kernel shifts leaves int32


@dataclass(frozen=True)
class Geometry:
    """(m, k) activation bytes by packed weights (rows, k).  UserError: a k whose sums an int32 may not hold."""
    format: Format
    rows: int
    k: int
    m: int = 1

    def __post_init__(self):
        if min(self.rows, self.k, self.m) < 1 or self.k > MAX_K:
            raise UserError(f"packed weights ({self.rows}, {self.k}) by {self.m} rows of activations: the kernels take 1..{MAX_K} weights a "
                            "row; keep this layer at 8 bits")

    @property
    def panels(self) -> int: return -(-self.rows // self.format.rows)

    @property
    def lines(self) -> int: return lines(self.k)

    @property
    def panel_bytes(self) -> int: return self.lines * LINE

    @property
    def bytes(self) -> int: return self.panels * self.panel_bytes

    def lanes(self, panel: int) -> list[int]:
        """For each field of a panel that has rows at all, how many of the LANES are no padding."""
        left = self.rows - panel * self.format.rows
        return [min(LANES, left - LANES * j) for j in range(self.format.fields) if left > LANES * j]
