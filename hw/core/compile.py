"""Graph -> program of the core: microprogram, contents of the memories, and the widths and sizes that the hardware must have."""
from dataclasses import dataclass

import numpy as np

from ir import Conv, Dense, Graph, Ints, UserError
from ir.rewrite import drop_dead

from .images import Images, Machine
from .isa import REG_BITS, Assembled, Mode, Step, assemble, listing
from .lower import Lowering
from .outer import fetched
from .tensors import Layout, allocate, input_lanes


@dataclass(frozen=True)
class Program:
    """A graph compiled for a machine.  params: of module qs_core, without the names of files; layouts, bases: of every tensor."""
    graph: Graph
    machine: Machine
    steps: list[Step]
    assembled: Assembled
    images: Images
    params: dict[str, int]
    layouts: dict[str, Layout]
    bases: dict[str, int]
    sums: list[Ints]

    @property
    def text(self) -> str:
        """The listing."""
        return listing(self.steps, self.assembled)

    def lines(self) -> str:
        """The microprogram for $readmemh."""
        bits = self.params["ValueBits"]
        return "".join(f"{r << bits | v & (1 << bits) - 1:0{-(-(REG_BITS + bits) // 4)}x}\n" for r, v in self.assembled.words)

    def memories(self) -> dict[str, str]:
        """Memory file -> text."""
        p = self.params
        out = {"program.mem": self.lines(), "weights.mem": self.images.weight_lines(),
               "params.mem": self.images.param_lines(p["BiasWidth"], p["MulWidth"])}
        if self.images.tables:
            entries = np.concatenate(self.images.tables).tolist()
            digits = -(-p["ResWidth"] // 4)
            out["tables.mem"] = "".join(f"{v & (1 << p['ResWidth']) - 1:0{digits}x}\n" for v in entries)
        return out


def compile_graph(g: Graph, lanes: int = 8, pe: int = 8, out: int = 2, buffer: int = 0) -> Program:
    """The program of a core with words of `lanes` elements, `pe` rows at once and `out` results a cycle.

    buffer: words of the weight memory where the weights stay outside and are fetched while the core works; 0: they are all inside.
    UserError: parameters that do not fit together, several inputs, an op without a pass.
    """
    for name, value in (("lanes", lanes), ("pe", pe), ("out", out)):
        if value < 1 or value & (value - 1):
            raise UserError(f"core: {name} is {value}; give a power of two")
    if not 2 <= lanes or pe > lanes or out > pe:
        raise UserError(f"core: lanes {lanes}, pe {pe}, out {out}; out is at most pe, pe at most lanes, and lanes at least 2")
    g = drop_dead(g)
    if len(g.inputs) != 1:
        raise UserError(f"the core has one input stream; the graph has {len(g.inputs)} inputs ({', '.join(n.name for n in g.inputs)})")
    machine = Machine(lanes, pe, out, *weight_format(g))
    draft = Lowering(g, machine, {}).run()
    bases, words = allocate(draft.lives)
    low = Lowering(g, machine, bases).run()
    steps = fetched(low.passes, machine, buffer // 2) if buffer else low.passes
    made = assemble(steps)
    params = sizes(low, made, words)
    if buffer:
        far = max(1, (low.images.weight_words - 1).bit_length())
        params |= {"WWords": buffer, "Fetch": 1, "FarBits": far, "ValueBits": max(params["ValueBits"], far, (buffer * machine.units).bit_length())}
    return Program(g, machine, steps, made, low.images, params, low.layouts, bases, low.sums)


def weight_format(g: Graph) -> tuple[int, int]:
    """(bits of a weight, 1 if some layer has half as many): the widest of convolutions and dense layers decides."""
    need = [max(2, Ints((1,), min(0, int(n.op.weight.min())), max(0, int(n.op.weight.max()))).bits + (n.op.weight.min() >= 0))
            for n in g.nodes.values() if isinstance(n.op, (Conv, Dense))] or [2]
    width = int(max(need) + max(need) % 2)
    return width, int(min(need) <= width // 2 and width >= 4)


def sizes(low: Lowering, made: Assembled, words: int) -> dict[str, int]:
    """Parameters of qs_core, each as small as this program allows."""
    g, m = low.g, low.machine
    lay, out = low.layouts[g.inputs[0].name], g.output.type
    act = max([v.type.bits for v in low.layouts.values()] + low.widths)
    bound = max(signed_bits(v) for p in low.passes for v in (p.zero, p.lo, p.hi)) - 1
    entry = max((signed_bits(v) for t in low.images.tables for v in (int(t.min()), int(t.max()))), default=1)
    products = any(p.mode == Mode.PRODUCT for p in low.passes)
    acc = max(max(t.bits + (not t.signed) for t in low.sums), (max(m.width, act + 1) if products else m.width) + act + 1)
    biases = np.concatenate([b.ravel() for b, _ in low.images.params])
    muls = np.concatenate([v.ravel() for _, v in low.images.params])
    positions = [abs(v) for p in low.passes for k in (p.row, p.col) for v in (k.start, *k.deltas(p.counts))]
    positions += [v for p in low.passes for v in (p.rows, p.cols)]
    counts = [v for p in low.passes for v in p.counts]
    address = int(words * m.lanes * 2).bit_length()
    unit = int(low.images.weight_words * m.units + 1).bit_length()
    result = max(bound, act, out.bits, entry)
    # no register is wider than what is written to it: addresses wrap around at their own width, zero, lo and hi are signed
    value = max(address, unit, result + 1, low.images.entries.bit_length(), low.images.param_words.bit_length(), max(counts).bit_length(), 12, act)
    made_of = {
        "Lanes": m.lanes, "Pe": m.pe, "Out": m.out, "InLanes": input_lanes(lay.channels, m.lanes), "InWidth": lay.type.bits,
        "InSigned": int(lay.type.signed), "OutWidth": out.bits, "ActWidth": act, "ActWords": words, "WWidth": m.width, "Halvings": m.halvings,
        "WWords": max(1, low.images.weight_words), "AccWidth": acc,
        "BiasWidth": min(acc, max(signed_bits(int(v)) for v in (biases.min(), biases.max()))),
        "MulWidth": max(signed_bits(int(v)) for v in (muls.min(), muls.max())), "ShiftBits": max(1, max(p.shift for p in low.passes).bit_length()),
        "ResWidth": result, "Params": low.images.param_words, "Entries": max(1, low.images.entries),
        "PosBits": max(positions).bit_length() + 1, "CountBits": max(*counts, *(p.line + p.count for p in low.passes)).bit_length() + 1,
        "Products": products, "ValueBits": max(value, max(positions).bit_length() + 1),
        "ProgWords": len(made.words)}
    return {k: int(v) for k, v in made_of.items()}


def signed_bits(v: int) -> int: return max(v, -v - 1).bit_length() + 1
