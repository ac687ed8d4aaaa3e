"""In which order the elements of a tensor flow.

An order is an array: stream position -> index into the tensor in C order.  Reshapes and transposes only rename indices, so
they cost nothing; a frame buffer is needed only where a reader wants another order than it would get.
"""
import numpy as np


def channels_inner(shape: tuple[int, ...], axis: int) -> np.ndarray:
    """The order with `axis` innermost and the other axes as they stand: (C, H, W) with axis 0 flows pixel by pixel."""
    return np.moveaxis(np.arange(int(np.prod(shape))).reshape(shape), axis, -1).ravel()


def usual_axis(shape: tuple[int, ...]) -> int:
    """The axis that is innermost unless something asks for another: channels of (C, H, W), else the last."""
    return 0 if len(shape) == 3 else len(shape) - 1


def inner_axis(order: np.ndarray, shape: tuple[int, ...]) -> int | None:
    """The axis for which `order` is channels_inner, the usual one first; None if there is none."""
    axes = sorted(range(len(shape)), key=lambda a: a != usual_axis(shape))
    return next((a for a in axes if np.array_equal(order, channels_inner(shape, a))), None)


def flow_shape(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """The axes in stream order, outermost first."""
    return (*shape[:axis], *shape[axis + 1:], shape[axis])


def renamed(order: np.ndarray, source: np.ndarray) -> np.ndarray:
    """The same stream read as another tensor, whose element j (C order) is element source[j]; elements not in it drop out."""
    new = np.full(int(order.max()) + 1, -1)
    new[source] = np.arange(len(source))
    out = new[order]
    return out[out >= 0]


def moves(have: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Position in stream `have` of each element of stream `want`."""
    at = np.empty(int(have.max()) + 1, np.int64)
    at[have] = np.arange(len(have))
    return at[want]


def beat_moves(move: np.ndarray, lanes: int) -> np.ndarray | None:
    """`move` in beats of `lanes` elements; None if it tears a beat apart."""
    rows = move.reshape(-1, lanes)
    whole = (rows == rows[:, :1] + np.arange(lanes)).all() and (rows[:, 0] % lanes == 0).all()
    return rows[:, 0] // lanes if whole else None


def periodic(rows: np.ndarray) -> tuple[np.ndarray, int]:
    """(n, lanes) -> (table, repeat): the rows are the table's, each `repeat` times, and again from the start."""
    n = len(rows)
    change = np.flatnonzero((rows[1:] != rows[:-1]).any(1)) + 1
    repeat = int(np.gcd.reduce(np.append(change, n)))
    rows = rows[::repeat]
    period = next(p for p in divisors(len(rows)) if (rows.reshape(-1, p, rows.shape[1]) == rows[:p]).all())
    return rows[:period], repeat


def divisors(n: int) -> list[int]:
    """All divisors, ascending."""
    small = [d for d in range(1, int(n ** 0.5) + 1) if n % d == 0]
    return small + [n // d for d in reversed(small) if d * d != n]
