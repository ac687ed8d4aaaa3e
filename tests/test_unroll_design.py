"""Graphs as adders: every op, every width, and the pipeline in simulation."""
import numpy as np
import pytest

from hw import load, unroll, unroll_design
from hw.unroll import scalars
from hw.unroll.mincut import Network
from ir import Concat, Conv, Dense, Expand, Graph, Input, Ints, Lut, MaxPool, Requant, Reshape, UserError, run
from op_cases import CASES
from sim import simulate
from sim.build import lint
from strategies import samples
from unrolled import evaluate, plainly

RNG = np.random.default_rng(3)
REFUSED = ("matmul", "gather", "div", "sqrt", "recur")


def feeds(g: Graph, n: int) -> dict[str, np.ndarray]:
    x = samples(g, n)
    return x if isinstance(x, dict) else {g.inputs[0].name: x}


@pytest.mark.parametrize("name", CASES)
def test_ops(name):
    """Each corner of each op, adder by adder, within the bounds of every value."""
    g = CASES[name]
    if any(n.op.__class__.__name__.lower() in REFUSED for n in g.nodes.values()):
        with pytest.raises(UserError, match=r"^node '\w+': \w+ cannot be unrolled \(add, concat, .*\); compile the graph without --unroll$"):
            unroll(g)
        return
    x = feeds(g, 20)
    want = run(g, x).reshape(20, -1)
    for family in ("portable", ("xcup", "ecp5")[len(name) % 2]):
        np.testing.assert_array_equal(evaluate(plainly(g, family), x), want)


def network() -> Graph:
    """Strided convolution, pool, tables, a signed clamp, a branch with another multiplier, ReLU, dense."""
    g = Graph()
    x = g.add("x", Input(Ints((2, 5, 5), -8, 7)))
    c = g.add("conv", Conv(RNG.integers(-3, 4, (3, 2, 3, 3)), RNG.integers(-9, 9, 3), (2, 2), ((1, 1), (1, 1)), pad=1), x)
    q = g.add("q", Requant([37, 90, 64], 9, 0, -8, 7), c)
    p = g.add("pool", MaxPool((2, 2), (1, 1)), q)
    t = g.add("lut", Lut(RNG.integers(-20, 21, 16), -8), p)
    f = g.add("flat", Reshape((12,)), t)
    d = g.add("dense", Dense(RNG.integers(-7, 8, (6, 12)), RNG.integers(-50, 50, 6)), f)
    r = g.add("relu", Requant([1], 3, 0, 0, 15), d)
    s = g.add("odd", Requant([-21], 8, 5, -3, 9), d)
    b = g.add("both", Concat(0), r, s)
    e = g.add("wide", Expand((2, 12)), g.add("row", Reshape((1, 12)), b))
    g.add("out", Dense(RNG.integers(-1, 2, (3, 12)), [5, -6, 0]), e)
    return g


@pytest.mark.slow
@pytest.mark.parametrize("family, stages, lanes", [("xcup", 3, 10), ("ecp5", 2, None)])
def test_simulation(family, stages, lanes, tmp_path):
    """A lint-clean folder like any other, a frame a cycle, the same values under random stalls."""
    g = network()
    d = unroll_design(g, tmp_path / "d", family, stages, lanes)
    assert load(tmp_path / "d") == d and d.kind == "unrolled"
    assert lint(d.sources, "qs_top") == ""
    x = feeds(g, 60)["x"]
    want = run(g, x)
    smooth, stalled = simulate(d, x), simulate(d, x, stalls=5)
    np.testing.assert_array_equal(smooth.outputs, want)
    np.testing.assert_array_equal(stalled.outputs, want)
    assert smooth.cycles_per_frame == d.interval


@pytest.mark.parametrize("stages", [1, 4])
def test_lint(stages, tmp_path):
    assert lint(unroll_design(network(), tmp_path / "d", stages=stages).sources, "qs_top") == ""


def test_widths_are_exact():
    """Every value takes both ends of its bounds: not one bit is spare."""
    g = Graph()
    g.add("y", Dense([[3, -5], [1, 1]], [2, 0]), g.add("x", Input(Ints((2,), -4, 3))))
    s = unroll(g).scalars
    x = {"x": np.stack([a.ravel() for a in np.meshgrid(np.arange(-4, 4), np.arange(-4, 4))], 1)}
    for k in range(len(s.ops)):
        s.outputs = [scalars.Ref(k)]
        y = evaluate(s, x)
        assert (y.min(), y.max()) == (s.lo[k], s.hi[k])


def test_what_nothing_reads_is_gone():
    """A neuron without fan-out, its input, and a saturation that the bounds make needless."""
    g = Graph()
    x = g.add("x", Input(Ints((3,), 0, 15)))
    h = g.add("h", Dense([[1, 1, 0], [0, 0, 1]], [0, 0]), x)
    r = g.add("r", Requant([1], 1, 0, 0, 200), h)
    g.add("y", Dense([[3, 0]], [0]), r)
    ops = unroll(g).scalars.ops
    assert {op.index for op in ops if isinstance(op, scalars.Input)} == {0, 1}
    assert not any(isinstance(op, scalars.Clamp) for op in ops)


