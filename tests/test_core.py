"""Sequential core: programs against the reference, in numpy and in Verilator, with the exact number of cycles."""
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from strategies import graphs, samples

import sim_graphs
from hw.core import model
from hw.core.compile import compile_graph
from hw.core.design import core_design
from hw.core.fit import excess, fit
from hw.core.isa import FetchRun
from hw.core.model import frame_cycles
from hw.core.tensors import Life, allocate
from hw.targets import fpga
from ir import (Add, Concat, Constant, Conv, Dense, Expand, Graph, Input, Ints, Lut, MatMul, MaxPool, Mul, Pad, Requant, Reshape, Slice,
                SumPool, Transpose, UserError, run)
from sim import environment, simulate

RNG = np.random.default_rng(7)
MACHINES = [(8, 8, 2), (4, 2, 1), (4, 4, 4), (2, 1, 1), (16, 4, 2)]  # lanes, pe, out


def mixed() -> Graph:
    """Odd channels, padding with codes that x does not have, wide factors before an addition, products, tables, a negative output."""
    g = Graph()
    g.add("x", Input(Ints((3, 6, 5), -8, 7)))
    g.add("c", Conv(RNG.integers(-9, 9, (5, 3, 3, 2)), RNG.integers(-99, 99, 5), (2, 1), ((1, 1), (0, 1)), (1, 1), 1, -20), "x")
    g.add("cq", Requant(RNG.integers(-40, 60, 5), 9, 4, 0, 15), "c")
    g.add("t", Lut(RNG.integers(-30, 30, 16), 0), "cq")
    g.add("d", Conv(RNG.integers(-2, 2, (5, 1, 2, 3)), RNG.integers(-9, 9, 5), (1, 1), ((1, 0), (1, 1)), (1, 1), 5, 3), "t")
    g.add("dq", Requant([55], 7, 0, -31, 30), "d")
    g.add("a", Requant([767], 0, -3, -99999, 99999), "dq")
    g.add("b", Requant([-2048], 0, 5, -99999, 99999), "cq")
    g.add("s", Add(), "a", "b")
    g.add("sq", Requant([300], 18, 0, -60, 60), "s")
    g.add("m", Mul(), "sq", "cq")
    g.add("mq", Requant(RNG.integers(90, 100, 5), 9, 1, -100, 100, 0), "m")
    g.add("p", MaxPool((2, 2), (1, 2), ((1, 0), (1, 0))), "mq")
    g.add("sum", SumPool((2, 1), (1, 1), ((1, 0), (0, 0)), -7), "p")
    g.add("sumq", Requant([3], 2, 0, -128, 127), "sum")
    return g


def shapes() -> Graph:
    """Every op that only moves elements, with rows that do not fill words."""
    g = Graph()
    g.add("x", Input(Ints((3, 4, 6), -5, 9)))
    g.add("t", Transpose((2, 0, 1)), "x")
    g.add("r", Reshape((8, 9)), "t")
    g.add("s", Slice((1, 0), (8, 9), (3, 2)), "r")
    g.add("p", Pad(((1, 0), (0, 2)), -20), "s")
    g.add("e0", Reshape((4, 7, 1)), "p")
    g.add("e", Expand((4, 7, 3)), "e0")
    g.add("f", Reshape((4, 21)), "e")
    g.add("k", Concat(1), "p", "f", "p")
    g.add("row", Requant([3, -1, 2, 4], 1, 0, -99, 99, 0), "k")
    g.add("o", Dense(RNG.integers(-3, 3, (5, 35)), RNG.integers(-9, 9, 5)), "row")
    return g


def columns() -> Graph:
    """One channel and a wide kernel: columns of windows side by side are worth their copies; stride, dilation, a pad code of its own."""
    g = Graph()
    g.add("x", Input(Ints((1, 14, 12), 0, 15)))
    g.add("c", Conv(RNG.integers(-9, 9, (16, 1, 5, 4)), RNG.integers(-99, 99, 16), (1, 2), ((2, 1), (1, 3)), (1, 2), 1, 19), "x")
    g.add("q", Requant(RNG.integers(40, 60, 16), 10, 0, 0, 15), "c")
    return g


