"""What a simulation tells: the first wrong layer, cycles, stalls, waves; resets, random power-up states, frames of the wrong length."""
import random
import re

import numpy as np
import pytest
from strategies import samples

import sim_graphs
from hw import generate, legal
from ir import Dense, Graph, Input, Ints, Requant, UserError, run
from ir.store import load_graph
from sim import environment, output_difference, simulate, stages
from sim.batch import _has_header
from sim.compare import Difference, difference
from sim.frames import elements, pack, parse
from sim.jobs import job
from sim.simulate import play


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A design of three dense layers."""
    return generate(sim_graphs.fixed(sim_graphs.dense_chain), tmp_path_factory.mktemp("chain") / "d", {"d1": (5, 4)})


@pytest.fixture
def x(): return samples(sim_graphs.fixed(sim_graphs.dense_chain), 6)


def test_words():
    """The first in stream order, not in C order, and by the axes' names."""
    want = np.arange(2 * 3 * 2 * 2).reshape(2, 3, 2, 2)
    got = want.copy()
    got[1, 0, 1, 1], got[1, 2, 0, 0] = 99, 77
    flow = np.moveaxis(np.arange(12).reshape(3, 2, 2), 0, -1).ravel()
    assert difference("c", want, want, flow) is None
    d = difference("c", got, want, flow)
    assert d == Difference("c", 1, (2, 0, 0), 77, 20, 2, 24)
    assert str(d) == "c: channel 2, row 0, column 0: 77 instead of 20 (frame 1; 2 of 24 values differ)"
    assert str(Difference("d", 0, (4,), 1, 0, 1, 8)).startswith("d: channel 4: 1 instead of 0")
    assert str(Difference("d", 0, (4, 1), 1, 0, 1, 8)).startswith("d: row 4, column 1: ")
    assert str(Difference("d", 0, (4, 1, 0, 2), 1, 0, 1, 8)).startswith("d: axis 0 4, axis 1 1, axis 2 0, axis 3 2: ")


@pytest.mark.parametrize("bits,lanes,signed", [
    (1, 1, False), (1, 9, True), (3, 5, True), (8, 2, False), (17, 3, True), (33, 1, True), (62, 2, False)])
