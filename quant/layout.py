"""Which steps become one site, which tensors share an encoding, and in which format each tensor travels."""
from dataclasses import dataclass, field

from ir import FORMATS, Encoding, NumberFormat, Option, Plan, UserError
from .encode import activation_format
from .net import SPIKES, Net, Step
from .sites import bounds, intersect

FUSES = {"conv", "linear", "add", "mul", "matmul", "scale", "avgpool", "function"}  # take over a following relu or clip
KEEPS = {"maxpool", "reshape", "transpose", "slice", "pad", "relu", "clip"}          # the result has the argument's encoding
SUMS = FUSES - {"function"}                                 # take over a following neuron: one rounding for both
FLOAT_KINDS = {"softmax", "layernorm", "rmsnorm", "constant"}  # steps that only the float net can compute
FLOAT_FUNCTIONS = {"sqrt", "rsqrt"}                             # tables would need values at 0 and below
TABLE_BITS = 8          # of the input of a table
OUTPUT = "int16"        # the net's output: one scale for all channels, so that argmax and logits survive
WEIGHT_BITS = 24        # of the integer behind a weight: with more, nothing is left of a requant's multiplier
NEURONS = {"ie_lif": (NumberFormat("spikes", range(SPIKES + 1)), Encoding(1 / SPIKES))}  # functions that define their encoding
DEFAULT = "uint8"       # a tensor that no layer reads, and what sums, products and pools read


@dataclass
class Layout:
    """Tensors by the name of the step that makes them.  A fused relu has no tensor of its own."""
    site_of: dict[str, str] = field(default_factory=dict)    # every step -> the step whose site computes it
    seen_as: dict[str, str] = field(default_factory=dict)    # site -> last step fused into it: where its range was observed
    clamp: dict[str, tuple] = field(default_factory=dict)    # site -> real bounds of what was fused into it
    coding: dict[str, str] = field(default_factory=dict)     # site -> the site whose encoding its result has
    formats: dict[str, NumberFormat] = field(default_factory=dict)  # owner of an encoding -> format
    narrow: dict[str, NumberFormat] = field(default_factory=dict)   # site -> format of its own, narrower input
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
        out.coding[name] = out.coding[out.site_of[s.args[0]]] if s.kind in KEEPS else name
    asked = _asked(net, plan, out)
    out.formats = {owner: out.formats.get(owner) or widest(fs) for owner, fs in asked.items()}
    for name in out.coding:
        s = net.steps[name]
        wish = _wish(s, plan)
        if wish and s.kind in ("conv", "linear", "function"):
            owner = out.coding[out.site_of[s.args[0]]]
            has = out.formats[owner]
            if owner not in out.fixed and ((has.bits > TABLE_BITS) if s.kind == "function" else has is not wish):
                out.narrow[name] = wish
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
        if o.weight_format.hi.bit_length() >= WEIGHT_BITS:
            raise UserError(f"layer {name!r}: {o.weights} weights are integers of {o.weight_format.hi.bit_length() + 1} bits, more than the "
                            f"{WEIGHT_BITS} that a layer can carry; choose e4m3, e3m2 or int8 (sensitivity and searches take {o.weights})")
    for s in net.steps.values():
        if s.kind in FLOAT_KINDS or s.attrs.get("fn") in FLOAT_FUNCTIONS:
            raise UserError(f"step {s.name!r}: no integer form of {s.attrs.get('fn', s.kind)} exists yet; "
                            "sensitivity of this model can be measured, but quantize cannot carry it out")


def check_option(layer: str, o: Option) -> None:
    """UserError: what the option of this layer asks for cannot be carried out."""
    if o.granularity.startswith("g"):
        raise UserError(f"layer {layer!r}: {o} asks for a scale for each {o.granularity[1:]} inputs; "
                        f"use a scale for each channel ({o.weights}/{o.acts}) or for the tensor ({o.weights}t/{o.acts})")
    if o.weights != "-" and not o.weight_format.signed:
        raise UserError(f"layer {layer!r}: weights are symmetric about 0 and cannot be {o.weights}; "
                        f"choose int{o.weight_format.bits} or another signed format")
    if o.acts != "-":
        activation_format(o.act_format)


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


def _asked(net: Net, plan: Plan, out: Layout) -> dict[str, list[NumberFormat]]:
    """Owner of an encoding -> the formats that its readers ask for; a concat passes on what it is asked."""
    asked: dict[str, list[NumberFormat]] = {out.coding[n]: [] for n in out.coding}
    asked[out.coding[out.site_of[net.output]]].append(FORMATS[OUTPUT])
    for name in reversed(out.coding):  # readers come after what they read
        s = net.steps[name]
        if out.coding[name] == name and not asked[name]:
            asked[name].append(FORMATS[DEFAULT])
        for a in dict.fromkeys(s.args):
            owner = out.coding[out.site_of[a]]
            if s.kind == "concat":
                asked[owner].append(widest(asked[name]))
            elif wish := _wish(s, plan):
                asked[owner].append(wish)
    return asked


def _wish(s: Step, plan: Plan) -> NumberFormat | None:
    """What a step would like to read; None: whatever there is (it moves codes, or the input is integer anyway)."""
    if s.kind in ("conv", "linear"):
        return plan[s.name].act_format
    return None if s.kind in KEEPS | {"concat", "embedding", "input"} else FORMATS[DEFAULT]


def _some(names: list[str]) -> str: return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
