"""The bench around a language-model core: its registers and streams are the bench's ports, memories and recorders stand within.

    weights<e>.mem   in: the outer memory of engine e, a beat a line
    tap<g>.hex       out, if taps are asked for: a line for each beat of group g
    stream.hex       out: a line for each beat of m_axis_tap
"""
from collections.abc import Mapping
from dataclasses import dataclass

TAP_GROUPS = 16
SETTINGS = {"seed_i": 32, "often_i": 8, "latency_i": 16, "share_i": 8, "mute_i": 32, "bad_i": 32}  # what a run may change: port -> width
STREAM_OF_TAPS = "stream.hex"
DRIVEN = """  input  logic        clk_i,
  input  logic        rst_ni,
{settings}  input  logic        s_axil_awvalid,
  output logic        s_axil_awready,
  input  logic [7:0]  s_axil_awaddr,
  input  logic        s_axil_wvalid,
  output logic        s_axil_wready,
  input  logic [31:0] s_axil_wdata,
  input  logic [3:0]  s_axil_wstrb,
  output logic        s_axil_bvalid,
  input  logic        s_axil_bready,
  output logic [1:0]  s_axil_bresp,
  input  logic        s_axil_arvalid,
  output logic        s_axil_arready,
  input  logic [7:0]  s_axil_araddr,
  output logic        s_axil_rvalid,
  input  logic        s_axil_rready,
  output logic [31:0] s_axil_rdata,
  output logic [1:0]  s_axil_rresp,
  input  logic        s_axis_tvalid,
  output logic        s_axis_tready,
  input  logic [31:0] s_axis_tdata,
  input  logic        s_axis_tlast,
  output logic        m_axis_tvalid,
  input  logic        m_axis_tready,
  output logic [31:0] m_axis_tdata,
  output logic        m_axis_tlast"""
PORTS = [line.rstrip(",").split()[-1] for line in DRIVEN.splitlines() if "settings" not in line] + ["s_axil_awvalid"]
AXI = {"arvalid": "1", "arready": "1", "araddr": "Addr", "arlen": "8", "arsize": "3", "arburst": "2", "rvalid": "1", "rready": "1", "rdata": "Beat",
       "rresp": "2", "rlast": "1"}  # signal -> bits of an engine


@dataclass(frozen=True)
class Bench:
    """What a bench is made of: the module and its parameters, engines, widths of a beat of weights, of an address and of a tap.

    memory_beats: of each outer memory, 0 where the weights are on the chip; taps: whether they are recorded.
    """
    top: str
    params: Mapping[str, int | str]
    engines: int
    beat_bits: int
    tap_bits: int
    memory_beats: int = 0
    addr_bits: int = 32
    taps: bool = True


def text(b: Bench) -> str:
    """Module qs_bench."""
    settings = "".join(f"  input  logic [{w - 1}:0]".ljust(22) + f"{p},\n" for p, w in SETTINGS.items())
    wires = "\n".join(f"  logic [Engines*{w}-1:0] {n};" for n, w in AXI.items())
    pins = [f".{p}({p})" for p in dict.fromkeys(PORTS)] + [f".m_axi_{n}({n})" for n in AXI]
    pins += [".tap_valid_o(tap_valid)", ".tap_data_o(tap_data)"]
    pins += [f".m_axis_tap_{n}(tap_{n})" for n in ("tvalid", "tready", "tdata", "tlast")]
    params = ", ".join(f".{k}({_literal(v)})" for k, v in b.params.items())
    return f"""// Generated bench of a language-model core.
module qs_bench (
{DRIVEN.format(settings=settings)}
);
  localparam int unsigned Engines = {b.engines}, Beat = {b.beat_bits}, Addr = {b.addr_bits}, Tap = {b.tap_bits};
{wires}
  logic [{TAP_GROUPS - 1}:0] tap_valid;
  logic [{TAP_GROUPS}*Tap-1:0] tap_data;
  logic tap_tvalid, tap_tready, tap_tlast, stall;
  logic [Tap-1:0] tap_tdata;
  {b.top} #({params}) u_top ({", ".join(pins)});
  qs_stall #(.Salt(999)) u_stall (.clk_i, .rst_ni, .seed_i, .often_i, .stall_o(stall));
  assign tap_tready = !stall;
  qs_tap #(.Width(Tap + 4), .File("{STREAM_OF_TAPS}")) u_stream (
    .clk_i, .rst_ni, .fire_i(tap_tvalid && tap_tready), .data_i({{3'b0, tap_tlast, tap_tdata}})
  );
{"".join(_memory(e, b) for e in range(b.engines)) if b.memory_beats else _no_memory()}{"".join(map(_tap, range(TAP_GROUPS))) if b.taps else _no_taps()}endmodule
"""


def digits(b: Bench) -> int:
    """Of a line of tap<g>.hex."""
    return -(-b.tap_bits // 4)


def _memory(e: int, b: Bench) -> str:
    pins = ", ".join(f".s_axi_{n}({n}[{e}*{w}+:{w}])" for n, w in AXI.items())
    return f"""  logic [31:0] beats{e};
  logic unused{e};
  assign unused{e} = ^beats{e};
  qs_axi_memory #(.DataWidth(Beat), .AddrWidth(Addr), .Beats({b.memory_beats}), .Base({base(b, e)}), .Salt({e + 1}), .File("weights{e}.mem")) u_memory{e} (
    .clk_i, .rst_ni, .seed_i, .often_i, .latency_i, .share_i, .mute_i, .bad_i, .beats_o(beats{e}), {pins}
  );
"""


def base(b: Bench, e: int) -> int:
    """Address of the weights of engine e: each begins behind the one before, at a border of 4096 bytes."""
    return (e + 1) * -(-b.memory_beats * b.beat_bits // 8 // 4096) * 4096


def _no_memory() -> str:
    return ("  assign {arready, rvalid, rdata, rresp, rlast} = '0;\n  logic unused_axi;\n"
            "  assign unused_axi = ^{arvalid, araddr, arlen, arsize, arburst, rready, latency_i, share_i, mute_i, bad_i};\n")


def _tap(g: int) -> str:
    return f"  qs_tap #(.Width(Tap), .File(\"tap{g}.hex\")) u_tap{g} (.clk_i, .rst_ni, .fire_i(tap_valid[{g}]), .data_i(tap_data[{g}*Tap+:Tap]));\n"


def _no_taps() -> str:
    return "  logic unused_taps;\n  assign unused_taps = ^{tap_valid, tap_data};\n"


def _literal(v: int | str) -> str: return f'"{v}"' if isinstance(v, str) else str(int(v))
