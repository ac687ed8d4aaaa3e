"""Proofs of the modules that a generated design is made of, with the parameters that it gives them."""
from collections.abc import Iterator, Mapping
from pathlib import Path

from ir import UserError, store

from ..dataflow.build import build
from ..dataflow.netlist import Bits, Netlist
from ..design import load
from .meaning import MEANINGS
from .prove import Report, prove_module

NARROW = 2  # bits of an element or a beat where only its way matters
WIDTHS = {  # modules that never look at what they carry (P. Wolper, POPL 1986): their parameters that are widths, and of what
    "qs_skid": "DataWidth", "qs_fifo": "DataWidth", "qs_fork": "Width", "qs_dwc": "Width", "qs_concat": "Width", "qs_reorder": "Width",
    "qs_slice": "Width", "qs_pad": "Width", "qs_expand": "Width"}

Case = tuple[str, dict[str, int | str], dict[str, str]]


def cases(net: Netlist) -> list[tuple[Case, list[str]]]:
    """Each different (module, parameters, memory files) with the instances that are such; beats that are only moved are narrow."""
    found: dict[str, tuple[Case, list[str]]] = {}
    for i in net.instances:
        params = {k: v.value if isinstance(v, Bits) else v for k, v in i.params.items()}
        mems = {v: net.mems[v] for v in params.values() if isinstance(v, str) and v in net.mems}
        if width := WIDTHS.get(i.module):
            params[width] = NARROW
            if "Value" in params:
                params["Value"] &= (1 << NARROW) - 1
        same = {k: mems.get(v, v) for k, v in params.items()}
        found.setdefault(f"{i.module} {same}", ((i.module, params, mems), []))[1].append(i.name)
    return list(found.values())


def prove_design(folder: Path | str, seconds: float = 60, modules: list[str] = ()) -> Iterator[Report | str]:
    """Report after report: each module that the design in `folder` instantiates, once for each set of parameters.

    Modules without a written meaning are yielded as their names: simulation alone covers them.  seconds: for each module;
    modules: these only.
    UserError: no design there, one that is not dataflow, a name that it does not use, a property that does not hold.
    """
    design = load(folder)
    if design.kind != "dataflow":
        raise UserError(f"{folder} holds a design of kind {design.kind}; only the modules of dataflow designs are proven")
    todo = cases(build(store.load_graph(design.folder), design.folding))
    used = sorted({case[0] for case, _ in todo})
    if unknown := [m for m in modules if m not in used]:
        raise UserError(f"{folder} has no module {', '.join(unknown)}; it has {', '.join(used)}")
    for (module, params, mems), _ in todo:
        if modules and module not in modules:
            continue
        if module not in MEANINGS:
            yield module
            continue
        yield prove_module(module, params, mems, seconds)


def rows(reports: Iterator[Report | str]) -> Iterator[dict]:
    """A line for each property, for a table."""
    for r in reports:
        if isinstance(r, str):
            yield {"module": r, "parameters": "", "property": "", "proof": "simulation only", "seconds": 0}
            continue
        for p in r.proofs:
            yield {"module": r.module, "parameters": told(r.params), "property": p.property, "proof": proof(p.method, p.depth), "seconds": p.seconds}


def proof(method: str, depth: int) -> str:
    """How far a proof goes, in words."""
    return {"induction": f"for all time, induction of {depth} cycle{'s' * (depth != 1)}", "bounded": f"the first {depth} cycles after a reset",
            "open": "not shown"}[method]


def told(params: Mapping[str, int | str]) -> str: return " ".join(f"{k}={v}" for k, v in params.items() if not isinstance(v, str))


