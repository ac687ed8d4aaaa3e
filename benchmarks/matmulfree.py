"""MatMul-free models in integers beside float64 with the same int8 and ternary rules.

    python -m benchmarks.matmulfree [block] [text] [--seeds 3] [--steps 800]

block    one block of width 1024 with synthetic weights, 48 tokens: the relative L2 error of what it adds to the residual and
         the share of int8 codes that differ, by precision
text     a small model trained on letters of tinyshakespeare (QSEARCH_DATA): loss of float and integers on the same held-out text
"""
import argparse
import sys
import time

import numpy as np
import torch
from torch import nn

from ir import run
from ir.lm import WORDS
from quant import MatMulFreeLM, lower_lm, train_lm
from quant.ternary.bitlinear import BitLinear
from quant.ternary.matmulfree import Block
from quant.ternary.matmulfree_lower import lower_block

from .real_data import root

TABLE = {  # figures of the same arithmetic with a reciprocal and one scale a token: mean error, flips of i, o, gate and down in %
    "q14": (2.2e-2, 0.026, 1.5, 2.5, 14.3), "q16": (1.9e-2, 0.008, 0.66, 1.6, 12.1), "q18": (1.0e-2, 0.000, 0.13, 0.61, 5.4)}
PROJECTIONS = ("attn.i_proj", "attn.o_proj", "mlp.gate_proj", "mlp.down_proj")


def synthetic(dim: int = 1024, hidden: int = 2816, seed: int = 1) -> tuple[Block, torch.Tensor]:
    """A block of float64 with ternary weights of mean 0.02 * sqrt(1024 / inputs), and the lower bound of its forget gate."""
    rng = np.random.default_rng(seed)
    block = Block(dim, hidden).double()
    for m in block.modules():
        if isinstance(m, BitLinear):
            t = rng.integers(-1, 2, m.weight.shape)
            m.weight.data = torch.from_numpy(t * (0.02 * (1024 / t.shape[1]) ** 0.5 / np.abs(t).mean()))
        if isinstance(getattr(m, "norm", m), nn.Module) and hasattr(m, "eps"):
            m.weight.data = torch.from_numpy(1 + 0.2 * rng.standard_normal(len(m.weight)))
    return block, torch.from_numpy(rng.random(dim) * 0.6)


def tokens_of(dim: int, count: int, seed: int = 1) -> np.ndarray:
    """Residuals (count, dim) whose channels differ in size as those of trained models do."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, dim)) * np.exp(0.7 * rng.standard_normal(dim))


def compare_block(block: Block, lower, x: np.ndarray, precision: str) -> tuple[np.ndarray, dict[str, float]]:
    """Relative L2 error of the update of each token, and the share of int8 codes that differ, by projection."""
    g = lower_block(block, lower, len(x), precision)
    frac = WORDS[precision].residual
    values = run(g, np.rint(np.ldexp(x, frac)).astype(np.int64)[None], keep=True)
    codes, hooks = {}, []
    for name, m in block.named_modules():
        if isinstance(m, BitLinear):
            hooks.append(m.register_forward_hook(lambda m, args, _, name=name: codes.update({name: m.integers(args[0])[0].numpy()})))
    with torch.no_grad():
        want = block(torch.from_numpy(x)[None], lower)[0].numpy()[0]
    for h in hooks:
        h.remove()
    error = np.linalg.norm(np.ldexp(values[g.output.name][0], -frac) - want, axis=1) / np.linalg.norm(want - x, axis=1)
    return error, {n: float((values[f"{n}.codes"] != c).mean()) for n, c in codes.items()}


def block_rows(seeds: int) -> list[str]:
    rows = ["| precision | error, mean | +- | i flips % | o | gate | down | table |", "|---|---|---|---|---|---|---|---|"]
    for precision in WORDS:
        errors, flips = [], []
        for seed in range(1, seeds + 1):
            e, f = compare_block(*synthetic(seed=seed), tokens_of(1024, 48, seed), precision)
            errors.append(e.mean())
            flips.append([100 * f[n] for n in PROJECTIONS])
        mean, half = np.mean(errors), np.std(errors, ddof=1) / len(errors) ** 0.5 if seeds > 1 else float("nan")
        rows.append(f"| {precision} | {mean:.2e} | {half:.0e} | " + " | ".join(f"{v:.3f}" for v in np.mean(flips, 0))
                    + f" | {' / '.join(map(str, TABLE[precision]))} |")
    return rows


def letters(text: str) -> tuple[np.ndarray, int]:
    """A text as numbers of its letters, and how many there are."""
    chars = sorted(set(text))
    return np.array([chars.index(c) for c in text]), len(chars)


def losses(model: MatMulFreeLM, text: np.ndarray, length: int, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """Loss of each stretch of `length` tokens in nats a token: of the model in float, and of its integers."""
    rows = np.stack([text[i:i + length + 1] for i in range(0, len(text) - length, length)])
    x, y = torch.from_numpy(rows[:, :-1]), torch.from_numpy(rows[:, 1:])
    g = lower_lm(model, length, precision, "logits")
    scores = torch.from_numpy(g.encodings[g.output.name].decode(run(g, rows[:, :-1])))
    with torch.no_grad():
        return tuple(nn.functional.cross_entropy(v.double().transpose(1, 2), y, reduction="none").mean(1).numpy() for v in (model(x), scores))


def text_rows(seeds: int, steps: int, dim: int = 96, layers: int = 2, length: int = 64) -> list[str]:
    text, vocab = letters((root() / "lm" / "text" / "input.txt").read_text())
    held = text[-16 * 1024:]
    rows = [f"| seed | parameters | float, nats a letter | {' | '.join(f'{p}: integers - float' for p in WORDS)} |", "|---|---|---|---|---|---|"]
    for seed in range(seeds):
        torch.manual_seed(seed)
        model = MatMulFreeLM(vocab, dim, layers)
        start = time.perf_counter()
        train_lm(model, text[:-16 * 1024], steps, length, 16, lr=1e-2, warmup=steps // 20, seed=seed)
        print(f"seed {seed}: {steps} steps in {time.perf_counter() - start:.0f} s", file=sys.stderr)
        cells = []
        for precision in WORDS:
            real, integer = losses(model, held, length, precision)
            cells.append(f"{(integer - real).mean():+.4f} +- {(integer - real).std(ddof=1) / len(real) ** 0.5:.4f}")
        size = sum(p.numel() for p in model.parameters())
        rows.append(f"| {seed} | {size} | {real.mean():.3f} +- {real.std(ddof=1) / len(real) ** 0.5:.3f} | {' | '.join(cells)} |")
    return rows


def main() -> None:
    p = argparse.ArgumentParser()
    p.add_argument("parts", nargs="*", default=["block", "text"], choices=["block", "text"])
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--steps", type=int, default=800)
    a = p.parse_args()
    for part in a.parts:
        print("\n".join(block_rows(a.seeds) if part == "block" else text_rows(a.seeds, a.steps)), end="\n\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
