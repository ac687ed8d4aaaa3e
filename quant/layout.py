"""Which steps become one site, which tensors share an encoding, and in which format each tensor travels."""
from collections import Counter
from dataclasses import dataclass, field

from ir import FORMATS, Encoding, NumberFormat, Option, Plan, UserError
from .encode import activation_format
from .net import ROOTS, SPIKES, Net, Step
from .sites.site import bounds, intersect

FUSES = {"conv", "linear", "add", "mul", "matmul", "scale", "avgpool", "function", "layernorm", "rmsnorm"}  # take over a following relu or clip
LAYERS = {"conv", "linear"}
KEEPS = {"maxpool", "reshape", "transpose", "slice", "pad", "relu", "clip"}          # the result has the argument's encoding
SUMS = FUSES - {"function"}                                 # take over a following neuron: one rounding for both
NARROWS = {"conv", "linear", "function", "softmax", "matmul"}  # may have an encoding of their own for what they read
NORMS = {"layernorm", "rmsnorm"}
ELEMENTWISE = {"add", "mul", "scale", "avgpool"}  # what is wide in a net with norms
WIDE = "int16"          # of a residual stream and of what is done to each of its elements: HAWQ-V3 (Yao et al. 2021), section 3
SCORES = "uint8"        # of what a softmax reads, whatever the plan says: its table grows with the codes, its error with the step
OUTPUT = "int16"        # the net's output: one scale for all channels, so that argmax and logits survive
WEIGHT_BITS = 24        # of the integer behind a weight: with more, nothing is left of a requant's multiplier
NEURONS = {"ie_lif": (NumberFormat("spikes", range(SPIKES + 1)), Encoding(1 / SPIKES))}  # functions that define their encoding
TOKENS = "int16"        # what is quantized anew for each token, before it is
DEFAULT = "uint8"       # a tensor that no layer reads, and what sums, products and pools read in a net without norms


@dataclass
class Layout:
    """Tensors by the name of the step that makes them.  A fused relu has no tensor of its own."""
    site_of: dict[str, str] = field(default_factory=dict)    # every step -> the step whose site computes it
    seen_as: dict[str, str] = field(default_factory=dict)    # site -> last step fused into it: where its range was observed
    clamp: dict[str, tuple] = field(default_factory=dict)    # site -> real bounds of what was fused into it
    coding: dict[str, str] = field(default_factory=dict)     # site -> the site whose encoding its result has
    formats: dict[str, NumberFormat] = field(default_factory=dict)  # owner of an encoding -> format
    narrow: dict[str, tuple] = field(default_factory=dict)   # site -> for each argument a format of its own, narrower one, or None
    fixed: dict[str, Encoding] = field(default_factory=dict)        # owner of an encoding -> what it is, whatever was observed
    read: dict[str, str] = field(default_factory=dict)       # site -> the slice that is all that anyone reads of its result

    def ranged_by(self, site: str) -> str:
        """The step whose values the range of the site's result must hold."""
        return self.read.get(site, self.seen_as[site])


def layout(net: Net, plan: Plan) -> Layout:
    """Decide it all.  UserError: a plan that does not fit the net, formats or granularities that cannot be."""
    check(net, plan)
    out = Layout()
    _fuse(net, out)
    for name in dict.fromkeys(out.site_of.values()):
        s = net.steps[name]
        sources = {out.coding[out.site_of[a]] for a in s.args}
        out.coding[name] = sources.pop() if s.kind in KEEPS or s.kind == "concat" and len(sources) == 1 else name
    wishes = Wishes(net, plan)
    asked = _asked(net, wishes, out)
    out.formats = {owner: out.formats.get(owner) or widest(fs) for owner, fs in asked.items()}
    for name in out.coding:
        s = net.steps[name]
        if wish := wishes.of(s) if s.kind in NARROWS else None:
            out.narrow[name] = tuple(wish if owner not in out.fixed and wider(out.formats[owner], wish, s.kind) else None
                                     for owner in (out.coding[out.site_of[a]] for a in s.args))
    return out


def check(net: Net, plan: Plan) -> None:
    """UserError: the plan names other layers than the net has, or an option that cannot be carried out."""
    layers = net.layers
    if plan.model and net.hash and plan.model != net.hash:
        raise UserError(f"the plan was made for the model {plan.model}, this one is {net.hash}; make the plan again")
    if missing := [n for n in layers if n not in plan.options]:
        raise UserError(f"the plan says nothing about {_some(missing)}; every layer of the model needs an option")
    if extra := [n for n in plan.options if n not in layers]:
        raise UserError(f"the plan names {_some(extra)}, which the model does not have (it has {_some(list(layers))})")
    for name, o in plan.options.items():
        check_option(name, o)
        if o.dynamic and layers[name].kind != "linear":
            raise UserError(f"layer {name!r}: {o} asks for a scale for each token, and a convolution reads no tokens; use {o.acts}")
        if o.weight_format.hi.bit_length() >= WEIGHT_BITS:
            raise UserError(f"layer {name!r}: {o.weights} weights are integers of {o.weight_format.hi.bit_length() + 1} bits, more than the "
                            f"{WEIGHT_BITS} that a layer can carry; choose e4m3, e3m2 or int8 (sensitivity and searches take {o.weights})")


