"""A cocotb test of qs_system: job.json says what to do on AXI4-Lite and the streams, result.json what came of it."""
import json
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer, with_timeout

LIMIT_NS = 400_000


class Bus:
    """One design: registers are read and written, beats sent and received, one thing at a time or side by side."""

    def __init__(self, dut):
        self.dut, self.edge = dut, FallingEdge(dut.clk_i)
        self.got: list[int] = []
        for n in ("awvalid", "wvalid", "bready", "arvalid", "rready"):
            getattr(dut, f"s_axil_{n}").value = 0
        dut.s_axis_tvalid.value = 0
        dut.m_axis_tready.value = 1

    async def until(self, signal) -> None:
        """The falling edge in front of the rising one at which the handshake is made."""
        while not int(signal.value):
            await self.edge

    async def offer(self, valid, ready, **fields) -> None:
        for n, v in fields.items():
            getattr(self.dut, n).value = v
        valid.value = 1
        await Timer(1, "ps")
        await self.until(ready)
        await self.edge
        valid.value = 0

    async def write(self, address: int, data: int, strobe: int = 15, data_first: bool = False) -> int:
        d = self.dut
        sends = [self.offer(d.s_axil_awvalid, d.s_axil_awready, s_axil_awaddr=address),
                 self.offer(d.s_axil_wvalid, d.s_axil_wready, s_axil_wdata=data, s_axil_wstrb=strobe)]
        for send in reversed(sends) if data_first else sends:
            await send
        d.s_axil_bready.value = 1
        await self.until(d.s_axil_bvalid)
        answer = int(d.s_axil_bresp.value)
        await self.edge
        d.s_axil_bready.value = 0
        return answer

    async def read(self, address: int) -> list[int]:
        d = self.dut
        await self.offer(d.s_axil_arvalid, d.s_axil_arready, s_axil_araddr=address)
        await self.until(d.s_axil_rvalid)
        answer = [int(d.s_axil_rdata.value), int(d.s_axil_rresp.value)]
        d.s_axil_rready.value = 1
        await self.edge
        d.s_axil_rready.value = 0
        return answer

    async def send(self, beats: list[int], last: list[int]) -> None:
        for beat, end in zip(beats, last):
            await self.offer(self.dut.s_axis_tvalid, self.dut.s_axis_tready, s_axis_tdata=beat, s_axis_tlast=end)

    async def receive(self, ends: int) -> list[int]:
        """Beats until `ends` frames have come out."""
        got = []
        while ends:
            if int(self.dut.m_axis_tvalid.value) and int(self.dut.m_axis_tready.value):
                got.append(int(self.dut.m_axis_tdata.value))
                ends -= int(self.dut.m_axis_tlast.value)
            await self.edge
        return got


@cocotb.test()
async def play(dut):
    job, said = json.loads(Path("job.json").read_text()), []
    bus = Bus(dut)
    dut.rst_ni.value = 0
    Clock(dut.clk_i, 2, "ns").start()
    for _ in range(3):
        await bus.edge
    dut.rst_ni.value = 1
    for step, *args in job["steps"]:
        match step:
            case "frames":
                frames, ends = args
                taking = cocotb.start_soon(bus.receive(ends))
                for beats, last in frames:
                    await bus.send(beats, last)
                said.append(await with_timeout(taking, LIMIT_NS, "ns"))
            case "send":
                await bus.send(*args)
                said.append(None)
            case "wait":
                for _ in range(args[0]):
                    await bus.edge
                said.append(None)
            case "ready":
                dut.m_axis_tready.value = args[0]
                await Timer(1, "ps")
                said.append(None)
            case _:
                said.append(await with_timeout(cocotb.start_soon(getattr(bus, step)(*args)), LIMIT_NS, "ns"))
    Path("result.json").write_text(json.dumps(said))
