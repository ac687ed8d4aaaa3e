"""The bench around a generated design, which only instantiates sim/sv: beats come from files and go to files.

The simulator itself plays, records and counts, so that Python wakes only at the end: a run costs what the model costs.

    <port>.hex    in: a line a beat, one digit with TLAST, then TDATA (sim/frames.py)
    m_axis.hex    out: the same, and the cycle
    tap<k>.hex    out, if layers are asked for: a line for each beat of the k-th pair of `taps`
    streams.txt   out: see sim/sv/qs_watch.sv
"""
from pathlib import Path

from hw import Design, Port, Value

SV = Path(__file__).parent / "sv"
PUBLIC = "/*verilator public_flat_rw*/"
JOB = {"seed_i": 32, "often_i": 8, "beats_i": 32, "patience_i": 32, "limit_i": 32}  # what a run gives: port -> width


def text(d: Design, layers: bool = False) -> str:
    """Module qs_bench: plays <port>.hex, records m_axis.hex, watches every stream of the design; layers: records the values within."""
    n = len(d.streams)
    rows = ["// Generated bench: plays <port>.hex into the design, records m_axis.hex.", "module qs_bench ("]
    rows += [f"  input  logic clk_i {PUBLIC},", f"  input  logic rst_ni {PUBLIC},"]
    rows += [f"  input  logic [{w - 1}:0] {p} {PUBLIC}," for p, w in JOB.items()]
    rows += [f"  output logic [31:0] {p} {PUBLIC}," for p in ("count_o", "cycle_o")] + [f"  output logic stop_o {PUBLIC}", ");"]
    for p in [*d.inputs, d.output]:
        rows += [f"  logic {p.name}_tvalid, {p.name}_tready, {p.name}_tlast;", f"  logic [{p.data_bits - 1}:0] {p.name}_tdata;"]
    rows += [f"  logic [{n - 1}:0] valid, ready;", "  logic frame_error;", _join("valid", d.streams), _join("ready", d.streams)]
    clock = {"clk_i": "clk_i", "rst_ni": "rst_ni"}
    stalls = clock | {"seed_i": "seed_i", "often_i": "often_i"}
    rows += [_instance("qs_play", p, {"DataWidth": p.data_bits, "Salt": k + 1, "File": f'"{p.name}.hex"'}, stalls, "m_axis")
             for k, p in enumerate(d.inputs)]
    rows.append(_instance("qs_record", d.output, {"DataWidth": d.output.data_bits, "File": '"m_axis.hex"'},
                          stalls | {"cycle_i": "cycle_o", "stop_i": "stop_o", "count_o": "count_o"}, "s_axis"))
    watch = clock | {"valid_i": "valid", "ready_i": "ready", "error_i": "frame_error", "count_i": "count_o"}
    watch |= {k: k for k in ("beats_i", "patience_i", "limit_i", "cycle_o", "stop_o")}
    rows.append(_text("qs_watch", "u_watch", {"Streams": n, "File": '"streams.txt"'}, watch))
    rows += [_tap(k, v) for k, v in enumerate(taps(d))] if layers else []
    pins = {f"{p.name}_{w}": f"{p.name}_{w}" for p in [*d.inputs, d.output] for w in ("tvalid", "tready", "tdata", "tlast")}
    pins |= {"frame_clear_i": "1'b0", "frame_error_o": "frame_error"}
    return "\n".join([*rows, _text("qs_top", "u_top", {}, clock | pins), "endmodule", ""])


def taps(d: Design) -> list[Value]:
    """One value for each pair of handshake and wires that any value names."""
    return list({(v.stream, v.data): v for v in d.values}.values())


def tap_bits(v: Value) -> int:
    """Width of a recorded beat: whole hexadecimal digits."""
    return -(-v.lanes * v.bits // 4) * 4


def _tap(k: int, v: Value) -> str:
    return _text("qs_tap", f"u_tap{k}", {"Width": tap_bits(v), "File": f'"tap{k}.hex"'}, {
        "clk_i": "clk_i", "rst_ni": "rst_ni", "fire_i": f"u_top.{v.stream}_valid && u_top.{v.stream}_ready",
        "data_i": f"{tap_bits(v)}'(u_top.{v.data})"})


def _join(part: str, streams: list[str]) -> str:
    return f"  assign {part} = {{" + ", ".join(f"u_top.{s}_{part}" for s in reversed(streams)) + "};"


def _instance(module: str, p: Port, params: dict, pins: dict[str, str], side: str) -> str:
    return _text(module, f"u_{p.name}", params, pins | {f"{side}_{w}": f"{p.name}_{w}" for w in ("tvalid", "tready", "tdata", "tlast")})


def _text(module: str, name: str, params: dict, pins: dict[str, str]) -> str:
    head = f"  {module} " + (f"#({', '.join(f'.{k}({v})' for k, v in params.items())}) " if params else "")
    return f"{head}{name} (\n" + ",\n".join(f"    .{k}({v})" for k, v in pins.items()) + "\n  );"
