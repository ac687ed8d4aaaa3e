"""Costs that no device is needed for: memory and operation counts, from the geometry of the layers."""
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import ceil, prod

from ir import Layer, Option, Registry, Table, UserError
from ir.plan import GROUP_BITS

COSTS: Registry = Registry("cost")
BIAS_BYTES, MULTIPLIER_BYTES = 4, 2  # int32 bias and uint16 requant multiplier, one of each for an output channel
MULTIPLY_PJ, ADD_PJ, READ_PJ = 0.2, 0.1, 10.0  # 8 by 8 bits; 32 bits; 64 bits out of 8 KB of SRAM


@dataclass(frozen=True)
class Cost:
    """cost(layer, option) in `unit`; with `share`, the layers' costs are divided by the total share: an average."""
    name: str
    unit: str
    of: Callable[[Layer, Option], float]
    combine: str = "sum"  # or "max": the whole costs as much as its worst layer
    share: Callable[[Layer], int] | None = None

    def __post_init__(self): object.__setattr__(self, "__doc__", self.of.__doc__)

    def __call__(self, layer: Layer, option: Option) -> float: return self.of(layer, option)


def cost(name: str, unit: str, **more):
    """Decorator that enters a function (Layer, Option) -> float among the COSTS."""
    def add(of):
        COSTS.register(name)(Cost(name, unit, of, **more))
        return of
    return add


def inputs(layer: Layer) -> int:
    """Number of input elements of one sample."""
    return layer.in_channels * prod(layer.in_space)


@cost("bytes", "bytes")
def weight_bytes(layer: Layer, option: Option) -> float:
    """Memory of the parameters: weights packed at their code's bits, a bias and a multiplier for each output channel.

    Rounded up to a byte a layer.  One multiplier a layer for `t`; for `g<size>` a factor of GROUP_BITS for each group besides.
    """
    scales = 1 if option.granularity == "t" else layer.out_channels
    groups = layer.out_channels * ceil(layer.fan_in / option.group) if option.group else 0
    packed = ceil(layer.weights * option.weight_format.bits / 8) + ceil(groups * GROUP_BITS / 8)
    return packed + BIAS_BYTES * layer.out_channels + MULTIPLIER_BYTES * scales


@cost("bops", "bit operations")
def bops(layer: Layer, option: Option) -> float:
    """Bit operations of one sample: MACs * weight bits * activation bits (HAWQ-V3, section 3.4)."""
    return layer.macs * option.weight_format.bits * option.act_format.bits


@cost("macs_bits", "bits")
def macs_bits(layer: Layer, option: Option) -> float:
    """MACs of one sample * weight bits: the cycles of hardware that takes its weights bit by bit."""
    return layer.macs * option.weight_format.bits


@cost("input_bytes", "bytes", combine="max")
def input_bytes(layer: Layer, option: Option) -> float:
    """Memory of the layer's input for one sample; the largest counts, as layers run one after the other."""
    return ceil(inputs(layer) * option.act_format.bits / 8)


@cost("wbits", "bits", share=lambda layer: layer.weights)
def weight_bits(layer: Layer, option: Option) -> float:
    """Bits of all weights; as a share, the average number of bits of a weight."""
    return layer.weights * option.weight_format.bits


@cost("abits", "bits", share=inputs)
def act_bits(layer: Layer, option: Option) -> float:
    """Bits of all inputs of layers; as a share, the average number of bits of an activation."""
    return inputs(layer) * option.act_format.bits


@cost("energy_pj", "pJ")
def energy(layer: Layer, option: Option) -> float:
    """Energy of one sample: every MAC multiplies and adds in 32 bits, every weight and input is read once from a small SRAM.

    A model, not a measurement.  Energies of a 45 nm process at 0.9 V: 0.2 pJ for an 8 bit multiplication, 0.1 pJ for a 32 bit
    addition, 10 pJ for 64 bits of an 8 KB SRAM (Horowitz, Computing's energy problem, ISSCC 2014).  We differ: a multiplication is
    scaled by the product of its widths, which gives 3.2 pJ for 32 by 32 bits where the paper has 3.1.
    """
    multiply = MULTIPLY_PJ * option.weight_format.bits * option.act_format.bits / 64
    read = layer.weights * option.weight_format.bits + inputs(layer) * option.act_format.bits
    return layer.macs * (multiply + ADD_PJ) + READ_PJ * read / 64


def cost_tables(layers: Mapping[str, Layer], options: Mapping[str, Iterable[str]], names: Iterable[str] = ("bytes", "bops", "wbits"),
                about: dict | None = None) -> dict[str, Table]:
    """{name: cost table} over `options`, {layer: option texts}; a budget bounds the sum of a table (or its maximum)."""
    if unknown := [k for k in options if k not in layers]:
        raise UserError(f"no layer {unknown[0]!r} in the model (it has {', '.join(layers)})")
    tables = {}
    for name in names:
        c = COSTS[name]
        whole = sum(c.share(layers[k]) for k in options) if c.share else 1
        paid = {k: {o: c(layers[k], Option.parse(o)) for o in options[k]} for k in options}
        rows = {k: {o: v / whole for o, v in row.items()} for k, row in paid.items()} if c.share else paid
        share = {"share": {k: c.share(layers[k]) / whole for k in options}} if c.share else {}  # of each layer in the average
        tables[name] = Table(name, "cost", rows, c.unit, {"combine": c.combine} | share | (about or {}))
    return tables
