"""Graph -> passes of the core, with the images of its memories and the life of every tensor in the scratchpad."""
import math
from dataclasses import dataclass, field, replace

import numpy as np

from ir import Add, Conv, Dense, Graph, Input, Ints, MatMul, MaxPool, Mul, SumPool
from ir.opset import Concat, Constant, Expand, Pad, Reshape, Slice, Transpose

from .fuse import Group, groups, inner_axes, sink
from .images import Images, Machine, digits
from .isa import NO_DIGITS, Mode, Pass, Walk
from .moves import copies
from .positions import by_position
from .tensors import Layout, Life, input_lanes
from .windows import columns_pay, convolution, read, window


@dataclass
class Lowering:
    """One run through the graph; `bases` says where tensors stand (words), as far as it is known yet."""
    g: Graph
    machine: Machine
    bases: dict[str, int]
    passes: list[Pass] = field(default_factory=list)
    lives: dict[str, Life] = field(default_factory=dict)
    layouts: dict[str, Layout] = field(default_factory=dict)
    root: dict[str, str] = field(default_factory=dict)     # value -> the tensor that holds it
    sums: list[Ints] = field(default_factory=list)         # types that the accumulators hold
    widths: list[int] = field(default_factory=list)        # bits of what windows read, padding too

    def __post_init__(self):
        self.images = Images(self.machine)
        self.inner = inner_axes(self.g)
        self.sink = sink(self.g, self.inner)

    def run(self) -> "Lowering":
        for group in groups(self.g, self.inner):
            self.lower(group)
            if group.name == self.sink:
                break
        if not any(p.to_stream for p in self.passes):
            name = self.sink
            self.emit(self.elementwise(name, name), Group(name, None, (name,)), name, stream=True)
        return self

    # -- tensors

    def at(self, name: str) -> int:
        """First element of the tensor that holds a value, which the next pass touches."""
        name = self.root.get(name, name)
        life = self.lives.setdefault(name, Life(self.layouts[name].words, len(self.passes), len(self.passes)))
        life.last = len(self.passes)
        return self.bases.get(name, 0) * self.machine.lanes

    def layout(self, name: str, inner: int | None = None, type_: Ints | None = None) -> Layout:
        """How a value stands; remembered when it is new."""
        if name not in self.layouts:
            self.layouts[name] = Layout(type_ or self.g.nodes[name].type, self.inner[name] if inner is None else inner, self.machine.lanes)
        return self.layouts[name]

    def arranged(self, name: str, inner: int) -> str:
        """The value with that axis innermost: itself, or a copy that is made now."""
        have = self.layout(name)
        if have.inner == inner:
            return name
        copy = f"{name} by axis {inner}"
        if copy not in self.layouts:
            want = self.layout(copy, inner, have.type)
            if np.array_equal(have.offsets(), want.offsets()) and have.size == want.size:
                self.root[copy] = self.root.get(name, name)
            else:
                self.copy(have.offsets(), name, want.offsets(), copy, copy)
        return copy

    # -- groups of nodes

    def lower(self, group: Group) -> None:
        node = group.head
        match node.op if node else None:
            case Input():
                self.load(group)
            case Constant():
                self.constant(group)
            case Dense() | Conv():
                self.matrix(group)
            case MatMul():
                self.matmul(group)
            case MaxPool() | SumPool():
                self.emit(self.pool(group), group, group.args[0])
            case Add():
                self.add(group)
            case Mul():
                a, b = group.args[0], self.arranged(group.args[1], self.layout(group.args[0]).inner)
                self.emit(self.pair(group.name, a, b, Mode.PRODUCT), group, a)
            case None:
                self.emit(self.elementwise(group.name, group.args[0]), group, group.args[0])
            case _:
                self.move(group)

    def load(self, group: Group) -> None:
        """The input stream into the scratchpad, beat by beat."""
        lay, m = self.layout(group.name), self.machine
        beat = input_lanes(lay.channels, m.lanes)
        counts, t = (1, 1, 1, lay.channels // beat, lay.positions, 1), lay.type
        self.append(Pass(group.name, Mode.SUM, counts, y=Walk(self.at(group.name), (0, 0, 0, beat, lay.row, 0)), from_stream=True,
                         signed=t.signed, count=beat, line=beat, keep=beat, lo=t.lo, hi=t.hi), t, np.zeros(m.out), np.ones(m.out))

    def constant(self, group: Group) -> None:
        """Values as weights, of as many digits as they need, of a 1 that stands outside."""
        lay, m, t = self.layout(group.name), self.machine, group.head.type
        values = np.zeros(lay.size, np.int64)
        values[lay.offsets()] = group.head.op.value
        n = max(len(digits(int(v), m.width)) for v in (values.min(), values.max()))
        split = np.array([(d := digits(v, m.width)) + [0] * (n - len(d)) for v in values.tolist()])[:, ::-1]
        steps = split.reshape(lay.words, m.lanes, n).transpose(0, 2, 1).reshape(-1, 1, m.lanes)
        form = m.form(steps)
        u = m.step_units(1, form)
        p = Pass(group.name, Mode.LANES, (1, n, 1, lay.words, 1, 1), rows=0, outside=1, signed=True, second_signed=True, format=form,
                 digits=1 if n > 1 else NO_DIGITS, w=Walk(self.images.add_weights(steps, form), (0, u, 0, n * u, 0, 0)), lo=t.lo, hi=t.hi,
                 y=Walk(self.at(group.name), (0, 0, 0, m.lanes, 0, 0)), count=m.lanes, line=m.lanes, keep=m.lanes)
        self.widths.append(2)
        self.append(p, t, np.zeros(m.out), np.ones(m.out))

    def matrix(self, group: Group) -> None:
        op = group.head.op
        if isinstance(op, Dense):
            x = self.arranged(group.args[0], len(self.g.nodes[group.args[0]].type.shape) - 1)
            lay = self.layout(x)
            op = Conv(op.weight[:, :, None], op.bias, (1,), ((0, 0),), (1,))
            shape, out = (lay.channels, lay.positions), (lay.positions,)
        else:
            x, out = self.arranged(group.args[0], 0), group.head.type.shape[1:]
            if columns_pay(op, self.layout(x).type.shape, out, self.machine):
                x, op = self.columns(group.name, op, x, out[1])
            shape = self.layout(x).type.shape
        lay = self.layout(x)
        self.widths.append(read(op, lay.type, op.pad).bits)
        self.emit(convolution(self.images, group.name, op, lay, self.at(x), shape, out), group, x, bias=op.bias)

    def columns(self, node: str, op: Conv, x: str, wide: int) -> tuple[str, Conv]:
        """Few channels fill few lanes: x again, with what the columns of a window read side by side as channels; and the convolution of that."""
        lay, (c, h, w), k = self.layout(x), self.layout(x).type.shape, op.weight.shape[3]
        name, (step, ahead), d = f"{x} for {node}", (op.stride[1], op.padding[1][0]), op.dilation[1]
        t = read(op, lay.type, op.pad)
        source, target = lay.offsets(), self.layout(name, 0, Ints((k * c, h, wide), t.lo, t.hi)).offsets()
        self.fill(name, op.pad)
        for j in range(k):
            at = np.arange(wide) * step + j * d - ahead
            seen = (at >= 0) & (at < w)
            if seen.any():
                self.copy(source[:, :, at[seen]], x, target[j * c:(j + 1) * c][:, :, seen], name, name, exact=True)
        weight = op.weight.transpose(0, 3, 1, 2).reshape(len(op.weight), k * c, -1, 1)
        return name, Conv(weight, op.bias, (op.stride[0], 1), (op.padding[0], (0, 0)), (op.dilation[0], 1), 1, op.pad)

    def matmul(self, group: Group) -> None:
        """a (.., M, K) @ b (.., K, N): an element of a times a word of b at a time, lane by lane."""
        a, b = (self.arranged(x, len(self.layout(x).type.shape) - 1) for x in group.args)
        left, right = self.layout(a), self.layout(b)
        (m, k), batch = left.type.shape[-2:], math.prod(left.type.shape[:-2])
        walk = Walk(self.at(b), (0, right.row, 0, self.machine.lanes, 0, k * right.row))
        self.emit(Pass(group.name, Mode.PRODUCT, (2, k, 1, right.row // self.machine.lanes, m, batch), by_element=True, apart=True,
                       x=Walk(self.at(a), (0, 1, 0, 0, left.row, m * left.row)), w=walk, signed=left.type.signed,
                       second_signed=right.type.signed), group, a)

    def pool(self, group: Group) -> Pass:
        op, x = group.head.op, self.arranged(group.args[0], 0)
        lay = self.layout(x)
        pad = op.pad if isinstance(op, SumPool) else 0
        mode = Mode.SUM if isinstance(op, SumPool) else Mode.MAX
        self.widths.append(read(op, lay.type, pad).bits)
        return window(Pass(group.name, mode, (1,) * 6, outside=pad), op, lay, self.at(x), lay.type.shape, group.head.type.shape[1:])

    def elementwise(self, node: str, x: str) -> Pass:
        """Every word of x, a position at a time."""
        lay, lanes = self.layout(x), self.machine.lanes
        signed = lay.type.signed
        return Pass(node, Mode.SUM, (1, 1, 1, lay.row // lanes, lay.positions, 1), signed=signed, second_signed=signed,
                    x=Walk(self.at(x), (0, 0, 0, lanes, lay.row, 0)))

    def pair(self, node: str, a: str, b: str, mode: Mode) -> Pass:
        """Words of a and b in turn."""
        lay, one = self.layout(a), self.elementwise(node, a)
        strides = (self.at(b) - self.at(a), *one.x.strides[1:])
        return replace(one, mode=mode, counts=(2, *one.counts[1:]), x=Walk(one.x.start, strides), signed=lay.type.signed,
                       second_signed=self.layout(b).type.signed)

    def add(self, group: Group) -> None:
        """a + b, or a * f + b * g + c: wide factors are digits of weights, the highest first."""
        a, m = group.args[0], self.machine
        b = self.arranged(group.args[1], self.layout(a).inner)
        factors = [f for f, _ in group.scales]
        one = self.pair(group.name, a, b, Mode.SUM)
        if factors != [1, 1]:
            split = [digits(f, m.width) for f in factors]
            n = max(map(len, split))
            steps = np.array([[d[k] if k < len(d) else 0 for d in split] for k in reversed(range(n))])   # (digits, 2)
            steps = np.repeat(steps.reshape(-1, 1, 1), m.lanes, 2)
            form = m.form(steps)
            u = m.step_units(1, form)
            one = replace(one, mode=Mode.LANES, format=form, counts=(2, n, *one.counts[2:]), digits=1 if n > 1 else NO_DIGITS,
                          w=Walk(self.images.add_weights(steps, form), (u, 2 * u, 0, 0, 0, 0)))
        self.emit(one, group, a, bias=sum(z for _, z in group.scales))

    def emit(self, p: Pass, group: Group, x: str, bias=0, stream: bool = False) -> None:
        """Complete a pass of sums of x with its requant, table and target, and append it."""
        m, name, head = self.machine, group.name, group.head
        follows = head is None or isinstance(head.op, (Add, Mul))
        lay = Layout(self.g.nodes[name].type, self.layout(x).inner if follows else self.inner[head.name], m.lanes)
        sums = head.type if head else self.g.nodes[group.args[0]].type
        mul, at = np.array([1]), 0
        p = replace(p, lo=sums.lo, hi=sums.hi)
        if group.requant:
            op, t = group.requant.op, group.requant.type
            p = replace(p, shift=op.shift, zero=op.zero, lo=t.lo, hi=t.hi)
            mul, at = op.mul, op.axis % len(sums.shape)
        by_place = len(mul) > 1 and at != lay.inner
        to_stream = stream or (name == self.sink and not by_place)
        if not to_stream:
            self.layouts[name] = lay
        if group.lut:
            p = replace(p, table=self.images.add_table(group.lut.op.table) - group.lut.op.base)
        block, blocks = m.pe if p.mode == Mode.MATRIX else m.lanes, p.counts[3]
        y = Walk(0 if to_stream else self.at(name), (0, 0, 0, block, lay.row, p.counts[4] * lay.row))
        p = replace(p, y=y, count=block, line=blocks * block, keep=lay.channels, to_stream=to_stream)
        bias = np.broadcast_to(np.asarray(bias, np.int64), (lay.channels,))
        if by_place:
            for part, factors in by_position(p, mul, sums.shape, lay, at):
                self.at(x), to_stream or self.at(name)
                self.append(part, sums, np.full(m.out, bias[0]), np.full(m.out, factors))
            return
        channels = blocks * block
        if len(mul) == 1 and (bias == bias[0]).all():
            self.append(p, sums, np.full(m.out, bias[0]), np.full(m.out, mul[0]))
            return
        each = np.broadcast_to(mul, (lay.channels,))
        p = replace(p, moves=True, p=Walk(0, (0, 0, 0, block // m.out, 0, 0)))
        self.append(p, sums, np.pad(bias, (0, channels - lay.channels)), np.pad(each, (0, channels - lay.channels)))

    def append(self, p: Pass, sums: Ints, bias, mul) -> None:
        """A finished pass with the parameters of its results."""
        start = self.images.add_params(bias, mul)
        self.sums.append(sums)
        self.passes.append(replace(p, p=replace(p.p, start=start)))

    # -- shapes

    def move(self, group: Group) -> None:
        node, args = group.head, group.args
        out = self.layout(group.name)
        target = out.offsets()
        match node.op:
            case Concat(axis):
                ends = np.cumsum([self.g.nodes[a].type.shape[axis] for a in args])[:-1]
                for a, part in zip(args, np.split(target, ends, axis)):
                    self.copy(self.layout(a).offsets(), a, part, group.name, group.name, exact=True)
                return
            case Pad(padding, value):
                self.fill(group.name, value)
                part = target[tuple(slice(b, b + n) for (b, _), n in zip(padding, self.g.nodes[args[0]].type.shape))]
                self.copy(self.layout(args[0]).offsets(), args[0], part, group.name, group.name, exact=True)
                return
        have = self.layout(args[0])
        match node.op:
            case Reshape(shape):
                source = have.offsets().reshape(shape)
            case Transpose(perm):
                source = have.offsets().transpose(perm)
            case Slice(start, stop, step):
                source = have.offsets()[tuple(map(slice, start, stop, step))]
            case Expand(shape):
                source = np.broadcast_to(have.offsets(), shape)
        if out.size == have.size and np.array_equal(source, target):
            self.root[group.name] = self.root.get(args[0], args[0])
            return
        self.copy(source, args[0], target, group.name, group.name)

    def copy(self, source: np.ndarray, x: str, target: np.ndarray, y: str, node: str, exact: bool = False) -> None:
        """Elements of x at `source` to where `target` says in y."""
        order = np.argsort(target, axis=None, kind="stable")
        m, t = self.machine, self.layout(x).type
        for c in copies(source.ravel()[order], target.ravel()[order], m.lanes, filled=not exact):
            fill = (0,) * (3 - len(c.counts))
            p = Pass(node, Mode.SUM, (1, 1, 1, *c.counts, *(1 for _ in fill)), by_element=c.count == 1, signed=t.signed, second_signed=t.signed,
                     x=Walk(self.at(x) + c.x0, (0, 0, 0, *c.x, *fill)), y=Walk(self.at(y) + c.y0, (0, 0, 0, *c.y, *fill)),
                     count=c.count, line=c.count, keep=c.count, lo=t.lo, hi=t.hi)
            self.append(p, t, np.zeros(m.out), np.ones(m.out))

    def fill(self, y: str, value: int) -> None:
        """Every word of y holds `value` everywhere."""
        m, t = self.machine, self.layout(y).type
        self.append(Pass(y, Mode.SUM, (1, 1, 1, self.layout(y).words, 1, 1), rows=0, outside=value, signed=t.signed,
                         second_signed=t.signed, y=Walk(self.at(y), (0, 0, 0, m.lanes, 0, 0)),
                         count=m.lanes, line=m.lanes, keep=m.lanes, lo=t.lo, hi=t.hi), t, np.zeros(m.out), np.ones(m.out))
