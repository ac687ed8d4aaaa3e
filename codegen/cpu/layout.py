"""A place for every value of a graph, and copies where a kernel cannot read what is there.

Feature maps lie channel-last with the halo that the convolutions behind them need, so that no kernel copies its input; all else lies in
the order of its axes, or in that of what it is computed from.
"""
import itertools
import math
from dataclasses import dataclass, replace

from ir import Constant, Conv, Dense, Expand, Graph, Ints, MatMul, MaxPool, Node, Slice, SumPool, Transpose

from ..words import magnitude, word
from .groups import ELEMENTWISE, Group, groups
from .isa import Isa
from .rowgroups import row_groups
from .places import Place, Storage, dense_strides

SPATIAL = (Conv, MaxPool, SumPool)
SLACK = 64  # elements behind a value that may be read in vain


@dataclass(frozen=True)
class Copy:
    """The value at `source` again at `to`, its halo filled."""
    source: Place
    to: Place


@dataclass(frozen=True)
class Packed:
    """What a product of two activations reads in place of the second one: its codes, what the sum of each column starts from, what each row adds."""
    steps: int           # fours of the columns' elements
    vectors: int         # of columns
    right_base: int      # of the codes, which are signed
    codes: Storage
    starts: Storage
    rows: Storage | None


@dataclass(frozen=True)
class Pack:
    """The factors of a product of activations, and where the second one is packed."""
    left: Place
    right: Place
    to: Packed


@dataclass(frozen=True)
class Run:
    """A group with the places that it reads (by name) and the one that it fills."""
    group: Group
    reads: dict[str, Place]
    to: Place
    packed: Packed | None = None


