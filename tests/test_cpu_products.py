"""Dense layers and convolutions of CPU programs: random shapes and formats, on every kind of processor that this machine can play."""
import re

import numpy as np
import pytest
import tvm
from strategies import samples, show_leaves

from codegen.cpu.dots import Unsaturated, dot_for
from codegen.cpu.isa import ISAS, isa_of
from codegen.cpu.model import compiled
from codegen.cpu.program import program
from codegen.tvm import parse_target
from ir import Conv, Dense, Graph, Input, Ints, Requant, run

BY_NAME = {i.name: i for i in ISAS}
MACHINES = [("avx512vnni", "llvm -mcpu=cascadelake"), ("avx512", "llvm -mcpu=x86-64-v4"), ("avxvnni", "llvm -mcpu=cascadelake"),
            ("avx2", "llvm -mcpu=x86-64-v3"), ("sse4", "llvm -mcpu=x86-64-v2"), ("sse2", "llvm -mcpu=x86-64"), ("generic", "llvm -mcpu=x86-64")]
INTERVALS = [(0, 255), (-128, 127), (0, 15), (-8, 7), (-1, 1), (3, 9), (0, 65535), (-32768, 32767), (0, 32767), (-100, 300), (-70000, 70000)]


def runs_here(cpu: str) -> bool:
    """Whether this machine has all that LLVM may use for the processor."""
    has = tvm.get_global_func("tvm.codegen.llvm.GetHostCPUFeatures")()
    needed = {"cascadelake": "avx512vnni", "x86-64-v4": "avx512bw", "x86-64-v3": "avx2", "x86-64-v2": "sse4.2"}.get(cpu.split("=")[1])
    return needed is None or any(str(name) == needed and on for name, on in has.items())


def layers(r: np.random.Generator, count: int) -> Graph:
    """A graph of `count` dense layers and convolutions side by side on inputs of one interval, some with a requant."""
    g = Graph()
    lo, hi = INTERVALS[r.integers(len(INTERVALS))]
    for i in range(count):
        bits = r.choice((2, 3, 4, 8, 8, 8, 12))
        op, shape = (convolution if r.random() < .6 else dense)(r, bits, lo, hi)
        x = g.add(f"x{i}", Input(Ints(shape, lo, hi)))
        y = g.add(f"y{i}", op, x)
        if r.random() < .7:
            g.add(f"q{i}", requant(r, g.nodes[y].type, 0 if isinstance(op, Conv) else -1), y)
    return show_leaves(g)


def weights(r, shape, bits: int) -> np.ndarray: return r.integers(-(1 << bits - 1), 1 << bits - 1, shape)


def convolution(r, bits: int, lo: int, hi: int):
    groups = int(r.choice((1, 1, 1, 2, 3, 8)))
    per, each = int(r.choice((1, 2, 3, 4, 5, 8, 16, 24))), int(r.choice((1, 2, 3, 8, 16, 17, 33, 48)))
    rank = 1 if r.random() < .2 else 2
    kernel, stride, dilation = (tuple(int(v) for v in r.choice(c, rank)) for c in ((1, 1, 2, 3, 5), (1, 1, 2, 3), (1, 1, 1, 2)))
    padding = tuple((int(a), int(b)) for a, b in r.integers(0, 3, (rank, 2)))
    size = tuple(int(d * (k - 1) + 1 + r.integers(0, 12)) for k, d in zip(kernel, dilation))
    pad = int(r.integers(lo, hi + 1)) if r.random() < .5 else lo
    return Conv(weights(r, (each * groups, per, *kernel), bits), r.integers(-999, 999, each * groups), stride, padding, dilation, groups,
                pad), (per * groups, *size)


def dense(r, bits: int, lo: int, hi: int):
    inner, outer = int(r.choice((1, 3, 4, 7, 16, 64, 100, 260))), int(r.choice((1, 3, 10, 16, 31, 64, 100)))
    lead = tuple(int(v) for v in r.choice((1, 2, 5, 13, 29), int(r.integers(0, 3))))
    return Dense(weights(r, (outer, inner), bits), r.integers(-999, 999, outer)), (*lead, inner)


def requant(r, t: Ints, axis: int) -> Requant:
    mul = r.integers(1 << 13, 1 << 15, t.shape[axis] if r.random() < .6 else 1)
    shift = max(0, int(np.log2(max(abs(t.lo), t.hi, 1) * 20000 / r.integers(60, 400))))
    lo, hi = ((0, 255), (-128, 127), (0, 15), (-32768, 32767))[r.integers(4)]
    return Requant(mul, shift, int(r.integers(-3, 4)), lo, hi, axis)


@pytest.mark.parametrize(("isa", "cpu"), MACHINES)
@pytest.mark.parametrize("seed", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(1, 4))])
def test_random_layers(isa, cpu, seed):
    """Equal to the reference, by one thread and by several, one sample and more than one."""
    if not runs_here(cpu):
        pytest.skip(f"this machine is no {cpu}")
    g = layers(np.random.default_rng(seed), 6)
    target = parse_target(cpu)
    model = compiled(g, program(g, BY_NAME[isa]), target)
    x = samples(g, 4, seed)
    expected = run(g, x)
    for threads, count in ((1, 4), (3, 1), (2, 3)):
        part = {name: v[:count] for name, v in x.items()}
        np.testing.assert_array_equal(model(part, threads), expected[:count])