def check_option(layer: str, o: Option) -> None:
    """UserError: what the option of this layer asks for cannot be carried out."""
    if o.weights != "-" and o.weight_format.scale and o.granularity:
        raise UserError(f"layer {layer!r}: {o.weights} says its scale itself, there is none to share ({o}); write {o.weights}/{o.acts}")
    if o.dynamic and not (o.act_format.signed and isinstance(o.act_format.grid, range) and not o.act_format.scale):
        raise UserError(f"layer {layer!r}: codes of a token are symmetric about 0 and cannot be {o.acts}; choose int{o.act_format.bits}d")
    if o.weights != "-" and not o.weight_format.signed:
        raise UserError(f"layer {layer!r}: weights are symmetric about 0 and cannot be {o.weights}; "
                        f"choose int{o.weight_format.bits} or another signed format")
    if o.acts != "-":
        activation_format(o.act_format)


def wider(has: NumberFormat, wish: NumberFormat, kind: str) -> bool:
    """Whether a step of this kind reads a tensor in an encoding of its own: a layer in exactly its format, others if it has more bits."""
    return has is not wish if kind in LAYERS else has.bits > wish.bits


def widest(formats: list[NumberFormat]) -> NumberFormat:
    """The format with the most bits; of two as wide, the unsigned one, which has a zero point and holds either sign."""
    return max(formats, key=lambda f: (f.bits, not f.signed))


def _fuse(net: Net, out: Layout) -> None:
    users = net.users()
    for s in net.steps.values():
        neuron = NEURONS.get(s.attrs.get("fn"))
        if s.kind in ("relu", "clip") or neuron:
            root = out.site_of[s.args[0]]
            alone = users[s.args[0]] == [s.name] and s.args[0] != net.output
            fuses = alone and net.steps[root].kind in (SUMS if neuron else FUSES | {"relu", "clip"})
            if neuron:
                out.formats[root if fuses else s.name], out.fixed[root if fuses else s.name] = neuron
            if fuses:
                out.site_of[s.name], out.seen_as[root] = root, s.name
                out.clamp[root] = intersect(out.clamp.get(root, (None, None)), bounds(s))
                continue
            out.clamp[s.name] = bounds(s)
        out.site_of[s.name] = out.seen_as[s.name] = s.name
    for site, last in out.seen_as.items():
        readers = [net.steps[u] for u in users[last]] if last != net.output else []
        if readers and all(r.kind == "slice" and r.attrs == readers[0].attrs for r in readers):
            out.read[site] = readers[0].name


def _asked(net: Net, wishes: "Wishes", out: Layout) -> dict[str, list[NumberFormat]]:
    """Owner of an encoding -> the formats that its readers ask for; a concat passes on what it is asked."""
    asked: dict[str, list[NumberFormat]] = {out.coding[n]: [] for n in out.coding}
    asked[out.coding[out.site_of[net.output]]].append(FORMATS[OUTPUT])
    for name in reversed(out.coding):  # readers come after what they read
        s = net.steps[name]
        if out.coding[name] == name and not asked[name]:
            asked[name].append(FORMATS[DEFAULT])
        for a in dict.fromkeys(s.args):
            owner = out.coding[out.site_of[a]]
            if s.kind == "concat" and owner != out.coding[name]:
                asked[owner].append(widest(asked[name]))
            elif s.kind == "matmul" and wishes.cut(a):
                asked[owner].append(FORMATS[WIDE])
            elif wish := wishes.of(s):
                asked[owner].append(wish)
    return asked


class Wishes:
    """What each step would like to read.

    A layer reads what the plan says.  A product of two activations reads codes of as many bits as the layers have that it comes
    from, the nearest ones: a plan of 4 bits has attention in 4 bits too (as RepQ-ViT, Li et al. 2023).  Where both come out of one
    layer in slices, that layer's result is wide, and each slice gets an encoding of its own.  In a net with norms, sums and other
    steps on single elements read WIDE, as norms do; a softmax reads SCORES, a table DEFAULT.
    """

    def __init__(self, net: Net, plan: Plan):
        self.net, self.plan = net, plan
        self.elementwise = FORMATS[WIDE if any(s.kind in NORMS for s in net.steps.values()) else DEFAULT]
        self.slices = Counter(s.args[0] for s in net.steps.values() if s.kind == "slice")

    def of(self, s: Step) -> NumberFormat | None:
        """None: whatever there is (it moves codes, or the input is integer anyway)."""
        if s.kind in LAYERS:
            return FORMATS[TOKENS] if self.plan[s.name].dynamic else self.plan[s.name].act_format
        if s.kind in NORMS or s.attrs.get("fn") in ROOTS:
            return FORMATS[WIDE]
        if s.kind == "matmul":
            return widest([plain(self.plan[n].act_format) for n in self._sources(s)] or [FORMATS[DEFAULT]])
        if s.kind in ELEMENTWISE:
            return self.elementwise
        return {"softmax": FORMATS[SCORES], "function": FORMATS[DEFAULT]}.get(s.kind)

    def cut(self, name: str) -> bool:
        """Whether a step is one of several slices of a tensor."""
        s = self.net.steps[name]
        while s.kind in KEEPS and not (s.kind == "slice" and self.slices[s.args[0]] > 1):
            s = self.net.steps[s.args[0]]
        return s.kind == "slice"

    def _sources(self, s: Step) -> list[str]:
        """The layers that a step's arguments come from, the nearest on each way."""
        found: dict[str, None] = {}
        todo, seen = list(s.args), set()
        while todo:
            if (name := todo.pop()) in seen:
                continue
            seen.add(name)
            if self.net.steps[name].kind in LAYERS:
                found[name] = None
            else:
                todo += self.net.steps[name].args
        return list(found)


def plain(fmt: NumberFormat) -> NumberFormat:
    """Integers of as many bits, with a sign or without as the format has it."""
    return FORMATS[f"{'int' if fmt.signed else 'uint'}{max(2, fmt.bits)}"]


def _some(names: list[str]) -> str: return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
