"""Proofs of the stream modules: what holds is proven for all time, and what is broken is found."""
from pathlib import Path

import numpy as np
import pytest
import z3

from hw.proof import prove, prove_module
from hw.proof.numbers import Program
from hw.proof.system import system
from hw.proof.word import Word, equal
from ir import UserError, ops

RTL = Path(__file__).parents[1] / "hw" / "rtl"


def vector(*values): return sum(int(x) << 32 * k for k, x in enumerate(values))


def mem(values): return "".join(f"{v:x}\n" for v in values)


QUICK = [  # module, parameters, memory files, cycles within which each stream moves
    ("qs_skid", {"DataWidth": 2}, {}, 2),
    ("qs_fifo", {"DataWidth": 2, "Depth": 1}, {}, 3), ("qs_fifo", {"DataWidth": 2, "Depth": 3}, {}, 3),
    ("qs_fifo", {"DataWidth": 2, "Depth": 8}, {}, 3),
    ("qs_fork", {"NumOut": 2, "Width": 2}, {}, 2),
    ("qs_dwc", {"Width": 2, "InLanes": 1, "OutLanes": 3}, {}, 4), ("qs_dwc", {"Width": 2, "InLanes": 4, "OutLanes": 2}, {}, 2),
    ("qs_resize", {"Lanes": 2, "InWidth": 3, "InSigned": 1, "OutWidth": 5}, {}, 1),
    ("qs_axis_out", {"Width": 3, "DataWidth": 8, "Beats": 3}, {}, 1),
    ("qs_concat", {"NumIn": 2, "Width": 2, "Beats": vector(2, 1)}, {}, 3),
    ("qs_slice", {"Rank": 2, "Width": 2, "Size": vector(2, 3), "Start": vector(0, 1), "Stop": vector(2, 3), "Step": vector(1, 2)}, {}, 4),
    ("qs_pad", {"Rank": 1, "Width": 2, "Size": 2, "Before": 1, "After": 1, "Value": 2}, {}, 3),
    ("qs_gather", {"InWidth": 2, "NumRows": 3, "RowBeats": 2, "Lanes": 1, "OutWidth": 3, "TableFile": "t.mem"},
     {"t.mem": mem([3, 1, 0, 7, 5, 2])}, 2),
    ("qs_constant", {"Width": 3, "Beats": 3, "ValueFile": "v.mem"}, {"v.mem": mem([1, 7, 2])}, 2),
    ("qs_add", {"Lanes": 2, "AWidth": 3, "ASigned": 1, "BWidth": 2, "BSigned": 0, "OutWidth": 4}, {}, 2),
    ("qs_lut", {"Lanes": 2, "InWidth": 3, "OutWidth": 4, "TableFile": "t.mem"}, {"t.mem": mem([3, 9, 1, 0, 15, 7, 2, 8])}, 2),
]


@pytest.mark.parametrize("module, params, mems, moves", QUICK, ids=lambda v: v if isinstance(v, str) else None)
def test_proven_for_all_time(module, params, mems, moves):
    r = prove_module(module, params, mems, seconds=300)
    assert [p.method for p in r.proofs] == ["induction"] * 4
    assert r.proofs[-1].depth == moves


BROKEN = [  # module, parameters, text, what is put there, property that fails
    ("qs_skid", {"DataWidth": 2}, "if (!spare_valid) spare <= s_data_i;", "spare <= s_data_i;", "every beat"),
    ("qs_skid", {"DataWidth": 2}, "spare_valid <= spare_valid || s_valid_i;", "spare_valid <= 1'b0;", "every beat"),
    ("qs_fifo", {"DataWidth": 2, "Depth": 3}, "s_ready_o = count != count_t'(Depth)", "s_ready_o = 1'b1", "every beat"),
    ("qs_fifo", {"DataWidth": 2, "Depth": 3}, "(!m_valid_o || m_ready_i)", "1'b1", "a beat once offered"),
    ("qs_fork", {"NumOut": 2, "Width": 2}, "& ~has", "", "every beat"),
    ("qs_axis_out", {"Width": 3, "DataWidth": 8, "Beats": 3}, "Beats - 1);\n\n", "Beats - 2);\n\n", "every beat"),
]