def products() -> Graph:
    """Products of activations, in batches and plain, one with a constant that is wider than a weight."""
    g = Graph()
    g.add("x", Input(Ints((2, 3, 5), -8, 7)))
    g.add("t", Transpose((0, 2, 1)), "x")
    g.add("u", Lut(RNG.integers(0, 16, 16), -8), "t")
    g.add("m", MatMul(), "x", "u")
    g.add("mq", Requant(RNG.integers(9, 20, 3), 5, 2, -30, 30, 2), "m")
    g.add("flat", Reshape((6, 3)), "mq")
    g.add("c", Constant(RNG.integers(-3000, 3000, (3, 9))))
    g.add("o", MatMul(), "flat", "c")
    return g


GRAPHS = {n: getattr(sim_graphs, n) for n in ("dense_chain", "convs", "depthwise", "one_axis", "branches", "pools", "resnet")} | {
    "mixed": mixed, "moves": shapes, "products": products, "columns": columns}


@pytest.mark.parametrize("name", GRAPHS)
def test_model(name):
    """Every value of the scratchpad is the reference's, whatever the machine."""
    g = GRAPHS[name]()
    x = samples(g, 3)
    feeds = x if isinstance(x, np.ndarray) else x[g.inputs[0].name]
    want = run(g, feeds, keep=True)
    for machine in MACHINES:
        program = compile_graph(g, *machine)
        got = model.run(program, feeds, keep=True)
        wrong = [k for k in got if k in want and not np.array_equal(got[k], want[k])]
        assert g.output.name in got and not wrong, f"{machine}: {wrong}\n{program.text}"


@pytest.mark.parametrize("name,machine,buffer", [("resnet", (8, 8, 2), 24), ("mixed", (4, 2, 1), 24), ("convs", (4, 4, 4), 40)])
def test_outer_weights(name, machine, buffer):
    """Weights fetched into halves of a small memory: passes are cut, no value changes."""
    g = GRAPHS[name]()
    program = compile_graph(g, *machine, buffer)
    x = samples(g, 2)
    assert np.array_equal(model.run(program, x), run(g, x))
    assert sum(isinstance(s, FetchRun) for s in program.steps) >= 2 and (name != "resnet" or program.images.weight_words > buffer)


KINDS = {Dense, Conv, Requant, Add, Mul, MatMul, MaxPool, SumPool, Lut, Concat, Constant, Expand, Reshape, Transpose, Slice, Pad}


@settings(max_examples=25, deadline=None)
@given(graphs(KINDS))
def test_any_graph(g):
    assume(len(g.inputs) == 1 and any(g.inputs[0].name in n.args for n in g.nodes.values()))
    x = samples(g, 2)
    assert np.array_equal(model.run(compile_graph(g, 4, 2, 2), x), run(g, x))


@pytest.mark.slow
@pytest.mark.parametrize("name,machine", [("products", (4, 4, 2)), ("resnet", (8, 8, 2)), ("mixed", (4, 4, 4))])
def test_equal(name, machine, tmp_path):
    """In Verilator: every output, the very number of cycles, stalls on both sides and a reset in the middle of a frame."""
    g = GRAPHS[name]()
    design = core_design(g, tmp_path / "design", *machine, buffer=24 if name == "resnet" else 0)
    x = samples(g, 4)
    quiet = simulate(design, x)
    assert np.array_equal(quiet.outputs, run(g, x))
    assert quiet.cycles_per_frame == design.interval
    stalled = simulate(design, x, stalls=5, reset=100)
    assert np.array_equal(stalled.outputs, run(g, x)), "with stalls, after a reset in the middle"


@pytest.mark.parametrize("machine", MACHINES)
def test_lint(machine, tmp_path):
    """Verilator -Wall has nothing to say of a design."""
    d = core_design(mixed(), tmp_path / "d", *machine)
    done = subprocess.run(["verilator", "--lint-only", "-Wall", "--top-module", "qs_top", *map(str, d.sources)], cwd=d.folder, env=environment(),
                          capture_output=True, text=True)
    assert done.returncode == 0 and "%" not in done.stdout + done.stderr, done.stderr


