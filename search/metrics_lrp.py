"""Metrics of relevance: a layer that the class score comes from is hurt more by the same noise.

The idea is that of LRP-QViT (Ranjan & Savakis, 2024), whose formulas are not published; these are ours.  C_l is the share of
layer l in all relevance that arrives at the inputs of layers, by AttnLRP (Achtibat et al., 2024) or, in `lrp_attention`, by
Transformer-Explainability (Chefer et al., 2021), which the paper builds on and which foretells measured damage less well.
"""
import math

import numpy as np

from ir import Option, UserError

from .metrics import metric, pair, relative
from .probe import Probe

RULE = "attnlrp"


@metric("lrp", "share of relevance x noise power / variance")
def lrp(probe: Probe, layer: str, option: str) -> float:
    """The layer's share of all relevance (LRP, counted where positive) times the noise of its own output."""
    return share(probe, layer, RULE) * noise(probe, layer, option)


@metric("lrp_abs", "share of relevance x noise power / variance")
def lrp_abs(probe: Probe, layer: str, option: str) -> float:
    """As `lrp`, with relevance counted by its size, positive or negative."""
    return share(probe, layer, f"{RULE}+abs") * noise(probe, layer, option)


@metric("lrp_attention", "share of relevance x noise power / variance")
def lrp_attention(probe: Probe, layer: str, option: str) -> float:
    """As `lrp`, with relevance by the rules of Transformer-Explainability."""
    return share(probe, layer, "attention") * noise(probe, layer, option)


@metric("lrp_bits", "share of relevance x 4**-bits")
def lrp_bits(probe: Probe, layer: str, option: str) -> float:
    """Share of relevance times (4**-b_w + 4**-b_a), the noise that b_w bits of weights and b_a of input would leave; nothing is rounded."""
    o = Option.parse(option)
    formats = ([] if o.weights == "-" else [o.weight_format]) + ([] if o.acts == "-" else [o.act_format])
    return share(probe, layer, RULE) * sum(4.0 ** -f.bits for f in formats)


def noise(probe: Probe, layer: str, option: str) -> float:
    """Noise power of the layer's own output over its variance among samples: what is the same in all of them tells none apart.

    With one sample, over its power.
    """
    exact, rounded = pair(*probe.local(layer, option), layer)
    signal = exact if len(exact) == 1 else exact - exact.mean(axis=0)
    return relative(np.sum((rounded - exact) ** 2), np.sum(signal ** 2))


def share(probe: Probe, layer: str, rule: str) -> float:
    """C_l.  UserError: not a number, or negative."""
    c = probe.relevance(rule)[layer]
    if not (math.isfinite(c) and c >= 0):
        raise UserError(f"relevance rule {rule!r}: layer {layer!r} has a share of {c}; a number of 0 or more is needed")
    return c
