"""What turns the nodes of an exported ATen graph into steps: the rules (`RULES`) and the list they write into."""
import re
from collections.abc import Callable
from pathlib import Path

import torch

from ir import UserError

from ..net import Step, compute

RULES: dict[str, Callable] = {}  # name of an ATen op, without overload -> rule(builder, arguments) -> value
FRESH = {"conv1d", "conv2d", "linear", "batch_norm", "add", "sub", "mul", "matmul", "max_pool2d", "avg_pool2d"}  # no view of its argument
LEAVES = ("torch.nn.", "quant.front.onnx_", "quant.ternary.spikes.")  # modules that are one operation: their path names the step
LEVELS = ("torch.nn.modules.activation.MultiheadAttention", "torch.nn.modules.transformer.")  # but these are several


def rule(*ops: str):
    """Register the function as the rule of these ATen ops."""
    def register(f):
        RULES.update(dict.fromkeys(ops, f))
        return f
    return register


class Moved(str):
    """A step whose batch axis is, in the ATen graph, not the first but number `at`; the step itself has it first as ever."""

    def __new__(cls, step: str, at: int):
        moved = super().__new__(cls, step)
        moved.at = at
        return moved


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

    def constant(self, value: torch.Tensor, title: str = "") -> str:
        """Append a step that is this tensor (*shape) for every sample, named after its parameter where it has one."""
        named = [p for n in self.node.all_input_nodes if (p := n.meta.get("parameter", ""))]
        title = title or (named[0] if len(named) == 1 else self.title("constant"))
        return self.emit("constant", weight=value, title=title, input_shape=tuple(value.shape))

    def enlarge(self, v: str, shape: tuple[int, ...]) -> None:
        """Repeat a constant step along the axes that it lacks of `shape`, or has but once; other steps stay."""
        s = self.steps[v]
        if s.kind == "constant" and len(s.shape) <= len(shape):
            s.weight = s.weight.expand(torch.broadcast_shapes(s.shape, shape)).contiguous()
            s.shape = tuple(s.weight.shape)

    def shape(self, v: str) -> tuple[int, ...]:
        """Shape of a step's value, without the batch axis."""
        return self.steps[v].shape

    def axis(self, v: str, dim: int) -> int:
        """ATen's dimension (which counts the batch) as an axis of the step `v`; the batch itself is refused."""
        rank, at = len(self.shape(v)) + 1, batch_axis(v)
        if dim % rank == at:
            self.refuse("works along the batch axis; samples must stay apart")
        return dim % rank - (dim % rank > at)

    def title(self, what: str) -> str:
        """The name of a step that does `what` here: the path of a leaf module, else the path of the module and `what`."""
        path, cls = module(self.node)
        if path and cls.startswith(LEAVES) and not cls.startswith(LEVELS):
            return path
        return f"{path}.{what}" if path else what

    def refuse(self, why: str):
        raise UserError(f"{op(self.node)} at {where(self.node)}: {why}")


def batch_axis(v: str) -> int: return getattr(v, "at", 0)


def at_axis(step: str, at: int) -> str:
    """The step as a value of the ATen graph whose batch axis is number `at`."""
    return Moved(step, at) if at else str(step)


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


def key(node: torch.fx.Node) -> str:
    """The name that RULES knows; an in-place op on a value that nothing else reads is the op itself."""
    name = node.target._schema.name.removeprefix("aten::")
    if name.endswith("_") and name[:-1] in RULES and isinstance(x := node.args[0], torch.fx.Node) and len(x.users) == 1:
        if isinstance(x.target, torch._ops.OpOverload) and key(x) in FRESH:
            return name[:-1]
    return name


def op(node: torch.fx.Node) -> str:
    """The op as users know it: aten.cumsum; one that export took apart is named with the part."""
    part = str(getattr(node.target, "overloadpacket", getattr(node.target, "__name__", node.target)))
    origin = [s.target for s in node.meta.get("from_node", []) if s.target.startswith("aten.")]
    whole = origin[-1].rsplit(".", 1)[0] if origin else part
    return part if whole.rstrip("_") in (part, part.rstrip("_")) else f"{whole} (its part {part})"


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
