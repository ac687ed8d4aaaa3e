"""ir.Graph -> a module of TVM's Relax: kernels, constants, and the order of the calls."""
import numpy as np
import tvm
from tvm import relax, tirx

from ir import Graph, Node, Requant

from .tvm_kernels import Kernel
from .tvm_ops import FUSES, lower
from .words import word


class Emit:
    """What lowering writes to: a Relax function under construction.  A value is a Relax expression of (N, *shape)."""

    def __init__(self, batch: int | None):
        self.builder, self.batch = relax.BlockBuilder(), batch
        self.n = batch or tirx.Var("n", "int64")
        self.about: dict = {}  # value -> (shape without batch, dtype)

    def var(self, name: str, shape, dtype: str):
        v = relax.Var(name, relax.TensorType((self.n, *shape), dtype))
        self.about[v] = tuple(shape), dtype
        return v

    def call(self, xs: list, constants: list[np.ndarray], out, write):
        """The result, of (shape, dtype) `out`, of a new kernel on xs and constants, filled in by write(kernel)."""
        k = Kernel(self.batch, [self.about[x] for x in xs], [(c.shape, str(c.dtype)) for c in constants], out)
        with k.define():
            write(k)
        f = self.builder.add_func(k.func, "kernel")
        held = [relax.const(tvm.runtime.tensor(c)) for c in constants]  # a numpy array of int64 would be narrowed to int32
        y = self.builder.emit(relax.call_tir(f, [*xs, *held], out_ty=relax.TensorType((self.n, *out[0]), out[1])))
        self.about[y] = tuple(out[0]), out[1]
        return y

    def reshape(self, x, shape):
        """The same memory under another shape."""
        if self.about[x][0] == tuple(shape):
            return x
        y = self.builder.emit(relax.op.reshape(x, relax.ShapeExpr((self.n, *shape))))
        self.about[y] = tuple(shape), self.about[x][1]
        return y


def module(g: Graph, batch: int | None = None) -> tvm.IRModule:
    """The Relax module of a graph: one kernel a node, requants with their producers; `main` takes the inputs in order."""
    emit, env, users = Emit(batch), {}, g.users()
    for n in g.inputs:
        env[n.name] = emit.var(n.name, n.type.shape, word(n.type))
    with emit.builder.function("main", [env[n.name] for n in g.inputs]):
        with emit.builder.dataflow():
            for n in g.nodes.values():
                if n.name in env:
                    continue
                fused = _fusable(g, n, users)
                value = lower(emit, n, tuple(g.nodes[a].type for a in n.args), [env[a] for a in n.args], fused)
                env[fused.name if fused else n.name] = value
            out = emit.builder.emit_output(env[g.output.name])
        emit.builder.emit_func_output(out)
    return emit.builder.get()


def _fusable(g: Graph, n: Node, users) -> Node | None:
    """The requant that is the only reader of n, if n can take it into its kernel."""
    if isinstance(n.op, FUSES) and n is not g.output and len(users[n.name]) == 1:
        reader = g.nodes[users[n.name][0]]
        return reader if isinstance(reader.op, Requant) else None
    return None
