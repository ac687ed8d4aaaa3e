"""How much information rounding loses: KL divergence of histograms, the smallest lossless precision, and a floor under plans.

AdaPT (Kummer et al., arXiv 2107.13490): the precision of a tensor is the smallest whose histogram is that of the floats.  We
differ, where its code departs from its text: the whole tensor is looked at and not its first row, the divergence is of
probabilities, rounding is to the nearest (stochastic rounding moves a histogram even where nothing is lost), bins reach one step
beyond the values, empty bins hold SMOOTHING, and the precisions are tried in turn from the widest, as the divergence is monotone
only on average and bisection may stop anywhere.
"""
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ir import NumberFormat, Table, UserError

from .probe import Probe

BINS = 100        # AdaPT: 50 to 150
EPS = 1e-3        # nats; a divergence of exactly 0 asks for twice the bits (see the tests)
SMOOTHING = 1e-6  # of a value, added to each bin's count
WIDEST = 32       # bits


def divergence(values: np.ndarray, rounded: np.ndarray, bins: int = BINS, step: float | None = None) -> float:
    """KL(histogram of values || histogram of rounded) in nats, over `bins` equal bins of their common range and one step beyond.

    step: of the grid; None takes the step whose uniform rounding error has the power that is seen.  Equal arrays give exactly 0.
    """
    values, rounded = np.ravel(values), np.ravel(rounded)
    if step is None:
        step = math.sqrt(12 * np.mean(np.square(rounded - values, dtype=np.float64)))
    lo, hi = min(values.min(), rounded.min()) - step, max(values.max(), rounded.max()) + step
    if not lo < hi:
        return 0.0
    p, q = (np.histogram(v, bins, (lo, hi))[0] + SMOOTHING for v in (values, rounded))
    p, q = p / p.sum(), q / q.sum()
    return max(0.0, float(np.sum(p * np.log(p / q))))


def smallest_fixed_point(values: np.ndarray, eps: float = EPS, bins: int = BINS) -> tuple[int, int]:
    """(WL, FL): fewest fraction bits from which on the divergence stays within eps, then fewest bits in all (the sign is one).

    Values are rounded to multiples of 2**-FL and clipped to [-2**(WL-1-FL), 2**(WL-1-FL) - 2**-FL].
    UserError: values that are not finite, or 32 bits that do not do.
    """
    values = _checked(values)
    fraction = _from_which_on(lambda f: divergence(values, _fixed(values, WIDEST * 2, f), bins, 2.0 ** -f) <= eps, range(WIDEST))
    if fraction is not None:
        wide = range(max(2, fraction + 1), WIDEST + 1)
        word = _from_which_on(lambda w: divergence(values, _fixed(values, w, fraction), bins, 2.0 ** -fraction) <= eps, wide)
        if word is not None:
            return word, fraction
    raise UserError(f"no fixed point format of up to {WIDEST} bits keeps a divergence of {eps:g} on values from {values.min():g} to "
                    f"{values.max():g}; scale them, or allow more")


def smallest_lossless(values: np.ndarray, formats: Iterable[NumberFormat], eps: float = EPS, bins: int = BINS) -> NumberFormat | None:
    """The format of fewest bits from which on rounding, the largest value at the largest code, diverges by at most eps; else None."""
    values = _checked(values)

    def passes(fmt: NumberFormat) -> bool:
        ends = [float(v) / end for v, end in ((values.min(), fmt.lo), (values.max(), fmt.hi)) if end]
        step = max([v for v in ends if v > 0], default=1.0)
        return divergence(values, fmt.nearest(values / step) * step, bins, step) <= eps

    return _from_which_on(passes, sorted(formats, key=lambda f: f.bits))


def _from_which_on(passes: Callable, candidates: Sequence):
    """The first candidate with which, and with all that follow, it passes: one that meets the bins by luck does not count."""
    found = None
    for c in reversed(candidates):
        if not passes(c):
            break
        found = c
    return found


