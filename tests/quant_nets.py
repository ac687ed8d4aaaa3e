"""Small hand-made float nets that between them hold every kind of step."""
import math

import torch

from quant import Net, Step

PADS = ((0, 0), (0, 0))


class Maker:
    """Collects steps; each method appends one and returns its name."""

    def __init__(self, *shape: int, seed: int = 0):
        self.rng = torch.Generator().manual_seed(seed)
        self.steps: dict[str, Step] = {}
        self.add("x", "input", (), shape)

    def add(self, name, kind, args, size, weight=None, bias=None, **attrs) -> str:
        self.steps[name] = Step(name, kind, (args,) if isinstance(args, str) else args, tuple(size), attrs, weight, bias)
        return name

    def rand(self, *shape, scale=1.0): return torch.randn(*shape, generator=self.rng) * scale

    def shape(self, name): return self.steps[name].shape

    def conv(self, name, x, out, k=3, stride=1, groups=1, dilation=1, same=True) -> str:
        c, *space = self.shape(x)
        n, reach = len(space), dilation * (k - 1)
        pad = ((reach // 2, reach - reach // 2),) * n if same else ((0, 0),) * n
        shape = [(s + sum(p) - reach - 1) // stride + 1 for s, p in zip(space, pad)]
        w = self.rand(out, c // groups, *[k] * n, scale=(c // groups * k ** n) ** -0.5)
        return self.add(name, "conv", x, (out, *shape), w, self.rand(out, scale=0.2), stride=(stride,) * n, padding=pad, dilation=(dilation,) * n,
                        groups=groups)

    def linear(self, name, x, out) -> str:
        *rest, i = self.shape(x)
        return self.add(name, "linear", x, (*rest, out), self.rand(out, i, scale=i ** -0.5), self.rand(out, scale=0.2))

    def same(self, name, kind, *args, **attrs) -> str: return self.add(name, kind, args, self.shape(args[0]), **attrs)

    def pool(self, name, kind, x, k, stride, padding=PADS) -> str:
        c, *space = self.shape(x)
        shape = [(s + sum(p) - k) // stride + 1 for s, p in zip(space, padding)]
        return self.add(name, kind, x, (c, *shape), kernel=(k,) * len(space), stride=(stride,) * len(space), padding=padding)

    def reshape(self, name, x, *shape) -> str: return self.add(name, "reshape", x, shape, shape=shape)

    def transpose(self, name, x, *perm) -> str:
        return self.add(name, "transpose", x, [self.shape(x)[p] for p in perm], perm=perm)

    def net(self) -> Net: return Net(self.steps, next(reversed(self.steps)), "")


def residual() -> Net:
    """Convolutions with relu and relu6, a residual sum, a stride, depthwise and grouped, mean, classifier."""
    m = Maker(3, 8, 8)
    a = m.same("relu1", "relu", m.conv("conv1", "x", 8))
    b = m.conv("conv2", a, 8)
    s = m.same("relu2", "relu", m.same("sum", "add", b, a))
    d = m.same("relu6", "clip", m.conv("depthwise", s, 8, stride=2, groups=8), lo=0.0, hi=6.0)
    g = m.conv("grouped", d, 12, groups=4, dilation=2)
    p = m.pool("mean", "avgpool", g, 4, 4)
    m.linear("head.fc", m.reshape("flat", p, 12), 5)
    return m.net()


def branches() -> Net:
    """Concat of arms that differ in range, pools of both kinds with padding, tables, slice, pad, affine, a product."""
    m = Maker(4, 9, 9, seed=1)
    a = m.same("silu", "function", m.conv("stem", "x", 6), fn="silu")
    b = m.pool("max", "maxpool", a, 3, 2, ((1, 1), (1, 1)))
    c = m.pool("avg", "avgpool", a, 3, 2, ((1, 1), (1, 1)))
    cat = m.add("cat", "concat", (b, m.conv("wide", c, 4)), (10, 5, 5), axis=0)
    bn = m.same("bn", "scale", cat, weight=m.rand(10), bias=m.rand(10), axis=0)
    gate = m.same("gate", "function", m.conv("gating", bn, 10, k=1), fn="sigmoid")
    y = m.same("se", "mul", bn, gate)
    y = m.add("crop", "slice", y, (10, 4, 2), start=(0, 1, 0), stop=(10, 5, 4), step=(1, 1, 2))
    y = m.add("edge", "pad", y, (10, 6, 4), padding=((0, 0), (1, 1), (0, 2)), value=0.0)
    y = m.same("relu", "relu", y)
    y = m.same("hard", "clip", m.conv("last", y, 4, same=False), lo=-0.5, hi=None)
    m.same("leaky", "function", m.reshape("flat", y, 4 * 4 * 2), fn="leaky_relu", slope=0.1)
    return m.net()


def attention() -> Net:
    """Embedding, linear over the last axis, two products of activations, a mean over tokens."""
    m = Maker(6, seed=2)
    e = m.add("embed", "embedding", "x", (6, 8), weight=m.rand(11, 8))
    q, k, v = (m.linear(f"to_{s}", e, 8) for s in "qkv")
    scores = m.add("scores", "matmul", (q, m.transpose("kt", k, 1, 0)), (6, 6))
    soft = m.same("soft", "function", scores, fn="sigmoid")
    y = m.add("mix", "matmul", (soft, v), (6, 8))
    y = m.same("skip", "add", y, e)
    y = m.same("gelu", "function", m.linear("up", y, 16), fn="gelu")
    y = m.same("affine", "scale", m.linear("down", y, 8), weight=m.rand(8), bias=m.rand(8), axis=1)
    y = m.pool("mean", "avgpool", m.transpose("t", y, 1, 0), 6, 6, ((0, 0),))
    m.linear("head", m.reshape("flat", y, 8), 3)
    return m.net()


def sequence() -> Net:
    """One spatial axis: convolution, pools, a square (both arguments the same tensor), output right after a relu."""
    m = Maker(2, 20, seed=3)
    a = m.same("relu", "relu", m.conv("conv", "x", 5, k=5, stride=2))
    b = m.pool("max", "maxpool", a, 2, 2, ((0, 0),))
    c = m.same("square", "mul", b, b)
    m.same("out", "relu", m.linear("fc", m.reshape("flat", c, math.prod(m.shape(c))), 4))
    return m.net()


NETS = {f.__name__: f for f in (residual, branches, attention, sequence)}


def images(net: Net, count: int = 32, seed: int = 9) -> torch.Tensor:
    """Calibration data that suits the net's input: reals, or indices for an embedding."""
    rng = torch.Generator().manual_seed(seed)
    if any(s.kind == "embedding" for s in net.steps.values()):
        return torch.randint(0, 11, (count, *net.input.shape), generator=rng).float()
    return torch.randn(count, *net.input.shape, generator=rng)
