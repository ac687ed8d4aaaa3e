"""Weights of few bits: packed in memory, unpacked in registers, multiplied exactly.

**On disk and in memory** there is one layout for all instruction sets.  A byte holds weights of `fields` rows (output channels): the
digits weight - lo of a number to the base `radix`.

| format | weights | digits | rows of a panel | bits a weight | legal bytes |
|---|---|---|---|---|---|
| int4  | -8..7 | 2 of base 16 | 32 | 4   | all    |
| int2  | -2..1 | 4 of base 4  | 64 | 2   | all    |
| base3 | -1..1 | 5 of base 3  | 80 | 1.6 | 0..242 |

A *panel* is 16 * fields rows, the last one padded with weight 0.  It is a run of *lines* of 64 bytes, one for four columns, the last one
padded with weight 0.  Byte 4 * r + q of line n is the sum over j of digit(row 16 * j + r of the panel, column 4 * n + q) * radix ** j.
Panels follow each other without gaps: a matrix by vector product reads one linear stream, a lane of int32 is a row, nothing is added across
lanes, and all fields of a byte meet the same activation: four activations, in every lane, serve a whole line.

**From weights to a kernel**, as the graph compiler calls it:

    isa = lowbit.isa_of(target)                      # of a tvm.target.Target
    name = lowbit.choose(weights, isa, m)            # "base3", "int2", "int4", or None: keep 8 bits
    data, sums = lowbit.pack(weights, name)          # uint8 for the blob of weights (align it to 64), sum of each row
    g = lowbit.Geometry(lowbit.FORMATS[name], rows, k, m)
    n = lowbit.tasks(g)                              # independent pieces of equal size
    lowbit.emit(isa, g, x, x_at, w, w_at, store, begin, end)   # inside a PrimFunc under construction

- `x`: flat buffer of activation bytes as stored, value - base: uint8 on x86, int8 where isa.word says so.  x_at(i) is the index of the
  first of the k neighbouring bytes of row i < m.  No byte outside of the rows is read.
- `w`: flat buffer of uint8, w_at (int64) the index of data[0].  What lies behind may be prefetched, which cannot fault.
- `store(acc, i, row, lanes)` is called to emit the epilogue of 16 rows: acc is a buffer of 16 int32, of which the first `lanes` (a Python
  int, 16 but at the end of the matrix) are sum over k of w[row + lane, k] * x[i, k], exactly.  As x holds value - base, the bias must take
  base * sums[row].  Read it with acc.vload([first], "int32xN"): it is a register.  `row` and `i` are expressions or numbers.
- begin, end: the tasks to do (int32 expressions).

All loops, widths and ends are fixed when the kernel is built; no memory is allocated and no function called.  UserError: a k whose sums
an int32 may not hold (geometry.MAX_K).  standalone.py is the smallest complete caller.
"""
import importlib

from .formats import FORMATS, LANES, Format, choose, format_named, pack, unpack
from .geometry import MAX_K, Geometry

LATE = {"ISAS": "isa", "Isa": "isa", "isa_of": "isa", "emit": "kernels", "tasks": "kernels"}  # what needs TVM


def __getattr__(name: str):
    if name not in LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{LATE[name]}", __name__), name)
