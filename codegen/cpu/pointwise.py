"""Kernels that compute each element by itself: elementwise nodes alone, and copies into another layout."""
import itertools

from ir import Node

from .body import Body
from .kernel import Kernel, Tensor, across, loops
from .places import Place

TASKS = 64  # about so many tasks are enough for any number of threads


def write_body(k: Kernel, nodes: tuple[Node, ...], tensors: dict[str, Tensor], body: Body, sink: str) -> None:
    """Every element of the sink, by the nodes."""
    channels = {n.op.axis % len(n.type.shape) for n in nodes if len(getattr(n.op, "mul", ())) > 1}
    sweep(k, [t.place for t in tensors.values()], tensors[sink].place, channels, lambda index: body.store(index))


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
