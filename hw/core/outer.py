"""Weights that stay in an outer memory: passes in chunks whose weights fit half of the memory inside, the other half filled meanwhile."""
from dataclasses import replace

from ir import UserError

from .images import Machine
from .isa import FetchRun, Mode, Pass, Step, Sync, Walk

WEIGHED = (Mode.MATRIX, Mode.LANES)


def fetched(passes: list[Pass], machine: Machine, half: int) -> list[Step]:
    """The passes, each after the fetch of its weights into one half (of `half` words), which runs while the pass before it works.

    UserError: the weights of one block of results do not fit a half; a pass that sends its results and would have to be cut.
    """
    chunks = [c for p in passes for c in (cut(p, machine, half) if p.mode in WEIGHED else [p])]
    loads = [k for k, c in enumerate(chunks) if c.mode in WEIGHED]
    steps: list[Step] = []
    for n, k in enumerate(loads):
        first, words = span(chunks[k], machine)
        near = half * (n % 2)
        chunks[k] = replace(chunks[k], w=replace(chunks[k].w, start=chunks[k].w.start + (near - first) * machine.units))
        load = FetchRun(chunks[k].node, first, near, words)
        if n == 0:
            steps += [*chunks[:k], load]
        else:
            steps += [Sync(chunks[loads[n - 1]].node), load, *chunks[loads[n - 1]:k]]
    return [*steps, Sync(chunks[loads[-1]].node), *chunks[loads[-1]:]] if loads else list(chunks)


def span(p: Pass, machine: Machine) -> tuple[int, int]:
    """First word of a pass's weights, and how many it reads."""
    last = p.w.start + sum((n - 1) * s for n, s in zip(p.counts, p.w.strides)) \
        + machine.step_units(machine.pe if p.mode == Mode.MATRIX else 1, p.format) - 1
    return p.w.start // machine.units, last // machine.units - p.w.start // machine.units + 1


def cut(p: Pass, machine: Machine, half: int) -> list[Pass]:
    """A pass as passes over some of its blocks of results (level 3) each, as few as their weights allow."""
    blocks = p.counts[3]
    size = next((n for n in range(blocks, 0, -1) if all(span(part, machine)[1] <= half for part in _parts(p, n))), 0)
    if not size:
        need = max(span(part, machine)[1] for part in _parts(p, 1))
        raise UserError(f"node {p.node!r}: {p.count} of its results need {need} words of weights at once, half of the weight memory has {half}; "
                        "give it more words")
    if size < blocks and p.to_stream and p.counts[4] * p.counts[5] > 1:
        raise UserError(f"node {p.node!r}: its results are sent position by position, but {blocks} blocks of weights do not fit "
                        f"half of the weight memory ({half} words) together; give it more words")
    return _parts(p, size)


def _parts(p: Pass, size: int) -> list[Pass]:
    out = []
    for at in range(0, p.counts[3], size):
        n = min(size, p.counts[3] - at)
        x, w, y, q = (Walk(k.start + at * k.strides[3], k.strides) for k in (p.x, p.w, p.y, p.p))
        done = at * p.count
        out.append(replace(p, counts=(*p.counts[:3], n, *p.counts[4:]), x=x, w=w, y=y, p=q, line=n * p.count,
                           keep=max(0, min(n * p.count, p.keep - done))))
    return out
