"""What the core's memories hold at the start: weights in units of the narrowest format, parameters of results, tables."""
from dataclasses import dataclass, field

import numpy as np

from ir.ops import half


@dataclass(frozen=True)
class Machine:
    """Parameters of a core: elements of a word, rows at once, results a cycle, bits of a weight, how often they may be halved."""
    lanes: int = 8
    pe: int = 8
    out: int = 2
    width: int = 8
    halvings: int = 0

    @property
    def units(self) -> int:
        """Units of a word of the weight memory; a unit is `lanes` weights of the narrowest format."""
        return self.pe << self.halvings

    @property
    def word_bits(self) -> int:
        """Of the weight memory."""
        return self.pe * self.lanes * self.width

    def step_units(self, rows: int, form: int) -> int:
        """Units that a step of `rows` rows takes, of weights of width >> form bits."""
        return (rows << self.halvings) >> form

    def form(self, weights: np.ndarray) -> int:
        """The narrowest format that holds all of them."""
        need = max(int(weights.max(initial=0)), -int(weights.min(initial=0)) - 1).bit_length() + 1
        return max(f for f in range(self.halvings + 1) if need <= self.width >> f)


@dataclass
class Images:
    """Contents of the memories, filled pass by pass; equal contents are kept once."""
    machine: Machine
    weights: list[np.ndarray] = field(default_factory=list)   # bits, whole words each
    params: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)   # (words, out): biases, multipliers
    tables: list[np.ndarray] = field(default_factory=list)
    seen: dict = field(default_factory=dict)

    def add_weights(self, steps: np.ndarray, form: int) -> int:
        """(steps, rows, lanes) weights in the order of their use; returns the first unit."""
        def put() -> int:
            bits = self.machine.width >> form
            flat = (np.ascontiguousarray(steps, np.int64).reshape(-1, 1) >> np.arange(bits) & 1).astype(np.uint8).ravel()
            start = self.weight_words * self.machine.units
            self.weights.append(np.pad(flat, (0, -len(flat) % self.machine.word_bits)))
            return start
        return self._once(("weights", form, steps.shape, steps.astype(np.int64).tobytes()), put)

    def add_params(self, bias: np.ndarray, mul: np.ndarray) -> int:
        """Biases and multipliers of consecutive results, whole words of them; returns the first word."""
        bias, mul = np.asarray(bias, np.int64), np.asarray(mul, np.int64)

        def put() -> int:
            start = self.param_words
            self.params.append((bias.reshape(-1, self.machine.out), mul.reshape(-1, self.machine.out)))
            return start
        return self._once(("params", bias.tobytes(), mul.tobytes()), put)

    def add_table(self, table: np.ndarray) -> int:
        """Returns where its first entry stands."""
        def put() -> int:
            start = self.entries
            self.tables.append(table)
            return start
        return self._once(("table", table.tobytes()), put)

    def _once(self, key, put) -> int:
        if key not in self.seen:
            self.seen[key] = put()
        return self.seen[key]

    @property
    def weight_words(self) -> int: return sum(map(len, self.weights)) // self.machine.word_bits

    @property
    def param_words(self) -> int: return sum(len(b) for b, _ in self.params)

    @property
    def entries(self) -> int: return sum(map(len, self.tables))

    def weight_bits(self) -> np.ndarray:
        """(words, word_bits) of bits, the lowest first."""
        flat = np.concatenate(self.weights) if self.weights else np.zeros(self.machine.word_bits, np.uint8)
        return flat.reshape(-1, self.machine.word_bits)

    def weight_lines(self) -> str:
        """For $readmemh."""
        packed = np.packbits(np.pad(self.weight_bits(), ((0, 0), (0, -self.machine.word_bits % 8))), axis=1, bitorder="little")
        return "".join(row[::-1].tobytes().hex() + "\n" for row in packed)

    def param_lines(self, bias_bits: int, mul_bits: int) -> str:
        """For $readmemh: of each result the bias, above it the multiplier."""
        rows = []
        for biases, muls in self.params:
            for b, m in zip(biases.tolist(), muls.tolist()):
                word = 0
                for bias, mul in zip(reversed(b), reversed(m)):
                    word = word << bias_bits + mul_bits | (mul & (1 << mul_bits) - 1) << bias_bits | bias & (1 << bias_bits) - 1
                rows.append(word)
        digits = -(-self.machine.out * (bias_bits + mul_bits) // 4)
        return "".join(f"{r:0{digits}x}\n" for r in rows or [0])


def digits(f: int, bits: int) -> list[int]:
    """A factor as signed digits of so many bits, the lowest first."""
    out = []
    while True:
        low = (f + half(bits)) % (1 << bits) - half(bits)
        out.append(low)
        f = (f - low) >> bits
        if not f:
            return out