def _fixed(values: np.ndarray, word: int, fraction: int) -> np.ndarray:
    """Values at the nearest points of a fixed point format."""
    top = 2.0 ** (word - 1)
    return np.round(values * 2.0 ** fraction).clip(-top, top - 1) * 2.0 ** -fraction


def losses(probe: Probe, layer: str, option: str, bins: int = BINS) -> tuple[float, float]:
    """Divergences of a layer's weights and of its input under an option, in nats.  UserError: values that are not finite."""
    pairs = probe.tensors(layer, option)
    if any(not np.isfinite(v).all() for pair in pairs for v in pair):
        raise UserError(f"layer {layer!r} with {option!r}: weights or inputs are infinite or undefined; mend the model or the data")
    (w, wq), (x, xq) = pairs
    return divergence(w, wq, bins), divergence(x, xq, bins)


@dataclass(frozen=True)
class Floor:
    """What each layer may at least get: {layer: options}, and the layers where no option was enough, {layer: (option, its loss)}."""
    menus: dict[str, tuple[str, ...]]
    missed: dict[str, tuple[str, float]]

    @classmethod
    def of(cls, table: Table, most: float) -> "Floor":
        """The floor that a damage table sets: options of at most this damage; a layer without any keeps its best one."""
        if not most >= 0:
            raise UserError(f"a floor of {table.name} <= {most:g}; give a damage of 0 or more")
        menus = {k: tuple(o for o, v in row.items() if v <= most) or (min(row, key=row.__getitem__),) for k, row in table.rows.items()}
        return cls(menus, {k: (menu[0], table.rows[k][menu[0]]) for k, menu in menus.items() if table.rows[k][menu[0]] > most})

    def under(self, table: Table) -> Table:
        """A damage table with these options only: what an allocator is given, so that no plan falls below the floor."""
        if unknown := [k for k in table.rows if k not in self.menus]:
            raise UserError(f"the floor says nothing of layer {unknown[0]!r} of table {table.name!r}; make both from the same model and menus")
        rows = {k: {o: v for o, v in row.items() if o in self.menus[k]} for k, row in table.rows.items()}
        if empty := [k for k, row in rows.items() if not row]:
            raise UserError(f"table {table.name!r}: layer {empty[0]!r} has none of the options that the floor allows "
                            f"({', '.join(self.menus[empty[0]])}); make both from the same menus")
        return replace(table, rows=rows)


def floor(probe: Probe, options: Mapping[str, Sequence[str]], eps: float = EPS, bins: int = BINS) -> Floor:
    """For each layer the options that lose at most `eps` nats, of its weights as of its input; its best one where none does.

    AdaPT's test as a bound below plans instead of a rule that sets them.  On ResNet-20 a layer's int8 weights lose 0.002 nats and its
    uint8 input 0.009 at 100 bins, int4 and uint4 1 and 7; at 20 bins 4e-5, 3e-5, 0.02 and 0.03 (medians): choose eps and bins with
    the menu in mind.
    """
    if unknown := [k for k in options if k not in probe.layers]:
        raise UserError(f"the model has no layer {unknown[0]!r} to quantize (it has {', '.join(probe.layers)})")
    if not eps >= 0:
        raise UserError(f"a floor of eps={eps}; give a divergence of 0 or more nats")
    menus, missed = {}, {}
    for layer, texts in options.items():
        lost = {o: losses(probe, layer, o, bins) for o in texts}
        menus[layer] = tuple(o for o, v in lost.items() if max(v) <= eps)
        if not menus[layer]:
            best = min(lost, key=lambda o: (max(lost[o]), sum(lost[o])))
            menus[layer], missed[layer] = (best,), (best, max(lost[best]))
    return Floor(menus, missed)


def _checked(values: np.ndarray) -> np.ndarray:
    values = np.ravel(np.asarray(values, np.float64))
    if not values.size or not np.isfinite(values).all():
        raise UserError(f"{int((~np.isfinite(values)).sum())} of {values.size} values are infinite or undefined; "
                        "a precision is found for finite ones")
    return values
