"""The modules that others are made of, each alone; and that no module of the library is without a test of its own."""
import re
from pathlib import Path

import numpy as np
import pytest

from checks import Check, agree, packed
from sim import Case
from sim.build import LIBRARY, sources

HERE = Path(__file__).parent
FOLDERS = (LIBRARY, HERE / "sv")
RNG = np.random.default_rng(11)
IN_DESIGNS = {"qs_core": "test_core.py", "qs_axil": "test_shell.py", "qs_lm_top": "test_sim_lm_core.py"}  # what makes no sense alone -> the test of designs that are made of it


def test_every_module_has_a_test():
    """Its name stands in a test of this folder or in a wrapper that one of them names, or it is a part of a module that is tested."""
    tests = "\n".join(p.read_text() for p in HERE.glob("test_*.py"))
    wrapped = "\n".join(p.read_text() for p in (HERE / "sv").glob("*.sv") if re.search(rf"\b{p.stem}\b", tests))
    library = {p.stem for p in LIBRARY.glob("*.sv")}
    named = (set(re.findall(r"\bqs_\w+\b", tests + wrapped)) | IN_DESIGNS.keys()) & library
    covered = {p.stem for name in named for p in sources(name, [LIBRARY])}
    assert covered == library, f"{sorted(library - covered)}: write a test in tests/rtl, if need be with a wrapper in tests/rtl/sv"
    assert IN_DESIGNS.keys() <= library and all((HERE.parent / t).exists() for t in IN_DESIGNS.values())


def check(top: str, params: dict, sent, want, **more) -> Check:
    inputs = {"s": sent} if not isinstance(sent, dict) else sent
    return Check(Case(top, params, inputs, {"m": len(want)} if want is not None else {}, **more), {"m": want} if want is not None else {})


def index(*size: int) -> Check:
    width = 5
    steps = RNG.integers(0, 2, 3 * int(np.prod(size))).tolist()
    want, at = [], 0
    for step in steps:
        place = np.unravel_index(at, size)
        wraps = [step and all(p == s - 1 for p, s in list(zip(place, size))[k:]) for k in range(len(size))]
        want.append(sum(int(v) << width * k for k, v in enumerate(place)) | sum(int(w) << width * len(size) + k for k, w in enumerate(wraps)))
        at = (at + step) % int(np.prod(size))
    return check("small_index", dict(Rank=len(size), Size=packed(size), Width=width), steps, want)


def frame(beats: int, address_bits: int) -> Check:
    data, asked, want = RNG.integers(0, 256, (6, beats)), [], []
    for f in data:
        at = RNG.integers(0, beats, int(RNG.integers(1, 2 * beats + 2)))
        asked += [int(a) | int(k == len(at) - 1) << address_bits for k, a in enumerate(at)]
        want += f[at].tolist()
    return check("small_frame", dict(Width=8, Beats=beats, AddrWidth=address_bits), {"s": data.ravel().tolist(), "a": asked}, want)


def turns(stages: int, turns: int) -> Check:
    x = RNG.integers(0, 60_000, 40)
    return check("small_turns", dict(Stages=stages, Turns=turns), x.tolist(), (x + stages * turns).tolist())


def delay(depth: int) -> Check:
    x = RNG.integers(0, 256, 3 * depth + 7).tolist()
    return check("small_delay", dict(Width=8, Depth=depth), x, x[:-depth])


def ranks(n: int) -> Check:
    x = RNG.integers(0, 256, 60).tolist()
    return check("small_stages", dict(Ranks=n), x, x)


def clip(width: int, out: int, signed: int, lut6: int) -> Check:
    """Every value there is."""
    x = np.arange(1 << width)
    value = np.where(x >> width - 1, x - (1 << width), x) if signed else x
    return check("small_clip", dict(InWidth=width, OutWidth=out, Signed=signed, Lut6=lut6), x.tolist(), np.clip(value, 0, (1 << out) - 1).tolist())


def add3(width: int, **masks: int) -> Check:
    top = 1 << width
    full = {"MaskA": top - 1, "MaskB": top - 1, "MaskC": 0, "FlipA": 0, "FlipB": 0, "FlipC": 0} | masks
    abc = RNG.integers(0, top, (200, 3))
    abc[0], abc[1] = 0, top - 1
    want = sum((abc[:, k] & full[f"Mask{n}"]) ^ full[f"Flip{n}"] for k, n in enumerate("ABC")) % top
    return check("small_add3", dict(Width=width) | full, [int(a) | int(b) << width | int(c) << 2 * width for a, b, c in abc], want.tolist())


def add2(width: int, flip_a: int, flip_b: int) -> Check:
    ab = RNG.integers(0, 1 << width, (200, 2))
    want = (((ab[:, 0] ^ flip_a) + (ab[:, 1] ^ flip_b)) % (1 << width)).tolist()
    return check("small_add2", dict(Width=width, FlipA=flip_a, FlipB=flip_b), [int(a) | int(b) << width for a, b in ab], want)


@pytest.mark.slow
def test_small(tmp_path):
    cases = [index(1), index(7), index(3, 4), index(2, 1, 3), index(1, 5, 1), frame(1, 1), frame(4, 2), frame(5, 3)]
    cases += [turns(1, 1), turns(4, 2), turns(3, 1), turns(1, 5), turns(5, 3)] + [delay(d) for d in (1, 2, 3, 8, 13)] + [ranks(n) for n in (1, 2, 5)]
    cases += [clip(8, 4, 1, 0), clip(8, 4, 0, 0), clip(6, 5, 1, 1), clip(4, 4, 0, 1), clip(9, 1, 1, 0)]
    cases += [add3(1), add3(8), add3(8, MaskC=255), add3(7, MaskA=0x3c, FlipB=0x7f, FlipC=1), add3(12, MaskB=0, FlipB=0xabc, MaskC=0xf0f, FlipC=0xf00)]
    cases += [add2(1, 0, 1), add2(8, 0, 0), add2(9, 0x155, 0x1ff)]
    cases.append(check("qs_drain", dict(Width=3), [1, 2, 3, 4], None))
    agree(cases, tmp_path, folders=FOLDERS, resets=True)
