"""The bench around a language-model core: its registers and streams are the bench's ports, recorders stand within.

    weights<ee>.mem  in: the outer memory of engine e, a beat a line
    tap<g>.hex       out, if taps are asked for: a line for each beat of group g
    stream.hex       out: a line for each beat of m_axis_tap, TLAST above the data

Outer memories stand within, too, or, for a test in Python, the AXI4 read ports are the bench's.
"""
from collections.abc import Mapping
from dataclasses import dataclass

TAP_GROUPS = 16
PUBLIC = "/*verilator public_flat_rw*/"
STREAM_OF_TAPS = "stream.hex"
SETTINGS = {"seed_i": 32, "often_i": 8, "latency_i": 16, "share_i": 8, "mute_i": 32, "bad_i": 32}  # what a run may change: port -> width
STALLS = ("seed_i", "often_i")
LITE = {"awvalid": (1, 1), "awready": (0, 1), "awaddr": (1, 8), "wvalid": (1, 1), "wready": (0, 1), "wdata": (1, 32), "wstrb": (1, 4),
        "bvalid": (0, 1), "bready": (1, 1), "bresp": (0, 2), "arvalid": (1, 1), "arready": (0, 1), "araddr": (1, 8),
        "rvalid": (0, 1), "rready": (1, 1), "rdata": (0, 32), "rresp": (0, 2)}  # signal -> (is an input, bits)
AXI = {"arvalid": (0, "1"), "arready": (1, "1"), "araddr": (0, "Addr"), "arlen": (0, "8"), "arsize": (0, "3"), "arburst": (0, "2"),
       "rvalid": (1, "1"), "rready": (0, "1"), "rdata": (1, "Beat"), "rresp": (1, "2"), "rlast": (1, "1")}  # the same, bits of an engine


