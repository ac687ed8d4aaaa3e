"""A torch module whose layers compute in fixed point: what goes into and out of each lies on the layer's <WL,FL> grid."""
import contextlib
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import nn

from ir import UserError
from .adapt_numbers import Word, fixed
from ..fake import Exactly

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear)


class Diverged(UserError):
    """A layer has what is no number."""

    def __init__(self, layer: str): super().__init__(f"layer {layer!r} has NaN or infinity")


def layers_of(model: nn.Module) -> dict[str, nn.Module]:
    """The layers that get a word, by module path.  UserError: none, or a weight of a kind that gets none."""
    found = {n: m for n, m in model.named_modules() if isinstance(m, LAYERS)}
    if not found:
        raise UserError(f"{type(model).__name__} has no Conv1d, Conv2d or Linear layer to train in fixed point")
    for name, p in model.named_parameters():
        owner = name.rpartition(".")[0]
        if p.dim() > 1 and owner not in found:
            raise UserError(f"parameter {name!r} of a layer {type(model.get_submodule(owner)).__name__} has no fixed point form; "
                            "weights of Conv1d, Conv2d and Linear have one")
    return found


@contextlib.contextmanager
def in_fixed_point(model: nn.Module, words: Mapping[str, Word] | Callable[[str], Word], rng: torch.Generator | None = None,
                in_place: bool = False, seen: dict[str, float] | None = None) -> Iterator[None]:
    """Within it, inputs and outputs of each layer are rounded to its word; gradients pass as if they were not.

    words: of each layer by module path.  rng: rounds stochastically; None: to the nearest.  in_place: the input is rounded for
    everybody who reads it.  seen: takes up the largest |input| of each layer.  UserError: a layer's input or output is no number.
    """
    word_of = words if callable(words) else words.__getitem__

    def before(name: str):
        def hook(module, args):
            x = args[0]
            if not x.isfinite().all():
                raise Diverged(name)
            if seen is not None:
                seen[name] = max(seen.get(name, 0.0), float(x.detach().abs().max()))
            exact = fixed(x.detach(), word_of(name), rng)
            if not in_place:
                return (Exactly.apply(exact, x), *args[1:])
            x.data = exact
        return hook

    def after(name: str):
        def hook(module, args, y):
            if not y.isfinite().all():
                raise Diverged(name)
            return Exactly.apply(fixed(y.detach(), word_of(name), rng), y)
        return hook

    handles = [h for n, m in layers_of(model).items() for h in (m.register_forward_pre_hook(before(n)), m.register_forward_hook(after(n)))]
    try:
        yield
    finally:
        for h in handles:
            h.remove()