class Layout:
    """`steps` of Run, Copy and Pack in order; `places` of all stored values; `ends`: the caller's memory, inputs in order, then the output."""

    def __init__(self, g: Graph, isa: Isa):
        self.g, self.isa, self.users = g, isa, g.users()
        self.places: dict[str, Place] = {}
        self.ends: list[Storage] = []
        self.steps: list[Run | Copy | Pack] = []
        for i, n in enumerate(g.inputs):
            self.places[n.name] = own(Storage("input", word(n.type), n.type.size, i), n.type)
            self.ends.append(self.places[n.name].storage)
        for n in g.nodes.values():
            if isinstance(n.op, Constant):
                data = n.op.value.astype(word(n.type))
                self.places[n.name] = own(Storage("weights", str(data.dtype), data.size, data=data.reshape(-1)), n.type)
        ready = row_groups(g)
        self.in_rows = {n.name for group in ready for n in group.nodes}
        for item in groups(g, ready):
            if isinstance(item, Group):
                self.run(item)
            else:
                self.places[item.name] = self.view(item, self.places[item.args[0]])
        self.finish()

    def run(self, group: Group) -> None:
        reads = {name: self.readable(group, name) for name in group.reads}
        to = self.placed(group, reads)
        packed = self.packed(group.anchor, reads) if group.anchor and isinstance(group.anchor.op, MatMul) else None
        self.steps.append(Run(group, reads, to, packed))
        self.places[group.sink.name] = to

    def finish(self) -> None:
        """The output in the caller's memory: written there at once if the last step's order is the caller's, else copied."""
        n = self.g.output
        to, place = own(Storage("output", word(n.type), n.type.size), n.type), self.places[n.name]
        last = self.steps[-1] if self.steps else None
        if isinstance(last, Run) and last.group.sink is n and not any(map(any, last.to.halo)) and last.to.order == to.order:
            self.steps[-1] = replace(last, to=to)
        else:
            self.steps.append(Copy(place, to))
        self.ends.append(to.storage)

    def view(self, n: Node, place: Place) -> Place:
        match n.op:
            case Transpose(perm):
                return place.transposed(perm, n.type)
            case Slice(start, _, step):
                return place.sliced(start, step, n.type)
            case Expand():
                return place.expanded(n.type)
        seen = place.reshaped(n.type)
        if seen is None:
            whole = self.new(place.type, tuple(range(len(place.shape))))
            self.steps.append(Copy(place, whole))
            seen = whole.reshaped(n.type)
        return seen

    def readable(self, group: Group, name: str) -> Place:
        """Where the group can read value `name`: where it is, or a copy."""
        place, a = self.places[name], group.anchor
        if group.rows and place.strides[-1] not in (0, 1) and place.shape[-1] > 1:
            return self.copied(place, tuple(range(len(place.shape))))
        if a is None or name not in a.args:
            return place
        match a.op:
            case Conv() | MaxPool() | SumPool():
                wanted, fill = needed(a, place.type)
                bytes_ok = not isinstance(a.op, Conv) or self.narrow(place)
                if bytes_ok and channel_last(place) and covers(place, wanted, fill):
                    return place
                return self.copied(place, (*range(1, len(place.shape)), 0), wanted, fill)
            case Dense():
                ok = self.narrow(place) and (place.strides[-1] == 1 or place.shape[-1] == 1) and regular(place)
                aligned = place.storage.kind != "input" or place.shape[-1] % 4 == 0  # the caller's memory is not read beyond its end
                return place if ok and aligned else self.copied(place, tuple(range(len(place.shape))))
            case MatMul():
                byte = place.dtype == self.isa.byte or not narrow(place.type)
                lies = place.storage.kind == "workspace" and (name != a.args[0] or place.strides[-1] == 1 or place.shape[-1] == 1)
                return place if byte and lies else self.copied(place, tuple(range(len(place.shape))))
        return place

    def packed(self, n: Node, reads: dict[str, Place]) -> Packed | None:
        """The second factor packed, if the processor has an instruction for products of bytes and int32 holds each term of the sums."""
        left, right = (reads[a] for a in n.args)
        if self.isa.products == "none" or {left.dtype, right.dtype} != {self.isa.byte}:
            return None
        (*lead, rows, inner), columns = left.shape, right.shape[-1]
        base = right.base + (128 if self.isa.byte == "uint8" else 0)
        if (128 * abs(left.base) + abs(left.base * base) + 255 * (abs(base) + 128)) * inner + magnitude(n.type) > (1 << 31) - 1:
            return None
        steps, vectors, count = -(-inner // 4), -(-columns // self.isa.lanes), math.prod(lead)
        wide = vectors * self.isa.lanes * count
        sums = Storage("workspace", "int32", count * rows) if base else None
        to = Packed(steps, vectors, base, Storage("workspace", "int8", 4 * wide * steps), Storage("workspace", "int32", wide), sums)
        self.steps.append(Pack(left, right, to))
        return to

    def narrow(self, place: Place) -> bool:
        """Whether the products' kernels can read the word: values of up to 8 bits are to lie in the processor's kind of byte."""
        return place.dtype == self.isa.byte or place.type.bits > 8

    def copied(self, place: Place, order, halo=(), fill: int = 0) -> Place:
        to = self.new(place.type, order, halo, fill)
        self.steps.append(Copy(place, to))
        return to

    def placed(self, group: Group, reads: dict[str, Place]) -> Place:
        n = group.sink
        order = tuple(range(len(n.type.shape)))
        spatial = not group.rows and len(order) > 1 and (isinstance(group.anchor and group.anchor.op, SPATIAL) or self.feeds_spatial(n))
        if spatial:
            halo, fill = self.wanted(n)
            return self.new(n.type, (*order[1:], 0), halo, fill)
        if group.anchor is None and not group.rows:
            first = next((p for p in reads.values() if p.shape == n.type.shape and 0 not in p.strides), None)
            order = first.order if first else order
        return self.new(n.type, order)

    def feeds_spatial(self, n: Node, depth: int = 3) -> bool:
        """Whether a convolution or pool reads n, at once or behind elementwise nodes."""
        readers = [self.g.nodes[u] for u in self.users[n.name] if u not in self.in_rows]
        return any(isinstance(r.op, SPATIAL) or depth and isinstance(r.op, ELEMENTWISE) and self.feeds_spatial(r, depth - 1) for r in readers)

    def wanted(self, n: Node):
        """The halo that the readers of n need, and its fill: the first one's; another fill means a copy later."""
        halo, fill = ((0, 0),) * len(n.type.shape), None
        for u in self.users[n.name]:
            reader = self.g.nodes[u]
            if isinstance(reader.op, SPATIAL) and u not in self.in_rows:
                more, value = needed(reader, n.type)
                if any(map(any, more)) and fill in (None, value):
                    fill, halo = value, tuple((max(a, c), max(b, d)) for (a, b), (c, d) in zip(halo, more))
        return halo, fill or 0

    def new(self, t: Ints, order, halo=(), fill: int = 0) -> Place:
        """Working memory for a value."""
        held = Ints(t.shape, min(t.lo, fill), max(t.hi, fill)) if any(map(any, halo)) else t
        dtype = self.isa.byte if narrow(held) else word(held)
        strides, offset, size = dense_strides(t.shape, order, halo)
        storage = Storage("workspace", dtype, size + SLACK)
        return Place(t, storage, base_of(held, dtype) if narrow(held) else 0, offset, strides, tuple(halo), fill)


def narrow(t: Ints) -> bool:
    """Whether a byte and a base hold every value."""
    return t.hi - t.lo < 256


def base_of(t: Ints, byte: str) -> int:
    """What a stored byte lacks to the integer."""
    least = 0 if t.lo >= 0 and t.hi <= 255 else -128 if t.lo >= -128 and t.hi <= 127 else t.lo
    return least + 128 if byte == "int8" else least


def own(storage: Storage, t: Ints) -> Place:
    strides, offset, _ = dense_strides(t.shape, tuple(range(len(t.shape))))
    return Place(t, storage, 0, offset, strides)


def regular(place: Place) -> bool:
    """Whether the axes before the last two are as good as one."""
    lead = place.shape[:-2]
    return all(place.strides[i] == place.strides[i + 1] * lead[i + 1] for i in range(len(lead) - 1))


def channel_last(place: Place) -> bool:
    """Whether channels lie side by side, and positions in the order of their axes."""
    if len(place.shape) < 2:
        return False
    return (place.strides[0] == 1 or place.shape[0] == 1) and all(a >= b for a, b in itertools.pairwise(place.strides[1:]))


def covers(place: Place, wanted, fill: int) -> bool:
    """Whether a halo of this size and fill lies around the value."""
    halo = place.halo or ((0, 0),) * len(place.shape)
    return not any(map(any, wanted)) or place.fill == fill and all(h[0] >= w[0] and h[1] >= w[1] for h, w in zip(halo, wanted))


def needed(n: Node, t: Ints) -> tuple[tuple[tuple[int, int], ...], int]:
    """The halo (of each axis of the input) that a convolution or pool reads, and what it means."""
    fill = t.lo if isinstance(n.op, MaxPool) else n.op.pad
    return ((0, 0), *n.op.padding), fill

