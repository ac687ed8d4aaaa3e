"""Language models of random integers, whose words are used to the full."""
import numpy as np

from ir.lm import WORDS, Curve, Gain, Glu, Layer, Mixer, Program, Projection, Words, check


def random_lm(dim: int = 20, hidden: int = 30, layers: int = 2, vocab: int = 11, words: Words = WORDS["q14"], seed: int = 0) -> Program:
    """Factors near 2**(factor_bits - 3), values that reach the curves' ends."""
    rng = np.random.default_rng(seed)

    def gain(count: int, bits: int) -> Gain:
        """Of a vector of `bits` bits: what comes out has words.vector_bits."""
        mul = rng.integers(-1 << 15, 1 << 15, count)
        return Gain(mul, max(0, bits + int(np.abs(mul).max()).bit_length() - words.vector_bits))

    def projection(rows: int, g: Gain, shift: int) -> Projection:
        columns = len(g.mul)
        num = int(2.0 ** (16 + words.factor_bits - 3) * columns ** 0.5 * rng.uniform(0.7, 1.4))
        return Projection(g, rng.integers(-1, 2, (rows, columns)).astype(np.int8), num, shift)

    h, wide = words.residual_bits, words.vector_bits
    gate, fine = words.factor_bits - 4, words.factor_bits - 4 + words.gate - words.residual
    product = max(0, (dim * words.top << words.gate + words.whole).bit_length() + 1 - wide)

    def mixer() -> Mixer:
        square = max(0, (words.top * dim).bit_length() - 20)
        ifg, o = [projection(dim, gain(dim, h), gate) for _ in "ifg"], projection(dim, gain(dim, wide), fine - 3)
        lower, eps = rng.integers(0, 1 << words.sigmoid - 1, dim), int(rng.integers(1 << 16, 1 << 17))
        return Mixer(gain(dim, h), *ifg, o, lower, product, gain(dim, wide), square, eps, 14)

    def glu() -> Glu:
        gates, down = projection(2 * hidden, gain(dim, h), gate), projection(dim, gain(hidden, wide), fine - 3)
        return Glu(gain(dim, h), gates, down, product, gain(hidden, wide), int(2.0 ** (words.factor_bits + wide - 12)))

    silu = -1 << words.gate + words.whole, (1 << words.gate + words.whole) - 1
    table = rng.normal(0, 2.0 ** words.residual, (vocab, dim)).round().astype(np.int64)
    blocks = tuple(Layer(mixer(), glu()) for _ in range(layers))
    return check(Program(words, table, blocks, gain(dim, h), projection(vocab, gain(dim, h), gate),
                         curve(words, lambda v: 1 / (1 + np.exp(-v)), words.sigmoid, (0, (1 << words.sigmoid) - 1)),
                         curve(words, lambda v: v / (1 + np.exp(-v)), words.gate, silu)))


def curve(words: Words, fn, frac: int, limits: tuple[int, int]) -> Curve:
    """Chords of a function, around the middles of its pieces."""
    count = 1 << words.whole + 1 + words.pieces
    middle, half = np.ldexp(np.arange(count) - count / 2, -words.pieces), 2.0 ** -words.pieces / 2
    slope = (fn(middle + half) - fn(middle - half)) / (2 * half)
    fine = words.gate + 12
    return Curve(np.rint(np.ldexp(fn(middle), fine)).astype(np.int64), np.rint(np.ldexp(slope, 12)).astype(np.int64), fine - frac, *limits)
