"""torch.export, with its many ways to fail told in one line."""
import contextlib
import inspect
import io
import logging
import warnings

import torch
from torch import nn

from ir import UserError

from .aten_attention import plain_attention
from .builder import RULES, key

ADVICE = "the model must compute the same ops whatever the values of its input; move Python control flow on values out of forward"


def export(model: nn.Module, example: torch.Tensor, name: str) -> torch.export.ExportedProgram:
    """The ATen graph of `model` in evaluation mode, for batches of any size where the model allows.

    UserError: the model does not take one tensor, does not run on the example, or cannot be exported.
    """
    check_signature(model, name)
    training = {m: m.training for m in model.modules()}
    model.eval()
    try:
        with plain_attention(model):
            return attempt(model, example, name)
    finally:
        for m, t in training.items():
            m.training = t


def attempt(model: nn.Module, example: torch.Tensor, name: str) -> torch.export.ExportedProgram:
    if example.dim() < 1 or not len(example):
        raise UserError(f"{name}: an example of shape {tuple(example.shape)} holds no sample; give at least one, batch axis first")
    weight = next(model.parameters(), None)
    one = example[:1].clone().to("cpu" if weight is None else weight.device)
    two = torch.cat([one, one])  # a batch of one would be taken for a constant
    x = two if error_of(model, two) is None else one
    if e := error_of(model, x):
        raise UserError(f"{name}: does not run on an input of shape {tuple(one.shape)}: {line(e)}; check that the data fits the model")
    try:
        with quiet(), torch.no_grad():
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
    names = {key(n) for n in ep.graph.nodes if isinstance(n.target, torch._ops.OpOverload)}
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


@contextlib.contextmanager
def quiet():
    """No warnings, logs or printed graphs of torch.export on the terminal."""
    silence = io.StringIO()
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
        level = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(level)
