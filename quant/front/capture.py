"""Any torch model becomes a Net: torch.export, one rule for each ATen op, then `fold`."""
import operator
from dataclasses import replace
from types import SimpleNamespace

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

from ir import UserError

from . import aten_attention, aten_layers, aten_math, aten_norms, aten_pools, aten_shapes  # noqa: F401  (they register their rules)
from .builder import RULES, Builder, Moved, at_axis, batch_axis, key, op, where
from .export import export, functional
from .fold import fold
from ..net import Net, Step, fingerprint

INTEGERS_OK = {"embedding", "view", "reshape", "flatten", "squeeze", "unsqueeze", "slice", "select", "permute", "transpose", "clone",
               "detach", "contiguous", "to", "_to_copy", "alias"}

MOVES = {"permute", "transpose", "t", "numpy_T", "movedim", "swapaxes", "select", "split", "split_with_sizes", "chunk", "unbind", "squeeze",
         "clone", "contiguous", "detach", "alias"}  # what works whichever axis the batch is
LAST = {"linear", "layer_norm"}  # what works on the last axis only, its constants too
EACH = {"relu", "gelu", "silu", "sigmoid", "tanh", "hardswish", "add", "sub", "mul", "div", "neg", "dropout", "to", "_to_copy",
        "type_as", "float"}  # what works on each element
SIZED = {"expand", "expand_as", "repeat", "zeros", "ones", "new_zeros", "new_ones", "view", "reshape", "unsqueeze", "squeeze", "slice",
         "select", "permute", "transpose", "clone", "cat"}  # on constants, a size of the batch shows in their shape alone


def capture(model: nn.Module | torch.export.ExportedProgram, example: torch.Tensor | None = None, name: str = "") -> Net:
    """The float network of `model` as steps with batch norm folded; equal to it up to float32 rounding.

    example: (N, ...) with N >= 1, any values of the right type; an ExportedProgram needs none.
    UserError: an op that has no rule, non-finite weights, more than one input or output, or a model that torch.export refuses.
    """
    name = name or type(model).__name__
    if isinstance(model, nn.Module):
        if example is None:
            raise UserError(f"{name}: an example input is needed to capture a torch module; give the data")
        model = export(model, example, name)
    elif not isinstance(model, torch.export.ExportedProgram):
        raise UserError(f"{name}: a torch.nn.Module or a torch.export program is needed, not {type(model).__name__}")
    with torch.no_grad():
        b, output = translate(functional(model), name)
        steps, output = fold(b.steps, output)
    steps, names = named(steps, b.titles)
    for s in steps.values():
        if not all(t is None or t.isfinite().all() for t in (s.weight, s.bias)):
            raise UserError(f"{name}: layer {s.name!r} has NaN or infinite weights after batch norm is folded; check its statistics")
    return Net(steps, names[output], fingerprint(steps, names[output]), tuple(b.notes))


def translate(ep: torch.export.ExportedProgram, name: str) -> tuple[Builder, str]:
    """Steps of an exported program under provisional names, and which is the output."""
    b, values = Builder(), constants(ep, name)
    result = None
    for node in ep.graph.nodes:
        b.node = node
        match node.op:
            case "placeholder" if node.name not in values:
                values[node.name] = b.emit("input", input_shape=tuple(int(n) for n in node.meta["val"].shape[1:]), title="input")
            case "get_attr":
                values[node.name] = getattr(ep.graph_module, node.target, None)
            case "call_function":
                values[node.name] = value(b, node, values)
            case "output":
                result = node
    return b, only_output(ep, result, values, name)


def constants(ep: torch.export.ExportedProgram, name: str) -> dict[str, torch.Tensor]:
    """Placeholder -> parameter, buffer or lifted constant.  UserError: several inputs, state that changes, NaN or Inf."""
    sig = ep.graph_signature
    if len(sig.user_inputs) != 1:
        raise UserError(f"{name}: has {len(sig.user_inputs)} inputs ({', '.join(map(str, sig.user_inputs))}); exactly one is supported")
    if sig.buffers_to_mutate:
        raise UserError(f"{name}: changes its buffers {', '.join(sig.buffers_to_mutate.values())} when it runs; only stateless models")
    targets = {**sig.inputs_to_parameters, **sig.inputs_to_buffers, **sig.inputs_to_lifted_tensor_constants}
    out = {}
    for node in ep.graph.nodes:
        if node.op == "placeholder" and (target := targets.get(node.name)):
            t = ep.state_dict[target] if target in ep.state_dict else ep.constants[target]
            hides = target not in sig.inputs_to_parameters.values() and not (t.isnan() | (t == torch.inf)).any()  # -inf: a mask
            if node.users and t.is_floating_point() and not t.isfinite().all() and not hides:
                bad = "NaN" if t.isnan().any() else "infinite values"
                raise UserError(f"{name}: parameter {target!r} holds {bad}; train or load the weights again")
            node.meta["parameter"] = target
            out[node.name] = t.detach()
    return out


