"""cocotb test of a generated design: plays whole frames through it and compares every output beat.  Needs nothing but cocotb.

job.json: beats (output beats to expect), seed (0: no stalls), patience (cycles), streams (names), frame (output beats of one),
reset (cycles after which everything is reset and starts again; 0: never).
want.hex, if there is one: the data of every output beat.  Leaves result.json: cycles and, of a deadlock, which streams stand.
"""
import json
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge, Timer


@cocotb.test()
async def frames(dut):
    """Every beat is right, TLAST ends every frame, nothing is missing and nothing too much."""
    job = json.loads(Path("job.json").read_text())
    dut.seed_i.value, dut.beats_i.value, dut.patience_i.value = job["seed"], job["beats"], job["patience"]
    dut.rst_ni.value = 0
    dut.clk_i.value = 0
    await Timer(2, "ns")
    Clock(dut.clk_i, 2, "ns").start()
    await Timer(10, "ns")
    dut.rst_ni.value = 1
    if job["reset"]:
        await Timer(2 * job["reset"] + 1, "ns")  # between two edges: it asserts asynchronously
        dut.rst_ni.value = 0
        await Timer(5, "ns")
        dut.rst_ni.value = 1
    await RisingEdge(dut.stop_o)
    report = {"count": int(dut.count_o.value), "cycles": int(dut.cycle_o.value) - int(dut.still_o.value)}
    if report["count"] < job["beats"]:
        report["stuck"] = stuck(job["streams"], int(dut.valid_o.value), int(dut.ready_o.value))
    Path("result.json").write_text(json.dumps(report))
    await Timer(2, "ns")


def stuck(streams: list[str], valid: int, ready: int) -> dict[str, list[str]]:
    """Names of the streams whose beat nobody takes, and of those whose reader gets none."""
    blocked = [s for k, s in enumerate(streams) if valid >> k & 1 and not ready >> k & 1]
    return {"blocked": blocked, "starved": [s for k, s in enumerate(streams) if ready >> k & 1 and not valid >> k & 1]}


def deadlock(job: dict, report: dict) -> str:
    """What to say of a run that stood still."""
    s = report["stuck"]
    return (f"deadlock after {report['cycles']} cycles and {report['count']} of {job['beats']} output beats: "
            f"no reader takes {', '.join(s['blocked']) or 'nothing'}; no writer feeds {', '.join(s['starved']) or 'nothing'}")


def check(folder: Path) -> dict:
    """The recorded run against want.hex; returns the report.  AssertionError: the first thing that is wrong."""
    job, report = (json.loads((folder / f).read_text()) for f in ("job.json", "result.json"))
    assert "stuck" not in report, deadlock(job, report)
    got = [line.split() for line in (folder / "m_axis.hex").read_text().splitlines()]
    assert len(got) == job["beats"], f"{len(got)} output beats where {job['beats']} were expected"
    wrong = [k for k, (_, last, _) in enumerate(got) if (last == "1") != (k % job["frame"] == job["frame"] - 1)]
    assert not wrong, f"TLAST is wrong at output beat {wrong[0]}; a frame has {job['frame']} beats"
    if (folder / "want.hex").exists():
        want = (folder / "want.hex").read_text().split()
        bad = [k for k, (g, w) in enumerate(zip(got, want, strict=True)) if int(g[0], 16) != int(w, 16)]
        assert not bad, f"{len(bad)} of {len(got)} output beats are wrong; the first is beat {bad[0]}: {got[bad[0]][0]}, not {want[bad[0]]}"
    return report
