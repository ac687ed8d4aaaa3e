"""The shape of a product of activations and packed weights, and the pieces that its work falls into."""
from dataclasses import dataclass

from ir import UserError

from .formats import LINE, QUAD, ROWS, Format

MAX_K = 1 << 16  # up to here no sum of a kernel leaves int32: 128 * 255 * (MAX_K / 2) < 2**31


@dataclass(frozen=True)
class Geometry:
    """(m, k) activation bytes by packed weights (rows, k)."""
    format: Format
    rows: int
    k: int
    m: int = 1

    def __post_init__(self):
        if min(self.rows, self.k, self.m) < 1 or self.k > MAX_K:
            raise UserError(f"packed weights ({self.rows}, {self.k}) by {self.m} rows of activations: the kernels take 1..{MAX_K} weights a "
                            "row; keep this layer at 8 bits")

    @property
    def panels(self) -> int: return -(-self.rows // ROWS)

    @property
    def lines(self) -> int: return self.format.lines(self.k)

    @property
    def whole_lines(self) -> int:
        """Lines of a panel that have no padding."""
        return self.k // self.format.depth

    @property
    def panel_bytes(self) -> int: return self.lines * LINE

    @property
    def bytes(self) -> int: return self.panels * self.panel_bytes

    def valid(self, line: int) -> list[int]:
        """For each field of a line that has weights at all, how many of the QUAD are no padding."""
        left = self.k - line * self.format.depth
        return [min(QUAD, left - QUAD * j) for j in range(self.format.fields) if left > QUAD * j]
