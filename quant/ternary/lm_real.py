"""The real model behind a language model of integers."""
import numpy as np
import torch

from ir import UserError
from ir.lm import Program
from .matmulfree import MatMulFreeLM


def real_lm(p: Program) -> MatMulFreeLM:
    """A float model with the same ternary codes, scales, gains and embeddings.

    A weight is code * mean / (share of codes that are not 0): its mean size is `mean`, and each rounds to its code.
    UserError: a program that was stored without its real numbers.
    """
    state = {k: torch.from_numpy(np.array(v)) for k, v in p.reals.items() if not k.endswith(".mean")}
    for name, q in p.projections().items():
        if f"{name}.mean" not in p.reals:
            raise UserError(f"this language model holds no real numbers ({name}.mean is missing), so it runs in integers alone")
        codes = q.codes.astype(np.float64)
        share = max(np.abs(codes).mean(), 1 / codes.size)
        state[f"{name}.weight"] = torch.from_numpy((codes * (float(p.reals[f"{name}.mean"][0]) / share)).astype(np.float32))
    with torch.device("meta"):
        model = MatMulFreeLM(p.tokens, p.dim, len(p.layers), p.hidden)
    if lacking := model.state_dict().keys() - state.keys():
        raise UserError(f"this language model holds no real numbers ({sorted(lacking)[0]} is missing), so it runs in integers alone")
    model.load_state_dict(state, assign=True)
    return model
