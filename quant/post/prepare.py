"""Changes of the float net before it is quantized, by name; each leaves what it computes as it was, and they can be chained."""
from collections.abc import Iterable
from dataclasses import replace

from ir import Plan, Registry

from .awq import awq
from .bos import split_constant_rows
from .equalize import absorb, equalize
from ..net import Net
from ..observers import Calibration, calibrate
from .reparam import folded
from .rotate import rotate
from .smooth import smooth

PREPARATIONS: Registry = Registry("preparation")  # name -> f(net, calibration, plan) -> (net, fixed encodings)

PREPARATIONS.register("equalize")(lambda net, calibration, plan: (equalize(net), {}))
PREPARATIONS.register("absorb")(lambda net, calibration, plan: (absorb(net, calibration.x), {}))
PREPARATIONS.register("smooth")(lambda net, calibration, plan: (smooth(net, calibration), {}))
PREPARATIONS.register("awq")(lambda net, calibration, plan: (awq(net, calibration, plan.options), {}))
PREPARATIONS.register("rotate")(lambda net, calibration, plan: (rotate(net), {}))
PREPARATIONS.register("constant-rows")(lambda net, calibration, plan: (split_constant_rows(net, calibration), {}))
PREPARATIONS.register("reparametrise")(lambda net, calibration, plan: folded(net, calibration, plan.options))


def prepare(net: Net, calibration: Calibration, plan: Plan, names: Iterable[str]) -> tuple[Net, Calibration, Plan]:
    """The net after the named changes, one after the other, with a calibration of its own and the plan, now for this net.

    equalize, absorb: quant/post/equalize.py; smooth: SmoothQuant; awq: AWQ's scales; rotate: QuaRot's R1; constant-rows: MixDQ's rows
    that no sample changes; reparametrise: the channel ranges of RepQ-ViT with clipping, where it comes last.
    UserError: an unknown name, or a net that a change does not suit.
    """
    for change in [PREPARATIONS[n] for n in names]:
        net, fixed = change(net, calibration, plan)
        calibration = calibrate(net, calibration.x, calibration.observer)
        calibration.fixed.update(fixed)
        plan = replace(plan, model="")
    return net, calibration, plan
