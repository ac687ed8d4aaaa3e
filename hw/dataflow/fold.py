"""What may be chosen for a node: how many outputs and inputs it handles in a cycle, and of what it is built."""
from collections.abc import Mapping
from typing import NamedTuple

from ir import Conv, Dense, Div, Gather, Graph, MatMul, MaxPool, Node, Requant, Sqrt, SumPool, UserError

from .orders import divisors, usual_axis
from .taps import Line, line, taps_legal

WEIGHTS = ("auto", "lut", "distributed", "block")  # where weights are kept: left to the tool, logic, LUT RAM, block RAM
PRODUCTS = ("auto", "lut", "dsp", "packed")        # what multiplies: by width, LUTs, a multiplier each, two products in each
REQUANTS = ("auto", "multiply", "threshold")       # how a requant is done: whichever is cheaper, by its multipliers, by thresholds


class Fold(NamedTuple):
    """Outputs (pe) and inputs (simd) that a node handles in one cycle; of Dense and Conv also the kinds in WEIGHTS and PRODUCTS.

    A convolution's simd beyond the channels of a group are several taps of all of them; a depthwise one's are taps.
    Of a Requant, which goes at its input's pace, (1, 1) and the kind in REQUANTS.
    """
    pe: int = 1
    simd: int = 1
    weights: str = "auto"
    products: str = "auto"
    requant: str = "auto"


Folding = Mapping[str, Fold | tuple]  # node -> Fold, or the first fields of one; a missing node gets Fold()


def depthwise(op) -> bool:
    """A convolution in which each channel has a kernel of its own and gives one channel."""
    return isinstance(op, Conv) and op.groups > 1 and op.weight.shape[1] == 1 and len(op.weight) == op.groups


def taps(op, simd: int) -> int:
    """Taps of a convolution's window that it takes in one cycle."""
    return simd if depthwise(op) else max(1, simd // op.weight.shape[1]) if isinstance(op, Conv) else 1


def channels(op, pe: int, simd: int) -> int:
    """Channels that a Dense or Conv takes in one cycle."""
    return pe if depthwise(op) else simd // taps(op, simd)


def line_of(g: Graph, n: Node) -> Line:
    """Where the windows of a convolution leave when several taps come at once."""
    return line(*_windows(g, n))


def digits(g: Graph, n: Node) -> int:
    """Binary digits that a division or a root finds one after the other."""
    return -(-g.nodes[n.args[0]].type.bits // 2) if isinstance(n.op, Sqrt) else max(1, n.type.bits - n.type.signed)


def checked(g: Graph, folding: Folding | None) -> dict[str, Fold]:
    """The folding, each as a Fold.  UserError: a node that is not there, numbers that do not divide, a kind that is none."""
    folding = folding or {}
    if long := [n for n, f in folding.items() if not 2 <= len(f) <= len(Fold._fields)]:
        raise UserError(f"folding {tuple(folding[long[0]])} of node {long[0]!r}: give {', '.join(Fold._fields)}, all but the first two if need be")
    folding = {n: Fold(*f) for n, f in folding.items()}
    if unknown := folding.keys() - g.nodes.keys():
        raise UserError(f"the folding names {', '.join(sorted(unknown))}, not in the graph (it has {', '.join(g.nodes)})")
    for name, f in folding.items():
        op = g.nodes[name].op
        if f[:2] not in (choices := legal(g, name)) and not (f[:2] == (1, 1) and isinstance(op, Requant)):
            raise UserError(f"folding {f[:2]} of node {name!r} does not divide it; legal (pe, simd), the nearest first: {_few(choices, f)}")
        for what, kinds, ops in (("weights", WEIGHTS, (Dense, Conv)), ("products", PRODUCTS, (Dense, Conv)), ("requant", REQUANTS, (Requant,))):
            kind = getattr(f, what)
            if kind not in kinds:
                raise UserError(f"folding of node {name!r}: {what} {kind!r} is unknown; choose one of {', '.join(kinds)}")
            if kind != "auto" and not isinstance(op, ops):
                raise UserError(f"folding of node {name!r}: {what} {kind!r} is for {' and '.join(o.__name__ for o in ops)}, "
                                f"this is a {type(op).__name__}; leave it 'auto'")
        if f.products == "packed" and depthwise(op):
            raise UserError(f"folding of node {name!r}: products 'packed' share an input, and in a depthwise convolution none is shared; "
                            "choose 'dsp'")
    return folding


def legal(g: Graph, name: str) -> list[tuple[int, int]]:
    """Every (pe, simd) that node `name` may get; [] for a node that has no folding of its own and goes at its inputs' pace.

    Dense, Conv: outputs and inputs a cycle.  Depthwise: channels and taps a cycle.  Pools: channels a cycle.  MatMul: columns
    of b and terms of the sum.  Gather: elements of a row.  Div, Sqrt: elements, and binary digits of each, a cycle.
    """
    n = g.nodes[name]
    match n.op:
        case Dense(w, _):
            pes, simds = divisors(w.shape[0]), divisors(w.shape[1])
        case Conv() if depthwise(n.op):
            pes, simds = divisors(n.op.groups), [1, *_several(g, n)]
        case Conv(w):
            pes, simds = divisors(len(w) // n.op.groups), [*divisors(w.shape[1]), *(w.shape[1] * t for t in _several(g, n))]
        case MaxPool() | SumPool():
            pes, simds = divisors(n.type.shape[0]), [1]
        case MatMul():
            pes, simds = divisors(n.type.shape[-1]), divisors(g.nodes[n.args[0]].type.shape[-1])
        case Gather(table):
            pes, simds = divisors(table.shape[1]), [1]
        case Div() | Sqrt():
            found = digits(g, n)
            pes, simds = divisors(n.type.shape[usual_axis(n.type.shape)]), sorted({-(-found // k) for k in range(1, found + 1)})
        case _:
            return []
    return [(p, s) for p in pes for s in simds]


def _windows(g: Graph, n: Node) -> tuple:
    op = n.op
    return (g.nodes[n.args[0]].type.shape[1:], n.type.shape[1:], op.weight.shape[2:], op.stride, op.dilation, [p[0] for p in op.padding])


def _several(g: Graph, n: Node) -> list[int]:
    """Numbers of taps that may come at once, beyond one."""
    return divisors(n.op.weight[0, 0].size)[1:] if taps_legal(*_windows(g, n)) else []


def _few(items: list[tuple[int, int]], near: Fold, most: int = 8) -> str:
    """The items most like `near` by ratio, in text."""
    def far(item: tuple[int, int]) -> float:
        return max(item[0] / near.pe, near.pe / item[0]) * max(item[1] / near.simd, near.simd / item[1]) if min(near[:2]) > 0 else 0
    return ", ".join(map(str, sorted(items, key=far)[:most])) + (f", ... ({len(items)})" if len(items) > most else "")
