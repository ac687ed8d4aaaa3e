"""Metrics of relevance: a layer that the class score comes from is hurt more by the same noise.

The idea is that of LRP-QViT (Ranjan & Savakis, 2024), whose formulas are not published; these are ours.  C_l is the share of
layer l in all relevance that arrives at the inputs of layers, with the rules of Transformer-Explainability (rule `attention`).
"""
import math

from ir import Option, UserError

from .metrics import metric, sqnr
from .probe import Probe

RULE = "attention"


@metric("lrp", "share of relevance x noise power / signal power")
def lrp(probe: Probe, layer: str, option: str) -> float:
    """C_l times the noise-to-signal power of the layer's own output, relevance counted where it is positive."""
    return by_relevance(probe, layer, option, RULE)


@metric("lrp_abs", "share of relevance x noise power / signal power")
def lrp_abs(probe: Probe, layer: str, option: str) -> float:
    """As `lrp`, with the relevance counted by its size, positive or negative."""
    return by_relevance(probe, layer, option, f"{RULE}+abs")


@metric("lrp_bits", "share of relevance x 4**-bits")
def lrp_bits(probe: Probe, layer: str, option: str) -> float:
    """C_l (4**-b_w + 4**-b_a): the noise that so many bits of weights and of input leave, not measured; 0 for a side in float."""
    o = Option.parse(option)
    formats = ([] if o.weights == "-" else [o.weight_format]) + ([] if o.acts == "-" else [o.act_format])
    return share(probe, layer, RULE) * sum(4.0 ** -f.bits for f in formats)


def by_relevance(probe: Probe, layer: str, option: str, rule: str) -> float:
    """Share of the layer under a rule of relevance times its own noise-to-signal power."""
    return share(probe, layer, rule) * sqnr(probe, layer, option)


def share(probe: Probe, layer: str, rule: str) -> float:
    """C_l.  UserError: not a number, or negative."""
    c = probe.relevance(rule)[layer]
    if not (math.isfinite(c) and c >= 0):
        raise UserError(f"relevance rule {rule!r}: layer {layer!r} has a share of {c}; a number of 0 or more is needed")
    return c
