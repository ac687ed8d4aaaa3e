"""A SystemVerilog bench around any number of library modules: every stream of every module becomes a numbered port.

The bench samples each handshake at the rising edge, so that Python wakes once a cycle (at the falling edge), and checks
the stream rules itself: a beat once offered stays, unchanged, until it is taken.
"""
import re
from dataclasses import dataclass

from ir import UserError

RULE = "a beat was withdrawn or changed before it was taken"


@dataclass(frozen=True)
class Instance:
    """One module of the bench.  `streams`: name ("s", or "m[1]" of a vector of streams) -> (is it an input, data width)."""
    top: str
    params: dict[str, str]                        # name -> literal
    ports: dict[str, tuple[str, int, int, bool]]  # prefix -> direction, width, count (0: no vector), shared data
    clocked: bool

    @property
    def streams(self) -> dict[str, tuple[bool, int]]:
        return {f"{p}[{k}]" if n else p: (d == "input", w) for p, (d, w, n, _) in self.ports.items() for k in range(n or 1)}


def instance(source: str, top: str, params: dict[str, int | str]) -> Instance:
    """Read the header of module `top` in `source`: its parameters' defaults and the widths of its streams.

    The text must be regular: `parameter <type> Name = value`, one port a line, widths of + - * / $clog2 of parameters.
    """
    head = re.search(rf"\bmodule\s+{top}\b(.*?)\)\s*;", re.sub(r"//[^\n]*|/\*.*?\*/", "", source, flags=re.S), re.S)
    if not head:
        raise UserError(f"no module {top} in its file")
    names, widths = {}, {}
    for kind, name, value in re.findall(r"\bparameter\b([^=,()]*?)(\w+)\s*=\s*([^,\n]*?)\s*(?=,|\n|\)\s*\()", head[1]):
        names[name] = params[name] if name in params else _number(value, names)
        for hi in re.findall(r"\[(.*?):\s*0\s*\]", kind):
            widths[name] = _number(hi, names) + 1
    if unknown := params.keys() - names.keys():
        raise UserError(f"{top} has no parameter {', '.join(sorted(unknown))}; it has {', '.join(names)}")
    ports = {n: (d, [_number(hi, names) + 1 for hi in re.findall(r"\[(.*?):\s*0\s*\]", dims)])
             for d, dims, n in re.findall(r"(input|output)\s+logic\s*(?:signed\s*)?((?:\[[^\]]*\]\s*)*)(\w+)", head[1])}
    found = {}
    for n, (d, dims) in ports.items():
        if (m := re.fullmatch(r"(\w+)_data_[io]", n)):
            valid = ports[f"{m[1]}_valid_{n[-1]}"][1]
            found[m[1]] = (d, dims[-1] if dims else 1, valid[0] if valid else 0, len(dims) < 2)
    return Instance(top, {k: _literal(v, widths.get(k)) for k, v in params.items()}, found, "clk_i" in ports)


def text(instances: list[Instance]) -> str:
    """The bench: ports ready_i/valid_i and sent_o/got_o with one bit a stream, data `d<k>_i` or `d<k>_o`."""
    streams = [s for i in instances for s in i.streams.values()]
    n = len(streams)
    data = "".join(f",\n  {'input ' if i else 'output'} logic [{w - 1}:0] d{k}_{'i' if i else 'o'} {PUBLIC}" for k, (i, w) in enumerate(streams))
    body = "".join(_taps(k, *s) for k, s in enumerate(streams))
    at = 0
    for v, inst in enumerate(instances):
        body += _instance(v, inst, at)
        at += len(inst.streams)
    return (f"// Generated bench.\nmodule qs_bench (\n  input  logic clk_i {PUBLIC},\n  input  logic rst_ni {PUBLIC},\n"
            f"  input  logic [{n - 1}:0] go_i {PUBLIC},   // valid of the inputs, ready of the outputs\n"
            f"  output logic [{n - 1}:0] done_o {PUBLIC}{data}\n);\n"
            f"  logic [{n - 1}:0] valid, ready, fired;\n  assign fired = valid & ready;\n"
            f"  always_ff @(posedge clk_i or negedge rst_ni) begin\n    if (!rst_ni) done_o <= '0;\n    else done_o <= fired;\n  end\n"
            f"{body}endmodule\n")


