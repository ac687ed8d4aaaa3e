"""What a language model costs on boards: memory, bandwidth, tokens a second, cells, energy, or by how much it does not fit."""
from hw.lm.devices import BOARDS
from hw.lm.energy import energy
from hw.lm.fit import Fit, best
from hw.lm.shape import Shape, named
from ir import UserError, lm


def shape_of(model: str) -> Shape | None:
    """The sizes that a name, DIMxHIDDENxLAYERSxTOKENS or a model's folder stands for; None for another kind of model.  UserError: see `named`."""
    if lm.is_lm(model):
        return Shape.of(lm.load_lm(model), model)
    return named(model)


def cost(s: Shape, targets: list[str], screen, engines: int = 0, encoding: str = "", lanes: int = 0) -> None:
    """All boards in a table, or one board in full.  UserError: an unknown board; on one board, a model that does not fit."""
    boards = [BOARDS[t] for t in targets] or list(BOARDS.values())
    words = s.tokens * s.dim * s.embedding_bits / 8e6
    print(f"{s.name}: {s.ternary:,} ternary weights, {s.ternary / 5e6:,.2f} MB at five a byte; embeddings {words:,.2f} MB")
    fits = [best(s, b, engines, encoding, lanes) for b in boards]
    screen.table("", [row(f) for f in fits])
    if len(fits) == 1:
        for line in details(fits[0]):
            print(line)
        if fits[0].over:
            raise UserError(f"{fits[0].why}; take a larger board or a smaller model")


def row(f: Fit) -> dict:
    m, e = f.machine, energy(f).total
    return {"board": f.board.name, "weights": f.board.outer.kind if m.far else "on chip", "engines": f"{m.engines} x {m.trits}",
            "encoding": m.encoding, "lanes": m.lanes, "cycles/token": f"{f.cycles:,.0f}", "tokens/s": f"{f.tokens_s:,.1f}",
            "GB/s": f"{f.bytes_token * f.tokens_s / 1e9:.2f}",
            "LUT": f"{f.used['lut']:,}", "DSP": f.used["dsp"], "BRAM18": f.used["bram"], "URAM": f.used["uram"],
            "mJ/token": f"{e[0] * 1e3:.2g} to {e[1] * 1e3:.2g}", "fits": "no" if f.over else "yes"}


def details(f: Fit) -> list[str]:
    """Where everything stands, and where the figures are from."""
    e, b, m = energy(f), f.board, f.machine
    out = [f"  {p.store.name:<20} {p.store.size / 8e3:>12,.1f} KB in {p.number:,} {'bytes of ' * p.store.outer}{p.where}"
           for p in f.placed]
    out.append(f"clock {b.clock_mhz:g} MHz; cycles of the core's schedule"
               + (f", of which an outer memory has beats in {b.outer.share:.0%}" if m.far else ""))
    if b.resources["uram"] and any(p.where == "uram" and not p.store.written for p in f.placed):
        out.append("UltraRAM has no initial contents: what stands there of constants has to be written after configuration, "
                   "which this core does not do yet")
    parts = {"at rest": e.rest, "outer memory": e.outer, "core": e.core}
    out.append("energy: " + ", ".join(f"{k} {lo * 1e3:.2g} to {hi * 1e3:.2g} mJ" for k, (lo, hi) in parts.items() if hi)
               + (f"; {e.measured * 1e3:.3g} mJ at {b.measured_w[0]:g} W, {b.measured_w[1]}" if e.measured else "")
               + " (method: hw/lm/energy.py)")
    return out
