"""How well a language model of integers predicts a text, beside the real model behind it."""
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ir import UserError, lm, run
from quant import real_lm

AT_ONCE = 8  # stretches


@dataclass(frozen=True)
class Losses:
    """Mean loss in nats a token of the real model and of the integers, the standard error of their difference, and equal first choices."""
    real: float
    integer: float
    error: float
    same: float
    tokens: int

    def __str__(self) -> str:
        return (f"float {self.real:.4f}, integers {self.integer:.4f} nats a token ({self.integer - self.real:+.5f} +- {self.error:.5f}); "
                f"the same first choice for {self.same:.2%} of {self.tokens} tokens")


def tokens(p: lm.Program, path: Path) -> np.ndarray:
    """The tokens of a text by the model's vocabulary, or of an .npy file.  UserError: cannot be read, out of the vocabulary."""
    if path.suffix != ".npy":
        if p.vocab is None:
            raise UserError(f"the language model has no texts of its tokens; give {path} as token ids in an .npy file")
        try:
            return np.array(lm.Pieces(p.vocab).encode(path.read_text(encoding="utf-8")))
        except OSError as e:
            raise UserError(f"cannot read {path}: {e.strerror or e}") from None
        except UnicodeDecodeError as e:
            raise UserError(f"{path}: not a text in UTF-8 (byte {e.start})") from None
    try:
        ids = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as e:
        raise UserError(f"cannot read {path}: {e}") from None
    if ids.ndim != 1 or ids.dtype.kind not in "iu" or len(ids) and not 0 <= ids.min() <= ids.max() < p.tokens:
        raise UserError(f"{path}: {ids.dtype}{list(ids.shape)}; give one row of integers from 0 to {p.tokens - 1}")
    return ids.astype(np.int64)


def stretches(ids: np.ndarray, valid: float, length: int, count: int) -> np.ndarray:
    """Rows (N, length + 1) of the last `valid` of a text, each of which begins anew; `count` of them evenly spread, or all if 0.

    UserError: nothing to score.
    """
    if not (0 < valid <= 1 and length >= 1 and count >= 0):
        raise UserError(f"the last {valid} of a text in {count} stretches of {length}: give a share up to 1, a positive length, no negative number")
    ids = ids[len(ids) - int(len(ids) * valid):]
    many = (len(ids) - 1) // length
    if many < 1:
        raise UserError(f"a text of {len(ids)} tokens is too short for stretches of {length}; give a longer one or a smaller length")
    chosen = np.linspace(0, many - 1, min(count or many, many)).round().astype(int)
    return np.stack([ids[n * length:(n + 1) * length + 1] for n in chosen])


def compare(p: lm.Program, rows: np.ndarray, progress=None) -> Losses:
    """Losses on rows (N, length + 1) of tokens.  UserError: no real numbers in the model."""
    model, g = real_lm(p), lm.graph(p, rows.shape[1] - 1, "logits")
    real, integer, same = [], [], []
    for at in range(0, len(rows), AT_ONCE):
        x, y = rows[at:at + AT_ONCE, :-1], rows[at:at + AT_ONCE, 1:]
        with torch.no_grad():
            a = model(torch.from_numpy(np.ascontiguousarray(x))).double().numpy()
        b = g.encodings[g.output.name].decode(run(g, x))
        real.append(_loss(a, y))
        integer.append(_loss(b, y))
        same.append((a.argmax(-1) == b.argmax(-1)).mean(1))
        if progress:
            progress(at + len(x), len(rows))
    real, integer = np.concatenate(real), np.concatenate(integer)
    error = float((integer - real).std(ddof=1) / len(real) ** 0.5) if len(real) > 1 else float("nan")
    return Losses(float(real.mean()), float(integer.mean()), error, float(np.concatenate(same).mean()), rows.shape[0] * (rows.shape[1] - 1))


def _loss(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Mean cross-entropy (N,) of each row of logits (N, T, V)."""
    z = logits - logits.max(-1, keepdims=True)
    return (np.log(np.exp(z).sum(-1)) - np.take_along_axis(z, targets[..., None], -1)[..., 0]).mean(1)
