"""The page that lies in every design's folder."""
from ir import Graph

from ..dataflow.orders import flow_shape
from ..design import Design, Port

KINDS = {"dataflow": "a streaming dataflow: each node of the graph is a unit of its own, and frames follow each other through them",
         "unrolled": "one pipeline of adders with the weights built in: a frame can enter in every cycle in which its beats do",
         "core": "a sequential core: a microprogram (program.txt) leads one array of multipliers through the graph, node after node"}
PAGE = """# A design made by qsearch

This is {kind}.
One frame takes {interval:,} cycles: {rate:,.1f} a second at 50 MHz.

## Streams

AXI4-Stream; element 0 of a beat in the lowest bits, TDATA filled with zeros to whole bytes, TLAST at the end of each frame.

| stream | value | elements a beat | bits | TDATA | beats a frame | a frame, outermost axis first |
|---|---|---|---|---|---|---|
{ports}

`clk_i` and `rst_ni` (active low, asynchronous) serve all. A frame that ends too early is filled up with zeros, one that is too
long is cut; either way `frame_error_o` stays high until `frame_clear_i`, and the next frame is whole again. With the parameter
`CheckLast` 0, TLAST is ignored.

## Files

| file | what |
|---|---|
| `qs_top.sv`, `rtl/` | the design: SystemVerilog that any tool reads |
| `*.mem` | weights and tables, read by `$readmemh`: tools look for them in the folder in which they run |
| `system/qs_system.sv`, `system/qs_axil.sv` | the design as a peripheral: AXI4-Lite registers for state, errors, reset, counters |
| `system/files.f` | every source of that peripheral, in order |
| `system/clock.lpf`, `.pcf`, `.xdc` | the clock, for nextpnr (ECP5, iCE40) and the tools of AMD |
| `system/litex_qsearch.py` | the peripheral as a LiteX module |
| `graph.json`, `weights.npz` | the integer graph: what the design computes |
| `manifest.json` | streams, cycles and folding of each node |
| `run.py`, `test_design.py`, `bench/` | a cocotb test, where the design was shipped with one |

## Commands

```
python run.py                        simulate: frames, stalls, resets
qsearch sim . --data DATA --layers   the same with other data, every layer compared
qsearch synth . --device ecp5-85k    LUT, FF, DSP, BRAM, Fmax, layer by layer
```

## Graph

```
{graph}
```
"""


def readme(d: Design, g: Graph) -> str:
    """Markdown: what the design is, its streams, its files, how it is simulated and synthesized."""
    return PAGE.format(kind=KINDS[d.kind], interval=d.interval, rate=5e7 / d.interval, ports="\n".join(map(_row, [*d.inputs, d.output])), graph=g)


def _row(p: Port) -> str:
    shape, sign = p.type.shape, "signed" if p.type.signed else "unsigned"
    order = " x ".join(f"{n} (axis {k})" for n, k in zip(flow_shape(shape, p.inner), flow_shape(tuple(range(len(shape))), p.inner)))
    return f"| `{p.name}` | {p.node} | {p.lanes} | {p.type.bits}, {sign} | {p.data_bits} | {p.beats} | {order} |"
