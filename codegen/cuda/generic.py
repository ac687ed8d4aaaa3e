"""Every op as a plain kernel: one thread an element, sums in int32 where the types prove that enough, else in 64 bits."""
import math

from tvm import tirx

from ir import Conv, Dense, Gather, Ints, MatMul, MaxPool, Node, SumPool, UserError, ops
from ir.infer import exact_bound

from ..words import calc, magnitude
from . import intrinsics
from .kernel import THREADS, Count, Step, T, each, flattened, grid_of, loops, unflattened, when
from .matrix import Windows
from .pointwise import Chain
from .values import Value

LANES = 32  # threads of a warp


def step(name: str, n: Node, types: list[Ints], args: list[Value], consts: list[Value], chain: Chain, out: Value) -> Step:
    """The kernel of node n and of the chain behind it.  consts: what `arrays(n.op)` names, in memory."""
    rule = RULES.get(type(n.op))
    if rule is None:
        raise UserError(f"node {n.name!r}: the CUDA backend has no rule for {type(n.op).__name__}")

    def body(k):
        each(k, out, lambda b, *i: k.store(out, chain.at(k, rule(k, n, types, args, consts, b, i), b, *i), b, *i))
    return Step(name, [*args, *consts, *chain.reads], out, grid_of(out), THREADS, body)


def pointwise(name: str, chain: Chain, out: Value) -> Step:
    """Elementwise nodes alone."""
    return Step(name, chain.reads, out, grid_of(out), THREADS, lambda k: each(
        k, out, lambda b, *i: k.store(out, chain.at(k, None, b, *i), b, *i)))