def test_beats(bits, lanes, signed):
    """Every width packs and reads back, the ends of its range too."""
    from hw import Port
    lo, hi = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    p = Port("s", "x", Ints((2, lanes), lo, hi), lanes, 1)
    v = np.random.default_rng(bits).integers(lo, hi, (50, 2, lanes), endpoint=True)
    v[0, 0], v[0, 1] = lo, hi
    text = pack(p, v)
    digits = parse(text, p.data_bits // 4 + 1)
    assert np.array_equal(digits[:, 0], np.arange(100) % 2)
    assert np.array_equal(elements(digits[:, 1:], lanes, bits, signed).reshape(v.shape), v)
    word = int(text.split()[0][1:], 16)
    assert word == sum((int(e) & (1 << bits) - 1) << bits * k for k, e in enumerate(v[0, 0]))


@pytest.mark.slow
def test_the_first_wrong_layer_is_named(chain, x):
    """A bit of a weight in a memory file flips: the layer is told, and all that the reference says of it."""
    assert simulate(chain, x, layers=True).layers == []
    file = chain.folder / "d2_weight.mem"
    kept = file.read_text()
    lines = kept.split("\n")
    lines[3] = f"{int(lines[3], 16) ^ 1:0{len(lines[3])}x}"
    file.write_text("\n".join(lines))
    try:
        r = simulate(chain, x, layers=True)
    finally:
        file.write_text(kept)
    g, want = load_graph(chain.folder), run(load_graph(chain.folder), x, keep=True)
    assert [d.node for d in r.layers][0] == "d2" and set(d.node for d in r.layers) <= {"d2", "d2_q", "d3"}
    changed = Graph()
    for n in g.nodes.values():
        op = n.op
        if n.name == "d2":  # a lane of row 0: word 3 is its fourth input
            weight = op.weight.copy()
            weight[0, 3] ^= 1
            op = Dense(weight, op.bias)
        changed.add(n.name, op, *n.args)
    got = run(changed, x, keep=True)
    bad = np.argwhere(got["d2"] != want["d2"])
    d = r.layers[0]
    assert (d.frame, *d.index) == tuple(bad[0]) and d.wrong == len(bad) and d.total == want["d2"].size
    assert (d.got, d.want) == (got["d2"][tuple(bad[0])], want["d2"][tuple(bad[0])])
    assert np.array_equal(r.outputs, got["d3"])
    out = output_difference(chain, r.outputs, want["d3"])
    assert (out is None) == np.array_equal(got["d3"], want["d3"])


@pytest.mark.slow
def test_layers_of_every_order(tmp_path):
    """Transposed, reshaped and forked values are compared where they flow."""
    g = sim_graphs.fixed(sim_graphs.attention)
    r = simulate(g, samples(g, 3), folding={n: legal(g, n)[0] for n in g.nodes if legal(g, n)}, layers=True, stalls=3)
    assert r.layers == []


@pytest.mark.slow
def test_resets_and_power_up(chain, x):
    """A reset at any cycle of the first frames, whatever was in the registers and memories before, changes nothing."""
    want = run(load_graph(chain.folder), x)
    rng = random.Random(1)
    for k in range(24):
        r = simulate(chain, x, stalls=k % 3, reset=rng.randrange(1, 2 * chain.interval), power_up=k + 1)
        assert np.array_equal(r.outputs, want)
    with pytest.raises(UserError, match=r"^the simulation was over before cycle 99999, when it was to be reset; name an earlier one$"):
        simulate(chain, x, reset=99999)


@pytest.mark.slow
def test_power_up_is_random(tmp_path, x):
    """A counter whose reset is taken away is found out, from one random state or another."""
    d = generate(sim_graphs.fixed(sim_graphs.dense_chain), tmp_path / "d")
    file = d.folder / "rtl" / "qs_axis_out.sv"
    text = file.read_text()
    broken = text.replace("if (!rst_ni) count <= '0;\n    else if", "if (rst_ni &&", 1).replace("m_axis_tready) count <=", "m_axis_tready)) count <=")
    assert broken != text
    file.write_text(broken)
    with pytest.raises(UserError, match=r"^TLAST is wrong at output beat \d; a frame has 4 beats$"):
        for seed in range(1, 20):
            simulate(d, x, power_up=seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 2, 7])
def test_frames_of_the_wrong_length(chain, x, seed, tmp_path):
    """Short ones go on with zeros, what is too much of long ones is dropped; the frames between are whole, and the error is told."""
    p, g = chain.inputs[0], load_graph(chain.folder)
    beats = x.reshape(len(x), p.beats, p.lanes)
    short, long = beats[1][:1], np.concatenate([beats[3], beats[0]])
    sent = [beats[0], short, beats[2], long, beats[4], beats[5]]
    ends = [len(s) for s in sent]
    last = np.zeros(sum(ends), int)
    last[np.cumsum(ends) - 1] = 1
    (tmp_path / f"{p.name}.hex").write_bytes(pack(p, np.concatenate(sent), last))
    r = play(chain, tmp_path, job(chain, len(x), seed))
    padded = x.copy()
    padded[1] = np.concatenate([short, np.zeros_like(beats[1][1:])]).reshape(x.shape[1:])
    assert r.frame_error and np.array_equal(r.outputs, run(g, padded))
    assert not simulate(chain, x).frame_error


@pytest.mark.slow
def test_a_stream_that_is_cut_short(chain, x, tmp_path):
    p = chain.inputs[0]
    (tmp_path / f"{p.name}.hex").write_bytes(b"".join(pack(p, x).splitlines(keepends=True)[:-1]))
    waits = "nobody holds a beat; nothing comes on x after 17 beats"
    with pytest.raises(UserError, match=rf"^deadlock after \d+ cycles and 20 of 24 output beats: {waits}"):
        play(chain, tmp_path, job(chain, len(x)))


