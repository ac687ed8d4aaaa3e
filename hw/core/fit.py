"""Which core fits a device, and what it then takes: cycles, LUTs, memory, and the stream of weights where they stay outside."""
import math
from dataclasses import dataclass

from ir import Graph, UserError
from ir.target import Target

from ..cost.memory import BLOCKS, place
from ..targets import DSP_BITS, fpga
from .compile import Program, compile_graph
from .isa import FetchRun
from .model import frame_cycles

SHAPES = [(2, 1, 1), (4, 1, 1), (4, 2, 1), (4, 4, 1), (8, 2, 1), (8, 4, 1), (8, 8, 2), (16, 4, 1), (16, 8, 2), (16, 16, 2), (32, 16, 2), (32, 32, 4)]


@dataclass(frozen=True)
class Fit:
    """A core on a device: used, what it takes (LUTs estimated, DSPs and block RAMs counted); memory, block RAMs of each memory."""
    lanes: int
    pe: int
    out: int
    cycles: int
    used: dict[str, int]
    memory: dict[str, int]
    bits: dict[str, int]
    outer_bits: int    # of weights that come from outside, a frame

    @property
    def text(self) -> str:
        """One line."""
        kb = ", ".join(f"{k} {v / 8192:,.1f} KB" for k, v in self.bits.items())
        stream = f"; weights from outside: {self.outer_bits / 8 / self.cycles:.2f} bytes a cycle" * bool(self.outer_bits)
        return (f"core {self.lanes}x{self.pe}x{self.out}: {self.cycles:,} cycles a frame, about {self.used['lut']:,} LUTs, "
                f"{self.used['dsp']} DSPs, {self.used['bram']} block RAMs ({kb}){stream}")


def shape(text: str) -> tuple[int, int, int, int]:
    """`8x8` or `8x8x2`: elements of a word, rows at once, results a cycle (by default one for each 4 rows, up to 4).

    `8x8:1024`: with the weights outside, and so many words of weight memory inside (else 0).  UserError: another text.
    """
    try:
        text_, _, buffer = text.partition(":")
        numbers = [int(v) for v in text_.split("x")]
        lanes, pe, out = numbers if len(numbers) == 3 else (*numbers, max(1, min(4, numbers[1] // 4)))
        return lanes, pe, out, int(buffer or 0)
    except ValueError:
        raise UserError(f"core {text!r}: give LANESxROWS or LANESxROWSxRESULTS, such as 8x8 or 16x8x2; then :WORDS of weight memory where the "
                        "weights stay outside; or auto") from None


def fit(g: Graph, target: str | Target | None = None, text: str = "auto") -> Fit:
    """The fastest core for the graph that fits the device; with a shape (see `shape`) that one.

    UserError: none fits; it says by how much the smallest, or the one asked for, is too large, and for memory which one.
    """
    t = fpga(target)
    if t.family not in BLOCKS:
        raise UserError(f"target {t.name!r}: block RAMs of the core are counted for {', '.join(BLOCKS)} only; give --core a shape, such as 8x8")
    tried = [estimate(compile_graph(g, *s), t) for s in (SHAPES if text == "auto" else [shape(text)])]
    good = [f for f in tried if not excess(f, t)]
    if not good:
        least = min(tried, key=lambda f: max(f.used[r] / t.resources[r] for r in f.used))
        r, over = max(excess(least, t).items(), key=lambda e: e[1] / t.resources[e[0]])
        which = ""
        if r == "bram":
            name = max(least.memory, key=least.memory.get)
            which = f", most of them for {name} ({least.bits[name] / 8192:,.0f} KB)" + "; weights may stay outside: see --core" * (name == "weights")
        raise UserError(f"no core fits {t.name}: {least.lanes}x{least.pe} needs {least.used[r]:,} {r}, {over:,} more than there are{which}")
    return min(good, key=lambda f: (f.cycles, f.used["lut"]))


def best_shape(g: Graph, target: str | Target | None = None) -> tuple[int, int, int, int]:
    """As `shape`, of the fastest core that fits.  UserError: see fit."""
    f = fit(g, target)
    return f.lanes, f.pe, f.out, 0


def excess(f: Fit, t: Target) -> dict[str, int]:
    """Resource -> how much of it is missing."""
    return {r: n - t.resources[r] for r, n in f.used.items() if n > t.resources[r]}


def estimate(program: Program, t: Target) -> Fit:
    """What a program's core takes on a device."""
    p, m = program.params, program.machine
    shapes = {"activations": (p["ActWords"], p["ActWidth"], m.lanes), "weights": (p["WWords"], m.word_bits, 1),
              "parameters": (p["Params"], m.out * (p["BiasWidth"] + p["MulWidth"]), 1), "program": (p["ProgWords"], 7 + p["ValueBits"], 1),
              "tables": (p["Entries"], p["ResWidth"], m.out)}
    places = {k: (place(depth, width, k == "activations", t.family), n) for k, (depth, width, n) in shapes.items()}
    memory = {k: n * v.bram for k, (v, n) in places.items()}
    around = sum(n * (MUX * v.mux + LUTRAM * v.lutram) for v, n in places.values())
    bits = {k: depth * width * n for k, (depth, width, n) in shapes.items() if depth > 1}
    small = t.dsp_bits or DSP_BITS
    products = m.lanes * m.pe
    wide = min(p["WWidth"], p["ActWidth"] + 1) >= small
    dsp = products * (math.ceil((p["ActWidth"] + 1) / 18) * math.ceil(p["WWidth"] / 18) if wide else 0)
    dsp += m.out * math.ceil(p["AccWidth"] / 18) * math.ceil(p["MulWidth"] / 18)
    used = {"lut": round(luts(p, 0 if wide else products) + around), "dsp": dsp, "bram": sum(memory.values())}
    return Fit(m.lanes, m.pe, m.out, frame_cycles(program), used, memory, bits,
               sum(s.words for s in program.steps if isinstance(s, FetchRun)) * m.word_bits)


def luts(p: dict[str, int], products: int) -> float:
    """LUTs (of 4 inputs) of a core with these parameters, without its memories; so many products are made of LUTs.

    Fitted to five syntheses for ECP5 (3,100 to 11,000 LUTs) within 5 %; a sixth of 15,000, seen while the terms were chosen, is 6 % larger.
    """
    rows = p["Pe"] * p["Lanes"]
    return (BASE + PRODUCT * products * (p["ActWidth"] + 1) * p["WWidth"] + SUM * rows * (p["ActWidth"] + 1 + p["WWidth"])
                 + LANE * p["Lanes"] * p["AccWidth"] + RESULT * p["Out"] * (p["AccWidth"] + p["MulWidth"])
                 + FORMAT * p["Halvings"] * rows * p["WWidth"])


BASE, PRODUCT, SUM, LANE, RESULT, FORMAT = 536, 1.21, 1.0, 8.6, 13.75, 2.38
MUX, LUTRAM = 0.6, 6   # of an input of the multiplexers behind a memory; of a cell of LUT RAM
