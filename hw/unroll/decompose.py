"""Rows of a matrix written as differences to other rows: a minimum spanning tree over the rows and 0.

The weight of an edge is the number of signed digits of the difference.  (A tree of constants is how Muhammad and Roy 2002 share
multiplications; here it is only where the search for shared sums begins.)
"""
import numpy as np

from .digits import signed_digits, weight
from .sums import Sums


def tree(matrix: np.ndarray, steps: int) -> list[tuple[int, int, int]]:
    """(rows, inputs) -> [(row, parent, sign)], parents first; parent -1 is 0; no row is more than `steps` edges from a row whose parent is 0."""
    count = len(matrix)
    cost, parent, sign = weight(matrix).sum(1).astype(np.int64), np.full(count, -1), np.ones(count, np.int64)
    far, left, edges = np.zeros(count, np.int64), set(range(count)), []
    while left:
        row = min(left, key=lambda r: (cost[r], r))
        left.remove(row)
        edges.append((row, int(parent[row]), int(sign[row])))
        far[row] = far[parent[row]] + 1 if parent[row] >= 0 else 0
        if far[row] == steps: continue
        for s in (1, -1):
            distance = weight(matrix - s * matrix[row]).sum(1) + 1
            for r in left:
                if distance[r] < cost[r]: cost[r], parent[r], sign[r] = distance[r], row, s
    return edges


def differences(matrix: np.ndarray, span: np.ndarray, steps: int) -> Sums:
    """The matrix as sums like `sums_of`, each of its parent in the tree and of the digits of their difference."""
    sums = Sums(matrix.shape[1], span)
    sums.outputs = [None] * len(matrix)
    for row, parent, sign in tree(matrix, steps):
        if not matrix[row].any(): continue
        symbol = sums.new(matrix[row])
        rest = matrix[row] - sign * matrix[parent] if parent >= 0 else matrix[row]
        if parent >= 0:
            of, shift, turn = sums.outputs[parent]
            sums.edit(symbol, of << 6 | shift, sign * turn)
        for i in np.flatnonzero(rest):
            for shift, s in signed_digits(int(rest[i])): sums.edit(symbol, int(i) << 6 | shift, s)
        sums.outputs[row] = (symbol, 0, 1)
        sums.of_output[symbol].append(row)
    for symbol in list(sums.rows): sums.tidy(symbol)
    return sums
