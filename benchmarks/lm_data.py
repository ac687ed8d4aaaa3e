"""Text for the language model stories260K: its tokenizer, sequences to fit to and to score, and the score.

    LLAMA_CHECKPOINT=$QSEARCH_DATA/lm/stories260K/stories260K.bin qsearch sense examples.llama:pretrained --data benchmarks.lm_data:stories
"""
import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from examples.llama import TOKENS, Llama, pretrained

from .real_data import root

BOS = 1
OPENINGS = "Once upon a time|Once,|Once there|One day,|There was|One night|One morning|One sunny"  # of stories: where one begins
CALIBRATION = 32  # sequences to fit to; they do not take part in the score


class Tokenizer:
    """Byte-pair encoding with a score for each piece (SentencePiece, as llama2.c stores it)."""

    def __init__(self, path: Path):
        data, at, self.pieces, self.scores = path.read_bytes(), 4, [], []
        while at < len(data):
            score, size = struct.unpack_from("<fi", data, at)
            self.pieces.append(data[at + 8:at + 8 + size])
            self.scores.append(score)
            at += 8 + size
        self.ids = {p: i for i, p in enumerate(self.pieces) if i > 258}  # the first are control tokens and single bytes
        self._words: dict[str, list[int]] = {}

    def __call__(self, text: str) -> list[int]:
        """The ids of a text, without begin or end.  No piece holds a space but as its first character, so words are apart."""
        out = []
        for word in re.findall(r" ?[^ ]*", " " + text):
            if word not in self._words:
                self._words[word] = self._merged(word)
            out += self._words[word]
        return out

    def _merged(self, word: str) -> list[int]:
        ids = [i for c in word for i in self._character(c.encode())]
        while True:
            pairs = [self.pieces[a] + self.pieces[b] for a, b in zip(ids, ids[1:])]
            known = [(self.scores[self.ids[p]], -k) for k, p in enumerate(pairs) if p in self.ids]
            if not known:
                return ids
            k = -max(known)[1]
            ids[k:k + 2] = [self.ids[pairs[k]]]

    def _character(self, c: bytes) -> list[int]:
        return [self.ids[c]] if c in self.ids else [b + 3 for b in c]


@dataclass
class Score:
    """Nats per token of each sequence."""
    nats: np.ndarray

    @property
    def mean(self) -> float: return float(self.nats.mean())

    def drop(self, reference: "Score") -> tuple[float, float]:
        """How much worse than the reference, and the standard error over the sequences (paired)."""
        d = self.nats - reference.nats
        return float(d.mean()), float(d.std(ddof=1) / math.sqrt(len(d)))


def model(tokens: int = TOKENS) -> Llama: return pretrained(root() / "lm" / "stories260K" / "stories260K.bin", tokens)


def text() -> str:
    """The stories as the model knows them: plain quotes, and one line end between paragraphs."""
    raw = (root() / "lm" / "tinystories_first_half.txt").read_text()
    for spoiled, plain in (("â€œ", '"'), ("â€™", "'"), ("â€", '"')):  # quotation marks that were read in the wrong code page
        raw = raw.replace(spoiled, plain)
    return re.sub(r"\n+", "\n", raw)


def sequences(tokens: int = TOKENS) -> torch.Tensor:
    """(N, tokens + 1) ids: the stories one after another, each with a begin token, cut into sequences."""
    tokenizer = Tokenizer(root() / "lm" / "stories260K" / "tok512.bin")
    ids = torch.tensor([i for s in re.split(rf"\n(?={OPENINGS})", text()) for i in [BOS, *tokenizer(s)]])
    count = (len(ids) - 1) // tokens
    return torch.stack([ids[i * tokens:i * tokens + tokens + 1] for i in range(count)])


def split(tokens: int = TOKENS, calibration: int = CALIBRATION) -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences to fit to (evenly over the text) and those to score, each (N, tokens + 1)."""
    s = sequences(tokens)
    at = torch.linspace(0, len(s) - 1, calibration).long()
    rest = torch.ones(len(s), dtype=torch.bool)
    rest[at] = False
    return s[at], s[rest]


@torch.no_grad()
def score(net, s: torch.Tensor, batch: int = 8) -> Score:
    """Of a net or module that takes ids (N, T) and gives scores (N, T, V)."""
    nats = []
    for part in s.split(batch):
        y = net(part[:, :-1])
        nats += torch.nn.functional.cross_entropy(y.transpose(1, 2), part[:, 1:], reduction="none").mean(1).tolist()
    return Score(np.array(nats))


def stories() -> dict[str, np.ndarray]:
    """For the command line: ids of sequences to score and to calibrate with."""
    fit, test = (s.numpy() for s in split())
    return {"x": test[:, :-1], "y": test[:, 1:], "calib_x": fit[:, :-1], "calib_y": fit[:, 1:]}
