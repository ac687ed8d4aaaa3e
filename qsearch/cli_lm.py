"""The verbs of language models: train, import of a published checkpoint, eval."""
from pathlib import Path
from typing import Annotated

import typer

from .cli_args import Out, Seed
from .cli_search import screen


def train(text: Annotated[Path, typer.Argument(help="a text file in UTF-8; its characters are the vocabulary")], out: Out = Path("lm-train"),
          dim: Annotated[int, typer.Option(help="width of the model")] = 160, layers: Annotated[int, typer.Option(help="blocks")] = 4,
          hidden: Annotated[int, typer.Option(help="width inside a GLU; 0: 8/3 of dim, rounded up to a multiple of 256")] = 400,
          steps: Annotated[int, typer.Option(help="steps of training")] = 6000,
          length: Annotated[int, typer.Option(help="characters of a stretch of text")] = 128,
          batch: Annotated[int, typer.Option(help="stretches in a step")] = 16,
          lr: Annotated[float, typer.Option(help="highest learning rate; 0: 4e-3, of float models 2e-3")] = 0.0,
          warmup: Annotated[int, typer.Option(help="steps in which the learning rate rises; -1: a fiftieth of all")] = -1,
          decay: Annotated[float, typer.Option(help="weight decay of matrices")] = 0.01,
          valid: Annotated[float, typer.Option(help="share of the text, at its end, that is held out")] = 0.1,
          floats: Annotated[str, typer.Option("--float", help="transformer or gru: a float model of the same size in place of the ternary one")] = "",
          seed: Seed = 0) -> None:
    """Train a MatMul-free language model on a text.  Stopped, the same command goes on where it was, bit for bit."""
    from quant import Course
    from . import lm_training
    course = Course(steps, length, batch, lr or (2e-3 if floats else 4e-3), steps // 50 if warmup < 0 else warmup, decay, not floats, seed)
    screen.table("", [lm_training.train(text, lm_training.Setup(floats or "ternary", dim, layers, hidden, valid, course), out, screen)])


def import_folder(folder: Path, out: Path) -> None:
    """A published checkpoint to the folder of a language model; the tokenizer's files go along."""
    import shutil
    import quant
    from ir import lm
    from .lm_view import describe_lm
    with screen.step("import"):
        lm.save_lm(quant.import_lm(folder), out)
        for name in quant.tokenizers(folder):
            shutil.copyfile(folder / name, out / name)
    print(describe_lm(out))
    print(out)


def evaluate(folder: Path, data: Path, valid: float, length: int, stretches: int) -> None:
    """Loss of the real model and of its integers on the same text, and how often both would say the same next."""
    from ir import lm
    from . import lm_eval
    p = lm.load_lm(folder)
    rows = lm_eval.stretches(lm_eval.tokens(p, data), valid, length, stretches)
    with screen.step("loss in integers and in float") as progress:
        print(lm_eval.compare(p, rows, progress))
