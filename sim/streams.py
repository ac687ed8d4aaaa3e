"""cocotb side of the bench: feeds and drains numbered ready/valid streams, with random stalls.  Runs inside the simulator."""
import json
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

STALLS = (0.0, 0.1, 0.5, 0.8)  # a stream draws one of these chances to stand still in a cycle
RESET_CYCLES = 4
TAIL_CYCLES = 64               # after the last expected beat, to catch surplus ones


class Source:
    """Offers the beats of one input; a beat once offered stays until it is taken."""
    def __init__(self, port, beats: list[int], chance: float, rng: random.Random):
        self.port, self.beats, self.chance, self.rng = port, beats, chance, rng
        self.at, self.offered = 0, False

    def step(self, fired: bool) -> bool:
        """Take note of the last edge; set the data of the next one and say whether it is valid."""
        if fired:
            self.at += 1
            self.offered = False
        if self.offered or self.at >= len(self.beats):
            return self.offered
        self.offered = not self.chance or self.rng.random() >= self.chance
        if self.offered:
            self.port.value = self.beats[self.at]
        return self.offered

    @property
    def missing(self) -> int: return len(self.beats) - self.at


class Sink:
    """Takes the beats of one output."""
    def __init__(self, port, expected: int, chance: float, rng: random.Random):
        self.port, self.expected, self.chance, self.rng = port, expected, chance, rng
        self.beats: list[str] = []

    def step(self, fired: bool) -> bool:
        """Take note of the last edge; say whether the next beat may come."""
        if fired:
            self.beats.append(hex(int(self.port.value)))
        return not self.chance or self.rng.random() >= self.chance

    @property
    def missing(self) -> int: return self.expected - len(self.beats)


def streams(dut, job: dict) -> list[Source | Sink]:
    """The job's streams in the order of the bench; without a seed nothing ever stalls."""
    rng = random.Random(job["seed"])
    out = []
    for k, s in enumerate(job["streams"]):
        chance = rng.choice(STALLS) if job["seed"] is not None else 0.0
        own = random.Random(rng.random())
        out.append(Source(getattr(dut, f"d{k}_i"), [int(b, 16) for b in s["beats"]], chance, own) if "beats" in s
                   else Sink(getattr(dut, f"d{k}_o"), s["expected"], chance, own))
    return out


@cocotb.test()
async def play(dut):
    """Run job.json of the current folder; leave result.json: beats, the cycles in which each stream's passed, what is missing."""
    job = json.loads(Path("job.json").read_text())
    Clock(dut.clk_i, 2, "ns").start()
    ports = await start(dut, job)
    edge = FallingEdge(dut.clk_i)
    cycle, idle, last, left = 0, 0, 0, sum(p.missing for p in ports)
    times: list[list[int]] = [[] for _ in ports]
    while idle <= (job["patience"] if left else TAIL_CYCLES):  # a beat that nobody wants is no progress
        await edge
        cycle, idle = cycle + 1, idle + 1
        if cycle == job["reset"]:
            ports = await start(dut, job)
            left, idle, times = sum(p.missing for p in ports), 0, [[] for _ in ports]
            continue
        done = int(dut.done_o.value)
        dut.go_i.value = sum(p.step(bool(done >> k & 1)) << k for k, p in enumerate(ports))
        for k, t in enumerate(times):
            if done >> k & 1:
                t.append(cycle)
        if done and (now := sum(max(p.missing, 0) for p in ports)) != left:
            left, idle, last = now, 0, cycle
    Path("result.json").write_text(json.dumps({"missing": [p.missing for p in ports], "cycles": last - 1, "times": times,
                                               "beats": [p.beats if isinstance(p, Sink) else [] for p in ports]}))


async def start(dut, job: dict) -> list[Source | Sink]:
    """Reset, wherever the bench stands, and the streams from their first beats."""
    ports = streams(dut, job)
    for p in ports:
        if isinstance(p, Source):
            p.port.value = 0
    dut.go_i.value = 0
    dut.rst_ni.value = 0
    for _ in range(RESET_CYCLES):
        await FallingEdge(dut.clk_i)
    dut.rst_ni.value = 1
    return ports
