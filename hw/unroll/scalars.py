"""A graph as scalars: every element is a value of its own, with its own exact interval, made from values before it."""
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from ir import Ints

from .adders import Term


class Input(NamedTuple):
    """Element `index` (C order) of the tensor that goes into the graph as `port`."""
    port: str
    index: int


class Linear(NamedTuple):
    """Row `row` of the linear map `block`, not yet broken up into adders."""
    block: int
    row: int


class Sum(NamedTuple):
    """const + the sum of the terms."""
    terms: tuple[Term, ...]
    const: int = 0


class Floor(NamedTuple):
    """floor(value / 2**bits): the low bits are dropped."""
    value: int
    bits: int


class Clamp(NamedTuple):
    """The value, held within [lo, hi]."""
    value: int
    lo: int
    hi: int


class Largest(NamedTuple):
    a: int
    b: int


class Product(NamedTuple):
    a: int
    b: int


class Table(NamedTuple):
    """words[value - base]; base is the value's own least."""
    value: int
    words: tuple[int, ...]


Op = Input | Linear | Sum | Floor | Clamp | Largest | Product | Table


@dataclass(frozen=True, slots=True)
class Ref:
    """(-1)**negative * value << shift, + offset; a constant where value is None.  What is not yet an adder costs nothing."""
    value: int | None
    shift: int = 0
    negative: bool = False
    offset: int = 0

    def scaled(self, factor: int) -> int:
        """What the value counts in this reference, times a factor."""
        return (-factor if self.negative else factor) << self.shift

    def moved(self, by: int) -> "Ref": return replace(self, offset=self.offset + by)


def constant(v: int) -> Ref: return Ref(None, offset=int(v))


@dataclass(frozen=True)
class Block:
    """A linear map: matrix (rows, values) of the values `args`."""
    name: str
    args: tuple[int, ...]
    matrix: np.ndarray