def test_requant_is_no_multiplication_where_a_shift_tells_the_steps_apart():
    g = Graph()
    g.add("y", Requant([1073741827], 34, 0, -128, 127), g.add("x", Input(Ints((1,), 0, 2000))))
    s = unroll(g).scalars
    assert sum(len(op.terms) for op in s.ops if isinstance(op, scalars.Sum)) == 1
    x = np.arange(2001)[:, None]
    np.testing.assert_array_equal(evaluate(s, {"x": x}), run(g, x))


@pytest.mark.parametrize("stages", [1, 2, 3, 5])
def test_stages(stages):
    """As many ranks as asked for, no way through two stages at once, no stage longer than it must be."""
    u = unroll(CASES["dense of matrices"], "portable", stages, effort=0)
    p, s = u.pipeline, u.scalars
    assert p.latency == stages
    arrival = [0.0] * len(s.ops)
    for k in range(len(s.ops)):
        assert all(p.stage[a] <= p.stage[k] for a in s.args(k))
        arrival[k] = u.family.delay(s, k) + max((arrival[a] for a in s.args(k) if p.stage[a] == p.stage[k]), default=0)
    once = unroll(CASES["dense of matrices"], "portable", effort=0)
    longest = max(sum(once.family.delay(once.scalars, k) for k in way) for way in [_longest(once)])
    assert max(arrival) <= longest / stages + max(once.family.delay(once.scalars, k) for k in range(len(once.scalars.ops)))


def _longest(u) -> list[int]:
    s, best = u.scalars, []
    for k in range(len(s.ops)):
        before = max((best[a] for a in s.args(k)), default=(0.0, []))
        best.append((before[0] + u.family.delay(s, k), [*before[1], k]))
    return max(best)[1]


def test_registers_stand_where_few_bits_are():
    """A sum of 16 values of 8 bits in two stages: the cut is behind the sums, not before them."""
    g = Graph()
    g.add("y", Dense(np.ones((1, 16), int), [0]), g.add("x", Input(Ints((16,), 0, 255))))
    u = unroll(g, "portable", 2)
    held = sum(u.scalars.width(k) for k, ranks in enumerate(u.pipeline.registers(u.scalars)) if 1 in ranks)
    assert held == 4 * 10


def test_cheapest_cut():
    net = Network(6)
    for a, b, c in [(0, 2, 4), (0, 3, 9), (2, 4, 6), (3, 4, 3), (3, 5, 2), (4, 1, 20), (5, 1, 5)]:
        net.add(a, b, c)
    assert net.source_side(0, 1) == {0, 3}


def test_mistakes():
    g = Graph()
    g.add("y", Dense(np.ones((600, 600), int), np.zeros(600)), g.add("x", Input(Ints((600,), 0, 1))))
    with pytest.raises(UserError, match=r"^node 'y' \(dense\): unrolled it has 360,000 terms, more than 262,144; compile the graph"):
        unroll(g)
    with pytest.raises(UserError, match="^0 stages: a pipeline has at least 1$"):
        unroll(network(), stages=0)
    with pytest.raises(UserError, match="^unknown kind of unrolled design 'ecp6'"):
        unroll(network(), "ecp6")
    g = Graph()
    g.add("y", Lut(np.arange(5000) % 7, 0), g.add("x", Input(Ints((1,), 0, 4999))))
    with pytest.raises(UserError, match=r"^node 'y': a table of 5,000 entries cannot be unrolled \(at most 4,096\)"):
        unroll(g)


def test_command_line(tmp_path, capsys):
    """--unroll and what goes with it, on an FPGA only."""
    from qsearch import backends, compiling
    fpga, cpu = backends.target("ecp5-85k"), backends.target("cpu")
    assert compiling.choices(fpga, "", (), 0, "model", "", True, 3, 10) == {"unrolled": {"stages": 3, "lanes": 10}}
    assert compiling.choices(fpga, "", (), 0, "model") == {}
    with pytest.raises(UserError, match="^--stages does not go with target ecp5-85k: it has --core, --unroll$"):
        compiling.choices(fpga, "", (), 0, "model", "", False, 3)
    with pytest.raises(UserError, match="^--unroll does not go with target cpu"):
        compiling.choices(cpu, "", (), 0, "model", "", True)
    g = Graph()
    g.add("y", Dense([[3, -5], [1, 1]], [2, 0]), g.add("x", Input(Ints((2,), -4, 3))))
    made = backends.build(fpga, g, tmp_path / "d", None, unrolled={"stages": 2})
    assert load(made).kind == "unrolled" and (made / "run.py").exists() and "qs_add2" in (made / "rtl" / "qs_pipeline.sv").read_text()
