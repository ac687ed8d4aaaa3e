"""A language model for people: what it is, what its numbers take, where it is from."""
from pathlib import Path

import numpy as np

from ir import lm


def describe_lm(folder: Path) -> str:
    """The model in a folder, as text."""
    p, w = (m := lm.load_lm(folder)), m.words
    codes = [q.codes for q in p.projections().values()]
    weights, zeros = sum(c.size for c in codes), sum(int((c == 0).sum()) for c in codes)
    packed = sum(len(c) * -(-c.shape[1] // 5) for c in codes)
    rows = {
        "tokens": f"{p.tokens}" + (f": {lm.Pieces(p.vocab).sample()}" if p.vocab else ", without their texts"),
        "shape": f"{len(p.layers)} layers of width {p.dim}, {p.hidden} inside the GLU",
        "weights": f"{weights:,} ternary ({zeros / weights:.1%} zeros), {packed:,} bytes at five to a byte",
        "codes": f"{w.code_bits} bits, sums of at most {int(np.ceil(np.log2(w.top * max(p.dim, p.hidden) + 1))) + 1} bits",
        "residual": f"{w.residual_bits} bits, {w.residual} of them fraction", "state": f"{p.dim * len(p.layers):,} words of 32 bits",
        "hash": lm.lm_hash(p), **{str(k): str(v) for k, v in p.about.items()}}
    width = max(map(len, rows))
    return "\n".join(["MatMul-free language model", *(f"  {k.ljust(width)}  {v}" for k, v in rows.items())])
