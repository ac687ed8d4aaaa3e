"""What turns the nodes of an exported ATen graph into steps: the rules (`RULES`) and the list they write into."""
import re
from collections.abc import Callable
from pathlib import Path

import torch

from ir import UserError

from .net import Step, compute

RULES: dict[str, Callable] = {}  # name of an ATen op, without overload -> rule(builder, arguments) -> value
LEAVES = ("torch.nn.", "quant.onnx_")  # modules that are one operation: their path names the step


def rule(*ops: str):
    """Register the function as the rule of these ATen ops."""
    def register(f):
        RULES.update(dict.fromkeys(ops, f))
        return f
    return register


class Builder:
    """Steps so far, under provisional names; `titles` holds the name each of them would like.

    A value of the ATen graph is a torch.Tensor (a constant), a str (a step) or a list of them.
    """

    def __init__(self):
        self.steps: dict[str, Step] = {}
        self.titles: dict[str, str] = {}
        self.notes: list[str] = []
        self.node: torch.fx.Node | None = None  # the one being translated

    def emit(self, kind: str, *args: str, weight=None, bias=None, title: str = "", input_shape=None, **attrs) -> str:
        """Append a step and return its provisional name; its shape is what `net.compute` makes of its arguments."""
        s = Step(f"%{len(self.steps)}", kind, args, input_shape, attrs, plain(weight), plain(bias))
        if input_shape is None:
            meta = Step(s.name, kind, args, (), attrs, *(None if t is None else t.to("meta") for t in (s.weight, s.bias)))
            s.shape = tuple(compute(meta, *(torch.empty((1, *self.shape(a)), device="meta") for a in args)).shape[1:])
        self.steps[s.name] = s
        self.titles[s.name] = title or self.title(attrs.get("fn", kind))
        return s.name

    def shape(self, v: str) -> tuple[int, ...]:
        """Shape of a step's value, without the batch axis."""
        return self.steps[v].shape

    def axis(self, v: str, dim: int) -> int:
        """ATen's dimension (which counts the batch) as an axis of the step `v`; the batch itself is refused."""
        rank = len(self.shape(v)) + 1
        if dim % rank == 0:
            self.refuse("works along the batch axis; samples must stay apart")
        return dim % rank - 1

    def title(self, what: str) -> str:
        """The name of a step that does `what` here: the path of a leaf module, else the path of the module and `what`."""
        path, cls = module(self.node)
        if path and cls.startswith(LEAVES):
            return path
        return f"{path}.{what}" if path else what

    def refuse(self, why: str):
        raise UserError(f"{op(self.node)} at {where(self.node)}: {why}")


def plain(t: torch.Tensor | None) -> torch.Tensor | None:
    """A constant as the Net holds it: detached, float32, contiguous, on the CPU."""
    return None if t is None else t.detach().to("cpu", torch.float32).contiguous()


def module(node: torch.fx.Node) -> tuple[str, str]:
    """(path, class) of the innermost module that made this node; ("", "") at the root."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack or stack[-1][0].startswith("_empty"):
        return "", ""
    path, cls = stack[-1]
    path = re.sub(r"^L\['self'\]\.?", "", path).split("@")[0]  # "@1" marks the second call of the same module
    return path, cls if isinstance(cls, str) else f"{cls.__module__}.{cls.__qualname__}"


def op(node: torch.fx.Node) -> str:
    """The op as users know it: aten.cumsum."""
    target = node.target
    return str(getattr(target, "overloadpacket", getattr(target, "__name__", target)))


def where(node: torch.fx.Node) -> str:
    """Module path, and the user's source line where export kept it."""
    path = repr(module(node)[0]) if module(node)[0] else "the top of the model"
    lines = re.findall(r'File "([^"]+)", line (\d+)', node.meta.get("stack_trace") or "")
    mine = [f"{Path(f).name}:{n}" for f, n in lines if "/torch/" not in f]
    return f"{path} ({mine[-1]})" if mine else path


def every(v, n: int) -> tuple[int, ...]:
    """One number, or a list of one or n numbers, as n numbers."""
    v = [v] if isinstance(v, int) or v is None else list(v)
    return tuple(v * n if len(v) == 1 else v)


def both(padding) -> tuple[tuple[int, int], ...]: return tuple((p, p) for p in padding)
