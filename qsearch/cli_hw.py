"""The verbs that take a build further: it is simulated; synthesis, place and route of a design."""
from pathlib import Path
from typing import Annotated

import typer

from ir import UserError

from .cli_args import Seed
from .cli_search import screen
from .data import load_data

Build = Annotated[Path, typer.Argument(help="folder of a SystemVerilog design")]
SHOWN = ("device", "lut", "ff", "carry", "dsp", "bram")


def simulate(build: Annotated[Path, typer.Argument(help="what `qsearch compile` wrote")],
             data: Annotated[str, typer.Option("--data", "-d", help="as of `compile`; a design can do without: extremes and random frames")] = "",
             samples: Annotated[int, typer.Option("--samples", "--frames", help="how many samples")] = 3,
             stalls: Annotated[float, typer.Option(help="part of the cycles in which either side of a design stands still")] = 0.0,
             reset: Annotated[bool, typer.Option("--reset", help="reset a design in a frame, at a random cycle, and play all again")] = False,
             reset_at: Annotated[int, typer.Option(help="the same, after so many cycles")] = 0,
             layers: Annotated[bool, typer.Option("--layers", help="compare the values of every layer of a design")] = False,
             waves: Annotated[Path | None, typer.Option(help="a .fst or .vcd file to write")] = None,
             clock: Annotated[float, typer.Option(help="MHz that cycles are turned into time with; 0: the target's")] = 0.0,
             prompt: Annotated[str, typer.Option(help="of a language model's core: the text that it goes on with")] = "",
             tokens: Annotated[int, typer.Option("--tokens", "-n", help="of a core: tokens to make")] = 50,
             top_k: Annotated[int, typer.Option(help="of a core: candidates of a draw; 1 takes the likeliest")] = 1,
             temperature: Annotated[float, typer.Option(help="of a core's draws")] = 1.0,
             latency: Annotated[int, typer.Option(help="of a core's outer memory: cycles from a request to its first beat")] = 0,
             share: Annotated[float, typer.Option(help="of a core's outer memory: part of the cycles in which it has a beat")] = 1.0,
             taps: Annotated[bool, typer.Option("--taps", help="of a core: compare every value that its taps show")] = False,
             seed: Seed = 0) -> None:
    """Run a build on samples, compare every value with the reference, and count cycles; of a design, by stage.

    A language model's core goes on with a text: --prompt.
    """
    from . import lm_simulating, simulating, steps
    if simulating.is_lm(build):
        other = {"--data": data, "--reset": reset, "--reset-at": reset_at, "--layers": layers, "--waves": waves}
        if used := next((k for k, v in other.items() if v), None):
            raise UserError(f"{used} is not for language models' cores; give --prompt, --tokens, --taps, --stalls, --latency, --share")
        text = lm_simulating.Text(prompt, tokens, top_k, temperature, seed, stalls, latency, share, taps, clock)
        if wrong := lm_simulating.simulate(build, text, screen):
            raise UserError(f"{build}: {wrong}; this is a defect, please report it with the folder")
        return
    if prompt or taps:
        raise UserError(f"{'--prompt' if prompt else '--taps'} is for language models' cores; {build} holds none")
    if samples < 1:
        raise UserError(f"--samples {samples}: give at least one")
    options = simulating.SimOptions(stalls, seed, reset, reset_at, layers, waves, clock)
    given = {"--stalls": stalls, "--reset": reset, "--reset-at": reset_at, "--layers": layers, "--waves": waves, "--clock": clock}
    if simulating.is_design(build):
        wrong = simulating.simulate(build, load_data(data, samples) if data else None, samples, options, screen)
    elif used := next((k for k, v in given.items() if v), None):
        raise UserError(f"{used} is for SystemVerilog designs; {build} holds none")
    elif not data:
        raise UserError(f"{build} is run on samples; give --data")
    else:
        r = steps.check(build, load_data(data, samples), screen)
        screen.table("", [r])
        wrong = r["mismatches"] and f"{r['mismatches']} values differ from the reference"
    if wrong:
        raise UserError(f"{build}: {wrong}; this is a defect, please report it with the folder")


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
        print("packed, with the harness around it: " + ", ".join(f"{n:,} of {of:,} {cell}" for cell, (n, of) in r["packed"].items()) +
              "; the harness: " + ", ".join(f"{n} {k.upper()}" for k, n in r["harness"].items()))
    if r.get("critical"):
        print(f"slowest path: {r['critical']}")
    if r["fits"] and route and "packed" not in r:
        print(f"nextpnr does not know {r['device']}: these are counts after mapping, and no clock frequency is told")
    print(f"everything is in {build / 'synth' / r['device']}.json and the folder beside it")
    if not r["fits"]:
        raise UserError(f"{r['why']}; take a larger device or fold the design more")
