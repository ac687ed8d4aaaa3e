"""What the taps of a core show: for each group, which values of `ir.lm.step_graph` come one after the other."""
from dataclasses import dataclass

from ir.lm import Program

GROUPS = ("residual", "vector0", "vector1", "vector2", "unit", "codes", "sums", "value", "curve", "forget", "state", "silu", "gated",
          "root", "factor", "eps")


@dataclass(frozen=True)
class Tap:
    """A part of a node: `count` values from index `start`.  head: it is missing where a token's answer is not wanted."""
    group: int
    node: str
    count: int
    start: int = 0
    head: bool = False


def taps(p: Program, top_k: int) -> list[Tap]:
    """Of one token; the order counts within a group."""
    h = p.dim
    out = [Tap(0, "embeddings", h)]
    for n in range(len(p.layers)):
        out += _mixer(p, f"layers.{n}.attn.") + _glu(p, f"layers.{n}.mlp.")
    out += [Tap(1, "lm_head.in", h), Tap(4, "norm.u", h), Tap(5, "lm_head.codes", h, head=True), Tap(6, "lm_head", p.tokens, head=True)]
    return out + ([Tap(13, "norm.root", 1, head=True), Tap(14, "lm_head.factor", 1, head=True)] if top_k > 1 else [])


def _mixer(p: Program, at: str) -> list[Tap]:
    h, out = p.dim, []
    for group, k in enumerate("gfi", 1):   # the vectors of g, f and i are made at once
        out += _all(f"{at}{k}_proj", {group: ".in", 5: ".codes", 6: ""}, h)
    out += [Tap(4, f"{at}norm.u", h), Tap(13, f"{at}norm.root", 1), Tap(14, f"{at}f_proj.factor", 1), Tap(14, f"{at}i_proj.factor", 1)]
    out += _all(at, {7: "f_proj.value", 8: "f_proj.sigmoid", 9: "forget"}, h) + _all(at, {7: "i_proj.value", 8: "i_proj.silu"}, h)
    out += _all(at, {10: "state", 11: "state.silu", 12: "gated", 1: "o_proj.in", 4: "gated.norm.u"}, h)
    out += [Tap(15, f"{at}gated.eps", 1), Tap(13, f"{at}gated.norm.root", 1), Tap(14, f"{at}o_proj.factor", 1)]
    return out + _all(at, {5: "o_proj.codes", 6: "o_proj", 7: "o_proj.value", 0: "residual"}, h)


def _glu(p: Program, at: str) -> list[Tap]:
    h, i = p.dim, p.hidden
    out = _all(at, {1: "gate_proj.in", 4: "norm.u", 5: "gate_proj.codes"}, h) + [Tap(13, f"{at}norm.root", 1), Tap(14, f"{at}gate_proj.factor", 1)]
    out += [Tap(6, f"{at}gate_proj", i, i), Tap(6, f"{at}gate_proj", i)]
    out += _all(at, {7: "gate_proj.value", 8: "silu", 12: "gated", 1: "down_proj.in", 4: "gated.norm.u", 5: "down_proj.codes"}, i)
    out += [Tap(15, f"{at}gated.eps", 1), Tap(13, f"{at}gated.norm.root", 1), Tap(14, f"{at}down_proj.factor", 1)]
    return out + _all(at, {6: "down_proj", 7: "down_proj.value", 0: "residual"}, h)


def _all(at: str, nodes: dict[int, str], count: int) -> list[Tap]: return [Tap(group, at + name, count) for group, name in nodes.items()]
