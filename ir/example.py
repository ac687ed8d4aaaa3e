"""A graph of one layer alone, to be measured before anything is quantized: its geometry, an option, typical weights."""
import numpy as np

from .errors import UserError
from .graph import Graph
from .opset import Conv, Dense, Input, Ints, Requant
from .layers import Layer
from .plan import GROUP_BITS, Option

SPREAD = 3.0   # typical weights: a normal distribution whose 3 sigma are the format's largest value
MUL_BITS = 15  # of a requant's multiplier


def example(layer: Layer, o: Option, shift: int | None = None) -> Graph:
    """Input "x", products "layer", requant "y" to the option's activation format; weights are seeded, biases are 0.

    shift: of the requant; by default such that the widest sum just fills the activation format.
    """
    acts, weights = o.act_format, o.weight_format
    r = np.random.default_rng(0)
    shape = (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel)
    w = weights.nearest(r.standard_normal(shape) * (weights.hi / SPREAD)).astype(np.int64)
    w.flat[0] = weights.lo
    if o.group:  # factors as the scales of groups have them
        factors = r.integers(1, 1 << GROUP_BITS, (len(w), -(-layer.fan_in // o.group)))
        w *= factors.repeat(o.group, 1)[:, :layer.fan_in].reshape(w.shape)
    bias = np.zeros(layer.out_channels, np.int64)
    g = Graph()
    shape = (layer.in_channels, *layer.in_space) if layer.kind == "conv" else (*layer.in_space, layer.in_channels)
    g.add("x", Input(Ints(shape, acts.lo, acts.hi)))
    if layer.kind == "conv":
        pad = [max(0, (n - 1) * s + k - i) for n, s, k, i in zip(layer.out_space, layer.stride, layer.kernel, layer.in_space)]
        g.add("layer", Conv(w, bias, layer.stride, tuple((p // 2, p - p // 2) for p in pad), (1,) * len(pad), layer.groups), "x")
    else:
        g.add("layer", Dense(w, bias), "x")
    mul = np.full(layer.out_channels, (1 << MUL_BITS) - 1) - np.arange(layer.out_channels) % 7
    if shift is None:
        shift = max(0, g.output.type.bits + MUL_BITS - acts.bits)
    mul = mul[:1] if o.granularity == "t" else mul
    g.add("y", Requant(mul, shift, 0, acts.lo, acts.hi, 0 if layer.kind == "conv" else -1), "layer")
    return g


def menus(layers: dict[str, Layer], options: dict, target: str) -> dict[str, list[str]]:
    """Of each layer in `options` ({layer: option texts}) those that an integer graph can carry out.

    UserError: a layer that is not among `layers`, or one that is left without any option.
    """
    if unknown := [k for k in options if k not in layers]:
        raise UserError(f"no layer {unknown[0]!r} in the model (it has {', '.join(layers)})")
    out = {}
    for name, menu in options.items():
        refused = {str(o): why for o in menu if (why := refusal(Option.parse(str(o))))}
        out[name] = [str(o) for o in menu if str(o) not in refused]
        if not out[name]:
            text, why = next(iter(refused.items()), ("(none)", "no option was offered"))
            raise UserError(f"layer {name!r}: none of its options can run on {target}; {text}: {why}; "
                            "offer one such as int8/uint8")
    return out


def refusal(o: Option) -> str:
    """Why no layer can run with the option in integers; "" if one can."""
    if not o.whole:
        return "one side is left in float"
    if o.dynamic:
        return "the scale of each token is part of no layer alone; measure the whole network"
    if not o.weight_format.signed:
        return f"weights are symmetric about 0 and cannot be {o.weights}"
    if not isinstance(o.act_format.grid, range):
        return f"activations cannot be {o.acts}, its grid has gaps"
    return ""