@pytest.mark.parametrize("module, params, text, other, wrong", BROKEN)
def test_a_defect_is_found(module, params, text, other, wrong, tmp_path):
    """A counterexample from the reset on, in one line."""
    source = (RTL / f"{module}.sv").read_text()
    assert text in source
    (tmp_path / f"{module}.sv").write_text(source.replace(text, other))
    with pytest.raises(UserError, match=rf"^{module} .*: {wrong}.*: not so; cycle 0: .*_valid_i=") as e:
        prove_module(module, params, sources=[tmp_path / f"{module}.sv"])
    assert "\n" not in str(e.value)


def test_a_deadlock_is_no_proof(tmp_path, monkeypatch):
    """A FIFO that stops for good once it is full keeps every other rule."""
    text = (RTL / "qs_fifo.sv").read_text()
    broken = text.replace("assign pop       = count != '0", "assign pop       = count != '0 && count != count_t'(Depth)")
    assert broken != text
    (tmp_path / "qs_fifo.sv").write_text(broken)
    monkeypatch.setattr(prove, "MOST", 6)
    r = prove_module("qs_fifo", {"DataWidth": 2, "Depth": 3}, sources=[tmp_path / "qs_fifo.sv"])
    assert r.proofs[-1].method == "open" and "more than" in r.proofs[-1].property


def test_unknown_module():
    with pytest.raises(UserError, match=r"^nothing is written down of what qs_top means; it is one of qs_skid, "):
        prove_module("qs_top", {})


@pytest.mark.parametrize("mul, shift, zero, lo, hi", [(3, 2, 1, -4, 7), (-5, 3, 0, -8, 7), (1, 0, -100, -128, 90), (7, 9, 3, 0, 15), (0, 1, 2, 0, 3)])
def test_words_are_exact(mul, shift, zero, lo, hi):
    """ir/ops.py on words is ir/ops.py on integers, and no result leaves its interval."""
    x = Word.of(z3.BitVec("x", 5), True)
    y = ops.requant(x, mul, shift, zero, lo, hi)
    for v in range(-16, 16):
        at = z3.simplify(z3.substitute(y.bits, (x.bits, z3.BitVecVal(v, 5)))).as_signed_long()
        assert at == ops.requant(v, mul, shift, zero, lo, hi) and y.lo <= at <= y.hi


def test_division_of_words():
    a, b = z3.BitVec("a", 5), z3.BitVec("b", 3)
    q = ops.divide(Word.of(a, True), Word.of(b, False))
    for v in range(-16, 16):
        for d in range(1, 8):
            assert z3.simplify(z3.substitute(q.bits, (a, z3.BitVecVal(v, 5)), (b, z3.BitVecVal(d, 3)))).as_signed_long() == ops.divide(v, d)


def test_rounding_has_one_meaning():
    """floor(x / 2**n + 1/2) of any 12-bit x: twice the error lies in (-1, 1] steps, for every n."""
    x = Word.of(z3.BitVec("x", 12), True)
    for n in range(1, 14):
        error = 2 * (ops.round_shift(x, n) * (1 << n) - x)
        s = z3.SolverFor("QF_BV")
        s.add(z3.Not(z3.And(error.wide(32) > -(1 << n), error.wide(32) <= 1 << n)))
        assert s.check() == z3.unsat


def test_numbers_agree_with_z3():
    """The same transition, computed by numpy and by Z3."""
    s = system("qs_requant", {"Lanes": 1, "Rows": 2, "Repeat": 1, "InWidth": 5, "InSigned": 1, "OutWidth": 4, "MulWidth": 3, "MulSigned": 1,
                              "Shift": 2, "Zero": 1, "Lo": -8, "Hi": 7, "MulFile": "m.mem"}, {"m.mem": "5\n3\n"})
    news = [e.arg(0) for e in s.step.children()]
    program, rng = Program(news, s.state), np.random.default_rng(0)
    for v in rng.integers(0, 1 << 60, 20).tolist():
        v &= (1 << s.state.size()) - 1
        given = {leaf: np.array([v >> leaf[2] & (1 << leaf[1] - leaf[2] + 1) - 1]) for leaf in program.leaves}
        want = [z3.simplify(z3.substitute(e, (s.state, z3.BitVecVal(v, s.state.size())))) for e in news]
        assert [int(x[0]) for x in program.run(given)] == [w.as_long() if z3.is_bv(w) else int(z3.is_true(w)) for w in want]


def test_equal_compares_values():
    a = Word.of(z3.BitVecVal(7, 3), False)
    assert z3.is_true(z3.simplify(equal(a, Word.const(7)))) and z3.is_false(z3.simplify(equal(a, Word.const(-1))))
