"""What an adder is on a family of devices."""
from dataclasses import dataclass

from ir import Registry

from . import scalars
from .scalars import Clamp, Input, Largest, Product, Scalars, Sum, Table

FAMILIES: Registry = Registry("kind of unrolled design")


@dataclass(frozen=True)
class Family:
    """costs: whose costs the search for shared sums counts (hw.unroll.cost).  operands: that one adder sums up.
    table_bits: inputs of a look-up table.  carry: bits of AMD's carry cell, or 0.  chain: sums in one carry chain of ECP5, or 0.

    Delays are in levels of logic with their wires; `bit` is a carry's way over one bit, `third` what a third operand costs.
    """
    name: str
    costs: str
    operands: int
    table_bits: int
    bit: float
    third: float
    carry: int = 0
    chain: int = 0

    @property
    def columns(self) -> bool:
        """Whether sums are made of unsigned operands, see columns.py."""
        return bool(self.carry or self.chain)

    def delay(self, s: Scalars, k: int) -> float:
        """Levels that value k takes after its operands."""
        match s.ops[k]:
            case Sum(terms, const):
                count = len(terms) + (const != 0)
                if count == 1:
                    return 0.0 if not terms[0].negative else 1 + self.bit * s.width(k)
                return 1 + self.third * (count - 2) + self.bit * s.width(k)
            case Clamp():
                return 1.0
            case Largest():
                return 2 + self.bit * s.width(k)
            case Product(a, b):
                rows = min(s.width(a), s.width(b))
                return rows.bit_length() * (1 + self.bit * s.width(k))
            case Table(v, _):
                return float(max(1, s.width(v) - self.table_bits + 1))
        return 0.0

    def is_input(self, op: scalars.Op) -> bool: return isinstance(op, Input)


for _f in (Family("portable", "ice40", 2, 4, 0.05, 0.0), Family("xc7", "xc7", 3, 6, 0.03, 0.7, 4), Family("xcup", "xcup", 3, 6, 0.03, 0.7, 8),
           Family("ecp5", "ecp5", 2, 4, 0.05, 0.0, chain=4)):
    FAMILIES.register(_f.name)(_f)
