"""A language model from a text file: training that can be stopped at any moment, its folder, its curve of losses."""
import contextlib
import hashlib
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ir import UserError, lm
from ir.store import save_text, whole
from quant import Course, FloatTransformer, MatMulFreeLM, Training, gru_of, lm_program, text_loss

from .screen import Screen

KINDS = ("ternary", "transformer", "gru")
CHECKPOINT, CURVE, MODEL, INTEGERS = "checkpoint.pt", "loss.csv", "model.pt", "lm"
SECONDS = 30       # between two checkpoints
SCORES = 30        # times that the held-out text is scored in a training
HELD = 128         # stretches of the held-out text that are scored each time
COLUMNS = ("step", "learning_rate", "train_loss", "held_out_loss", "seconds")


@dataclass(frozen=True)
class Setup:
    """What is trained.  hidden 0: as MatMulFreeLM takes it.  valid: share of the text, at its end, that is held out."""
    kind: str
    dim: int
    layers: int
    hidden: int
    valid: float
    course: Course

    def __post_init__(self):
        if self.kind not in KINDS:
            raise UserError(f"unknown kind of model {self.kind!r} (known: {', '.join(KINDS)})")
        if not 0 < self.valid < 1:
            raise UserError(f"a share of {self.valid} held out: give one between 0 and 1")

    def model(self, vocab: int) -> torch.nn.Module:
        """The untrained model; all kinds have about as many parameters as the ternary one."""
        torch.manual_seed(self.course.seed)
        ternary = MatMulFreeLM(vocab, self.dim, self.layers, self.hidden)
        if self.kind == "ternary":
            return ternary
        if self.kind == "transformer":
            return FloatTransformer(vocab, self.dim, self.layers, ternary.layers[0].mlp.down_proj.weight.shape[1])
        return gru_of(parameters(ternary), vocab)


@dataclass(frozen=True)
class Text:
    """A text as codes of its own characters: the part to train on and the part held out."""
    characters: str
    train: np.ndarray
    held: np.ndarray
    hash: str


def read(path: Path, valid: float, length: int) -> Text:
    """UserError: no text file, empty, or too short for stretches of `length` in both parts."""
    try:
        raw = Path(path).read_bytes()
        text = raw.decode()
    except OSError as e:
        raise UserError(f"cannot read {path}: {e.strerror or e}") from None
    except UnicodeDecodeError as e:
        raise UserError(f"{path}: not a text in UTF-8 (byte {e.start})") from None
    cut = len(text) - int(len(text) * valid)
    if min(cut, len(text) - cut) < length + 2:
        raise UserError(f"{path}: {cut} characters to train on and {len(text) - cut} held out are too few for stretches of {length}; "
                        f"give a longer text, a smaller length or another share to hold out")
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    known, codes = np.unique(points, return_inverse=True)
    return Text("".join(map(chr, known)), codes[:cut], codes[cut:], hashlib.sha256(raw).hexdigest())