def test_weights_behind_axi(tmp_path):
    """A top with an AXI4 read master for hardware, clean in lint, and the weights as the memory must hold them."""
    d = core_design(sim_graphs.resnet(), tmp_path / "d", buffer=24)
    axi = d.folder / "axi"
    done = subprocess.run(["verilator", "--lint-only", "-Wall", "--top-module", "qs_top_axi", *map(str, sorted(axi.glob("*.sv")))], cwd=d.folder,
                          env=environment(), capture_output=True, text=True)
    assert done.returncode == 0 and "%" not in done.stdout + done.stderr, done.stderr
    words = (d.folder / "weights.mem").read_text().split()
    assert (axi / "weights.bin").read_bytes() == b"".join(bytes.fromhex(w)[::-1] for w in words)


def test_listing(tmp_path):
    """program.txt names the nodes; the places of dead tensors are used again."""
    g = sim_graphs.resnet()
    d = core_design(g, tmp_path / "d")
    text = Path(tmp_path / "d" / "program.txt").read_text()
    assert d.kind == "core" and "stem_q: matrix 8x8x1 of 3x3x1" in text and text.rstrip().endswith("halt")
    program = compile_graph(g)
    assert program.params["ActWords"] < sum(lay.words for lay in program.layouts.values())


def test_columns():
    """What columns save is more than their copies take."""
    program = compile_graph(columns(), 8, 4, 1)
    assert "x for q" in program.text and next(s for s in program.steps if s.node == "q").counts[:3] == (1, 1, 5)
    assert "x for stem" not in compile_graph(sim_graphs.resnet()).text


def test_allocate():
    """First fit by size; two that live at the same time never overlap."""
    lives = {"a": Life(4, 0, 1), "b": Life(3, 1, 2), "c": Life(4, 2, 3), "d": Life(1, 0, 3)}
    at, words = allocate(lives)
    assert at == {"a": 0, "c": 0, "b": 4, "d": 7} and words == 8


def test_fit():
    """The fastest core that fits; of what does not, by how much and which memory; the stream of weights that stay outside."""
    g = sim_graphs.resnet()
    best = fit(g, "ecp5-25k")
    assert all(best.cycles <= frame_cycles(compile_graph(g, *s)) for s in ((2, 1, 1), (8, 8, 2))) and not excess(best, fpga("ecp5-25k"))
    outside = fit(g, "ecp5-85k", "8x8:24")
    assert outside.outer_bits and "bytes a cycle" in outside.text
    big = Graph()
    big.add("x", Input(Ints((1024,), 0, 255)))
    big.add("d", Dense(RNG.integers(-128, 128, (1000, 1024)), np.zeros(1000)), "x")
    over = r"^no core fits ecp5-25k: 2x1 needs 447 bram, 391 more than there are, most of them for weights \(1,000 KB\); weights may stay outside: "
    with pytest.raises(UserError, match=over):
        fit(big, "ecp5-25k")
    with pytest.raises(UserError, match=r"^target 'ice40-up5k': block RAMs of the core are counted for ecp5 only; give --core a shape, such as 8x8$"):
        fit(g, "ice40-up5k")
    with pytest.raises(UserError, match=r"^node '\w+': 8 of its results need \d+ words of weights at once, half of the weight memory has 1; give "):
        compile_graph(sim_graphs.convs(), 8, 8, 2, 2)


def test_mistakes():
    g = Graph()
    g.add("x", Input(Ints((4,), 0, 9)))
    with pytest.raises(UserError, match=r"^core: lanes is 6; give a power of two$"):
        compile_graph(g, 6)
    with pytest.raises(UserError, match=r"^core: lanes 4, pe 8, out 2; out is at most pe, pe at most lanes, and lanes at least 2$"):
        compile_graph(g, 4, 8)
    with pytest.raises(UserError, match=r"^node 'root': the core has no pass for sqrt; compile without --core, or leave it out of the graph$"):
        compile_graph(sim_graphs.layernorm())
    g.add("y", Input(Ints((4,), 0, 9)))
    g.add("z", Add(), "x", "y")
    with pytest.raises(UserError, match=r"^the core has one input stream; the graph has 2 inputs \(x, y\)$"):
        compile_graph(g)
