"""Kernels that compute each element by itself: elementwise nodes alone, and copies into another layout."""
import itertools

from ir import Node
from tvm import tirx

from .body import Body
from .kernel import Kernel, Tensor, across, loops
from .places import Place

TASKS = 64  # about so many tasks are enough for any number of threads


def write_body(k: Kernel, nodes: tuple[Node, ...], tensors: dict[str, Tensor], body: Body, sink: str) -> None:
    """Every element of the sink, by the nodes."""
    channels = {n.op.axis % len(n.type.shape) for n in nodes if len(getattr(n.op, "mul", ())) > 1}
    sweep(k, [t.place for t in tensors.values()], tensors[sink].place, channels, lambda index: body.store(index))


def write_copy(k: Kernel, source: Place, to: Place) -> None:
    """The value at `source` again at `to`, as stored bytes where both mean the same."""
    x, y = k.tensor(source), k.tensor(to)
    if source.dtype == to.dtype and source.base == to.base:
        return sweep(k, [source, to], to, set(), lambda i: y.put_stored(x.stored(*i), *i), k.isa.lanes * 4)
    dtype = "int32" if source.type.bits < 32 else "int64"
    sweep(k, [source, to], to, set(), lambda i: y.put(x.value(*i, dtype=dtype), *i))


def sweep(k: Kernel, places: list[Place], to: Place, apart: set[int], body, lanes: int = 0) -> None:
    """body(index) for every element, in the order of `to`; axes in `apart` keep an index of their own."""
    axes = merged(places, to, apart)
    *outer, (inner, width) = axes or [(None, 1)]
    first = next((i for i, size in enumerate(itertools.accumulate((s for _, s in outer), lambda a, b: a * b), 1) if size >= TASKS), len(outer))
    tasks, rest = outer[:first], outer[first:]
    with k.tasks(*(s for _, s in tasks)) as index, loops(*(s for _, s in rest)) as more:
        known = {axis: i for (axis, _), i in zip((*tasks, *rest), (*index, *more))}

        def element(j):
            body([j if axis == inner else known.get(axis, 0) for axis in range(len(to.shape))])
        across(width, lanes or k.isa.lanes, element)


def merged(places: list[Place], to: Place, apart: set[int]) -> list[tuple[int, int]]:
    """(axis, size) of loops over all elements, outermost first: an axis goes on counting in the next one where memory allows it."""
    found: list[tuple[int, int]] = []
    for axis in (a for a in to.order if to.shape[a] > 1):
        size = to.shape[axis]
        if found and not {axis, found[-1][0]} & apart and all(p.strides[found[-1][0]] == size * p.strides[axis] for p in places):
            size *= found.pop()[1]
        found.append((axis, size))
    return found


def write_fill(k: Kernel, to: Place) -> None:
    """The halo of a place: what lies before and after its elements on each axis."""
    y, rank = k.tensor(to), len(to.shape)
    code = tirx.const(to.fill - to.base, to.dtype)
    with k.tasks(1):
        for i, axis in enumerate(a for a in to.order if any(to.halo[a])):
            outer = [a for a in to.order if any(to.halo[a])][:i]  # their halo is filled, with all that lies in it
            starts = {a: (0, to.shape[a]) for a in range(rank)}
            starts |= {a: (-to.halo[a][0], to.shape[a] + sum(to.halo[a])) for a in to.order if any(to.halo[a]) and a not in outer}
            for begin, count in ((-to.halo[axis][0], to.halo[axis][0]), (to.shape[axis], to.halo[axis][1])):
                if count:
                    fill(k, y, starts | {axis: (begin, count)}, code)


def fill(k: Kernel, y: Tensor, box: dict[int, tuple[int, int]], code) -> None:
    """A box of stored codes: (first, count) of each axis."""
    *outer, inner = y.place.order
    with loops(*(box[a][1] for a in outer)) as at:
        index = {a: i + box[a][0] for a, i in zip(outer, at)}
        across(box[inner][1], k.isa.lanes * 4, lambda j: y.put_stored(code, *(index.get(a, j + box[inner][0]) for a in range(len(y.place.shape)))))
