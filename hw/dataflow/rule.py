"""What a rule of hw/dataflow/rules.py is given, and how it adds modules."""
from dataclasses import dataclass

from ir import Ints, Node

from .flow import Flow
from .netlist import Bits, Netlist, Stream


@dataclass(frozen=True)
class Rule:
    """What a rule is given: the netlist to add to, the node, and for each argument its type, its plan and its stream."""
    net: Netlist
    node: Node
    types: list[Ints]
    sources: list[Flow]
    flow: Flow
    args: list[Stream]

    @property
    def name(self) -> str: return self.node.name

    def result(self) -> Stream:
        t = self.node.type
        return self.net.stream(self.name, self.flow.lanes, t.bits, t.signed, t.size)

    def add(self, module: str, params: dict, *ins: Stream, out: Stream | None = None, part: str = "") -> Stream:
        """A module from one stream (port s) or two or three (a, b, c) to `out`, by default the node's value."""
        out = out or self.result()
        ports = {"s": ins[0]} if len(ins) == 1 else dict(zip("abc", ins))
        self.net.add(module, f"{self.name}{part}", params, ports, {"m": out})
        return out

    def resized(self, s: Stream, t: Ints, part: str) -> Stream:
        """`s` with elements of the width and sign of `t`."""
        if (s.width, s.signed) == (t.bits, t.signed):
            return s
        out = self.net.like(f"{self.name}{part}_wide", s, width=t.bits, signed=t.signed)
        params = {"Lanes": s.lanes, "InWidth": s.width, "InSigned": int(s.signed), "OutWidth": t.bits}
        return self.add("qs_resize", params, s, out=out, part=part + "_resize")


def vector(values) -> Bits:
    """32 bits each, the first lowest."""
    return Bits(32 * len(values), sum(int(v) << 32 * k for k, v in enumerate(values)))
