"""Rows of tokens that are the same for every sample: what layers make of them is computed once, in float, and leaves the range."""
from dataclasses import replace

import torch

from ir import UserError

from .channels import renewed
from ..front.fold import substitute
from ..net import Net, Step, compute, walk
from ..observers import Calibration

LEADING = 4  # tokens at the front that are looked at


def split_constant_rows(net: Net, calibration: Calibration, layers: list[str] | None = None, rows: int | None = None) -> Net:
    """The same function, where linear layers over tokens (T, C) do not compute the leading rows that no sample changes.

    A causal text encoder gives its first token (begin of sequence) one value whatever the prompt, and often by far the largest:
    MixDQ (Zhao et al. 2024, arXiv 2405.17873, section 4.1) keeps what the keys and values of cross-attention are for that row and
    quantizes the others alone.  layers: of these (all linear layers over tokens otherwise).  rows: so many; None: as many as are
    equal in all samples of the calibration, up to 4.  Where all that reads a tensor is split, the tensor's range is that of the rest.
    UserError: an unknown layer, rows that samples do change, no layer with such rows.
    """
    able = [n for n, s in net.layers.items() if s.kind == "linear" and len(s.shape) == 2 and s.shape[0] > 1]
    if unknown := [n for n in layers or () if n not in able]:
        raise UserError(f"layer {unknown[0]!r} is no linear layer over tokens (there are {', '.join(able) or 'none'})")
    chosen = able if layers is None else layers
    kept = _constant_rows(net, calibration.x, {net.steps[n].args[0] for n in chosen})
    if rows is not None and (short := [n for n in chosen if len(kept[net.steps[n].args[0]]) < rows]):
        raise UserError(f"layer {short[0]!r}: of its {rows} leading rows {len(kept[net.steps[short[0]].args[0]])} are the same in all samples; "
                        "give fewer, or other layers")
    kept = {n: v[:rows] for n, v in kept.items() if len(v)}
    if not any(net.steps[n].args[0] in kept for n in chosen):
        raise UserError("no linear layer over tokens reads leading rows that are the same in all samples; there is nothing to split")
    steps, output = net.steps, net.output
    for name in chosen:
        if net.steps[name].args[0] in kept:
            new = _split(steps[name], steps, kept[net.steps[name].args[0]])
            steps, output = substitute(steps, output, {name: new[-1].name}, {name: new})
    return renewed(replace(net, output=output), steps)


@torch.no_grad()
def _constant_rows(net: Net, x: torch.Tensor, names: set[str], batch: int = 32) -> dict[str, torch.Tensor]:
    """{step: its leading rows (K, C), K <= LEADING, that are equal in all samples}."""
    first: dict[str, torch.Tensor] = {}
    count = dict.fromkeys(names, LEADING)
    for part in x.split(batch):
        for n, v in ((s.name, v) for s, _, v in walk(net, part) if s.name in names):
            first.setdefault(n, v[0])
            same = (v[:, :LEADING] - first[n][:LEADING]).abs().amax((0, 2)) <= 1e-5 * first[n][:LEADING].abs().amax(1)
            count[n] = min(count[n], int(same.long().cumprod(0).sum()), len(first[n]) - 1)
    return {n: first[n][:count[n]] for n in names}


def _split(s: Step, steps: dict[str, Step], rows: torch.Tensor) -> list[Step]:
    """What stands for a layer: the other rows (one step for all readers), the layer on them under its old name, what it makes of
    the constant rows, and both joined.
    """
    x, k = steps[s.args[0]], len(rows)
    (tokens, channels), attrs = x.shape, {"start": (k, 0), "stop": x.shape, "step": (1, 1)}
    rest = Step(f"{x.name}.rest", "slice", (x.name,), (tokens - k, channels), attrs)
    layer = replace(s, args=(rest.name,), shape=(tokens - k, s.shape[1]))
    first = Step(f"{s.name}.first", "constant", (), (k, s.shape[1]), weight=compute(s, rows))
    return [*([] if rest.name in steps else [rest]), layer, first, Step(f"{s.name}.all", "concat", (first.name, s.name), s.shape, {"axis": 0})]
