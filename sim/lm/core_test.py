"""cocotb tests of a language-model core: it makes tokens, and each token and every value that a tap shows is compared.

Need nothing but cocotb.  job.json: prompt, tokens (to be made), k, inverse, draw (seed of the draws), seed (of stalls), steps (nodes
shown in each step: group, name, count, first index), patience (cycles in which a token comes), often (cycles to stall, of 256), latency,
beat_bits, code_bits, lanes, bases (of the outer memories; none where weights are on the chip).
values.txt: a line for each vector of `steps`.  weights<ee>.mem: outer memories, a beat a line.
"""
import json
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, Timer

import axi

RESET_NS = 10
CONTROL, STATUS, TOKENS, K, INVTEMP, SEED, BASE = 0x08, 0x0c, 0x10, 0x14, 0x18, 0x1c, 0x40
BUSY, DONE = 1, 2
CODES = 5      # the group of taps with several elements a beat


@cocotb.test()
async def undisturbed(dut):
    """Nobody ever waits."""
    await play(dut, 0, 0)


@cocotb.test()
async def stalls(dut):
    """Every port stalls at random, an outer memory takes its time."""
    job = read_job()
    await play(dut, job["often"], job["latency"])


@cocotb.test()
async def reset_in_a_token(dut):
    """A reset somewhere in the first tokens leaves nothing behind."""
    await play(dut, 0, 0, reset=random.randrange(20, read_job()["patience"] // 3))


def read_job() -> dict: return json.loads(Path("job.json").read_text())


async def play(dut, often: int, latency: int, reset: int = 0) -> None:
    """The prompt goes in, the tokens come out; then all that was recorded is compared."""
    job = read_job()
    lite, source, sink, agents = start(dut, job, often, latency)
    dut.clk_i.value, dut.rst_ni.value = 0, 1
    for a in agents:
        a.drive()
    await Timer(2, "ns")
    Clock(dut.clk_i, 2, "ns").start()
    await pulse(dut)
    if reset:
        running = cocotb.start_soon(axi.run(dut.clk_i, agents))
        begun = cocotb.start_soon(begin(lite, source, job))
        await ClockCycles(dut.clk_i, reset)
        running.cancel()
        begun.cancel()
        lite, source, sink, agents = start(dut, job, often, latency)
        for a in agents:
            a.drive()
        await pulse(dut)
    cocotb.start_soon(axi.run(dut.clk_i, agents))
    await begin(lite, source, job)
    left = job["patience"] * (4 if often else 1) * (len(job["prompt"]) + len(job["tokens"]))
    while len(sink.beats) < len(job["tokens"]) and left:
        await FallingEdge(dut.clk_i)
        left -= 1
    await ClockCycles(dut.clk_i, 20)
    status, _ = await lite.read(STATUS)
    assert [b[0] for b in sink.beats] == job["tokens"], f"tokens {[b[0] for b in sink.beats]} instead of {job['tokens']} (STATUS {status:#x})"
    assert [b[1] for b in sink.beats] == [False] * (len(job["tokens"]) - 1) + [True], "TLAST is not with the last token"
    assert status == DONE, f"STATUS is {status:#x}"
    ends = [b[2] for b in sink.beats]
    if len(ends) > 1:
        dut._log.info(f"{(ends[-1] - ends[0]) / (len(ends) - 1):,.1f} cycles a token")
    dut.flush_i.value = 1
    await Timer(2, "ns")
    dut.flush_i.value = 0
    compare(job)


def start(dut, job: dict, often: int, latency: int) -> tuple:
    """Agents on all ports."""
    chance, seed = often / 256, job["seed"]
    dut.flush_i.value, dut.seed_i.value, dut.often_i.value = 0, seed if often else 0, often
    lite, source, sink = axi.Lite(dut, "s_axil", chance, seed), axi.Source(dut, "s_axis", chance, seed + 1), axi.Sink(dut, "m_axis", chance, seed + 2)
    beats = [[int(line, 16) for line in Path(f"weights{e:02}.mem").read_text().split()] for e in range(len(job["bases"]))]
    memory = [axi.Memory(dut, "m_axi", job["beat_bits"], beats, job["bases"], latency=latency, chance=chance, seed=seed + 3)] if beats else []
    return lite, source, sink, [lite, source, sink, *memory]


async def pulse(dut) -> None:
    """One reset."""
    dut.rst_ni.value = 0
    await Timer(RESET_NS, "ns")
    await FallingEdge(dut.clk_i)
    dut.rst_ni.value = 1


async def begin(lite, source, job: dict) -> None:
    """Registers, the start and the prompt."""
    for e, base in enumerate(job["bases"]):
        assert await lite.write(BASE + 8 * e, base) == axi.OKAY
    for address, name in ((TOKENS, None), (K, "k"), (INVTEMP, "inverse"), (SEED, "draw")):
        assert await lite.write(address, job[name] if name else len(job["tokens"])) == axi.OKAY
    assert await lite.write(CONTROL, 1) == axi.OKAY
    source.beats += [(t, k == len(job["prompt"]) - 1) for k, t in enumerate(job["prompt"])]


def compare(job: dict) -> None:
    """What the taps recorded against values.txt.  AssertionError: the first element that is wrong, by name."""
    shown = {g: [] for g in {group for step in job["steps"] for group, *_ in step}}
    for g, values in shown.items():
        for line in Path(f"tap{g}.hex").read_text().split():
            values.append(elements(int(line, 16), job["lanes"], job["code_bits"]) if g == CODES else elements(int(line, 16), 1, 64))
    at = dict.fromkeys(shown, 0)
    with open("values.txt") as wanted:
        for step, nodes in enumerate(job["steps"]):
            for group, name, count, first in nodes:
                want = list(map(int, wanted.readline().split()))
                size = -(-count // (job["lanes"] if group == CODES else 1))
                got = [v for beat in shown[group][at[group]:at[group] + size] for v in beat][:count]
                bad = [k for k, (a, b) in enumerate(zip(got, want)) if a != b]
                said = f"{got[bad[0]]} instead of {want[bad[0]]} ({len(bad)} of {count} values differ)" if bad else ""
                assert not bad, f"token {step}, {name}[{first + bad[0]}]: {said}"
                assert len(got) == count, f"token {step}, {name}: {len(got)} of {count} values were shown"
                at[group] += size
    more = [g for g, n in at.items() if n != len(shown[g])]
    assert not more, f"group {more[0]} of the taps showed {len(shown[more[0]])} beats, not {at[more[0]]}"


def elements(beat: int, lanes: int, bits: int) -> list[int]:
    """Two's-complement elements of a beat, the first lowest."""
    half = 1 << bits - 1
    return [((beat >> k * bits & 2 * half - 1) ^ half) - half for k in range(lanes)]
