"""What a language-model core takes on a board, before anything of it is built."""
import pytest

from hw.lm.devices import BOARDS
from hw.lm.pace import token
from hw.lm.shape import SHAPES, Shape, named
from ir import UserError


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