@dataclass
class Scalars:
    """Values in an order in which each stands behind those it is made of; equal ones exist once.

    lo, hi: exact bounds of each value, as if what is not linear (inputs, clamped values, tables, ...) took every value of its
    own interval.  outputs: the elements of the result in C order.
    """
    ops: list[Op] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    lo: list[int] = field(default_factory=list)
    hi: list[int] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    outputs: list[Ref] = field(default_factory=list)
    known: dict[tuple[type, Op], int] = field(default_factory=dict)
    forms: list[dict[int, int]] = field(default_factory=list)   # value -> what counts how much in it, linearly
    consts: list[int] = field(default_factory=list)             # and the constant

    def add(self, op: Op, name: str, lo: int | None = None, hi: int | None = None) -> int:
        """The value that `op` makes.  lo, hi: bounds that are not told by the op (Input), or that are tighter than it tells."""
        key = type(op), op  # tuples of different types can be equal
        if key in self.known:
            return self.known[key]
        k = self.known[key] = len(self.ops)
        self.ops.append(op)
        self.names.append(name)
        form, const = self._form(op) or ({k: 1}, 0)
        self.forms.append(form)
        self.consts.append(const)
        first, last = self._bounds(op)
        self.lo.append(int(first if lo is None else max(lo, first)))
        self.hi.append(int(last if hi is None else min(hi, last)))
        return k

    def ints(self, value: int) -> Ints: return Ints((), self.lo[value], self.hi[value])

    def width(self, value: int) -> int: return self.ints(value).bits

    def interval(self, r: Ref) -> tuple[int, int]:
        if r.value is None:
            return r.offset, r.offset
        ends = sorted(r.scaled(v) + r.offset for v in (self.lo[r.value], self.hi[r.value]))
        return ends[0], ends[1]

    def whole(self, r: Ref, name: str) -> Ref:
        """A reference to a value that is just this: no shift, no sign, no offset.  Constants stay what they are."""
        if r.value is None or r == Ref(r.value):
            return r
        return Ref(self.add(Sum((Term(r.value, r.shift, r.negative),), r.offset), name))

    def live(self) -> list[bool]:
        """Which values the outputs depend on."""
        seen = [False] * len(self.ops)
        for r in self.outputs:
            if r.value is not None:
                seen[r.value] = True
        for k in range(len(self.ops) - 1, -1, -1):
            if seen[k]:
                for a in self.args(k):
                    seen[a] = True
        return seen

    def args(self, k: int) -> Iterator[int]:
        """The values that value k is made of."""
        yield from args(self.ops[k], self.blocks)

    def readers(self) -> list[list[int]]:
        """Of each value, the values made of it, once for every time they read it."""
        out: list[list[int]] = [[] for _ in self.ops]
        for k in range(len(self.ops)):
            for a in self.args(k):
                out[a].append(k)
        return out

    def _form(self, op: Op) -> tuple[dict[int, int], int] | None:
        """A sum over what is not linear; None for what is not a sum."""
        match op:
            case Sum(terms, const):
                parts: Iterable = [(t.value, _times(t)) for t in terms]
            case Linear(block, row):
                b = self.blocks[block]
                parts, const = [(a, int(c)) for a, c in zip(b.args, b.matrix[row]) if c], 0
            case _:
                return None
        form: dict[int, int] = {}
        for value, times in parts:
            const += _scaled(self.consts[value], times)
            for atom, c in self.forms[value].items():
                form[atom] = form.get(atom, 0) + _scaled(c, times)
        return {a: c for a, c in form.items() if c}, const

    def _bounds(self, op: Op) -> tuple[int, int]:
        match op:
            case Sum() | Linear():
                form, const = self.forms[-1], self.consts[-1]
                return (const + sum(c * (self.lo if c > 0 else self.hi)[a] for a, c in form.items()),
                        const + sum(c * (self.hi if c > 0 else self.lo)[a] for a, c in form.items()))
            case Floor(v, bits):
                return self.lo[v] >> bits, self.hi[v] >> bits
            case Clamp(v, lo, hi):
                return min(max(self.lo[v], lo), hi), min(max(self.hi[v], lo), hi)
            case Largest(a, b):
                return max(self.lo[a], self.lo[b]), max(self.hi[a], self.hi[b])
            case Product(a, b):
                ends = [p * q for p in (self.lo[a], self.hi[a]) for q in (self.lo[b], self.hi[b])]
                return min(ends), max(ends)
            case Table(_, words):
                return min(words), max(words)
        return -(1 << 63), 1 << 63  # an input: the caller says


def gathered(refs: list[Ref], matrix: np.ndarray) -> tuple[tuple[int, ...], np.ndarray, np.ndarray]:
    """matrix @ refs as (values, matrix over them, constants): what the references carry goes into the matrix."""
    consts = matrix.astype(object) @ np.array([r.offset for r in refs], object)
    at: dict[int, int] = {}
    for r in refs:
        if r.value is not None:
            at.setdefault(r.value, len(at))
    columns = np.zeros((len(matrix), len(at)), np.int64)
    for r, column in zip(refs, matrix.T):
        if r.value is not None:
            columns[:, at[r.value]] += column * r.scaled(1)
    return tuple(at), columns, consts


def _times(t: Term):
    """A term's factor: an integer, or a negative shift as a fraction (numerator, bits)."""
    sign = -1 if t.negative else 1
    return sign << t.shift if t.shift >= 0 else (sign, -t.shift)


def _scaled(c: int, times) -> int:
    return c * times if isinstance(times, int) else c * times[0] >> times[1]


def args(op: Op, blocks: list[Block]) -> Iterator[int]:
    """The values that an op reads."""
    match op:
        case Linear(block, row):
            b = blocks[block]
            yield from (a for a, c in zip(b.args, b.matrix[row]) if c)
        case Sum(terms, _):
            yield from (t.value for t in terms)
        case Floor(v, _) | Clamp(v, _, _) | Table(v, _):
            yield v
        case Largest(a, b) | Product(a, b):
            yield from (a, b)
