"""One module of hw/rtl through Yosys by itself: what the cost models are fitted to."""
import random
import re
import tempfile
from pathlib import Path

from ir import store

from ..design import library
from ..synth.yosys import ARITH, script, synthesize
from ..targets import DSP_BITS, FAMILIES
from .models import parts


def measure(module: str, params: dict[str, int], family: str = "ecp5", dsp_bits: int = DSP_BITS) -> dict[str, int]:
    """What one module of hw/rtl costs by itself; its memory files get random words (of a fixed seed)."""
    with tempfile.TemporaryDirectory(prefix="qs_measure_") as d:
        files = {}
        for name, (words, width) in parts(module, params, family, dsp_bits).roms.items():
            r = random.Random(name)
            files[name] = Path(d) / f"{name}.mem"
            files[name].write_text("".join(f"{r.getrandbits(width):x}\n" for _ in range(words)))
        return synthesize(library(module), module, params | {k: f.name for k, f in files.items()}, family, list(files.values()), dsp_bits)


def rtl_hash(module: str, family: str = "ecp5") -> str:
    """Names what `measure` measures, comments and spaces aside: the module, those it uses, and how they are mapped."""
    texts = [re.sub(r"//[^\n]*", "", p.read_text()).split() for p in (*library(module), ARITH)]
    return store.digest(*(" ".join(t) for t in texts), script([], module, {}, FAMILIES[family], DSP_BITS))
