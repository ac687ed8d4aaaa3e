"""AXI4-Lite, AXI4-Stream and AXI4 read ports in Python, for cocotb: agents that are driven and sampled once a cycle.

An agent sets its signals when the clock has fallen (`drive`) and looks at the handshakes of the next rising edge just after
(`sample`): nothing changes in between.  Every agent stands still in a part `chance` of the cycles; what it has offered it holds.
"""
import random
from collections import deque

from cocotb.triggers import FallingEdge, Timer

OKAY, INCR, PAGE = 0, 1, 4096


async def run(clock, agents) -> None:
    """Forever: one cycle of all agents after another."""
    edge = FallingEdge(clock)
    while True:
        await edge
        for a in agents:
            a.drive()
        await Timer(1, "ps")
        for a in agents:
            a.sample()


class Agent:
    """chance: of standing still in a cycle; seed: of that."""

    def __init__(self, dut, chance: float = 0.0, seed: int = 0):
        self.dut, self.chance, self.rng, self.cycle = dut, chance, random.Random(seed), 0

    def stalls(self) -> bool: return self.rng.random() < self.chance

    def high(self, name: str) -> bool: return bool(int(getattr(self.dut, name).value))


class Source(Agent):
    """Sends beats on an AXI4-Stream: (data, last)."""

    def __init__(self, dut, name: str, chance: float = 0.0, seed: int = 0):
        super().__init__(dut, chance, seed)
        self.name, self.beats, self.offers = name, deque(), False

    def drive(self) -> None:
        self.offers = bool(self.beats) and (self.offers or not self.stalls())
        getattr(self.dut, f"{self.name}_tvalid").value = int(self.offers)
        if self.offers:
            data, last = self.beats[0]
            getattr(self.dut, f"{self.name}_tdata").value = data
            getattr(self.dut, f"{self.name}_tlast").value = int(last)

    def sample(self) -> None:
        if self.offers and self.high(f"{self.name}_tready"):
            self.beats.popleft()
            self.offers = False


class Sink(Agent):
    """Takes beats of an AXI4-Stream: (data, last, cycle).  AssertionError: one that was offered is changed or withdrawn."""

    def __init__(self, dut, name: str, chance: float = 0.0, seed: int = 0):
        super().__init__(dut, chance, seed)
        self.name, self.beats, self.held, self.takes = name, [], None, False

    def drive(self) -> None:
        self.cycle += 1
        self.takes = not self.stalls()
        getattr(self.dut, f"{self.name}_tready").value = int(self.takes)

    def sample(self) -> None:
        beat = None
        if self.high(f"{self.name}_tvalid"):
            beat = int(getattr(self.dut, f"{self.name}_tdata").value), self.high(f"{self.name}_tlast")
        assert self.held is None or beat == self.held, f"{self.name}: beat {self.held} was changed to {beat} before it was taken"
        self.held = beat if not self.takes else None
        if beat and self.takes:
            self.beats.append((*beat, self.cycle))


class Lite(Agent):
    """An AXI4-Lite master, one access after another."""

    def __init__(self, dut, name: str = "s_axil", chance: float = 0.0, seed: int = 0):
        super().__init__(dut, chance, seed)
        self.name, self.todo, self.done = name, deque(), {}
        self.sends: dict[str, bool] = {}
        self.count = 0

    async def write(self, address: int, data: int) -> int:
        """The answer's code."""
        return await self._access(("aw", "w", "b"), {"awaddr": address, "wdata": data, "wstrb": 15})

    async def read(self, address: int) -> tuple[int, int]:
        """Data and the answer's code."""
        return await self._access(("ar", "r"), {"araddr": address})

    async def _access(self, channels, fields):
        self.count += 1
        self.todo.append((self.count, channels, fields))
        ticket = self.count
        while ticket not in self.done:
            await FallingEdge(self.dut.clk_i)
        return self.done.pop(ticket)

    def drive(self) -> None:
        if self.todo and not self.sends:
            _, channels, fields = self.todo[0]
            for n, v in fields.items():
                getattr(self.dut, f"{self.name}_{n}").value = v
            self.sends = {c: False for c in channels}
        for channel, wire in (("aw", "awvalid"), ("w", "wvalid"), ("b", "bready"), ("ar", "arvalid"), ("r", "rready")):
            self.sends |= {channel: self.sends[channel] or not self.stalls()} if channel in self.sends else {}
            getattr(self.dut, f"{self.name}_{wire}").value = int(self.sends.get(channel, False))

    def sample(self) -> None:
        for channel in [c for c, offered in self.sends.items() if offered]:
            if not self.high(f"{self.name}_{channel}{'valid' if channel in 'br' else 'ready'}"):
                continue
            del self.sends[channel]
            if channel in "br":
                code = int(getattr(self.dut, f"{self.name}_{channel}resp").value)
                ticket = self.todo.popleft()[0]
                self.done[ticket] = code if channel == "b" else (int(getattr(self.dut, f"{self.name}_rdata").value), code)


