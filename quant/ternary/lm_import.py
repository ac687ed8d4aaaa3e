"""Published MatMul-free checkpoints (ridgerchu/matmulfreellm, model type hgrn_bit): a folder of config.json and weights to our model.

Codes of weights follow TERNARY_RULE whatever type they are stored in.  The published code takes mean and scale in the stored type:
in float16 that moves the few weights whose size is within rounding of half the mean.
"""
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from ir import UserError
from ir.lm import Program
from .bitlinear import EPS, TERNARY_RULE, BitLinear, RMSNorm
from .lm_files import document, tensors
from .matmulfree import HIDDEN_UNIT, Block, MatMulFreeLM
from .matmulfree_lower import program

TYPE = "hgrn_bit"
SIZES = {"vocab_size": 32000, "hidden_size": 2048, "num_hidden_layers": 24}  # with what a config that omits them means
ONLY = {  # what our model is; a config that omits one means the first
    "attn_mode": ("fused_recurrent",), "num_heads": (1,), "expand_ratio": (1,), "use_short_conv": (False,), "use_lower_bound": (True,),
    "hidden_act": ("swish", "silu"), "rms_norm_eps": (EPS,), "tie_word_embeddings": (False,)}
TOKENIZERS = ("tokenizer.json", "tokenizer.model")


class Checkpoint:
    """The parts of a MatMulFreeLM in a folder, each read when it is asked for and float32 then: one block at a time takes memory.

    UserError: another kind of model, options that ours has not, tensors that are missing, unknown, of other shapes, not finite, all zero.
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        config = document(self.folder / "config.json")
        self.vocab, self.dim, self.count, self.hidden = _sizes(self.folder / "config.json", config)
        self.tensors = {k.removeprefix("model."): v for k, v in tensors(self.folder).items()}
        with torch.device("meta"):
            whole = MatMulFreeLM(self.vocab, self.dim, self.count, self.hidden)
        self.shapes = {k: tuple(v.shape) for k, v in whole.state_dict().items()}
        for what, names in (("is missing", self.shapes.keys() - self.tensors.keys()), ("is unknown", self.tensors.keys() - self.shapes.keys())):
            if names:
                more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
                raise UserError(f"{self.folder}: tensor {sorted(names)[0]}{more} {what}, by the sizes in config.json")

    @property
    def layers(self) -> Iterator[Block]:
        return (self._filled(lambda: Block(self.dim, self.hidden), f"layers.{n}.") for n in range(self.count))

    @property
    def embeddings(self) -> nn.Embedding: return self._filled(lambda: nn.Embedding(self.vocab, self.dim), "embeddings.")

    @property
    def lower_bounds(self) -> torch.Tensor: return self.tensor("lower_bounds")

    @property
    def norm(self) -> RMSNorm: return self._filled(lambda: RMSNorm(self.dim), "norm.")

    @property
    def lm_head(self) -> BitLinear: return self._filled(lambda: BitLinear(self.dim, self.vocab), "lm_head.")

    def bounds(self) -> list[torch.Tensor | None]: return MatMulFreeLM.bounds(self)

    def tensor(self, name: str) -> torch.Tensor:
        """One tensor as float32."""
        t, want = self.tensors[name](), self.shapes[name]
        if not t.dtype.is_floating_point or t.element_size() < 2:
            raise UserError(f"{self.folder}: {name} holds {t.dtype}; packed or integer weights are not the trained ones, "
                            "take the checkpoint that they were made from")
        if tuple(t.shape) != want:
            raise UserError(f"{self.folder}: {name} has shape {tuple(t.shape)}, where config.json makes it {want}")
        t = t.float()
        if not torch.isfinite(t).all():
            raise UserError(f"{self.folder}: {name} has values that are no numbers (NaN or infinite)")
        if name.endswith(("proj.weight", "lm_head.weight")) and not t.any():
            raise UserError(f"{self.folder}: {name} is zero everywhere; this checkpoint was never trained or saved whole")
        return t

    def model(self) -> MatMulFreeLM:
        """All of it as one float model."""
        return self._filled(lambda: MatMulFreeLM(self.vocab, self.dim, self.count, self.hidden), "")

    def _filled(self, make, prefix: str) -> nn.Module:
        with torch.device("meta"):
            module = make()
        module.load_state_dict({k: self.tensor(prefix + k) for k in module.state_dict()}, assign=True)
        return module


def import_lm(folder: Path | str, precision: str = "q14") -> Program:
    """The integers of a published checkpoint, on token ids.  UserError: see Checkpoint."""
    c = Checkpoint(folder)
    about = {"imported from": c.folder.resolve().name, "ternary codes": TERNARY_RULE}
    if names := tokenizers(c.folder):
        about["tokenizer"] = ", ".join(names)
    return program(c, precision, about=about)


def tokenizers(folder: Path | str) -> list[str]:
    """The tokenizer's files in a folder."""
    return [n for n in TOKENIZERS if (Path(folder) / n).is_file()]


def is_checkpoint(folder: Path | str) -> bool:
    """Whether a path is a folder in the layout of published checkpoints, of whatever model."""
    return (Path(folder) / "config.json").is_file()


def _sizes(path: Path, config: dict) -> tuple[int, int, int, int]:
    """Vocabulary, width, layers and hidden width of a config that we can follow."""
    if config.get("model_type") != TYPE:
        raise UserError(f"{path}: model type {config.get('model_type')!r}; MatMul-free checkpoints have {TYPE!r}")
    for key, known in ONLY.items():
        if (value := config.get(key, known[0])) not in known:
            raise UserError(f"{path}: {key} {value!r} is not supported; models with {' or '.join(map(repr, known))} are")
    sizes = [config.get(k, v) for k, v in SIZES.items()]
    ratio = config.get("hidden_ratio") or 4
    hidden = config.get("intermediate_size")
    if hidden is None and isinstance(ratio, int) and isinstance(sizes[1], int):
        hidden = HIDDEN_UNIT * math.ceil(int(sizes[1] * ratio * 2 / 3) / HIDDEN_UNIT)
    for key, value in zip((*SIZES, "intermediate_size"), (*sizes, hidden)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"{path}: {key} {value!r} is not a size")
    return *sizes, hidden
