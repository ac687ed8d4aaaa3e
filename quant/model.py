"""The quantized net: trained like a module, computed like the graph, and lowered to it."""
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from ir import Encoding, Graph, Input, Ints, NumberFormat, Plan, UserError
from ir import rewrite
from .sites import site_layers, site_norms, site_softmax, site_steps  # noqa: F401  (their classes enter SITES)
from .emit import Emitter, Forward, Lower, Value
from .encode import Coding
from .layout import check, layout
from .sites.logsqrt2 import better
from .net import Net
from .observers import Calibration
from .scores import absorb
from .sites.site_layers import Layer
from .sites.site_softmax import LOG_BITS, powers
from .sites.site_tokens import TokenDense
from .sites.site import SITES, Site


class QuantNet(nn.Module):
    """Sites in topological order.  Between them travel integers, held as floats; each tensor has one encoding.

    forward(x)            float (N, *input.shape) -> float (N, *output.shape), with gradients
    forward_integers(q)   codes -> codes of the output, or with keep=True of every node of the graph before rewriting
    encode(x), decode(q)  reals to input codes, output codes to reals
    lower()               the same integers as a graph
    """

    def __init__(self, net: Net, plan: Plan, calibration: Calibration, weight_range: str = "mse"):
        super().__init__()
        if net.hash and calibration.model and net.hash != calibration.model:
            raise UserError(f"the calibration was made with the model {calibration.model}, this one is {net.hash}; calibrate again")
        check(net, plan)
        net = absorb(net)
        self.net, self.plan, self.layout = net, plan, layout(net, plan)
        self.args = {n: tuple(self.layout.site_of[a] for a in net.steps[n].args) for n in self.layout.coding}
        codings = {owner: self._coding(owner, fmt, calibration) for owner, fmt in self.layout.formats.items()}
        self.input_name, self.output_name = net.input.name, self.layout.site_of[net.output]
        self.codings = {n: codings[owner] for n, owner in self.layout.coding.items()}
        self.sites = nn.ModuleList(self._site(n, calibration, weight_range) for n in self.layout.coding if n != self.input_name)
        self.input = self.codings[self.input_name]
        self.integer_input = self.input.fmt.name == "index"

    @property
    def layers(self) -> dict[str, Layer]: return {s.name: s for s in self.sites if isinstance(s, Layer)}

    @property
    def output(self) -> Coding: return self.codings[self.output_name]

    def encode(self, x: torch.Tensor) -> torch.Tensor: return self.input.encode(x)

    def decode(self, q: torch.Tensor) -> torch.Tensor: return self.output.decode(q)

    def forward(self, x: torch.Tensor) -> torch.Tensor: return self.decode(self.forward_integers(self.encode(x)))

    def forward_integers(self, q: torch.Tensor, keep: bool = False):
        e = Forward(keep)
        y = self.build(e, Value(q, self.input_type))
        return {self.input_name: q, **e.values} if keep else y.data

    def lower(self) -> Graph:
        """The graph of every site, after ir.rewrite.simplify; encodings of the input and of the output are in it."""
        g = Graph()
        g.add(self.input_name, Input(self.input_type))
        g.result = self.build(Lower(g), Value(self.input_name, self.input_type)).data
        g.encodings = {self.input_name: self.input.encoding, g.result: self.output.encoding}
        return rewrite.simplify(g)

    def build(self, e: Emitter, x: Value) -> Value:
        """Every site, told to an emitter; values are let go after their last reader."""
        env = {self.input_name: x}
        for _ in self.steps(e, env):
            pass
        return env[self.output_name]

    def steps(self, e: Emitter, env: dict[str, Value]) -> Iterator[Site]:
        """Yields each site just before it is built into `env`: what changes it there (rounding, bias) takes effect."""
        last = {a: n for n in self.args for a in self.args[n]}
        e.start(env[self.input_name])
        for s in self.sites:
            yield s
            env[s.name] = s.build(e, *[env[a] for a in self.args[s.name]])
            for a in self.args[s.name]:
                if last[a] == s.name and a != self.output_name:
                    env.pop(a, None)

    @property
    def input_type(self) -> Ints: return self.input.type(self.net.input.shape)

    def _coding(self, owner: str, fmt: NumberFormat, calibration: Calibration) -> Coding:
        if owner == self.net.input.name and (rows := index_rows(self.net)):
            return Coding(NumberFormat("index", range(rows)), Encoding(1.0)).requires_grad_(False)
        if owner in self.layout.fixed:
            return Coding(fmt, self.layout.fixed[owner]).requires_grad_(False)
        step = self.net.steps[owner]
        if step.kind == "softmax" and fmt.bits <= LOG_BITS and better(sample := calibration.stats[owner].sample, fmt.bits):
            return powers(sample, fmt.bits, int(np.prod(step.shape)))
        return Coding(fmt, calibration.encoding(self.layout.ranged_by(owner), fmt), int(np.prod(step.shape)))

    def _narrow(self, arg: str, fmt: NumberFormat, calibration: Calibration) -> Coding:
        """An encoding for one reader of a wider tensor, of the range that this reader sees."""
        return Coding(fmt, calibration.encoding(self.layout.ranged_by(arg), fmt), int(np.prod(self.net.steps[arg].shape)))

    def _site(self, name: str, calibration: Calibration, weight_range: str) -> Site:
        step = self.net.steps[name]
        options = {}
        if step.kind in ("conv", "linear"):
            option = self.plan[name]
            options = dict(fmt=option.weight_format, how=weight_range, per_channel=option.granularity != "t", group=option.group)
        if any(fmts := self.layout.narrow.get(name, ())):
            own = tuple(fmt and self._narrow(a, fmt, calibration) for a, fmt in zip(self.args[name], fmts))
            options["narrow"] = own if step.kind == "matmul" else own[0]
        ins = [self.codings[a] for a in self.args[name]]
        kind = SITES[step.kind]
        if step.kind == "linear" and self.plan[name].dynamic:
            kind, options["acts"] = TokenDense, self.plan[name].act_format
        return kind(step, ins, self.codings[name], self.layout.clamp.get(name, (None, None)), **options)


def index_rows(net: Net) -> int:
    """How many values an integer input has (the rows of the smallest embedding that reads it); 0 for a real input."""
    users = net.users()
    readers, todo = [], [net.input.name]
    while todo:  # through what merely moves the indices
        for u in users[todo.pop()]:
            s = net.steps[u]
            todo += [u] if s.kind in ("reshape", "slice", "transpose") else []
            readers += [] if s.kind in ("reshape", "slice", "transpose") else [s]
    tables = [len(s.weight) for s in readers if s.kind == "embedding"]
    if tables and len(tables) < len(readers):
        raise UserError("the input is read by an embedding and by other steps; give the model two inputs")
    return min(tables, default=0)
