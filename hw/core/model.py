"""The core in numpy, pass by pass, and its cycles: what a program does and how long it takes, without a simulator."""
import numpy as np

from ir import ops

from .compile import Program
from .fuse import inner_axes
from .images import Machine
from .isa import INNER, LEVELS, NO_DIGITS, FetchRun, Mode, Pass, Step, Sync, Walk

LATENCY = 40  # of the outer memory that a design is simulated with: a request to a DDR3 controller at 100 MHz takes 20 to 60 cycles
FILL = 12     # cycles of a pass beside those of its steps and results


def run(program: Program, x: np.ndarray, keep: bool = False):
    """(N, *input.shape) integers -> (N, *output.shape); with keep=True {value: (N, *shape)} of all that stands in the scratchpad.

    A value whose place is taken by a later one is kept as it was when its last pass ended.
    """
    g = program.graph
    out, values = [], {}
    for frame in np.asarray(x, np.int64):
        state = State(program, frame)
        held: dict[str, np.ndarray] = {}
        for p in program.steps:
            execute(program, p, state)
            if keep and p.node in program.layouts:
                lay = program.layouts[p.node]
                base = program.bases.get(p.node, 0) * program.machine.lanes
                held[p.node] = state.spad[(base + lay.offsets()) % len(state.spad)]
        out.append(np.concatenate(state.sent))
        for k, v in held.items():
            values.setdefault(k, []).append(v)
    shape, inner = g.output.type.shape, inner_axes(g)[g.output.name]
    flow = (*shape[:inner], *shape[inner + 1:], shape[inner])
    result = np.moveaxis(np.array(out).reshape(-1, *flow), -1, inner + 1)
    return {k: np.array(v) for k, v in values.items()} | {g.output.name: result} if keep else result


class State:
    """What changes while a frame is computed: elements of the scratchpad, bits of the weight memory, what has been sent."""

    def __init__(self, program: Program, frame: np.ndarray):
        p, self.frame, self.sent = program.params, frame, []
        self.spad = np.zeros(p["ActWords"] * program.machine.lanes, np.int64)
        self.outer = program.images.weight_bits()
        self.weights = np.zeros((p["WWords"], program.machine.word_bits), np.uint8) if p.get("Fetch") else self.outer


