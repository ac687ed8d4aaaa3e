"""A LiteX module around qs_system, for who builds a system with LiteX; nothing here imports it."""
from ..design import Design
from .system import CHANNELS, SYSTEM, pins

HEAD = '''"""The design as a LiteX module: stream endpoints for its frames, AXI4-Lite for its registers.

    from litex_qsearch import QSearch
    self.net = QSearch(platform)                                              # in the SoC's __init__
    self.bus.add_slave("net", self.net.bus, SoCRegion(size=256, cached=False))

Feed `sink` and read `source`, for example through LiteX's DMA; `last` ends a frame.  Copy MEMORIES into the folder in which the
gateware is built: its tools look for them there.
"""
from pathlib import Path

from litex.gen import LiteXModule
from litex.soc.interconnect import axi, stream
from migen import ClockSignal, Instance, ResetSignal

HERE = Path(__file__).resolve().parent
MEMORIES = sorted(HERE.parent.glob("*.mem"))


class QSearch(LiteXModule):
    def __init__(self, platform=None):
        self.bus = axi.AXILiteInterface(data_width=32, address_width=8)
'''
TAIL = '''        if platform is not None:
            for line in (HERE / "files.f").read_text().split():
                platform.add_source(str((HERE.parent / line).resolve()))
'''


def module(d: Design) -> str:
    """Python of the LiteX module."""
    ends = {p.name: "sink" if len(d.inputs) == 1 else "sink_" + p.node.replace(".", "_") for p in d.inputs} | {d.output.name: "source"}
    rows = [HEAD.rstrip()]
    for p in [*d.inputs, d.output]:
        about = f"{p.lanes} of {p.type.bits} bits, {p.beats} beats a frame"
        rows.append(f'        self.{ends[p.name]} = stream.Endpoint([("data", {p.data_bits})])  # {about}')
    signals = {}
    for n, _, _ in CHANNELS:
        channel = next(c for c in ("aw", "w", "b", "ar", "r") if n in {c + w for w in ("valid", "ready", "addr", "data", "strb", "resp")})
        signals[f"s_axil_{n}"] = f"self.bus.{channel}.{n[len(channel):]}"
    for port, end in ends.items():
        signals |= {f"{port}_t{w}": f"self.{end}.{w}" for w in ("valid", "ready", "data", "last")}
    wires = [f"            {way}_{n}={signals[n]}," for n, way, _ in pins(d)]
    return "\n".join([*rows, f'        self.specials += Instance(\n            "{SYSTEM}",', "            i_clk_i=ClockSignal(\"sys\"),",
                      "            i_rst_ni=~ResetSignal(\"sys\"),", *wires, "        )", TAIL])