def folds_by_warps(op, args: list[Value]) -> bool:
    """Whether a pool's windows are rows of memory, long enough for the threads of a warp to share."""
    return (isinstance(op, MaxPool | SumPool) and math.prod(op.kernel) >= LANES and not any(map(any, op.padding))
            and args[0].strides[-1] == 1 and op.kernel[-1] >= LANES // 2)


def warps(name: str, n: Node, types: list[Ints], args: list[Value], chain: Chain, out: Value) -> Step:
    """A pool with one warp an element: each thread folds every 32nd value, then they fold what they have."""
    op, (x,), (t,), taps = n.op, args, types, math.prod(n.op.kernel)
    largest = isinstance(op, MaxPool)
    dtype = calc(magnitude(t) * (1 if largest else taps))

    def body(k):
        at, lane = k.block[0] * (THREADS // LANES) + k.thread // LANES, k.thread % LANES
        order = out.order()
        with when(at < k.n * out.size):
            b, flat = at // out.size, unflattened(at % out.size, [out.shape[a] for a in order])
            index = [flat[order.index(a)] for a in range(len(order))]
            acc = T.alloc_buffer((1,), dtype, scope="local")
            T.buffer_store(acc, tirx.const(t.lo if largest else 0, dtype), [0])
            with loops(-(-taps // LANES)) as (i,):
                tap = i * LANES + lane
                with when(tap < taps if taps % LANES else None):
                    place = _taps(index[1:], unflattened(tap, op.kernel), op.stride, op.padding)
                    v = k.load(x, b, index[0], *place).astype(dtype)
                    T.buffer_store(acc, tirx.max(acc[0], v) if largest else acc[0] + v, [0])
            T.buffer_store(acc, intrinsics.warp("max" if largest else "sum", acc[0], dtype), [0])
            with when(lane == 0):
                k.store(out, chain.at(k, acc[0], b, *index), b, *index)
    return Step(name, [x, *chain.reads], out, (Count(out.size, THREADS // LANES),), THREADS, body)


def copy(name: str, v: Value, out: Value) -> Step:
    """out = v, of equal shapes; what is stored narrower in `out` fits."""
    return Step(name, [v], out, grid_of(out), THREADS, lambda k: each(k, out, lambda b, *i: k.store(out, k.load(v, b, *i), b, *i)))


def columns(name: str, w: Windows, out: Value) -> Step:
    """out (*space, K) = the windows of a convolution, K in the order of w.chunk, with anything behind them."""
    def body(k):
        def element(b, *i):
            at = tirx.min(i[-1], w.depth - 1)
            place, inside = w.chunk(w.row(b, 0, flattened(i[:-1], w.space)), at)
            x = k.view(w.value, out.dtype)[k.place(w.value, place)]
            k.store(out, tirx.if_then_else(tirx.all(*inside), x, tirx.const(w.pad, out.dtype)) if inside else x, b, *i)
        each(k, out, element)
    return Step(name, [w.value], out, grid_of(out), THREADS, body)


def pad(name: str, v: Value, padding, value: int, out: Value) -> Step:
    """out = v with `value` around it."""
    def body(k):
        def element(b, *i):
            inner = [j - before for j, (before, _) in zip(i, padding)]
            x, inside = k.load(v, b, *inner).astype(out.dtype), _within(inner, v.shape, padding)
            k.store(out, x if inside is None else tirx.if_then_else(inside, x, tirx.const(value, out.dtype)), b, *i)
        each(k, out, element)
    return Step(name, [v], out, grid_of(out), THREADS, body)


def recur(name: str, n: Node, types: list[Ints], args: list[Value], out: Value) -> Step:
    """One thread a state: it goes through the steps and keeps the state in a register."""
    op, steps = n.op, n.type.shape[0]
    one = Value(out.root, out.shape[1:], out.strides[1:], out.batch, out.offset)
    state = max(map(magnitude, (n.type, *types[2:])))
    dtype = calc(magnitude(types[0]) * state + magnitude(types[1]) + (1 << op.shift))

    def body(k):
        def element(b, *i):
            s = T.alloc_buffer((1,), dtype, scope="local")
            T.buffer_store(s, k.load(args[2], b, 0, *i).astype(dtype) if len(args) > 2 else tirx.const(0, dtype), [0])
            with loops(steps) as (t,):
                f, c = (k.load(v, b, t, *i).astype(dtype) for v in args[:2])
                T.buffer_store(s, ops.clamp(ops.round_shift(f * s[0] + c, op.shift), op.lo, op.hi), [0])
                k.store(out, s[0], b, t, *i)
        each(k, one, element)
    return Step(name, args, out, grid_of(one), THREADS, body)


def _dense(k, n: Node, types, args, consts, b, i):
    op, (x,), (w, bias) = n.op, args, consts
    dtype = calc(exact_bound(op, types[0]))
    return _fold(dtype, k.load(bias, b, i[-1]), [x.shape[-1]], lambda acc, taps:
                 acc + k.load(x, b, *i[:-1], *taps).astype(dtype) * k.load(w, b, i[-1], *taps).astype(dtype))


def _conv(k, n: Node, types, args, consts, b, i):
    op, (x,), (w, bias) = n.op, args, consts
    dtype = calc(exact_bound(op, types[0]))
    outs, ins = w.shape[0] // op.groups, w.shape[1]

    def term(acc, taps):
        at = _taps(i[1:], taps[1:], op.stride, op.padding, op.dilation)
        v = _load_padded(k, x, dtype, op.padding, op.pad, b, i[0] // outs * ins + taps[0], at)
        return acc + v * k.load(w, b, i[0], *taps).astype(dtype)
    return _fold(dtype, k.load(bias, b, i[0]), w.shape[1:], term)


def _matmul(k, n: Node, types, args, consts, b, i):
    dtype = calc(magnitude(types[0]) * magnitude(types[1]) * types[0].shape[-1])
    return _fold(dtype, tirx.const(0, dtype), [types[0].shape[-1]], lambda acc, taps:
                 acc + k.load(args[0], b, *i[:-1], *taps).astype(dtype) * k.load(args[1], b, *i[:-2], *taps, i[-1]).astype(dtype))


def _maxpool(k, n: Node, types, args, consts, b, i):
    op, (x,), (t,) = n.op, args, types
    dtype = calc(magnitude(t))
    return _fold(dtype, tirx.const(t.lo, dtype), op.kernel, lambda acc, taps: tirx.max(acc, _load_padded(
        k, x, dtype, op.padding, t.lo, b, i[0], _taps(i[1:], taps, op.stride, op.padding))))


def _sumpool(k, n: Node, types, args, consts, b, i):
    op, (x,), (t,) = n.op, args, types
    dtype = calc(math.prod(op.kernel) * max(magnitude(t), abs(op.pad)))
    return _fold(dtype, tirx.const(0, dtype), op.kernel, lambda acc, taps: acc + _load_padded(
        k, x, dtype, op.padding, op.pad, b, i[0], _taps(i[1:], taps, op.stride, op.padding)))


def _gather(k, n: Node, types, args, consts, b, i):
    return k.load(consts[0], b, k.load(args[0], b, *i[:-1]).astype("int32"), i[-1])


def _fold(dtype: str, start, extents, term):
    """The end of acc = term(acc, taps) over all taps of these extents."""
    acc = T.alloc_buffer((1,), dtype, scope="local")
    T.buffer_store(acc, start.astype(dtype), [0])
    with loops(math.prod(extents)) as (tap,):
        T.buffer_store(acc, term(acc[0], unflattened(tap, extents)), [0])
    return acc[0]


def _taps(position, taps, stride, padding, dilation=None) -> list:
    """Where in x the element of a window lies."""
    return [p * s - q[0] + d * e for p, e, s, q, d in zip(position, taps, stride, padding, dilation or (1,) * len(stride))]


def _load_padded(k, x: Value, dtype: str, padding, value: int, b, channel, at):
    inside = _within(at, x.shape[1:], padding)
    v = k.load(x, b, channel, *at).astype(dtype)
    return v if inside is None else tirx.if_then_else(inside, v, tirx.const(value, dtype))


def _within(at, extents, padding):
    """The condition that an index lies within, for axes that are padded; None where none is."""
    found = [p for i, e, (before, after) in zip(at, extents, padding) for p in ([i >= 0] if before else []) + ([i < e] if after else [])]
    return tirx.all(*found) if found else None


RULES = {Dense: _dense, Conv: _conv, MatMul: _matmul, MaxPool: _maxpool, SumPool: _sumpool, Gather: _gather}