@dataclass(frozen=True)
class Bench:
    """What a bench is made of: the module and its parameters, engines, widths of a beat of weights, of an address and of a tap.

    memory_beats: of each outer memory, 0 where the weights are on the chip; taps: whether they are recorded; python: AXI4 ports and
    everything else as cocotb needs it.
    """
    top: str
    params: Mapping[str, int | str]
    engines: int
    beat_bits: int
    tap_bits: int
    memory_beats: int = 0
    addr_bits: int = 32
    taps: bool = True
    python: bool = False

    @property
    def digits(self) -> int:
        """Of a line of tap<g>.hex."""
        return -(-self.tap_bits // 4)

    def base(self, engine: int) -> int:
        """Byte address of an engine's weights: each begins behind the one before, at a border of 4096 bytes."""
        return (engine + 1) * -(-self.memory_beats * self.beat_bits // 8 // 4096) * 4096


def text(b: Bench) -> str:
    """Module qs_bench."""
    within = b.memory_beats and not b.python
    ports = [(1, "1", "clk_i"), (1, "1", "rst_ni"), *((1, str(w), n) for n, w in SETTINGS.items() if not b.python or n in STALLS)]
    ports += [(1, "1", "flush_i")] if b.python else []
    ports += [(d, str(w), f"s_axil_{n}") for n, (d, w) in LITE.items()]
    ports += [(d == side, w, f"{name}_{n}") for name, side in (("s_axis", 1), ("m_axis", 0))
              for n, d, w in (("tvalid", 1, "1"), ("tready", 0, "1"), ("tdata", 1, "32"), ("tlast", 1, "1"))]
    axi = [(d, f"Engines*{w}", f"m_axi_{n}") for n, (d, w) in AXI.items()]
    if b.memory_beats and b.python:
        ports += axi
    wires = [] if b.memory_beats and b.python else [f"  logic [{w}-1:0] {n};" for _, w, n in axi]
    pins = [f".{n}" for _, _, n in ports if n not in (*SETTINGS, "flush_i")]
    pins += [] if b.memory_beats and b.python else [f".{n}" for _, _, n in axi]
    pins += [".tap_valid_o(tap_valid)", ".tap_data_o(tap_data)"] + [f".m_axis_tap_{n}(tap_{n})" for n in ("tvalid", "tready", "tdata", "tlast")]
    mark = f" {PUBLIC}" if b.python else ""
    header = ",\n".join(f"  {'input ' if d else 'output'} logic {'' if w == '1' else f'[{w}-1:0] '}{n}{mark}" for d, w, n in ports)
    params = ", ".join(f".{k}({_literal(v)})" for k, v in b.params.items())
    memories = [_memory(e, b) for e in range(b.engines)] if within else [] if b.memory_beats else [NO_MEMORY, *([] if b.python else [NO_SETTINGS])]
    taps = [_tap(g) for g in range(TAP_GROUPS)] if b.taps else ["  logic unused_taps;\n  assign unused_taps = ^{tap_valid, tap_data};"]
    return "\n".join(["// Generated bench of a language-model core.", "module qs_bench #(",
                      f"  localparam int unsigned Engines = {b.engines}, Beat = {b.beat_bits}, Addr = {b.addr_bits}, Tap = {b.tap_bits}", ") (",
                      header, ");", *wires, f"  logic [{TAP_GROUPS}-1:0] tap_valid;", f"  logic [{TAP_GROUPS}*Tap-1:0] tap_data;",
                      "  logic tap_tvalid, tap_tready, tap_tlast, stall;", "  logic [Tap-1:0] tap_tdata;",
                      f"  {b.top}{f' #({params})' if params else ''} u_top (", "    " + ",\n    ".join(pins), "  );", STREAM, *memories, *taps,
                      *(_flush(b) if b.python else []), "endmodule", ""])


STREAM = f"""  qs_stall #(.Salt(999)) u_stall (.clk_i, .rst_ni, .seed_i, .often_i, .stall_o(stall));
  assign tap_tready = !stall;
  qs_tap #(.Width(Tap + 4), .File("{STREAM_OF_TAPS}")) u_stream (
    .clk_i, .rst_ni, .fire_i(tap_tvalid && tap_tready), .data_i({{3'b0, tap_tlast, tap_tdata}})
  );"""
NO_MEMORY = """  assign {m_axi_arready, m_axi_rvalid, m_axi_rdata, m_axi_rresp, m_axi_rlast} = '0;
  logic unused_axi;
  assign unused_axi = ^{m_axi_arvalid, m_axi_araddr, m_axi_arlen, m_axi_arsize, m_axi_arburst, m_axi_rready};"""

NO_SETTINGS = """  logic unused_settings;
  assign unused_settings = ^{latency_i, share_i, mute_i, bad_i};"""


def _memory(e: int, b: Bench) -> str:
    pins = ", ".join(f".s_axi_{n}(m_axi_{n}[{e}*{w}+:{w}])" for n, (_, w) in AXI.items())
    return f"""  logic [31:0] beats{e};
  logic unused{e};
  assign unused{e} = ^beats{e};
  qs_axi_memory #(
    .DataWidth(Beat), .AddrWidth(Addr), .Beats({b.memory_beats}), .Base({b.base(e)}), .Salt({e + 1}), .File("weights{e:02}.mem")
  ) u_memory{e} (
    .clk_i, .rst_ni, .seed_i, .often_i, .latency_i, .share_i, .mute_i, .bad_i, .beats_o(beats{e}), {pins}
  );"""


def _tap(g: int) -> str:
    return f'  qs_tap #(.Width(Tap), .File("tap{g}.hex")) u_tap{g} (.clk_i, .rst_ni, .fire_i(tap_valid[{g}]), .data_i(tap_data[{g}*Tap+:Tap]));'


def _flush(b: Bench) -> list[str]:
    """Files are read before the simulation ends."""
    names = ["u_stream", *(f"u_tap{g}" for g in range(TAP_GROUPS) if b.taps)]
    return ["  always @(posedge flush_i) begin", *(f"    $fflush({n}.file);" for n in names), "  end"]


def _literal(v: int | str) -> str: return f'"{v}"' if isinstance(v, str) else str(int(v))
