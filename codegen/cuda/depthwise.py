"""Convolutions of each channel by itself: four neighbouring channels a thread, as they lie in one word."""
import math

import numpy as np
from tvm import tirx

from ir import Conv

from . import intrinsics
from .kernel import Count, Step, T, THREADS, unflattened, when
from .matrix import Windows
from .pointwise import Chain
from .values import Value

UNROLLED = 25  # taps that are written out


def fits(op: Conv) -> bool:
    """One channel in and one out for each group, and groups that fill words."""
    return op.weight.shape[1] == 1 and len(op.weight) == op.groups and op.groups % 4 == 0


def weights(op: Conv) -> np.ndarray:
    """(taps, channels): the channels of a word are neighbours."""
    return np.ascontiguousarray(op.weight.reshape(op.groups, -1).T)


def step(name: str, x: Windows, w: Value, bias: Value, chain: Chain, out: Value) -> Step:
    """x: windows of one group over all channels, in words; w: what weights() gives, in bytes."""
    quads, space = x.channels // 4, x.space
    each = quads * math.prod(space)

    def body(k):
        at = k.block[0] * THREADS + k.thread
        with when(at < k.n * each):
            b, r, quad = at // each, at % each // quads, at % quads
            word = T.alloc_buffer((1,), "uint32", scope="local")
            sums = T.alloc_buffer((4,), "int32", scope="local")
            with T.unroll(4) as j:
                T.buffer_store(sums, k.load(bias, b, quad * 4 + j).astype("int32"), [j])
            taps = math.prod(x.kernel)
            with T.unroll(taps) if taps <= UNROLLED else T.serial(taps) as tap:
                place, inside = x.chunk(x.row(b, 0, r), tap * x.channels + quad * 4)
                intrinsics.load(k, x.value, 4, word, 0, place, tirx.all(*inside) if inside else None, x.pad)
                factors = k.view(w, "uint32")[k.place(w, tap * quads + quad, "uint32")]
                with T.unroll(4) as j:
                    T.buffer_store(sums, sums[j] + _byte(word[0], j, x.dtype) * _byte(factors, j, w.dtype), [j])
            index = unflattened(r, space)
            k.store_four(out, lambda j: chain.at(k, sums[j], b, quad * 4 + j, *index), 0, b, quad * 4, *index)
    return Step(name, [x.value, w, bias, *chain.reads], out, (Count(each, THREADS),), THREADS, body)


def _byte(word, j, dtype: str): return (word >> (j * 8).astype("uint32")).astype(dtype).astype("int32")
