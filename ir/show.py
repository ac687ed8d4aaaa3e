"""A graph as text: one line a value, columns aligned: name, type, op, arguments, and what else there is to know."""
import numpy as np

from .graph import Graph, Node
from .opset import Concat, Conv, Expand, MaxPool, Pad, Recur, Requant, Reshape, Slice, SumPool, Transpose, constants
from .infer import kind


def text(g: Graph) -> str:
    """The whole graph; the output is marked with `->`.

    `%y  u7[16x4x4] in [0, 122]  = requant  %x  ...` : y holds 16x4x4 unsigned integers of 7 bits, proven to lie in [0, 122].
    """
    if not g.nodes:
        return "(empty graph)"
    rows = [(f"{'->' if n is g.output else '  '} %{n.name}", *str(n.type).split(" ", 1), f"= {kind(n.op)}",
             ", ".join("%" + a for a in n.args), details(n)) for n in g.nodes.values()]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(r, widths)).rstrip() for r in rows)


def details(n: Node) -> str:
    """What else there is to know of one node, in a few words."""
    op = n.op
    match op:
        case Requant(mul, shift, zero, lo, hi):
            scale = "" if (mul == 1).all() and shift == 0 else f"* {mul[0] if len(mul) == 1 else array(mul)} >> {shift} "
            return scale + (f"{'-' if zero < 0 else '+'} {abs(zero)} " if zero else "") + f"clamp [{lo}, {hi}]" + (
                f" axis {op.axis}" if op.axis and len(mul) > 1 else "")
        case Conv():
            groups = "" if op.groups == 1 else " depthwise" if op.weight.shape[1] == 1 else f" groups {op.groups}"
            return f"weight {array(op.weight)} bias {array(op.bias)}" + groups + _window(op)
        case MaxPool() | SumPool():
            return f"kernel {_short(op.kernel)}" + _window(op)
        case Slice(start, stop, step):
            return "[" + ", ".join(f"{a}:{b}" + (f":{s}" if s > 1 else "") for a, b, s in zip(start, stop, step)) + "]"
        case Pad(padding, value):
            return f"{value} around " + ", ".join(f"{b}+{a}" for b, a in padding)
        case Concat(axis):
            return f"axis {axis}"
        case Transpose(perm):
            return f"axes {', '.join(map(str, perm))}"
        case Recur(shift, lo, hi):
            return f">> {shift} clamp [{lo}, {hi}]"
        case Reshape() | Expand():
            return ""  # the type says it
    return " ".join([f"{k} {array(v)}" for k, v in constants(op).items()] + ([f"from {op.base}"] if getattr(op, "base", 0) else []))


def array(a: np.ndarray) -> str:
    """Type of a constant, as that of a value is written: s4[16x3x3x3]."""
    return f"{'s' if a.size and a.min() < 0 else 'u'}{width(a)}[{'x'.join(map(str, a.shape))}]"


def width(a: np.ndarray) -> int:
    """Bits of the narrowest word (unsigned when nothing is negative) that holds every value of `a`."""
    lo, hi = (int(a.min()), int(a.max())) if a.size else (0, 0)
    return max(1, max(hi, -lo - 1).bit_length() + (lo < 0))


def _window(op: Conv | MaxPool | SumPool) -> str:
    words = f" stride {_short(op.stride)}" if set(op.stride) != {1} else ""
    if isinstance(op, Conv) and set(op.dilation) != {1}:
        words += f" dilation {_short(op.dilation)}"
    if any(map(any, op.padding)):
        words += f" padding {_short([b if b == a else f'{b}+{a}' for b, a in op.padding])}"
        words += f" of {op.pad}" if getattr(op, "pad", 0) else ""
    return words


def _short(v) -> str: return str(v[0]) if len(set(v)) == 1 else "x".join(map(str, v))
