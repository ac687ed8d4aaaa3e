"""A graph as text: one line a value, columns aligned."""
import numpy as np

from .graph import ARRAYS, Conv, Graph, Input, MaxPool, Node, Requant, SumPool
from .infer import kind


def text(g: Graph) -> str:
    """The whole graph; the output is marked with `->`."""
    if not g.nodes:
        return "(empty graph)"
    rows = [(f"{'->' if n is g.output else '  '} %{n.name}", f"= {kind(n.op)}", ", ".join("%" + a for a in n.args), details(n), f": {n.type}")
            for n in g.nodes.values()]
    widths = [max(len(r[i]) for r in rows) for i in range(4)]
    return "\n".join("  ".join([*(c.ljust(w) for c, w in zip(r, widths)), r[4]]).rstrip() for r in rows)


def details(n: Node) -> str:
    """What else there is to know of one node, in a few words."""
    op, words = n.op, []
    for name in ARRAYS.get(type(op), ()):
        a = getattr(op, name)
        words.append(f"{name} {'s' if a.min() < 0 else 'u'}{width(a)}[{'x'.join(map(str, a.shape))}]")
    match op:
        case Input():
            pass
        case Requant():
            words.append(f">>{op.shift} {op.zero:+d} in [{op.lo}, {op.hi}]")
        case Conv() | MaxPool() | SumPool():
            kernel = op.weight.shape[2:] if isinstance(op, Conv) else op.kernel
            words.append(f"kernel {_short(kernel)} stride {_short(op.stride)}")
            if any(map(any, op.padding)):
                words.append(f"padding {_short([_short(p) for p in op.padding])}" + (f" of {op.pad}" if getattr(op, "pad", 0) else ""))
            if isinstance(op, Conv) and set(op.dilation) != {1}:
                words.append(f"dilation {_short(op.dilation)}")
            if isinstance(op, Conv) and op.groups > 1:
                words.append("depthwise" if op.groups == n.type.shape[0] and op.weight.shape[1] == 1 else f"{op.groups} groups")
        case _:
            words += [f"{k} {v}" for k, v in vars(op).items() if k not in ARRAYS.get(type(op), ())]
    return " ".join(words)


def width(a: np.ndarray) -> int:
    """Bits of the narrowest word (unsigned when nothing is negative) that holds every value of `a`."""
    lo, hi = (int(a.min()), int(a.max())) if a.size else (0, 0)
    return max(1, max(hi, -lo - 1).bit_length() + (lo < 0))


def _short(v) -> str:
    v = list(v)
    return str(v[0]) if len(set(map(str, v))) == 1 else "(" + ",".join(map(str, v)) + ")"