PUBLIC = "/*verilator public_flat_rw*/"


def _number(value: str, names: dict) -> int | str:
    """Value of a constant expression of a header."""
    value = value.strip()
    if m := re.fullmatch(r"\{(\w+)\{32'd(\d+)\}\}", value):
        return sum(int(m[2]) << 32 * k for k in range(names[m[1]]))
    if value.startswith('"'):
        return value.strip('"')
    value = re.sub(r"\b\d*'s?([hdb])([0-9a-fA-F_]+)", lambda m: str(int(m[2], {"h": 16, "d": 10, "b": 2}[m[1]])), value)
    value = value.replace("$clog2", "_clog2").replace("/", "//").replace("'0", "0").replace("'1", "1")
    if m := re.fullmatch(r"(.+?)\?(.+):(.+)", value):
        value = f"({m[2]}) if ({m[1]}) else ({m[3]})"
    return eval(value, {"__builtins__": {}, "_clog2": lambda v: max(v - 1, 0).bit_length()}, names)


def _taps(k: int, is_input: bool, width: int) -> str:
    if is_input:
        return f"  assign valid[{k}] = go_i[{k}];\n"
    return (f"  logic [{width - 1}:0] d{k}, held{k};\n  logic waiting{k};\n  assign ready[{k}] = go_i[{k}];\n"
            f"  always_ff @(posedge clk_i or negedge rst_ni) begin\n"
            f"    if (!rst_ni) begin\n      d{k}_o <= '0;\n      held{k} <= '0;\n      waiting{k} <= 1'b0;\n    end else begin\n"
            f"      d{k}_o <= d{k};\n      held{k} <= d{k};\n      waiting{k} <= valid[{k}] & ~ready[{k}];\n"
            f"      if (waiting{k} && !(valid[{k}] && d{k} == held{k})) $error(\"stream {k}: {RULE}\");\n    end\n  end\n")


def _instance(v: int, inst: Instance, at: int) -> str:
    pins = [".clk_i(clk_i)", ".rst_ni(rst_ni)"] if inst.clocked else []
    extra = ""
    for prefix, (direction, _, count, shared) in inst.ports.items():
        n, i = count or 1, direction == "input"
        hi = at + n - 1
        bits = f"[{hi}:{at}]" if count else f"[{at}]"
        pins += [f".{prefix}_valid_{'i' if i else 'o'}(valid{bits})", f".{prefix}_ready_{'o' if i else 'i'}(ready{bits})"]
        if i:
            pins.append(f".{prefix}_data_i({{{', '.join(f'd{k}_i' for k in range(hi, at - 1, -1))}}})")
        elif shared:
            pins.append(f".{prefix}_data_o(d{at})")
            extra += "".join(f"  assign d{k} = d{at};\n" for k in range(at + 1, hi + 1))
        else:
            pins.append(f".{prefix}_data_o({{{', '.join(f'd{k}' for k in range(hi, at - 1, -1))}}})")
        at += n
    params = ",\n".join(f"    .{k}({x})" for k, x in inst.params.items())
    head = f"  {inst.top} #(\n{params}\n  )" if params else f"  {inst.top}"
    return f"{head} u_dut{v} (\n    " + ",\n    ".join(pins) + f"\n  );\n{extra}"


def _literal(x: int | str, width: int | None) -> str:
    """A value of a parameter as it is written, with the width of the parameter if it has one."""
    if isinstance(x, str):
        return f'"{x}"'
    return f"{width}'h{int(x) & (1 << width) - 1:x}" if width else str(int(x))
