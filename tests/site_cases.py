"""One site alone, on integers: what tests of norms and softmax build on."""
import numpy as np
import torch

from ir import FORMATS, Encoding, Graph, Input, run
from quant import Step
from quant.emit import Forward, Lower, Value
from quant.encode import Coding
from quant.sites.site import SITES


def coding(fmt: str, scale: float, zero: int = 0) -> Coding: return Coding(FORMATS[fmt], Encoding(scale, zero))


def made(step: Step, inside: Coding, outside: Coding):
    """The site of a step of one argument, between two encodings."""
    return SITES[step.kind](step, [inside], outside)


def graph(site, shape: tuple[int, ...]) -> Graph:
    g = Graph()
    t = site.ins[0].type(shape)
    g.add("x", Input(t))
    g.result = site.build(Lower(g), Value("x", t)).data
    return g


def reals(site, shape: tuple[int, ...], codes: np.ndarray) -> np.ndarray:
    """What the site makes of codes (N, *shape), as reals; the graph and torch, with gradients and without, agree on every code."""
    y = run(graph(site, shape), codes)
    q = torch.from_numpy(codes).float().requires_grad_()
    e = Forward()
    e.start(x := Value(q, site.ins[0].type(shape)))
    trained = site.build(e, x).data
    assert (trained.detach().numpy() == y).all()
    trained.sum().backward()
    assert q.grad is None or q.grad.isfinite().all()
    with torch.no_grad():
        assert (site.build(e, x).data.numpy() == y).all()
    return site.out.encoding.decode(y)


def extremes(lo: int, hi: int, *shape: int) -> np.ndarray:
    """Rows that are all low, high, or one code; alternate between the ends; have one outlier; differ by one step."""
    rows = np.zeros((9, *shape), np.int64)
    rows[0], rows[1], rows[2] = lo, hi, (lo + hi) // 2
    rows[3], rows[3, ..., ::2] = lo, hi
    rows[4], rows[4, ..., 0] = lo, hi
    rows[5], rows[5, ..., -1] = hi, lo
    rows[6], rows[6, ..., 0] = (lo + hi) // 2, (lo + hi) // 2 + 1
    rows[7] = np.linspace(lo, hi, shape[-1]).astype(np.int64)
    rows[8, ..., 0] = min(1, hi)
    return rows
