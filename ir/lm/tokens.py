"""Text to tokens and back, for a vocabulary of pieces of text: single letters as a rule."""
from ..errors import UserError


class Pieces:
    """A vocabulary: token t stands for the text vocab[t].  Encoding takes the longest piece that fits, from left to right.

    UserError: empty, empty pieces, or the same piece twice.
    """

    def __init__(self, vocab):
        self.vocab = tuple(vocab)
        self.ids = {p: t for t, p in enumerate(self.vocab)}
        if not self.vocab or "" in self.ids or len(self.ids) != len(self.vocab):
            raise UserError(f"a vocabulary of {len(self.vocab)} pieces, {len(self.ids)} of them different; "
                            "give pieces that are neither empty nor twice there")
        self.longest = max(map(len, self.vocab))

    def encode(self, text: str) -> list[int]:
        """Tokens of a text.  UserError: a letter that begins no piece."""
        out, at = [], 0
        while at < len(text):
            size = next((n for n in range(self.longest, 0, -1) if text[at:at + n] in self.ids), 0)
            if not size:
                raise UserError(f"letter {text[at]!r} at {at} is not in the vocabulary of {len(self.vocab)} pieces; the model knows {self.sample()}")
            out.append(self.ids[text[at:at + size]])
            at += size
        return out

    def decode(self, tokens) -> str:
        """Text of tokens.  UserError: a token out of range."""
        bad = [int(t) for t in tokens if not 0 <= t < len(self.vocab)]
        if bad:
            raise UserError(f"token {bad[0]} is out of the vocabulary of {len(self.vocab)}")
        return "".join(self.vocab[t] for t in tokens)

    def sample(self) -> str:
        """The pieces, in short."""
        text = "".join(self.vocab)
        return repr(text if len(text) <= 80 else text[:77] + "...")