@pytest.mark.parametrize(("cpu", "name"), [
    ("cascadelake", "avx512vnni"), ("znver4", "avx512vnni"), ("skylake-avx512", "avx512"), ("alderlake", "avxvnni"), ("x86-64-v3", "avx2"),
    ("x86-64-v2", "sse4"), ("x86-64", "sse2")])
def test_processors(cpu, name):
    assert isa_of(parse_target(f"llvm -mcpu={cpu}")).name == name


@pytest.mark.parametrize(("target", "instruction"), [
    ("llvm -mcpu=cascadelake", r"vpdpbusd\s.*zmm"), ("llvm -mcpu=alderlake", r"\{vex\}\s+vpdpbusd\s.*ymm"),
    ("llvm -mcpu=x86-64-v3", r"vpmaddwd\s.*ymm"), ("llvm -mcpu=x86-64", r"\spmaddwd\s.*xmm"),
    ("aarch64 -mcpu=neoverse-n1", r"sdot\sv"), ("aarch64 -mcpu=cortex-a53", r"smlal\sv")])
def test_instructions(target, instruction):
    """The code for a processor, also for one that this machine is not, sums by what the processor has."""
    code = assembly(one(Dense(np.full((64, 64), 127), np.zeros(64)), Ints((4, 64), 0, 255)), target)
    assert len(re.findall(instruction, code)) >= 4, code


def test_registers():
    """The loop of a large convolution neither spills its sums nor loads its weights twice."""
    r = np.random.default_rng(0)
    g = one(Conv(r.integers(-127, 128, (64, 64, 3, 3)), np.zeros(64), padding=((1, 1), (1, 1))), Ints((64, 56, 56), 0, 255))
    blocks = re.split(r"\n\.LBB\w+:", assembly(g, "llvm -mcpu=cascadelake"))
    loop = max(blocks, key=lambda b: b.count("vpdpbusd"))
    sums, vectors = loop.count("vpdpbusd"), len(re.findall(r"vmovdqu64\s+[-\d]*\(", loop))
    assert sums >= 24 and vectors <= 6 and "%rsp" not in loop, loop


def one(op, t: Ints) -> Graph:
    g = Graph()
    g.add("y", op, g.add("x", Input(t)))
    return g


def assembly(g: Graph, target: str) -> str:
    machine = parse_target(target)
    return tvm.compile(program(g, isa_of(machine)).module, target=machine).mod.inspect_source("asm")


@pytest.mark.parametrize(("weights", "largest", "each"), [
    ([64, 64], 255, 4), ([65, 64], 255, 0), ([-64, -64], 255, 4), ([-65, -64], 255, 0), ([127, 1], 255, 4), ([127, -127], 255, 4),
    ([127, 127], 129, 4), ([-127, -127], 130, 0), ([8, 8], 255, 16), ([31, 32], 255, 8), ([-1, 1], 255, 16)])
def test_sixteen_bits(weights, largest, each):
    """pmaddubsw is taken only where no pair can saturate, and as many in a row as 16 bits hold."""
    w = np.tile(weights, (16, 32))
    dot = dot_for(BY_NAME["avx2"], "uint8", largest, w, 8, False)
    assert (dot.each if isinstance(dot, Unsaturated) else 0) == each
    assert dot_for(BY_NAME["sse2"], "uint8", largest, w, 4, False).each == 4 and dot_for(BY_NAME["avx2"], "uint8", largest, w, 8, True) is None
    for end in (0, largest):  # all inputs there, and every other one
        x = np.stack([np.full((3, 64), end), np.where(np.arange(64) % 2, largest - end, end) * np.ones((3, 1), int)])
        g = one(Dense(w, np.arange(16)), Ints((3, 64), 0, largest))
        if runs_here("llvm -mcpu=x86-64-v3"):
            target = parse_target("llvm -mcpu=x86-64-v3")
            np.testing.assert_array_equal(compiled(g, program(g, BY_NAME["avx2"]), target)(x), run(g, x))


@pytest.mark.parametrize("t", [Ints((3, 300), 0, 65535), Ints((3, 300), -32768, 32767), Ints((3, 300), 0, 255), Ints((3, 300), -128, 127)])
def test_sums_at_the_end_of_a_word(t):
    """Sums that just fit int32, and sums that do not."""
    for extra in (0, 1):
        each = ((1 << 31) - 1) // (300 * max(t.hi, -t.lo)) + extra
        w = np.stack([np.full(300, s * each) for s in (1, -1)] * 9)
        g = one(Dense(w, np.zeros(18)), t)
        x = np.stack([np.full(t.shape, v) for v in (t.lo, t.hi)])
        np.testing.assert_array_equal(compiled(g, program(g, isa_of(parse_target("llvm"))), parse_target("llvm"))(x), run(g, x))
