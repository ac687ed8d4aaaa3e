"""The division of qs_lm_share, which restores nothing, is ir/ops.py's: narrow words whole, from any state of its registers; wide ones by digits."""
import pytest
import z3

from hw.proof.system import system
from hw.proof.word import Word
from ir import ops


@pytest.mark.slow
@pytest.mark.parametrize("width, code, share", [(5, 4, 2), (6, 3, 3)])
def test_quotients(width, code, share):
    """Every v with |v| <= t, codes and shares; the other lane, and words before and after, are anything."""
    digits = max(code - 1, share + 1)
    s = system("qs_lm_share", {"Lanes": 2, "VecWidth": width, "CodeWidth": code, "ShareBits": share, "TagWidth": 1})
    states = [z3.BitVec(f"s{k}", s.state.size()) for k in range(digits + 3)]

    def wire(name: str, k: int): return z3.substitute(s.wires[name], (s.state, states[k]))
    v, t, shared = Word.of(z3.Extract(2 * width - 1, width, wire("v_i", 0)), True), Word.of(wire("top_i", 0), False), wire("share_i", 0)
    got = wire("q_o", digits + 2)
    q = z3.Extract(2 * digits + 1, digits + 1, got)
    solver = z3.SolverFor("QF_BV")
    solver.add([z3.substitute(s.step, (s.state, a), (s.next, b)) for a, b in zip(states, states[1:])])
    wide = 2 * width + 8
    solver.add(t.bits != 0, v.wide(wide) <= t.wide(wide), -v.wide(wide) <= t.wide(wide))
    want = [ops.divide(v * one, t).wide(digits + 1) for one in ((1 << code - 1) - 1, 1 << share)]
    assert solver.check() == z3.sat
    solver.add(q != z3.If(shared, want[1], want[0]))
    assert solver.check() == z3.unsat


def test_a_digit_of_wide_words():
    """From a remainder r in [-t, t) a step makes another, and its sign is the digit of the restoring division, whose remainder r mod t is.

    So by induction the digits are those of floor(n / t), however many there are, as the first remainder is in [0, t).
    """
    n = 34
    r, t, x = z3.BitVec("r", n), z3.BitVec("t", n), z3.ZeroExt(n - 1, z3.BitVec("x", 1))
    after = z3.If(r < 0, 2 * r + x + t, 2 * r + x - t)
    rest, rest_after = (z3.If(v < 0, v + t, v) for v in (r, after))
    solver = z3.SolverFor("QF_BV")
    solver.add(t >= 1, t < 1 << 29, r >= -t, r < t)
    holds = z3.And(after >= -t, after < t, 2 * rest + x == z3.If(after >= 0, t, 0) + rest_after, rest_after >= 0, rest_after < t)
    assert solver.check() == z3.sat
    solver.add(z3.Not(holds))
    assert solver.check() == z3.unsat
