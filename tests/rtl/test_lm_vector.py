"""The vector path of a language model's core, alone: corner widths, extremes, commands without a gap, random stalls; and against ir.lm's graph."""
from pathlib import Path as File

import numpy as np
import pytest
import torch

from checks import agree
from ir.lm import Curve, Program, Stepper, Words, words_of
from lm_vector import EMBED, FORGET, GLU, INPUT, RAW, RESIDUAL, Path
from quant import MatMulFreeLM
from quant.ternary.matmulfree_lower import program
from sim.build import LIBRARY

pytestmark = pytest.mark.slow
FOLDERS = (LIBRARY, File(__file__).parent / "sv")
RNG = np.random.default_rng(7)


def curves(w: Words) -> tuple[Curve, Curve]:
    """Any two: pieces that do not meet, slopes of both signs, results beyond both bounds."""
    n = 1 << w.gate + w.whole + 1 - w.piece_bits
    made = []
    for frac, bounds in ((w.sigmoid, (0, (1 << w.sigmoid) - 1)), (w.gate, w.gates)):
        shift = w.gate + 12 - frac
        value = RNG.integers(bounds[0] - bounds[1] // 4 << shift, (bounds[1] * 5 // 4) << shift, n).clip(-1 << 29, (1 << 29) - 1)
        made.append(Curve(value, RNG.integers(-1 << 13, 1 << 13, n), shift, *bounds))
    return made[0], made[1]


def near(lo: int, hi: int, n: int) -> np.ndarray:
    """n integers: both ends and 0 first, then small and large ones."""
    x = np.where(RNG.random(n) < .5, RNG.integers(lo, hi, n, endpoint=True), RNG.integers(max(lo, -300), min(hi, 300), n, endpoint=True))
    x[:5] = lo, hi, 0, lo + 1, hi - 1
    return x[RNG.permutation(n)]


def corner(words: Words, dim: int, hidden: int, layers: int, lanes: int, acc: int, emb: int, tokens: int, **limits) -> Path:
    """Tokens of random commands in the order of a model, with extremes of everything."""
    gain = 1 << 17
    lower = RNG.integers(0, 1 << words.sigmoid, (layers * dim), endpoint=True)
    lower[:3] = 0, 1 << words.sigmoid, (1 << words.sigmoid) - 1
    rows = layers * (3 * dim + hidden)
    p = Path(words, dim, hidden, layers, *curves(words), near(1 - gain, gain - 1, 2 * rows).reshape(rows, 2), near(1 - gain, gain - 1, 2 * layers * dim).reshape(-1, 2),
             lower, lanes, acc, emb, limits)
    ends = (limits.get("ValueLeast", 0), limits.get("ValueMost", 63)), (limits.get("ProductLeast", 0), limits.get("ProductMost", 63)), \
           (limits.get("GainLeast", 0), limits.get("GainMost", 63))

    def some(k: int, favourite: int) -> int:
        lo, hi = ends[k]
        return int(RNG.choice([lo, hi, *[min(max(favourite + d, lo), hi) for d in (-3, -1, 0, 0, 1, 4)]]))

    def settings(everything: bool = False, base: int = 0) -> dict:
        return dict(factor=int(RNG.choice([1, (1 << words.factor_bits) - 1, RNG.integers(1, 1 << words.factor_bits)])), shift=some(0, acc + words.factor_bits - 16),
                    product=some(1, 8), gain_shifts=tuple(some(2, 16) for _ in range(4)), everything=everything, base=base,
                    gain_base=int(RNG.integers(0, len(p.gains) - max(dim, hidden) + 1)))

    lo, hi = -1 << acc - 1, (1 << acc - 1) - 1
    for token in range(tokens):
        p.command(EMBED, near(-1 << emb - 1, (1 << emb - 1) - 1, dim), **settings(True, dim * int(RNG.integers(0, layers))))
        for layer in range(layers):
            wait = bool(RNG.random() < .2)
            p.command(RAW, near(lo, hi, dim), shift=int(RNG.integers(0, limits.get("SquareMost", 0) + 1)))
            p.command(FORGET, near(lo, hi, dim), **settings(base=layer * dim), wait=wait)
            p.command(INPUT, near(lo, hi, dim), **settings(base=layer * dim), fresh=token == 0, wait=wait)
            p.ask()
            p.command(RESIDUAL, near(lo, hi, dim), **settings())
            for vector in (0, 3):
                p.read(vector, int(RNG.integers(0, dim // lanes)))
            p.command(RAW, near(lo, hi, hidden), shift=limits.get("SquareMost", 0))
            p.command(GLU, near(lo, hi, hidden), **settings())
            if layer:
                p.ask()
            p.command(RESIDUAL, near(lo, hi, dim), **settings(True, layer * dim), wait=wait)
            for vector in range(4):
                p.read(vector, int(RNG.integers(0, dim // lanes)))
            p.ask()
    return p


def test_corners(tmp_path):
    """Every precision, one lane and several, widths of accumulators to 29 bits, shifts that are one constant and all that there are."""
    q14 = words_of("q14")
    agree([corner(q14, 20, 30, 2, 2, 17, 16, 2, ValueMost=40, ProductMost=20, GainMost=30).check(),
           corner(q14, 8, 5, 1, 1, 14, 10, 3, ValueLeast=15, ValueMost=15, ProductLeast=7, ProductMost=9, GainLeast=14, GainMost=21).check(),
           corner(words_of("q16"), 16, 40, 1, 4, 21, 26, 2).check(),
           corner(words_of("q18"), 12, 32, 2, 4, 26, 20, 2, SquareMost=3).check(),
           corner(Words(code_bits=16, factor_bits=22, vector_bits=30, residual_bits=32, residual=20, whole=6, gate=14, state=28), 32, 16, 1, 8, 29, 32, 2,
                  SquareMost=9).check()],
          tmp_path, (None, 1, 2), folders=FOLDERS)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    net = MatMulFreeLM(7, 24, 2, hidden=32)
    for name, p in net.named_parameters():
        if name.endswith("norm.weight"):
            torch.nn.init.normal_(p, 1, 0.4)
    torch.nn.init.normal_(net.lower_bounds)
    return program(net)


def play(p: Program, tokens: list[int]) -> Path:
    """The commands of a program for some tokens, with the sums and factors of ir.lm's graph; each intermediate is compared with the graph's."""
    norms = [(g.gain, u) for m in p.layers for g, u in ((m.attn.o, m.attn.gated_unit), (m.mlp.gate, m.mlp.unit), (m.mlp.down, m.mlp.gated_unit))]
    inputs = [(m.attn.g.gain, m.attn.unit) for m in p.layers]
    made = [*inputs, *norms, (p.head.gain, p.unit)]
    base = np.cumsum([0] + [len(g.mul) for g, _ in made]).tolist()
    path = Path(p.words, p.dim, p.hidden, len(p.layers), p.sigmoid, p.silu, np.concatenate([np.stack([g.mul, u.mul], 1) for g, u in made]),
                np.concatenate([np.stack([m.attn.f.gain.mul, m.attn.i.gain.mul], 1) for m in p.layers]), np.concatenate([m.attn.lower for m in p.layers]),
                acc_bits=14, limits={"SquareMost": 3})

    def vectors(k: int, layer: int | None = None) -> dict:
        more = [] if layer is None else [p.layers[layer].attn.f.gain, p.layers[layer].attn.i.gain]
        first, unit = made[k]
        shifts = (first.shift, *(g.shift for g in more or (first, first)), unit.shift)
        return dict(gain_shifts=shifts, gain_base=base[k], everything=bool(more), base=(layer or 0) * p.dim)

    def same(mine, *names: str) -> None:
        for name, part in zip(names, [mine] if len(names) == 1 else mine):
            assert np.array_equal(part[:values[name].size], values[name]), name

    stepper, layers = Stepper(p), len(p.layers)
    for step, token in enumerate(tokens):
        values = stepper.step(token)
        path.command(EMBED, p.embeddings[token], **vectors(0, 0))
        for n, m in enumerate(p.layers):
            at, mlp, up = f"layers.{n}.attn.", f"layers.{n}.mlp.", layers + 3 * n
            same(path.vectors, f"{at}g_proj.in", f"{at}f_proj.in", f"{at}i_proj.in", f"{at}norm.u")
            path.command(RAW, values[f"{at}g_proj"], shift=m.attn.square)
            path.command(FORGET, values[f"{at}f_proj"], int(values[f"{at}f_proj.factor"][0]), m.attn.f.shift, base=n * p.dim)
            path.command(INPUT, values[f"{at}i_proj"], int(values[f"{at}i_proj.factor"][0]), m.attn.i.shift, m.attn.product,
                         **vectors(up) | {"base": n * p.dim}, fresh=step == 0)
            path.ask()
            same([path.gate, path.state[n * p.dim:], path.vectors[0], path.vectors[3]], f"{at}forget", f"{at}state", f"{at}o_proj.in", f"{at}gated.norm.u")
            path.command(RESIDUAL, values[f"{at}o_proj"], int(values[f"{at}o_proj.factor"][0]), m.attn.o.shift, **vectors(up + 1))
            same([path.h, path.vectors[0], path.vectors[3]], f"{at}residual", f"{mlp}gate_proj.in", f"{mlp}norm.u")
            u, v = np.split(values[f"{mlp}gate_proj"], 2)
            path.command(RAW, v)
            path.command(GLU, u, int(values[f"{mlp}gate_proj.factor"][0]), m.mlp.gate.shift, m.mlp.product, **vectors(up + 2))
            path.ask()
            same([path.vectors[0], path.vectors[3]], f"{mlp}down_proj.in", f"{mlp}gated.norm.u")
            last = n == layers - 1
            path.command(RESIDUAL, values[f"{mlp}down_proj"], int(values[f"{mlp}down_proj.factor"][0]), m.mlp.down.shift,
                         **vectors(len(made) - 1 if last else n + 1, None if last else n + 1))
            same(path.h, f"{mlp}residual")
        same([path.vectors[0], path.vectors[3]], "lm_head.in", "norm.u")
    return path


def test_a_model(model, tmp_path):
    """Every intermediate of ir.lm's graph, over tokens that begin with no state and go on with one."""
    agree([play(model, [3, 1, 6]).check()], tmp_path, (None, 5), folders=FOLDERS)
