"""Norms, softmax and the like: one row at a time, from its sums to its last value, in memory that stays in the first cache.

A row is gone through in phases: each ends with the sums and maxima that the next one needs.  Values that a later phase needs again are kept
in scratch memory, or computed again where that is as cheap.
"""
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ir import Add, Expand, Ints, MaxPool, Mul, Node, Requant, SumPool

from ..tir import cast, kind_of, reduced
from ..words import calc, magnitude
from .body import Body
from .groups import Group
from .kernel import Kernel, Tensor, lane, loops, pieces
from .places import Storage

TASKS = 32
CHEAP = (Requant, Add, Mul, Expand)


def write_rows(k: Kernel, group: Group, tensors: dict[str, Tensor], types: dict[str, Ints], body: Body) -> None:
    """A group of rows (codegen.cpu.rowgroups)."""
    rows, _ = group.sink.type.shape
    count = next((c for c in range(min(rows, TASKS), TASKS // 4, -1) if rows % c == 0), min(rows, TASKS))
    per = -(-rows // count)
    row = Row(k, group, tensors, types, body, count)
    with k.tasks(count) as (task,), loops(per) as (i,):
        r = task * per + i
        if rows % count:
            with T.If(r < rows), T.Then():
                row.write(task, r)
        else:
            row.write(task, r)


class Row:
    """`ready` is the phase in which a value can first be computed; `kept` where one lies for later phases."""

    def __init__(self, k: Kernel, group: Group, tensors: dict[str, Tensor], types: dict[str, Ints], body: Body, tasks: int):
        self.k, self.group, self.tensors, self.types, self.body = k, group, tensors, types, body
        self.nodes = {n.name: n for n in group.body}
        self.width = group.sink.type.shape[-1]
        self.ready = {name: 0 for name in group.reads}
        for n in group.body:
            self.ready[n.name] = max(self.ready[a] for a in n.args) + reducing(n)
        self.cells: dict[str, object] = {}  # values of one number a row
        self.room = -(-self.width // 64) * 64
        self.kept = {name: k.buffer(Storage("workspace", self.dtype(name), tasks * self.room)) for name in self.worth_keeping()}

    def dtype(self, name: str) -> str: return calc(magnitude(self.types[name]))

    def wide(self, name: str) -> bool: return self.types[name].shape[-1] == self.width

    def worth_keeping(self) -> list[str]:
        """Values that a later phase needs again and that are more than two cheap steps from memory."""
        later = {a for n in self.group.body for a in n.args
                 if a in self.nodes and self.wide(a) and not isinstance(self.nodes[a].op, Expand)
                 and self.ready[a] < self.ready[n.name] - reducing(n)}
        return [n.name for n in self.group.body if n.name in later and self.steps(n.name) > 2]

    def steps(self, name: str) -> int:
        if name not in self.nodes or not self.wide(name):
            return 0
        n = self.nodes[name]
        return (1 if isinstance(n.op, CHEAP) else 8) + sum(map(self.steps, n.args))

    def write(self, task, r) -> None:
        for phase in range(self.ready[self.group.sink.name] + 1):
            for n in self.group.body:
                if not self.wide(n.name) and not reducing(n) and self.ready[n.name] == phase:
                    args = [self.narrow(a, r) for a in n.args]
                    self.cells[n.name] = self.cell(self.body.compute(n, [self.types[a] for a in n.args], args, [r, 0]), self.dtype(n.name))
            self.through(phase, task, r)

    def cell(self, value, dtype: str):
        held = self.k.registers(1, dtype)
        T.buffer_store(held, cast(value, dtype), [0])
        return held

    def narrow(self, name: str, r):
        return self.cells[name][0] if name in self.cells else self.tensors[name].value(r, 0, dtype=self.dtype(name))

    def through(self, phase: int, task, r) -> None:
        """All of the row once."""
        sums = [n for n in self.group.body if reducing(n) and self.ready[n.name] == phase + 1]
        keep = [name for name in self.kept if self.ready[name] == phase]
        last = self.ready[self.group.sink.name] == phase
        accs, lanes = {}, self.k.isa.lanes
        for n in sums:
            t = self.types[n.args[0]]
            dtype = calc(max(magnitude(n.type), self.width * magnitude(t)) if isinstance(n.op, SumPool) else magnitude(t))
            accs[n.name] = self.k.registers(lanes, dtype)
            first = tirx.const(0 if isinstance(n.op, SumPool) else t.lo, dtype)
            T.buffer_store(accs[n.name], T.broadcast(first, lanes) if lanes > 1 else first, [lane(0, lanes)])
        for start, count, size in pieces(self.width, lanes):
            with loops(count) as (q,):
                env: dict[str, object] = {}
                at = lane(start + q * size, size)

                def value(name: str, at=at, env=env, size=size):
                    return self.value(name, phase, task, r, at, size, env)
                for n in sums:
                    acc, here = accs[n.name], lane(0, size)
                    x = cast(value(n.args[0]), kind_of(acc[0])[0])
                    T.buffer_store(acc, tirx.max(acc[here], x) if isinstance(n.op, MaxPool) else acc[here] + x, [here])
                for name in keep:
                    T.buffer_store(self.kept[name], spread(value(name), size), [self.scratch(task, at)])
                if last:
                    self.tensors[self.group.sink.name].put(spread(value(self.group.sink.name), size), r, at)
        for n in sums:
            total = reduced("smax" if isinstance(n.op, MaxPool) else "add", accs[n.name][lane(0, lanes)])
            self.cells[n.name] = self.cell(total, self.dtype(n.name))

    def scratch(self, task, at):
        first = task * self.room
        return T.ramp(first + at.base, 1, at.lanes) if isinstance(at, tirx.Ramp) else first + at

    def value(self, name: str, phase: int, task, r, at, size: int, env: dict):
        """Elements `at` of the row of a value; each is computed once."""
        if name not in env:
            n = self.nodes.get(name)
            if n is None:
                found = self.tensors[name].value(r, at if self.wide(name) else 0, dtype=self.dtype(name))
            elif not self.wide(name):
                return self.cells[name][0]
            elif name in self.kept and self.ready[name] < phase:
                found = self.kept[name][self.scratch(task, at)]
            else:
                args = [self.value(a, phase, task, r, at, size, env) for a in n.args]
                found = args[0] if isinstance(n.op, Expand) else self.body.compute(n, [self.types[a] for a in n.args], args, [r, at])
            lanes = kind_of(found)[1]
            if lanes == 1 and size > 1:
                return found
            held = self.k.registers(lanes, kind_of(found)[0])
            T.buffer_store(held, found, [lane(0, lanes)])
            env[name] = held[lane(0, lanes)]
        return env[name]


def reducing(n: Node) -> bool: return isinstance(n.op, (SumPool, MaxPool))


def spread(x, lanes: int): return T.broadcast(x, lanes) if lanes > kind_of(x)[1] else x