class Memory(Agent):
    """AXI4 read ports that lie side by side in vectors, one for each list of `beats`, the first at `bases`; bursts come in order.

    latency: cycles from a request to its first beat.  AssertionError: a burst that AXI4 does not allow (A3.4.1) or that leaves the memory.
    """

    def __init__(self, dut, name: str, bits: int, beats: list[list[int]], bases: list[int], address_bits: int = 32, latency: int = 0,
                 chance: float = 0.0, seed: int = 0):
        super().__init__(dut, chance, seed)
        self.name, self.bits, self.beats, self.bases, self.address_bits, self.latency = name, bits, beats, bases, address_bits, latency
        self.ports = range(len(beats))
        self.bursts: list[deque] = [deque() for _ in beats]          # (beat, last, due)
        self.offers: list[tuple[int, bool] | None] = [None for _ in beats]
        self.ready = 0

    def drive(self) -> None:
        self.cycle += 1
        self.ready = sum((not self.stalls()) << e for e in self.ports)
        for e in self.ports:
            if self.offers[e] is None and self.bursts[e] and self.bursts[e][0][2] <= self.cycle and not self.stalls():
                self.offers[e] = self.bursts[e].popleft()[:2]
        self._set("arready", self.ready)
        self._set("rvalid", sum((o is not None) << e for e, o in enumerate(self.offers)))
        self._set("rdata", sum(self.beats[e][o[0]] << e * self.bits for e, o in enumerate(self.offers) if o))
        self._set("rlast", sum(o[1] << e for e, o in enumerate(self.offers) if o))
        self._set("rresp", OKAY)

    def sample(self) -> None:
        asked, taken = self._get("arvalid") & self.ready, self._get("rready")
        for e in self.ports:
            if asked >> e & 1:
                self._ask(e)
            if self.offers[e] is not None and taken >> e & 1:
                self.offers[e] = None

    def _ask(self, e: int) -> None:
        widths = {"araddr": self.address_bits, "arlen": 8, "arsize": 3, "arburst": 2}
        address, length, size, burst = (self._get(n) >> e * w & (1 << w) - 1 for n, w in widths.items())
        count, width = length + 1, self.bits // 8
        first = (address - self.bases[e]) // width
        assert burst == INCR and 1 << size == width, f"port {e}: ARBURST={burst}, ARSIZE={size} on a bus of {width} bytes"
        assert address % width == 0, f"port {e}: {address:#x} is not aligned to {width} bytes"
        assert address % PAGE + count * width <= PAGE, f"port {e}: {count} beats at {address:#x} cross a border of {PAGE} bytes"
        assert 0 <= first and first + count <= len(self.beats[e]), f"port {e}: {count} beats at {address:#x} leave the memory"
        self.bursts[e] += [(first + k, k == length, self.cycle + self.latency) for k in range(count)]

    def _get(self, name: str) -> int: return int(getattr(self.dut, f"{self.name}_{name}").value)

    def _set(self, name: str, value: int) -> None: getattr(self.dut, f"{self.name}_{name}").value = value
