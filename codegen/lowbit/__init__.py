"""Weights of few bits: packed in memory, unpacked in registers, multiplied exactly.

**On disk and in memory** there is one layout for all instruction sets.  A format has `fields` weights in a byte: the digits
weight - lo of a number to the base `radix`, lowest field first.

| format | weights | digits | bits a weight | bytes that are legal |
|---|---|---|---|---|
| int4  | -8..7 | 2 of base 16 | 4   | all    |
| int2  | -2..1 | 4 of base 4  | 2   | all    |
| base3 | -1..1 | 5 of base 3  | 1.6 | 0..242 |

A *panel* is 16 rows (output channels), the last one padded with weight 0.  It is a run of *lines* of 64 bytes; line n holds the weights
of columns n * depth .. n * depth + depth - 1, depth = 4 * fields, the last line padded with weight 0.  Byte 4 * r + q of a line holds row r of
the panel; its field j is column n * depth + 4 * j + q.  Panels follow each other without gaps: a matrix by vector product reads one linear
stream, a lane of int32 is a row, and nothing is added across lanes.

**From weights to a kernel**, as the graph compiler calls it:

    isa = lowbit.isa_of(target)                      # of a tvm.target.Target
    name = lowbit.choose(weights, isa, m)            # "base3", "int2", "int4", or None: keep 8 bits
    data, sums = lowbit.pack(weights, name)          # uint8 for the blob of weights (align it to 64), sum of each row
    g = lowbit.Geometry(lowbit.FORMATS[name], rows, k, m)
    n = lowbit.tasks(isa, g)                         # independent pieces; a static split over threads is even
    lowbit.emit(isa, g, x, x_at, w, w_at, store, begin, end)   # inside a PrimFunc under construction

- `x`: flat buffer of activation bytes as stored, value - base: uint8 on x86, int8 where isa.word says so.  x_at(i) is the index of the
  first of the k neighbouring bytes of row i < m.  No byte outside of the rows is read.
- `w`: flat buffer of uint8, w_at (int64) the index of data[0].  The last line may be prefetched beyond, which cannot fault.
- `store(acc, i, row, lanes)` is called to emit the epilogue: acc is a buffer of 16 int32, of which the first `lanes` (a Python int, 16 but
  for the last panel) are sum over k of w[row + lane, k] * x[i, k], exactly.  As x holds value - base, the bias must take base * sums[row].
  Read acc with acc.vload([first], "int32xN"): it is a register.  `row` and `i` are expressions.
- begin, end: the tasks to do (int32 expressions).

All loops, widths and ends are fixed when the kernel is built; no memory is allocated and no function called.  UserError: a k whose sums
an int32 may not hold (geometry.MAX_K).  standalone.py is the smallest complete caller.
"""
import importlib

from .formats import FORMATS, Format, choose, format_named, pack, unpack
from .geometry import Geometry

LATE = {"ISAS": "isa", "Isa": "isa", "isa_of": "isa", "emit": "kernels", "tasks": "kernels"}  # what needs TVM


def __getattr__(name: str):
    if name not in LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{LATE[name]}", __name__), name)
