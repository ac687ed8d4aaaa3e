"""The parts of a language-model core, as its synthesis tells them apart."""

CORE, VECTOR = "u_lm.u_core.", "u_lm.u_core.u_vector."
OWNER = "u_lm."  # what stands in no part is counted for the instance of the whole
PARTS = {         # part -> instances (patterns) that it is; an instance inside another comes later
    "control": ("u_lm.u_regs", "u_lm.u_run", CORE + "u_seq"), "weights": (CORE + "gen_weights",), "gemv": (CORE + "u_gemv",),
    "embed": (CORE + "u_embed",), "vector": (CORE + "u_vector",), "vector.epilogue": (VECTOR + "u_epilogue",),
    "vector.curves": (VECTOR + "u_curve", VECTOR + "u_silu"), "vector.state": (VECTOR + "u_state",), "vector.gated": (VECTOR + "u_gated",),
    "vector.residual": (VECTOR + "u_residual",), "vector.gains": (VECTOR + "u_gains",), "quantizer": (CORE + "u_quant",),
    "scalar": (CORE + "u_scalar",), "head": (CORE + "u_head",)}


def marks() -> list[str]:
    """For hw/synth/yosys.script: the cells of each part are marked with its name; a cell without one keeps its path in its name."""
    found = []
    for path, name in paths().items():
        found.append(f'setattr -set src "{name}" c:*{path.removeprefix(OWNER).replace(".", ".*")}*')  # names of no cell have "$flatten" between
    return found


def paths() -> dict[str, str]:
    """Start of a cell's name -> mark, for cells that lose their own, as block RAMs do."""
    return {path: mark(part) for part, paths in PARTS.items() for path in paths}


def mark(part: str) -> str: return OWNER + part.replace(".", "_")
