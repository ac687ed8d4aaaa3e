"""torch.export, with its many ways to fail told in one line."""
import inspect
import logging
import warnings

import torch
from torch import nn

from ir import UserError

from .builder import RULES

ADVICE = "the model must compute the same ops whatever the values of its input; move Python control flow on values out of forward"


def export(model: nn.Module, example: torch.Tensor, name: str) -> torch.export.ExportedProgram:
    """The ATen graph of `model` in evaluation mode, for batches of any size where the model allows.

    UserError: the model does not take one tensor, does not run on the example, or cannot be exported.
    """
    check_signature(model, name)
    training = {m: m.training for m in model.modules()}
    model.eval()
    try:
        return attempt(model, example, name)
    finally:
        for m, t in training.items():
            m.training = t


def attempt(model: nn.Module, example: torch.Tensor, name: str) -> torch.export.ExportedProgram:
    one = example[:1]
    two = torch.cat([example, example])[:2]  # a batch of one would be taken for a constant
    x = two if error_of(model, two) is None else one
    if e := error_of(model, x):
        raise UserError(f"{name}: does not run on an input of shape {tuple(one.shape)}: {line(e)}; check that the data fits the model")
    try:
        with quiet():
            return torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim.AUTO},), strict=False)
    except Exception as e:  # torch.export raises a dozen unrelated types
        raise UserError(f"{name}: torch.export cannot capture it: {line(e)}; {ADVICE}") from e


def error_of(model: nn.Module, x: torch.Tensor) -> Exception | None:
    """What goes wrong when the model is run, if anything does."""
    try:
        with torch.no_grad():
            model(x)
    except Exception as e:
        return e
    return None


def check_signature(model: nn.Module, name: str) -> None:
    params = inspect.signature(model.forward).parameters.values()
    needed = [p.name for p in params if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(needed) > 1:
        raise UserError(f"{name}: forward takes {len(needed)} inputs ({', '.join(needed)}); only one is supported, wrap the model")


def functional(ep: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The same graph without in-place ops, and with what no rule knows taken apart as far as ATen can."""
    names = {n.target._schema.name.removeprefix("aten::") for n in ep.graph.nodes if isinstance(n.target, torch._ops.OpOverload)}
    unknown = names - RULES.keys()
    if not unknown:
        return ep
    table = torch.export.default_decompositions()
    for op in [o for o in table if o._schema.name.removeprefix("aten::") in RULES]:
        table.pop(op)
    with quiet():
        return ep.run_decompositions(table)


def line(e: BaseException) -> str:
    """The first line of a message that says something, shortened."""
    lines = [s.strip() for s in str(e).splitlines() if s.strip()]
    return f"{type(e).__name__}: {lines[0][:200]}" if lines else type(e).__name__


class quiet:
    """No warnings and no log of torch.export on the terminal."""

    def __enter__(self):
        self.caught = warnings.catch_warnings()
        self.caught.__enter__()
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)

    def __exit__(self, *_):
        logging.disable(logging.NOTSET)
        self.caught.__exit__(None, None, None)