def execute(program: Program, p: Step, state: State) -> None:
    """One step of the program."""
    m, size = program.machine, len(state.spad)
    match p:
        case FetchRun():
            state.weights[p.near:p.near + p.words] = state.outer[p.far:p.far + p.words]
            return
        case Sync():
            return
    sums = stream_in(program, p, state.frame) if p.from_stream else accumulate(program, p, state)
    groups = sums.reshape(-1, sums.shape[-1])[:, :p.count]
    lane = np.arange(p.count)
    y, q = address(p.y, p.counts)[:, None] + lane, address(p.p, p.counts)[:, None] + (lane // m.out if p.moves else 0 * lane)
    bias, mul = (np.concatenate(part)[q, lane % m.out] for part in zip(*program.images.params))
    result = ops.requant(groups + bias, mul, p.shift, p.zero, p.lo, p.hi)
    ahead = (np.arange(len(groups)) * p.count % p.line)[:, None] + np.arange(p.count)
    counts = ahead < p.keep
    if p.table is not None:
        table = np.concatenate(program.images.tables)
        result = table[np.clip(result + p.table, 0, len(table) - 1)]
    if p.to_stream:
        state.sent.append(result[counts])
    else:
        state.spad[y[counts] % size] = result[counts]


def stream_in(program: Program, p: Pass, frame: np.ndarray) -> np.ndarray:
    """(groups, beat) elements of a frame in the order of the input."""
    lay = program.layouts[program.graph.inputs[0].name]
    return np.moveaxis(frame, lay.inner, -1).reshape(-1, p.count)


def accumulate(program: Program, p: Pass, state: State) -> np.ndarray:
    """(groups, lanes or rows) sums of products, a level of outer loops at a time to spare memory."""
    m, parts = program.machine, []
    for k in range(p.counts[-1]):
        cut = [Walk(w.start + k * w.strides[-1], w.strides) for w in (p.x, p.row, p.col, p.w)]
        parts.append(_accumulate(program, p, state, (*p.counts[:-1], 1), *cut))
    return np.concatenate(parts).reshape(-1, m.pe if p.mode == Mode.MATRIX else m.lanes)


def _accumulate(program: Program, p: Pass, state: State, counts, xw: Walk, rw: Walk, cw: Walk, ww: Walk) -> np.ndarray:
    m = program.machine
    at = address(xw, counts, inner=True)
    row, col = address(rw, counts, inner=True), address(cw, counts, inner=True)
    seen = ((row >= 0) & (row < p.rows) & (col >= 0) & (col < p.cols))[..., None]
    lanes = np.arange(m.lanes)
    x = state.spad[(at[..., None] + (0 * lanes if p.by_element else lanes)) % len(state.spad)]
    x = np.where(seen, x, p.outside)                       # (groups, n2, n1, n0, lanes)
    if p.mode == Mode.MAX:
        return np.where(seen, x, np.iinfo(np.int64).min).max((1, 2, 3))
    if p.mode == Mode.SUM:
        return x.sum((1, 2, 3))
    if p.apart:
        other = state.spad[(address(ww, counts, inner=True)[:, :, :, 1:, None] + lanes) % len(state.spad)]
        return (x[:, :, :, :1] * other).sum((1, 2, 3))
    if p.mode == Mode.PRODUCT:
        return x.prod(3).sum((1, 2))
    unit = address(ww, counts, inner=True)
    rows = m.pe if p.mode == Mode.MATRIX else 1
    w = read_weights(m, state.weights.ravel(), unit, rows, p.format)       # (groups, n2, n1, n0, rows, lanes)
    terms = (w * x[..., None, :]).sum(-1) if p.mode == Mode.MATRIX else w[..., 0, :] * x
    terms = terms.sum((1, 3))                              # (groups, n1, results)
    if p.digits == NO_DIGITS:
        return terms.sum(1)
    total = terms[:, 0]
    for k in range(1, terms.shape[1]):
        total = (total << m.width) + terms[:, k]
    return total


def read_weights(m: Machine, flat: np.ndarray, unit: np.ndarray, rows: int, form: int) -> np.ndarray:
    """Weights (..., rows, lanes) that a step at each unit reads from a memory of these bits."""
    bits = m.width >> form
    step = rows * m.lanes * bits
    first = unit * (m.lanes * (m.width >> m.halvings))
    distinct, back = np.unique(first, return_inverse=True)
    raw = flat[distinct[:, None] + np.arange(step)].reshape(len(distinct), rows, m.lanes, bits).astype(np.int64)
    w = (raw << np.arange(bits)).sum(-1)
    return (w - ((w >> bits - 1) << bits))[back.reshape(unit.shape)]


def address(walk: Walk, counts, inner: bool = False) -> np.ndarray:
    """(groups,) addresses of a walk, or (groups, n2, n1, n0) with the inner loops."""
    grid = np.full((1,) * LEVELS, walk.start)
    for level, (n, s) in enumerate(zip(counts, walk.strides)):
        if level >= INNER or inner:
            grid = grid + (np.arange(n) * s).reshape([-1 if k == LEVELS - 1 - level else 1 for k in range(LEVELS)])
    shape = np.broadcast_shapes(grid.shape, tuple(reversed([n if level >= INNER or inner else 1 for level, n in enumerate(counts)])))
    grid = np.broadcast_to(grid, shape)
    return grid.reshape(-1, *shape[INNER:]) if inner else grid.reshape(-1)


def cycles(program: Program, latency: int = LATENCY) -> list[int]:
    """Cycles of each step and the register writes before it, in order; the last is HALT's.

    latency: of the outer memory, from a request that it takes to the cycle before its first word; then there is a word each cycle.
    """
    out, now, free = [], 0, 0    # free: when the last fetch is over
    for s, (begin, end) in zip(program.steps, program.assembled.spans):
        start = now
        match s:
            case Pass():
                now += end - begin + pass_cycles(s, program.machine.out)
            case FetchRun():
                now = max(now, free) + end - begin
                free = now + 2 + latency + s.words
                now += 1
            case Sync():
                now = max(now, free) + 1
        out.append(now - start)
    return [*out, 1]


def pass_cycles(p: Pass, out: int) -> int:
    """A pass, with an input that never waits: the slower of summing up and handing on decides."""
    steps, groups = int(np.prod(p.counts[:INNER])), int(np.prod(p.counts[INNER:]))
    beats = -(-p.count // out)
    if p.to_stream and out > 1:
        return stream_cycles(p, out, steps, groups, beats)
    return steps + (groups - 1) * max(steps, beats) + beats + FILL


def stream_cycles(p: Pass, out: int, steps: int, groups: int, beats: int) -> int:
    """As pass_cycles where the results leave one by one, which may hold everything up: cycle by cycle, as qs_core_array and its followers."""
    sizes = [max(0, min(out, p.count - b, p.keep - g * p.count % p.line - b)) for g in range(groups) for b in range(0, p.count, out)]
    at = step = group = cycle = 0
    pipe, late, full, held = [False] * 5, [-1] * 6, False, 0   # stages of the array, of the epilogue; a result; elements waiting
    while True:
        cycle += 1
        taken = held <= 1
        go = late[-1] < 0 or taken
        if late[-1] >= 0 and taken and late[-1] == len(sizes) - 1:
            return cycle + 1
        finish = full and go and (at + 1) % beats == 0
        moves = not (full and not finish and pipe[-1])
        held = (sizes[late[-1]] if late[-1] >= 0 else 0) if taken else held - 1
        if go:
            late = [at if full else -1, *late[:-1]]
            at += full
        if not full or finish:
            full = pipe[-1]
        if moves:
            step = step + 1 if group < groups else step
            pipe = [group < groups and step == steps, *pipe[:-1]]
            if step == steps:
                step, group = 0, group + 1


def frame_cycles(program: Program, latency: int = LATENCY) -> int:
    """Cycles from one frame to the next."""
    return sum(cycles(program, latency))
