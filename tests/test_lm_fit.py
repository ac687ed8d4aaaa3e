"""What a language-model core takes on a board, before anything of it is built."""
import pytest

from hw.lm import cycles, images, layout, micro, outline
from hw.lm.devices import BOARDS
from hw.lm.energy import energy
from hw.lm.fit import best, fit, logic
from hw.lm.layout import Machine
from hw.lm.memory import Store, blocks, place
from hw.lm.pace import token
from hw.lm.shape import SHAPES, Shape, named
from ir import UserError
from tests.lm_programs import random_lm


@pytest.mark.parametrize("engines, trits, mhz, lanes, share, speeds", [
    (4, 80, 250, 8, 0.80, (181, 48, 24)), (4, 64, 250, 8, 0.80, (148, 39, 19)), (4, 80, 250, 8, 1.0, (225, 60, 30)),
    (1, 80, 100, 4, 0.89, (20, 5.4, 2.7)), (32, 80, 300, 16, 0.80, (1620, 449, 227)), (64, 80, 300, 32, 0.80, (3121, 889, 452))])
def test_tokens_a_second_by_the_sizes_alone(engines, trits, mhz, lanes, share, speeds):
    """The published shapes on four ports of a KV260, on an Arty and on memory with 32 and 64 ports; counted apart from this code."""
    found = [mhz * 1e6 / token(s, engines, trits, lanes, share).cycles for s in SHAPES.values()]
    assert found == pytest.approx(speeds, rel=0.025)


@pytest.mark.parametrize("name, ternary", [("370m", 341.0), ("1.3B", 1298.7), ("2.7b", 2619.5)])
def test_published_shapes(name, ternary):
    assert named(name).ternary / 1e6 == pytest.approx(ternary, abs=0.06)


def test_a_shape_is_written_by_its_sizes():
    assert named("160x400x4x65") == Shape("160x400x4x65", 160, 400, 4, 65)
    assert named("160x400x4x65").beats(2, 80) == 7426 and named("package.module:factory") is named("net.onnx") is None


@pytest.mark.parametrize("text, why", [
    ("371m", "unknown language model '371m'; did you mean '370m'? (known: 370m, 1.3b, 2.7b)"),
    ("0x400x4x65", "language model 0x400x4x65: give sizes of 1 to 1,048,576")])
def test_shapes_that_do_not_exist(text, why):
    with pytest.raises(UserError) as e:
        named(text)
    assert str(e.value) == why


def test_boards():
    with pytest.raises(UserError, match="unknown board for a language model 'kv261'; did you mean 'kv260'"):
        BOARDS["kv261"]
    outer = BOARDS["kv260"].outer
    assert outer.arriving(4, 128, 250) == outer.share and outer.arriving(4, 256, 250) == pytest.approx(0.48)


@pytest.mark.parametrize("model, speed", [("370m", 179.5), ("1.3b", 48.0), ("2.7b", 24.1)])
def test_the_schedule_of_the_core_takes_little_more(model, speed):
    """Four ports of a KV260: the units' own cycles, beside 181, 48 and 24 by the sizes alone."""
    f = fit(SHAPES[model], "kv260", Machine(4, 80, 8, "base3", 1, far=True))
    assert f.tokens_s == pytest.approx(speed, rel=0.01)
    assert f.cycles == pytest.approx(token(SHAPES[model], 4, 80, 8, 0.8).cycles, rel=0.02)


def test_sizes_alone_give_the_schedule_and_the_memories_of_a_whole_model():
    p, m = random_lm(16, 24, 2, 9), Machine(2, 10, 2, "base3", 4)
    s, program = Shape("small", 16, 24, 2, 9, 15), micro.steps(p, m)
    made = images.params(p, m, layout.runs(p, m), program)
    q = outline.params(s, m, p.words)
    assert outline.token(s, m, p.words) == cycles.cycles(program, q).token
    assert {k: q[k] for k in ("WeightWords", "GainRows", "ProgWords", "NormWidth", "AccWidth")} == \
           {k: made[k] for k in ("WeightWords", "GainRows", "ProgWords", "NormWidth", "AccWidth")}


def test_what_does_not_fit_says_by_how_much():
    f = best(SHAPES["370m"], "arty-a7-35t")
    assert f.over["bram"] == f.used["bram"] - 100 and f.machine.far
    assert f.why == (f"370m does not fit arty-a7-35t: it needs {f.used['bram']} of 100 block RAMs of 18 kbit ({f.over['bram']} too many); "
                     "largest on the chip: gains, 641 KB")
    assert not best(SHAPES["370m"], "kv260").over and not best(named("160x400x4x65"), "ecp5-85k").over
    with pytest.raises(UserError, match="ecp5-85k has no outer memory for weights; leave out --far"):
        fit(SHAPES["370m"], "ecp5-85k", Machine(far=True))


def test_energy_has_a_range_and_its_parts():
    e = energy(best(SHAPES["370m"], "kv260"))
    assert 0 < e.total[0] < e.measured < 1.1 * e.total[1] and e.outer[0] > e.core[0]
    assert energy(best(named("160x400x4x65"), "ecp5-85k")).outer == (0, 0)


def test_more_engines_and_lanes_take_more():
    small, large = (logic(Machine(n, 80, k, "fields"), "ecp5") for n, k in ((1, 2), (4, 8)))
    assert large["lut"] - small["lut"] > 3 * 1000 and large["dsp"] >= small["dsp"]


def test_a_memory_goes_where_it_takes_the_smaller_share():
    there = {"bram": 10, "uram": 2}
    wide, deep, small, far = Store("wide", 512, 36), Store("deep", 8192, 72), Store("small", 16, 8), Store("far", 99, 8, outer=True)
    placed = place([wide, deep, small, far], "xcup", there, "DDR4")
    assert [(p.where, p.number) for p in placed] == [("bram", 1), ("uram", 2), ("lut", 16), ("DDR4", 99)]
    assert blocks(512, 36) == 1 and blocks(513, 36) == 2 and blocks(1024, 18) == 1


def test_the_command(typed):
    code, out, _ = typed("cost", "370m", "-t", "kv260")
    assert code == 0 and "kv260" in out and "69,373,952 bytes of DDR4" in out and "6.2 W" in out
    code, _, err = typed("cost", "2.7b", "-t", "kv260")
    assert code == 1 and err.startswith("error: 2.7b does not fit kv260: it needs ") and err.endswith("take a larger board or a smaller model\n")
    assert typed("cost", "371m")[2] == "error: unknown language model '371m'; did you mean '370m'? (known: 370m, 1.3b, 2.7b)\n"
    assert "unknown board for a language model 'kv261'; did you mean 'kv260'?" in typed("cost", "370m", "-t", "kv261")[2]