class Run:
    """A training in a folder, which goes on from the checkpoint that it finds there.  UserError: that of another training, or damaged."""

    def __init__(self, text: Text, setup: Setup, folder: Path):
        self.text, self.setup, self.folder = text, setup, folder
        self.settings = {**{k: v for k, v in asdict(setup).items() if k != "course"}, **asdict(setup.course),
                         "text": text.hash, "characters": text.characters}
        self.training = Training(setup.model(len(text.characters)), text.train, setup.course)
        self.rows: list[tuple] = []
        self.losses: list[float] = []   # since the last row
        self.seconds, self.best = 0.0, {"loss": float("inf"), "step": 0, "model": self.training.model.state_dict()}
        if (folder / CHECKPOINT).exists():
            self._resume(folder / CHECKPOINT)

    @property
    def every(self) -> int: return max(1, self.setup.course.steps // SCORES)

    def go(self, say: Callable[[str], None], progress: Callable, stop: Callable[[], bool]) -> None:
        """Train to the end, or until stop(); saved either way."""
        total, saved = self.setup.course.steps, time.monotonic()
        while self.training.done < total and not stop():
            start = time.monotonic()
            self.losses.append(self.training.advance())
            self.seconds += time.monotonic() - start
            if self.training.done % self.every == 0 or self.training.done == total:
                say(self._score())
            speed = self.training.done * self.setup.course.batch * self.setup.course.length / self.seconds
            progress(self.training.done, total, f"loss {(self.losses or self.rows[-1][2:])[-1]:.3f}, held out {self._held()}, {speed:.0f} tokens/s")
            if time.monotonic() - saved > SECONDS:
                self.save()
                saved = time.monotonic()
        self.save()

    def save(self) -> None:
        with whole(self.folder / CHECKPOINT) as tmp:
            torch.save({"settings": self.settings, "training": self.training.state_dict(), "rows": self.rows, "losses": self.losses,
                        "seconds": self.seconds, "best": self.best}, tmp)
        lines = [",".join(COLUMNS), *(f"{s},{r:.6g},{a:.4f},{b:.4f},{t:.1f}" for s, r, a, b, t in self.rows)]
        save_text(self.folder / CURVE, "\n".join(lines) + "\n")

    def finish(self, command: str) -> dict:
        """The best model to model.pt, a ternary one also as integers to lm/; what it reached on all of the held-out text."""
        model = self.training.model
        model.load_state_dict(self.best["model"])
        loss = text_loss(model, self.text.held, self.setup.course.length)
        with whole(self.folder / MODEL) as tmp:
            torch.save({"settings": self.settings, "step": self.best["step"], "held_out_loss": loss, "model": self.best["model"]}, tmp)
        losses = {"held-out loss": f"{loss:.4f}", "train loss": f"{self.rows[-1][2]:.4f}"}
        made = self.folder / MODEL
        if self.setup.kind == "ternary":
            made = self.folder / INTEGERS
            about = {"trained by": command, "text, SHA-256": self.text.hash, "step": self.best["step"]}
            about |= {f"{k}, nats a token": v for k, v in losses.items()}
            lm.save_lm(lm_program(model, vocab=self.text.characters, about=about), made)
        return {"model": self.setup.kind, "parameters": parameters(model), "step": self.best["step"], **losses,
                "seconds": f"{self.seconds:.0f}", "file": str(made)}

    def _score(self) -> str:
        """One row of the curve; keeps the model if it is the best so far."""
        held = text_loss(self.training.model, self.text.held, self.setup.course.length, HELD)
        self.rows.append((self.training.done, self.training.rate, float(np.mean(self.losses)), held, self.seconds))
        self.losses = []
        if held < self.best["loss"]:
            self.best = {"loss": held, "step": self.training.done, "model": {k: v.clone() for k, v in self.training.model.state_dict().items()}}
        return f"  step {self.training.done}: loss {self.rows[-1][2]:.4f}, held out {held:.4f}, {self.seconds:.0f} s"

    def _held(self) -> str: return f"{self.rows[-1][3]:.3f}" if self.rows else "-"

    def _resume(self, path: Path) -> None:
        try:
            state = torch.load(path, weights_only=True)
            found = state["settings"]
        except Exception as e:  # pickle, zip and torch raise many kinds for a damaged file
            raise UserError(f"{path}: not a checkpoint of this program, or damaged ({type(e).__name__}); delete it to start anew") from None
        for k, v in self.settings.items():
            if found.get(k) != v:
                raise UserError(f"{path}: a training with {k} {_short(found.get(k))}, now {_short(v)} is asked for; delete it or give another folder")
        self.training.load_state_dict(state["training"])
        self.rows, self.losses, self.seconds, self.best = state["rows"], state["losses"], state["seconds"], state["best"]


def train(path: Path, setup: Setup, folder: Path, screen: Screen) -> dict:
    """Train on a text file; a row of results.  KeyboardInterrupt: stopped by Ctrl-C, and saved."""
    text = read(path, setup.valid, setup.course.length)
    if strange := sorted(set(text.held.tolist()) - set(text.train.tolist())):
        screen.say(f"  characters of the held-out part that training never sees: {''.join(text.characters[c] for c in strange)!r}")
    run = Run(text, setup, folder)
    if run.training.done:
        screen.say(f"  going on from step {run.training.done} of {setup.course.steps}")
    run.save()  # an unwritable folder is found now, not after the work
    with screen.step(f"train {setup.kind}") as progress, interruption() as stop:
        run.go(screen.say, progress, stop)
        if run.training.done < setup.course.steps:
            raise KeyboardInterrupt
    return run.finish(command(path, setup))


def command(path: Path, setup: Setup) -> str:
    """What was typed, every choice written out."""
    c = setup.course
    options = {"dim": setup.dim, "layers": setup.layers, "hidden": setup.hidden, "steps": c.steps, "length": c.length, "batch": c.batch, "lr": c.lr,
               "warmup": c.warmup, "decay": c.decay, "valid": setup.valid, "seed": c.seed}
    kind = "" if setup.kind == "ternary" else f" --float {setup.kind}"
    return f"qsearch train {Path(path).name}{kind} " + " ".join(f"--{k} {v}" for k, v in options.items())


@contextlib.contextmanager
def interruption():
    """Yields a function that tells whether Ctrl-C was pressed: the first press ends the work between two steps, the second at once."""
    pressed = []

    def press(*_):
        pressed.append(True)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, press)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


def parameters(model: torch.nn.Module) -> int: return sum(p.numel() for p in model.parameters())


def _short(value) -> str: return repr(value) if len(repr(value)) < 24 else repr(value)[:20] + "..."
