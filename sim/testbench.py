"""The bench around a generated design, which only instantiates sim/sv: beats come from files and go to files.

The simulator itself plays and records, so that Python wakes only at the end: a run costs what the model costs.
"""
from pathlib import Path

from hw import Design, Port

SV = Path(__file__).parent / "sv"
PUBLIC = "/*verilator public_flat_rw*/"


def text(d: Design) -> str:
    """Module qs_bench: plays <port>.hex, records m_axis.hex, watches every stream of the design (stream 0 in bit 0)."""
    n = len(d.streams)
    rows = ["// Generated bench: plays <port>.hex into the design, records m_axis.hex.", "module qs_bench ("]
    rows += [f"  input  logic clk_i {PUBLIC},", f"  input  logic rst_ni {PUBLIC},"]
    rows += [f"  input  logic [31:0] {p} {PUBLIC}," for p in ("seed_i", "beats_i", "patience_i")]
    rows += [f"  output logic [31:0] {p} {PUBLIC}," for p in ("count_o", "cycle_o", "still_o")]
    rows += [f"  output logic [{n - 1}:0] {p} {PUBLIC}," for p in ("valid_o", "ready_o")]
    rows += [f"  output logic frame_error_o {PUBLIC},", f"  output logic stop_o {PUBLIC}", ");"]
    for p in [*d.inputs, d.output]:
        rows += [f"  logic {p.name}_tvalid, {p.name}_tready, {p.name}_tlast;", f"  logic [{p.data_bits - 1}:0] {p.name}_tdata;"]
    rows += [_join("valid_o", "valid", d.streams), _join("ready_o", "ready", d.streams)]
    clock = {"clk_i": "clk_i", "rst_ni": "rst_ni"}
    rows += [_instance("qs_play", p, {"DataWidth": p.data_bits, "Beats": p.beats, "Salt": k + 1, "File": f'"{p.name}.hex"'},
                       clock | {"seed_i": "seed_i"}, "m_axis") for k, p in enumerate(d.inputs)]
    rows.append(_instance("qs_record", d.output, {"DataWidth": d.output.data_bits, "File": '"m_axis.hex"'},
                          clock | {"seed_i": "seed_i", "cycle_i": "cycle_o", "count_o": "count_o"}, "s_axis"))
    watch = clock | {"valid_i": "valid_o", "ready_i": "ready_o", "count_i": "count_o"}
    watch |= {k: k for k in ("beats_i", "patience_i", "cycle_o", "still_o", "stop_o")}
    rows.append(_text("qs_watch", "u_watch", {"Streams": n}, watch))
    pins = {f"{p.name}_{w}": f"{p.name}_{w}" for p in [*d.inputs, d.output] for w in ("tvalid", "tready", "tdata", "tlast")}
    pins |= {"frame_clear_i": "1'b0", "frame_error_o": "frame_error_o"}
    return "\n".join([*rows, _text("qs_top", "u_top", {}, clock | pins), "endmodule", ""])


def _join(wire: str, part: str, streams: list[str]) -> str:
    return f"  assign {wire} = {{" + ", ".join(f"u_top.{s}_{part}" for s in reversed(streams)) + "};"


def _instance(module: str, p: Port, params: dict, pins: dict[str, str], side: str) -> str:
    return _text(module, f"u_{p.name}", params, pins | {f"{side}_{w}": f"{p.name}_{w}" for w in ("tvalid", "tready", "tdata", "tlast")})


def _text(module: str, name: str, params: dict, pins: dict[str, str]) -> str:
    head = f"  {module} " + (f"#({', '.join(f'.{k}({v})' for k, v in params.items())}) " if params else "")
    return f"{head}{name} (\n" + ",\n".join(f"    .{k}({v})" for k, v in pins.items()) + "\n  );"
