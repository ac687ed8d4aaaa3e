"""What a design is placed and routed in: two pins and shift registers, for its streams are wider than any package.

Every input comes from a register and every output ends in one, so the clock that is found is that of the design among its
neighbours on the chip; pins and their delays have no part in it.
"""
from collections.abc import Mapping

NAME = "qs_harness"
DESIGN = "u_design"
CLOCK, RESET = "clk_i", "rst_ni"


def harness(top: str, ports: Mapping[str, tuple[str, int]], clock: str = CLOCK) -> str:
    """SystemVerilog of the harness around module `top`, a black box here.  ports: name -> ("input" or "output", bits).

    It takes a flip-flop for every input bit but clock and reset, and two and a LUT for every output bit.
    """
    data = {n: p for n, p in ports.items() if n not in (clock, RESET)}
    total = {way: sum(bits for d, bits in data.values() if d == way) for way in ("input", "output")}
    pins, at = [f"    .{n}({wire})" for n, wire in ((clock, CLOCK), (RESET, f"{RESET}_q")) if n in ports], dict.fromkeys(total, 0)
    for n, (way, bits) in data.items():
        pins.append(f"    .{n}({'drive' if way == 'input' else 'out'}[{at[way] + bits - 1}:{at[way]}])")
        at[way] += bits
    declared = [f"  {way} logic [{bits - 1}:0] {n}" for n, (way, bits) in ports.items()]
    return "\n".join([
        "(* blackbox *)", f"module {top} (", ",\n".join(declared), ");", "endmodule", "",
        f"module {NAME} (", f"  input  logic {CLOCK},", f"  input  logic {RESET},", "  input  logic in_i,", "  output logic out_o", ");",
        f"  logic [{max(1, total['input']) - 1}:0] drive;", f"  logic [{max(1, total['output']) - 1}:0] out, seen, fold;", f"  logic {RESET}_q;",
        f"  always_ff @(posedge {CLOCK}) begin", f"    {RESET}_q <= {RESET};",
        "    drive <= {drive, in_i};", "    seen <= out;", f"    fold <= {{fold, drive[{max(1, total['input']) - 1}]}} ^ seen;", "  end",
        f"  assign out_o = fold[{max(1, total['output']) - 1}];", f"  {top} {DESIGN} (", ",\n".join(pins), "  );", "endmodule", ""])


def around(top: str, module: dict, clock: str = CLOCK) -> str:
    """The harness of a module as Yosys writes it."""
    return harness(top, {n: (p["direction"], len(p["bits"])) for n, p in module["ports"].items()}, clock)


def script(top: str, synth: str) -> str:
    """Yosys: the harness alone is synthesized, then the netlist of the design, mapped before, is put in its place."""
    return "\n".join(["read_verilog -sv harness.sv", f"{synth} -top {NAME}", "tee -o harness_stat.json stat -json", f"delete ={top}",
                      "read_json netlist.json", f"hierarchy -top {NAME}", "flatten", "delete t:$scopeinfo", "write_json routed.json", ""])