@pytest.mark.slow
def test_cycles_and_stages(chain, x):
    """The computed interval is the simulated one; the slowest stage works all the time, and who waits for it is told."""
    frames = 200
    many = np.tile(x, (frames // len(x) + 1, 1))[:frames]
    r = simulate(chain, many)
    assert r.cycles_per_frame == r.interval == chain.interval
    rows = stages(load_graph(chain.folder), chain, r, frames)
    slowest = rows[0]
    assert slowest.node == "d2" and slowest.cycles == chain.interval and slowest.works > 0.95
    first, last = (next(s for s in rows if s.node == n) for n in ("d1_q", "d3"))
    assert first.waits_for_reader > 0.3 and last.waits_for_input > 0.3
    for t in r.traffic:
        assert t.moved + t.blocked + t.starved <= r.cycles_total + 1
    assert {t.name: t.moved for t in r.traffic}["d3"] == 4 * frames


@pytest.mark.slow
def test_chance(chain, x):
    """More stalls, more cycles; the outputs stay."""
    want, cycles = run(load_graph(chain.folder), x), []
    for chance in (0.05, 0.5, 0.95):
        r = simulate(chain, x, stalls=3, chance=chance)
        assert np.array_equal(r.outputs, want)
        cycles.append(r.cycles_total)
    assert cycles == sorted(cycles) and cycles[2] > 1.5 * cycles[0]
    with pytest.raises(UserError, match=r"^stalls in a part of 1.5 of the cycles: give a number between 0 and 1$"):
        simulate(chain, x, stalls=1, chance=1.5)


@pytest.mark.slow
@pytest.mark.parametrize("kind,start", [("vcd", b"$version"), ("fst", b"\x00")])
def test_waves(chain, x, kind, start, tmp_path):
    environment()
    if kind == "fst" and not _has_header("lz4.h"):
        pytest.skip("lz4's headers are not on this machine")
    file = tmp_path / f"w.{kind}"
    simulate(chain, x[:2], waves=file)
    data = file.read_bytes()
    assert data.startswith(start) and len(data) > 1000
    if kind == "vcd":
        assert re.search(rb"\$var wire +\d+ \S+ d1_data", data)


def test_waves_refused(chain, x, monkeypatch):
    with pytest.raises(UserError, match=r"^waves in a .png file: give a name that ends in .fst or .vcd$"):
        simulate(chain, x, waves="w.png")
    monkeypatch.setattr("sim.batch._has_header", lambda name: name != "lz4.h")
    why = r"^FST waves need the header lz4.h; get it with: apt install liblz4-dev zlib1g-dev; or name a .vcd file$"
    with pytest.raises(UserError, match=why):
        simulate(chain, x, waves="w.fst")


def test_wrong_inputs(chain):
    with pytest.raises(UserError, match=r"^input 'x' takes \(N, 12\), not \(3, 11\)$"):
        simulate(chain, np.zeros((3, 11), int))
    with pytest.raises(UserError, match=r"^input 'x' takes integers in \[-8, 7\], got \[0, 8\]$"):
        simulate(chain, np.full((3, 12), [0] * 11 + [8]))
    with pytest.raises(UserError, match=r"no such file; expected a qsearch design$"):
        simulate(chain.folder / "rtl", np.zeros((3, 12), int))


def test_no_layers(tmp_path):
    from dataclasses import replace
    from hw.place import place
    g = Graph()
    g.add("x", Input(Ints((2,), 0, 3)))
    g.add("y", Requant([1], 0, 0, 0, 3), "x")
    d = generate(g, tmp_path / "d")
    place(replace(d, values=[]), g, (tmp_path / "d" / "qs_top.sv").read_text(), {f.name: f.read_text() for f in (tmp_path / "d").glob("*.mem")})
    with pytest.raises(UserError, match=r"d: the design does not say where its nodes' values can be seen; leave the layers out$"):
        simulate(tmp_path / "d", np.zeros((1, 2), int), layers=True)
