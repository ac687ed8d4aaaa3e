"""Block RAMs of a core on a device, memory by memory, and whether there are enough of them."""
from math import ceil

from ir import UserError
from ir.target import Target

from ..cost.memory import BLOCKS, place
from .layout import Machine

SMALL = 64   # words at most of a memory that goes into LUTs
AHEAD = 256  # beats, as in qs_lm_core


def memories(q: dict[str, int], m: Machine) -> dict[str, tuple[int, int, int, bool]]:
    """Memory -> words, bits of a word, copies, whether it is written; q: parameters of qs_lm_core."""
    depth = max(q["Dim"], q["Hidden"])
    line, pieces = q["ValueWidth"] + q["SlopeWidth"], 1 << q["GateWidth"] - q["PieceBits"]
    states = q["Layers"] * q["Dim"]
    return {
        "weights": (q["WeightWords"], m.beat_bits, 0 if m.far else m.engines, False),
        "weights read ahead": (AHEAD, m.beat_bits, m.engines * m.far, True),
        "embeddings": (q["Vocab"] * q["Dim"], q["EmbWidth"], 1, False),
        "gains": (q["GainRows"], 2 * q["GainWidth"], 1, False), "gains of f and i": (states, 2 * q["GainWidth"], 1, False),
        "lower bounds": (states, q["Sigmoid"] + 1, 1, False), "states": (states, q["StateWidth"], 1, True),
        "curves": (2 * pieces, line, 1, False), "curve of the state": (pieces, line, 1, False),
        "residual": (q["Dim"], q["ResWidth"], 1, True), "forget gates": (q["Dim"], q["Sigmoid"], 1, True), "sums": (depth, q["AccWidth"], 1, True),
        "vectors": (ceil(depth / m.lanes), q["VecWidth"], 2 * m.lanes, True),
        "vectors of f and i": (ceil(q["Dim"] / m.lanes), q["VecWidth"], 2 * m.lanes, True),
        "exponents": (512, 17, int(q["TopK"] > 1), False)}


def blocks(q: dict[str, int], m: Machine, t: Target) -> dict[str, int]:
    """Memory -> block RAMs; nothing for a family whose blocks are not known."""
    if t.family not in BLOCKS:
        return {}
    return {name: copies * place(words, bits, written, t.family).bram for name, (words, bits, copies, written) in memories(q, m).items()
            if copies and words > SMALL}


def check(q: dict[str, int], m: Machine, t: Target) -> dict[str, int]:
    """Block RAMs of each memory, nothing for a family whose blocks are not known.  UserError: there are not enough, by how many."""
    used = blocks(q, m, t)
    if not used:
        return used
    total, most = sum(used.values()), max(used, key=used.get)
    if (over := total - t.resources["bram"]) > 0:
        hint = "; weights may stay in an outer memory: --far" * (most == "weights")
        words, bits, copies, _ = memories(q, m)[most]
        raise UserError(f"the core does not fit {t.name}: it needs {total:,} block RAMs, {over:,} more than there are, {used[most]:,} of them for "
                        f"{most} ({words * bits * copies / 8192:,.0f} KB){hint}")
    return used
