"""The rules of constants, expansions, divisions, roots and recurrences."""
from collections.abc import Sequence

import numpy as np

from ir import Ints, Node, Recur

from .flow import Flow, Take, expansion
from .netlist import Bits, Netlist, Stream
from .orders import inner_axis, periodic
from .rule import Rule


def constant(net: Netlist, n: Node, flow: Flow, take: Take) -> Stream:
    """A source of the value of constant node n, for one reader: in the order and beats that it takes."""
    t, order = n.type, flow.order if take.order is None else take.order
    s = net.stream(n.name, take.lanes, t.bits, t.signed, t.size)
    rows, repeat = periodic(n.op.value.ravel()[order].reshape(-1, s.lanes))
    rows = rows.repeat(repeat if len(rows) > 1 else 1, 0)
    params = {"Width": s.bits, "Beats": len(rows), "ValueFile": net.mem(f"{n.name}_value", rows, s.width)}
    net.add("qs_constant", n.name, params, {}, {"m": s})
    return s


def div(r: Rule) -> Stream:
    a, b = r.args
    t = r.node.type
    return r.add("qs_div", {"Lanes": a.lanes, "AWidth": a.width, "ASigned": int(a.signed), "BWidth": b.width, "OutWidth": t.bits,
                            "OutSigned": int(t.signed), "Turns": r.flow.turns}, a, b)


def sqrt(r: Rule) -> Stream:
    s = r.args[0]
    return r.add("qs_sqrt", {"Lanes": s.lanes, "InWidth": s.width, "OutWidth": r.node.type.bits, "Turns": r.flow.turns}, s)


def expand(r: Rule) -> Stream:
    """A module for each repeat, the outermost first; copies side by side where the elements of a beat are equal."""
    s, t = r.args[0], r.node.type
    *outer, (block, repeat) = expansion(r.types[0].shape, t.shape, inner_axis(r.flow.order, t.shape))
    for k, (size, times) in enumerate(outer):
        grown = r.net.like(f"{r.name}_x{k}", s, count=s.count * times)
        s = r.add("qs_expand", {"Width": s.bits, "Block": size // s.lanes, "Repeat": times, "Copies": 1}, s, out=grown, part=f"_{k}")
    copies = r.flow.lanes // s.lanes
    return r.add("qs_expand", {"Width": s.bits, "Block": block // s.lanes, "Repeat": repeat // copies, "Copies": copies}, s)


def recur(r: Rule) -> Stream:
    """Without a first state a source of zeros stands for it."""
    args, types = [*r.args], [*r.types]
    if len(args) == 2:
        zeros = r.net.stream(f"{r.name}_first", args[0].lanes, 1, False, args[0].count // r.node.type.shape[0])
        file = r.net.mem(f"{r.name}_zero", np.zeros((1, zeros.lanes), np.int64), 1)
        r.net.add("qs_constant", f"{r.name}_first", {"Width": zeros.bits, "Beats": 1, "ValueFile": file}, {}, {"m": zeros})
        args.append(zeros)
        types.append(Ints((1, *r.node.type.shape[1:]), 0, 0))
    return r.add("qs_recur", recur_params(r.node.op, types, args[0].lanes), *args)


def recur_params(op: Recur, types: Sequence[Ints], lanes: int) -> dict:
    """Parameters of qs_recur for factor, addend and first state of these types."""
    f, c, first = types
    out, states = Ints((1,), op.lo, op.hi), (min(op.lo, first.lo), max(op.hi, first.hi))
    ends = [x * s for x in (f.lo, f.hi) for s in states]
    sums = Ints((1,), min(min(ends) + c.lo, -1), max(max(ends) + c.hi, 0) + (1 << op.shift))  # with the half, at most
    return {"Lanes": lanes, "Steps": f.shape[0], "Beats": f.size // f.shape[0] // lanes, "AWidth": f.bits, "ASigned": int(f.signed),
            "BWidth": c.bits, "BSigned": int(c.signed), "CWidth": first.bits, "CSigned": int(first.signed), "OutWidth": out.bits,
            "OutSigned": int(out.signed), "SumWidth": max(sums.bits, op.shift + 1), "Shift": op.shift,
            "Lo": Bits(64, op.lo, True), "Hi": Bits(64, op.hi, True)}