def value(b: Builder, node: torch.fx.Node, values: dict):
    """What a call gives: a constant if all that it reads is constant, else what its rule says."""
    if node.target is operator.getitem:
        return values[node.args[0].name][node.args[1]]
    if not isinstance(node.target, torch._ops.OpOverload):
        if isinstance(size := node.meta.get("val"), (int, float, torch.SymInt, torch.SymFloat, torch.SymBool)):
            return size  # arithmetic of symbolic sizes
        raise UserError(f"unsupported {op(node)} at {where(node)}: control flow and higher-order ops have no step")
    vals = node.meta.get("val")
    if vals is None or not isinstance(vals, (torch.Tensor, list, tuple)):
        return vals  # an assertion, or a size
    args, kwargs = torch.fx.map_arg((node.args, node.kwargs), lambda n: values[n.name])
    steps = [n for n in node.all_input_nodes if isinstance(values[n.name], (str, list))]
    kind = key(node)
    sized = any(isinstance(values[n.name], torch.SymInt) for n in node.all_input_nodes)
    if not steps and (not sized or kind in SIZED):
        if len(node.all_input_nodes) == 1:  # what is made of one parameter alone goes by its name
            node.meta["parameter"] = node.all_input_nodes[0].meta.get("parameter", "")
        return node.target(*sizes(args), **sizes(kwargs))
    if kind not in RULES:
        raise UserError(f"unsupported op {op(node)} at {where(node)}: supported are {', '.join(sorted(k for k in RULES if k[0] != '_'))}")
    if not steps:
        b.refuse("a constant that is repeated for each sample; only activations can have a batch axis")
    kinds = [n.meta["val"] for n in steps if isinstance(n.meta["val"], torch.Tensor)]
    if kind not in INTEGERS_OK and not all(t.is_floating_point() for t in kinds):
        b.refuse(f"works on {kinds[0].dtype} values; only floats (and embeddings of integers)")
    if kind not in MOVES and any(isinstance(v, Moved) for n in steps for v in tree_leaves(values[n.name])):
        result = elsewhere(b, kind, node, args, kwargs)
    else:
        result = RULES[kind](b, arguments(node.target._schema, args, kwargs))
    check_shape(b, result, vals)
    return result


def elsewhere(b: Builder, kind: str, node: torch.fx.Node, args, kwargs) -> str:
    """What a call gives that does not touch the batch axis, for values that all have it at the same, later place."""
    given = tree_leaves((args, kwargs))
    (at, *others), rank = {batch_axis(v) for v in given if isinstance(v, str) and v in b.steps}, tree_leaves(node.meta["val"])[0].dim()
    if kind not in EACH | LAST or others or at == rank - 1:
        b.refuse("works on a value whose batch axis was moved; it must stay the first, or come back")

    def without(v):
        """A constant that meets the value elementwise loses the axis that meets the batch."""
        spot = at - rank + v.dim() if isinstance(v, torch.Tensor) and kind in EACH else -1
        if spot >= 0 and v.shape[spot] != 1:
            b.refuse(f"a constant of shape {tuple(v.shape)} that differs between samples")
        return str(v) if isinstance(v, Moved) else v.squeeze(spot) if spot >= 0 else v
    a = arguments(node.target._schema, *tree_map(without, (args, kwargs)))
    if kind == "layer_norm" and len(a.normalized_shape) > rank - 1 - at:
        b.refuse("works along the batch axis; samples must stay apart")
    return at_axis(RULES[kind](b, a), at)


def sizes(tree):
    """Symbolic sizes as the numbers they had when the model was exported."""
    return tree_map(lambda v: int(v.node.hint) if isinstance(v, torch.SymInt) else v, tree)


def arguments(schema, args, kwargs) -> SimpleNamespace:
    """Every argument of the schema by name, defaults filled in."""
    given = dict(zip((p.name for p in schema.arguments), args)) | dict(kwargs)
    return SimpleNamespace(**{p.name: given.get(p.name, p.default_value) for p in schema.arguments})


def check_shape(b: Builder, result, vals) -> None:
    """The step must have the shape that torch.export found: otherwise samples were mixed."""
    for r, v in zip(result, vals) if isinstance(result, list) else [(result, vals)]:
        at = batch_axis(r)
        if r is not None and b.shape(r) != (*v.shape[:at], *v.shape[at + 1:]):
            b.refuse(f"gives {tuple(map(str, v.shape))}, not (N, {', '.join(map(str, b.shape(r)))}); keep the batch as the first axis")


def only_output(ep, node: torch.fx.Node, values: dict, name: str) -> str:
    own = set(ep.graph_signature.user_outputs)  # an input that is changed in place is an output of the graph, not of the model
    outs = [n for n in tree_leaves(node.args[0]) if getattr(n, "name", None) in own]
    if len(outs) != 1:
        raise UserError(f"{name}: has {len(outs)} outputs; exactly one is supported, wrap the model so that it returns one tensor")
    if isinstance(values[outs[0].name], Moved):
        raise UserError(f"{name}: its output has the batch as axis {values[outs[0].name].at}; it must be the first")
    if not isinstance(values[outs[0].name], str):
        raise UserError(f"{name}: its output does not depend on its input")
    return values[outs[0].name]


def named(steps: dict[str, Step], titles: dict[str, str]) -> tuple[dict[str, Step], dict[str, str]]:
    """The steps under their final names: the title, with _1, _2 .. for those that come again."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for n, s in steps.items():
        wish = titles[n.rstrip("'")]  # an apostrophe marks what `gates` has put before the step
        if s.kind == "function" and (wish == "mul" or wish.endswith(".mul")):
            wish = wish.removesuffix("mul") + s.attrs["fn"]
        i, title = 0, wish
        while title in taken:
            i += 1
            title = f"{wish}_{i}"
        names[n] = title
        taken.add(title)
    return {names[n]: replace(s, name=names[n], args=tuple(names[a] for a in s.args)) for n, s in steps.items()}, names
