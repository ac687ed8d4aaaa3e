"""What constants, expansions, divisions, roots and recurrences cost; see hw/cost/models.py."""
from .parts import Params, Parts, counter, distinct, log2, memory, model, pairs, product


@model("qs_constant")
def _constant(out: Parts, p: Params) -> None:
    memory(out, p, p.Beats, p.Width, False, "ValueFile")
    counter(out, p.Beats)


@model("qs_expand")
def _expand(out: Parts, p: Params) -> None:
    if p.Block > 1:
        memory(out, p, 2 << log2(p.Block), p.Width, True)
    else:
        out.add("ff", width=p.Width)
    counter(out, p.Repeat, *[p.Block] * 2)


@model("qs_threshold")
def _threshold(out: Parts, p: Params) -> None:
    """Tables in logic for each step and lane, a comparator, and what waits for it."""
    x, bits = p.Lanes * p.InWidth, p.Lanes * p.ThresholdWidth
    for k in range(p.Steps):
        words = p.Rows << k
        out.roms[f"File{k}"] = (words, bits)
        if words > 16:
            out.add("lut", table=p.Lanes * distinct(p.ThresholdWidth, words) * words / 16)
        elif words > 1:
            out.add("lut", small_table=p.Lanes * distinct(p.ThresholdWidth, words))
        out.add("ff", thresholds=p.Lanes * distinct(p.ThresholdWidth, words) if words > 1 else 0)
    if p.Falls:
        out.roms["FallsFile"] = (p.Rows, p.Lanes)
    later = p.Steps if p.Falls else p.Steps - 1
    out.add("lut", compare=p.Lanes * p.Steps * pairs(max(p.InWidth, p.ThresholdWidth)), result=p.Lanes * p.OutWidth * (p.Falls + (p.Lo != 0)))
    out.add("ff", x=x * p.Steps, rows=log2(p.Rows) * later if p.Rows > 1 else 0, found=p.Lanes * p.Steps * (p.Steps - 1) // 2,
            result=p.Lanes * p.Steps, valid=p.Steps)
    counter(out, p.Rows, p.Repeat)


@model("qs_div")
def _div(out: Parts, p: Params) -> None:
    """A stage subtracts the divisor; one of several turns also chooses between what it has and what comes.

    The remainder grows by a bit each turn until it is as wide as the divisor; of the last one, of a single turn, nothing is read.
    """
    found = max(1, p.OutWidth - p.OutSigned)
    stages = -(-found // p.Turns)
    digits, wide = stages * p.Turns, max(p.AWidth + (not p.ASigned), p.BWidth) + 1
    rests = [min(p.BWidth, max(0, wide - 1 - digits) + k * p.Turns) for k in range(stages + 1)]
    last = 0 if p.Turns == 1 else 1
    out.add("lut", carry=p.Lanes * (pairs(wide) + stages * pairs(p.BWidth + 2)), restore=p.Lanes * sum(rests[1:stages + last]),
            quotient=p.Lanes * stages, load=p.Lanes * last * (stages * (digits + p.BWidth) + sum(rests[1:])))
    out.add("ff", operands=p.Lanes * (wide + p.BWidth), divisor=p.Lanes * p.BWidth * (stages - 1 + last), digits=p.Lanes * stages * (digits + 1),
            rest=p.Lanes * sum(rests[1:stages + last]))
    counter(out, *[p.Turns] * stages)


@model("qs_sqrt")
def _sqrt(out: Parts, p: Params) -> None:
    """Stage k subtracts from a remainder of k digits and more; what is left of x shrinks by two bits a digit."""
    stages = -(-((p.InWidth + 1) // 2) // p.Turns)
    last = 0 if p.Turns == 1 else 1
    ends = [k * p.Turns for k in range(1, stages + 1)]            # digits found by a stage
    left = [2 * max(0, -(-p.InWidth // 2) - e + p.Turns - 1) for e in ends]  # of x behind the stage's first digit
    rests = [e + 1 for e in ends][:stages - 1 + last]
    out.add("lut", carry=p.Lanes * sum(pairs(e + 3) for e in ends), restore=p.Lanes * sum(rests),
            load=p.Lanes * last * (sum(ends) + sum(rests) + sum(left)))
    out.add("ff", root=p.Lanes * sum(ends), rest=p.Lanes * sum(rests), bits=p.Lanes * sum(left))
    counter(out, *[p.Turns] * stages)


@model("qs_recur")
def _recur(out: Parts, p: Params) -> None:
    state = max(p.OutWidth + (not p.OutSigned), p.CWidth + (not p.CSigned))
    rounded = p.SumWidth - p.Shift
    memory(out, p, p.Beats, p.Lanes * p.OutWidth, True)
    wide = product(out, p, p.Lanes, p.AWidth, p.ASigned, state, 1)
    reach = 1 << rounded - 1
    bounds = (p.Lo > -reach and p.Lo != 0) + (p.Hi < reach - 1)
    out.add("lut", carry=p.Lanes * (pairs(p.SumWidth) + pairs(min(p.SumWidth, p.BWidth + 2))), bounds=p.Lanes * bounds * pairs(rounded),
            result=p.Lanes * p.OutWidth, first=p.Lanes * state)
    out.add("ff", operands=p.Lanes * (p.AWidth + p.BWidth + p.CWidth), product=p.Lanes * (min(wide, p.SumWidth) + min(p.SumWidth, p.BWidth + 2)),
            result=p.Lanes * p.OutWidth)
    counter(out, p.Steps, p.Beats, p.Beats)
