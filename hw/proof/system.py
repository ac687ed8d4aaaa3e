"""SystemVerilog -> a transition system: what Yosys makes of a module, as expressions of Z3."""
import contextlib
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import z3

from ir import UserError

from ..design import RTL, library
from ..synth.tools import Stopped, call, command
from ..synth.yosys import chparam

RESET = "rst_ni"
SCRIPT = """hierarchy -check -top {top}
proc
flatten
opt_clean
memory -nomap
memory_map
async2sync
opt -full -nodffe -nosdff
dffunmap
opt_clean
write_smt2 -stbv -wires system.smt2
"""


@dataclass(frozen=True)
class System:
    """One clock, one state word for each cycle; an asynchronous reset acts at once and at the next edge.

    wires: name -> expression of `state` (Bool where it has one bit); `ports` are those of the module.  `reset` are the
    registers that the reset sets, `data` the others.  step(state, next) is the transition; the inputs are part of the state.
    """
    top: str
    inputs: dict[str, int]
    outputs: dict[str, int]
    wires: dict[str, z3.ExprRef]
    reset: dict[str, z3.ExprRef]
    data: dict[str, z3.ExprRef]
    state: z3.BitVecRef
    next: z3.BitVecRef
    step: z3.BoolRef

    @property
    def ports(self) -> dict[str, int]: return self.inputs | self.outputs


def system(top: str, params: Mapping[str, int | str] | None = None, mems: Mapping[str, str] | None = None,
           sources: list[Path] | None = None, timeout_s: float = 300) -> System:
    """Module `top` of the library (or of `sources`) with these parameters; mems: what $readmemh opens, by name.

    UserError: Yosys missing, failed or too slow.
    """
    sources = sources or library((RTL / f"{top}.sv").read_text())
    with tempfile.TemporaryDirectory(prefix="qs_proof_") as d:
        work = Path(d)
        for p in sources:
            (work / p.name).write_text(p.read_text())
        for name, text in (mems or {}).items():
            (work / name).write_text(text)
        head = [f"read_verilog -defer -sv {' '.join(p.name for p in sources)}", *chparam(top, params or {})]
        (work / "run.ys").write_text("\n".join(head) + "\n" + SCRIPT.format(top=top))
        return parse(_translated(work, top, timeout_s))


def bits(e: z3.ExprRef) -> int: return 1 if z3.is_bool(e) else e.size()


def _translated(work: Path, top: str, timeout_s: float) -> str:
    try:
        code, said = call([*command("yosys"), "-q", "-s", "run.ys"], work, timeout_s)
    except Stopped:
        raise UserError(f"{top} is too large to be proven: Yosys took more than {timeout_s:g} s to translate it") from None
    if code or not (work / "system.smt2").is_file():
        errors = [line.strip() for line in said.splitlines() if "ERROR" in line]
        raise UserError(f"Yosys does not translate {top}: {errors[0] if errors else f'it ended with {code}'}")
    return (work / "system.smt2").read_text()


@contextlib.contextmanager
def sources_in(texts: Mapping[str, str], files: list[Path]):
    """Paths of files with these texts, which last as long as the body, and of the others."""
    with tempfile.TemporaryDirectory(prefix="qs_proof_") as d:
        for name, text in texts.items():
            (Path(d) / name).write_text(text)
        yield [*files, *(Path(d) / name for name in texts)]


def parse(text: str) -> System:
    """The output of write_smt2 -stbv -wires (see `yosys -h write_smt2`: |m_t| is the transition, |m_n w| the wire w)."""
    top = re.search(r"^; yosys-smt2-topmod (\S+)", text, re.M)[1]
    found = {kind: dict(re.findall(rf"^; yosys-smt2-{kind} (\S+) (\d+)$", text, re.M)) for kind in ("input", "output", "wire")}
    names = list(found["wire"])
    sorts = dict(re.findall(rf"^\(define-fun \|{re.escape(top)}_n (\S+)\| \(\(state \|\S+\|\)\) (Bool|\(_ BitVec \d+\)) ", text, re.M))
    lines = [f"(declare-fun state () |{top}_s|)", f"(declare-fun next () |{top}_s|)", f"(assert (|{top}_t| state next))"]
    lines += [f"(declare-fun |w{k}| () {sorts[n]})\n(assert (= |w{k}| (|{top}_n {n}| state)))" for k, n in enumerate(names)]
    step, *equal = z3.parse_smt2_string(text + "\n".join(lines))
    wires = dict(zip(names, (e.arg(1) for e in equal)))
    width = int(re.search(rf"^\(define-sort \|{re.escape(top)}_s\| \(\) \(_ BitVec (\d+)\)\)", text, re.M)[1])
    state, new = z3.BitVec("state", width), z3.BitVec("next", width)
    regs: dict[bool, dict[str, z3.ExprRef]] = {True: {}, False: {}}
    for k, e in enumerate(equations(step)):  # what a register becomes = the register, in the next state
        regs[_is_reset(e.arg(0), wires, state)][f"register {k}"] = z3.substitute(e.arg(1), (new, state))
    return System(top, *({n: int(w) for n, w in found[k].items()} for k in ("input", "output")), wires, regs[True], regs[False], state, new, step)


def equations(step: z3.BoolRef) -> list[z3.BoolRef]:
    """The transition, register by register."""
    return [x for c in step.children() for x in equations(c)] if z3.is_and(step) else [step] if z3.is_eq(step) else []


def place(e: z3.ExprRef) -> tuple[int, int]:
    """(high, low) of the bits of the state that an input or a register is."""
    while e.decl().kind() != z3.Z3_OP_EXTRACT or not z3.is_const(e.arg(0)):
        e = e.arg(0)
    return tuple(e.params())


def pieces(e: z3.ExprRef, at: int = 0) -> list[tuple[int, tuple[int, int]]]:
    """Of an input, which may be put together: (its bit, the place of what starts there) for each part."""
    if e.decl().kind() != z3.Z3_OP_CONCAT:
        return [(at, place(e))]
    out = []
    for part in reversed(e.children()):
        out += pieces(part, at)
        at += part.size()
    return out


def _is_reset(becomes: z3.ExprRef, wires: dict[str, z3.ExprRef], state: z3.BitVecRef) -> bool:
    """Does the reset give this register a value?"""
    if RESET not in wires:
        return False
    bit = z3.Extract(*place(wires[RESET]), state)
    after = z3.simplify(z3.substitute(becomes, (bit, z3.BitVecVal(0, 1))))
    return z3.is_bv_value(after) or z3.is_true(after) or z3.is_false(after)
