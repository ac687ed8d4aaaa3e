"""What `qsearch compile` makes of a language model for an FPGA: a core, with a test of it beside it."""
from pathlib import Path

from ir import UserError, lm

PROMPT, COUNT = 3, 3     # tokens of the shipped test
PLAYED = 4_000_000       # ternary weights at most of a model whose test is made by the way


def for_fpga(folder: str, t, out: Path, form: str = "integer", engines: int = 0, trits: int = 0, lanes: int = 0, top_k: int = 0, far: bool = False,
             taps: bool = False) -> list[str]:
    """The design in `out`; lines for the user about it.  0 stands for a choice of ours, the form "integer" for fields.

    UserError: a machine that cannot be; a core that does not fit the target; a folder that is something else.
    """
    from hw.lm.design import lm_design
    from hw.lm.layout import Machine
    from hw.lm.room import blocks
    from sim.lm.ship import add_test
    p = lm.load_lm(folder)
    form = "fields" if form == "integer" else form
    machine = Machine(engines or 2, trits or (64 if form == "two_bit" else 80), lanes or 2, form, top_k or min(8, p.tokens), far, taps)
    small = sum(q.codes.size for q in p.projections().values()) <= PLAYED
    prompt = [k % p.tokens for k in range(PROMPT)]
    d = lm_design(p, out, machine, t, (lambda part, d: add_test(part, d, p, prompt, COUNT)) if small else None)
    used = sum(blocks(d.params, machine, t).values())
    room = f"; {used} of {t.resources['bram']} block RAMs" * bool(used)
    where = f"{len(d.weights)} files for the outer memory" if far else "on the chip"
    pace = d.cycles.token / (t.clock_mhz * 1e6)
    return [str(out), f"weights {machine.beat_bits * d.params['WeightWords'] * machine.engines / 8192:,.1f} KB as {form}, {where}{room}",
            f"{d.cycles.token:,} cycles a token: {1 / pace:,.0f} tokens a second at {t.clock_mhz:g} MHz",
            "the microprogram is in program.txt" + "; python run.py in the folder simulates it" * small]


def refuse(options: dict) -> None:
    """UserError: options of a language model's core, where none is built."""
    if (given := next((k for k, v in options.items() if v), None)) is not None:
        raise UserError(f"{given} is for a language model on an FPGA (a folder of `qsearch train`)")
