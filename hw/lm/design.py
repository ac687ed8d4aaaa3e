"""A language model as a design on disk: a core in SystemVerilog, its memories, its microprogram.

    manifest.json          kind "lm": the machine, the parameters of qs_lm_top, what the taps show, cycles
    qs_top.sv, rtl/*.sv    module qs_top: the ports of qs_lm_top, all parameters set
    *.mem                  what the memories hold; weightsNN.mem: the beats of engine NN, also where they belong into an outer memory
    program.txt            the microprogram for people
    lm.json, lm.npz        the model (ir.lm.save_lm)
    README.md
"""
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ir import UserError, store
from ir.lm import Program, is_lm, lm_hash, save_lm
from ir.target import Target

from ..design import RTL, TOP
from ..place import modules, whole
from . import micro
from .cycles import Cycles, cycles
from .images import FILES, WEIGHTS, memories, params
from .layout import Machine, runs
from .room import check
from .taps import GROUPS, Tap, taps

KIND = "lm"


@dataclass(frozen=True)
class LmDesign:
    """params: of qs_lm_top; taps: of one token; model: the hash of the program; cycles: as computed, with one candidate (greedy)."""
    folder: Path
    machine: Machine
    params: dict[str, int]
    taps: list[Tap]
    model: str
    cycles: Cycles

    @property
    def sources(self) -> list[Path]: return [*sorted((self.folder / "rtl").glob("*.sv")), self.folder / f"{TOP}.sv"]

    @property
    def memories(self) -> list[Path]:
        """What $readmemh opens: of weights those that stand on the chip."""
        return sorted(p for p in self.folder.glob("*.mem") if not (self.machine.far and p in self.weights))

    @property
    def weights(self) -> list[Path]:
        """The beats of each engine, a line each."""
        return [self.folder / f"{WEIGHTS}{e:02}.mem" for e in range(self.machine.engines)]


def lm_design(p: Program, out: Path | str, machine: Machine, target: Target | None = None,
              extra: Callable[[Path, LmDesign], None] | None = None) -> LmDesign:
    """The core of a model in folder `out`, whole or not at all.  target: a device that must have block RAMs for it.  extra(folder, design)
    may add files.

    UserError: a model too small for a core, or too large for the target; the folder exists and is no design, or cannot be written.
    """
    if p.dim < 8 or p.hidden < 8:
        raise UserError(f"a model of width {p.dim} and hidden width {p.hidden}: the core's pipelines need at least 8 of each")
    out = Path(out)
    streams, program = runs(p, machine), micro.steps(p, machine)
    made = params(p, machine, streams, program)
    if target:
        check(made, machine, target)
    d = LmDesign(out, machine, made, taps(p, made["TopK"]), lm_hash(p), cycles(program, made))
    mems = memories(p, machine, streams, program, made)

    def write(part: Path) -> None:
        modules(part, top(made, d.model), mems)
        (part / "program.txt").write_text(micro.listing(program))
        (part / "README.md").write_text(readme(d, p))
        save_lm(p, part)
        store.save_json(part / "manifest.json", "design", {
            "kind": KIND, "top": TOP, "model": d.model, "machine": asdict(machine), "params": made, "cycles": asdict(d.cycles),
            "groups": list(GROUPS), "taps": [asdict(t) for t in d.taps]})
        if extra:
            extra(part, d)
    whole(out, write)
    return d


def is_lm_design(folder: Path | str) -> bool:
    """Whether a folder holds a design of this kind: a top of hardware beside a model."""
    return (Path(folder) / f"{TOP}.sv").is_file() and is_lm(folder)


def load_lm_design(folder: Path | str) -> LmDesign:
    """The design in a folder.  UserError: missing, damaged, or of another kind."""
    folder = Path(folder)
    body = store.load_json(folder / "manifest.json", "design")
    with suppress(KeyError, TypeError, ValueError):
        if body["kind"] == KIND:
            return LmDesign(folder, Machine(**body["machine"]), body["params"], [Tap(**t) for t in body["taps"]], body["model"],
                            Cycles(**body["cycles"]))
    raise UserError(f"{folder / 'manifest.json'} is not that of a language model's core; generate it with: qsearch compile LM --target fpga")


def top(params: dict[str, int], model: str) -> str:
    """The text of qs_top: qs_lm_top with its parameters set."""
    text = (RTL / "qs_lm_top.sv").read_text()
    ports = re.search(r"\n\) \(\n(.*?)\n\);\n", text, re.S).group(1)
    names = re.findall(r"(\w+)(?=,|$)", re.sub(r"//.*", "", ports), re.M)
    far = {"TapWidth": max(64, params["Lanes"] * params["ActWidth"]), "AddrWidth": 32,
           "BeatBits": 2 * params["Trits"] if params["Encoding"] == 1 else params["Trits"] // 5 * 8}
    fixed = ", ".join(f"localparam int unsigned {k} = {v}" for k, v in ({"Engines": params["Engines"]} | far).items())
    given = {k: literal(v) for k, v in params.items()} | {"Model": f"32'h{model[:8]}", "WeightFile": f'"{WEIGHTS}"'}
    given |= {k: f'"{v}"' for k, v in FILES.items()}
    settings = ",\n    ".join(f".{k}({v})" for k, v in given.items())
    return (f"// A language model's core, generated: qs_lm_top with the parameters of this model.\nmodule {TOP} #(\n  {fixed}\n) (\n{ports}\n);\n"
            f"  qs_lm_top #(\n    {settings}\n  ) u_lm (\n    " + ",\n    ".join(f".{n}" for n in names) + "\n  );\nendmodule\n")


def literal(v: int) -> str: return str(v) if 0 <= v < 1 << 31 else f"64'sh{v & (1 << 64) - 1:x}"


def readme(d: LmDesign, p: Program) -> str:
    """The page to read first."""
    m = d.machine
    where = "in an outer memory, read over AXI4 (registers BASE)" if m.far else "on the chip"
    return f"""# A language model on a chip

A MatMul-free language model of width {p.dim}, hidden width {p.hidden}, {len(p.layers)} layers and {p.tokens} tokens.
{m.engines} ternary engines of {m.trits} weights a cycle ({m.encoding}), {d.params["WeightWords"]:,} beats each a token; weights {where}.

- `qs_top.sv`: ports and parameters; `rtl/qs_lm_regs.sv` has the register map, `rtl/qs_lm_top.sv` tells of a run and of the taps.
- `program.txt`: what is done for a token, step by step; {d.cycles.token:,} cycles, {d.cycles.passed:,} where no answer is wanted.
- `lm.json`, `lm.npz`: the model, whose graph says what every value must be.
"""
