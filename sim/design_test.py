"""cocotb tests of a generated design: whole frames go through it, and every output beat is compared.  Need nothing but cocotb.

job.json: beats (output beats to expect), frame (output beats of one), patience and limit (cycles), interval (cycles from frame to
frame, as computed), streams (names), seed (of stalls).  <port>.hex: the beats of an input, want.hex: of the output.
"""
import json
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer

from traffic import read, stuck

RESET_NS = 10


@cocotb.test()
async def back_to_back(dut):
    """Frames without a gap; nobody ever waits."""
    await play(dut, seed=0)


@cocotb.test()
async def stalls(dut):
    """Both sides stall at random."""
    await play(dut, seed=json.loads(Path("job.json").read_text())["seed"])


@cocotb.test()
async def reset_in_frame(dut):
    """A reset somewhere in the first two frames leaves nothing behind: all frames, played again, are right."""
    interval = json.loads(Path("job.json").read_text())["interval"]
    cycle = random.randrange(1, 2 * interval + 2)
    dut._log.info(f"reset after {cycle} cycles")
    await play(dut, seed=0, reset=cycle)


async def play(dut, seed: int, reset: int = 0) -> None:
    """Every beat is right, TLAST ends every frame, nothing is missing and nothing too much."""
    job = json.loads(Path("job.json").read_text())
    dut.seed_i.value, dut.often_i.value = seed, 0
    dut.beats_i.value, dut.patience_i.value, dut.limit_i.value = job["beats"], job["patience"], job["limit"]
    dut.rst_ni.value = 1
    dut.clk_i.value = 0
    await Timer(2, "ns")
    Clock(dut.clk_i, 2, "ns").start()
    await pulse(dut)
    if reset:
        await Timer(2 * reset + 1, "ns")  # between two edges: it asserts asynchronously
        await pulse(dut)
    await RisingEdge(dut.stop_o)
    await Timer(2, "ns")
    compare(job)


async def pulse(dut) -> None:
    """One reset."""
    dut.rst_ni.value = 0
    await Timer(RESET_NS, "ns")
    dut.rst_ni.value = 1


def compare(job: dict) -> None:
    """The recorded run against want.hex.  AssertionError: the first thing that is wrong."""
    run = read(Path("streams.txt"), job["streams"])
    assert run.beats >= job["beats"], stuck(run, job["beats"], job["limit"], Path("qs_top.sv").read_text())
    assert not run.frame_error, "the design saw a frame of the wrong length, and there was none"
    got = [line.split()[0] for line in Path("m_axis.hex").read_text().splitlines()]
    want = Path("want.hex").read_text().split()
    assert len(got) == len(want), f"{len(got)} output beats where {len(want)} were expected"
    wrong = [k for k, (g, w) in enumerate(zip(got, want)) if g[0] != w[0]]
    assert not wrong, f"TLAST is wrong at output beat {wrong[0]}; a frame has {job['frame']} beats"
    bad = [k for k, (g, w) in enumerate(zip(got, want)) if g != w]
    assert not bad, f"{len(bad)} of {len(got)} output beats are wrong; the first is beat {bad[0]}: {got[bad[0]][1:]}, not {want[bad[0]][1:]}"
