"""A matrix times few vectors: as fast as the weights come from memory."""
from tvm import tirx

from . import intrinsics
from .gemm import Product
from .kernel import Count, Step, T, when

WARPS = 4    # of a block, a column of the product each
LANES = 32


def gemv(name: str, p: Product, least: int, most: int) -> Step:
    """One warp an element of the result: its threads take vectors of both rows in turn, and add up what they have."""
    blocks = -(-p.columns // WARPS)
    return Step(name, [p.a.value, p.b.value, *p.reads], p.write, (Count(blocks), 1, 1), WARPS * LANES, lambda k: _body(k, p, blocks), least, most)


def _body(k, p: Product, blocks: int) -> None:
    sample, lane = k.block[0] // blocks, k.thread % LANES
    column = k.block[0] % blocks * WARPS + k.thread // LANES
    bytes_, za = 16, p.zeros[0]
    words = bytes_ // 4
    x, w = (T.alloc_buffer((words,), "uint32", scope="local") for _ in range(2))
    sums = T.alloc_buffer((2,), "int32", scope="local")
    for i in range(2):
        T.buffer_store(sums, tirx.const(0, "int32"), [i])
    x_row, w_row = p.a.row(sample, 0, 0), p.b.row(0, 0, tirx.Select(column < p.columns, column, tirx.const(0, "int32")))
    with T.serial(-(-p.a.depth // (LANES * bytes_))) as i:
        at = (i * LANES + lane) * bytes_
        for m, row, to in ((p.a, x_row, x), (p.b, w_row, w)):
            for first in range(0, words, m.vector // 4):
                byte = at + first * 4
                place, inside = m.chunk(row, byte)
                m.load(k, to, first, place, tirx.all(*inside, byte < m.depth))
        with T.unroll(words) as j:
            T.buffer_store(sums, intrinsics.dp4a(p.a.dtype, p.b.dtype, x[j], w[j], sums[0]), [0])
            if za:
                T.buffer_store(sums, intrinsics.dp4a(p.b.dtype, "uint8", w[j], tirx.const(0x01010101, "uint32"), sums[1]), [1])
    value = intrinsics.warp("sum", sums[0] + sums[1] * za if za else sums[0], "int32")
    total = T.alloc_buffer((1,), "int32", scope="local")
    T.buffer_store(total, value, [0])
    with when(tirx.all(lane == 0, column < p.columns)):
        p.finish(k, total[0], sample, 0, 0, column)
