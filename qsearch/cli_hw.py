"""The verb that takes a hardware design further: synthesis, place and route."""
from pathlib import Path
from typing import Annotated

import typer

from ir import UserError

from .cli_search import screen

Build = Annotated[Path, typer.Argument(help="folder of a SystemVerilog design")]
SHOWN = ("device", "lut", "ff", "carry", "dsp", "bram")


def synth(build: Build,
          device: Annotated[str, typer.Option(help="an FPGA of `qsearch list targets`")] = "ecp5-85k",
          route: Annotated[bool, typer.Option("--route/--no-route", help="place and route, where nextpnr knows the device")] = True,
          pack: Annotated[bool, typer.Option("--pack", help="pack only: the cells that a placer would take, in seconds, and no clock")] = False,
          clock: Annotated[float, typer.Option(help="MHz to aim at; 0: the target's")] = 0.0,
          seed: Annotated[int, typer.Option(help="of the placer")] = 1,
          limit: Annotated[float, typer.Option(help="seconds for everything")] = 3600.0) -> None:
    """LUT, FF, carry, DSP, BRAM and the clock frequency of a design, layer by layer."""
    import hw
    r = hw.synth_design(build, device, limit_s=limit, route=route, pack=pack, seed=seed, clock_mhz=clock or None, write=True, step=screen.step)
    row = {k: r[k] for k in SHOWN} | {"fullest": f"{r['fullest']:.1%}", "fits": "yes" if r["fits"] else "no"}
    screen.table("", [row | ({"fmax_mhz": r["fmax_mhz"]} if r.get("fmax_mhz") else {})])
    screen.table("", r["layers"])
    if "packed" in r:
        print("packed: " + ", ".join(f"{n:,} of {of:,} {cell}" for cell, (n, of) in r["packed"].items()) +
              "; in it the harness: " + ", ".join(f"{n} {k.upper()}" for k, n in r["harness"].items()))
    if r.get("critical"):
        print(f"slowest path: {r['critical']}")
    if r["fits"] and route and "packed" not in r:
        print(f"nextpnr does not know {r['device']}: these are counts after mapping, and no clock frequency is told")
    print(f"everything is in {build / 'synth' / r['device']}.json and the folder beside it")
    if not r["fits"]:
        raise UserError(f"{r['why']}; take a larger device or fold the design more")
