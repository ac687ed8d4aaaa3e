"""Where nobody stalls, a beat a cycle passes: elementwise modules have no bubbles, double-buffered ones no gap between frames."""
import json

import pytest

from checks import packed
from hw.dataflow.taps import line, taps_cycles
from hw.dataflow.windows import ring_rows
from sim import Case
from sim.module import run_timed
from sim.words import mem

pytestmark = pytest.mark.slow

BEATS, FRAME = 600, 60
X = [k % 16 for k in range(BEATS)]
RAMP = mem(range(16), 8)


def test_a_beat_a_cycle(tmp_path):
    pair, ab = dict(AWidth=4, ASigned=0, BWidth=4, BSigned=0), {"a": X, "b": X}
    one, half = {"m": BEATS}, X[:BEATS // 2]
    cases = [
        Case("qs_add", pair | {"OutWidth": 5}, ab, one), Case("qs_mul", pair | {"OutWidth": 8}, ab, one),
        Case("qs_requant", dict(InWidth=4, InSigned=0, Shift=0, MulWidth=8, MulFile="r.mem"), {"s": X}, one, {"r.mem": "1\n"}),
        Case("qs_lut", dict(InWidth=4, TableFile="r.mem"), {"s": X}, one, {"r.mem": RAMP}),
        Case("qs_fork", dict(Width=4), {"s": X}, {"m[0]": BEATS, "m[1]": BEATS}),
        Case("qs_concat", dict(Width=4, Beats=packed((1, 1))), {"s[0]": half, "s[1]": half}, one),
        Case("qs_pad", dict(Rank=1, Width=4, Size=2, Before=1, After=1), {"s": half}, one),
        Case("qs_slice", dict(Rank=1, Width=4, Size=4, Start=0, Stop=4, Step=2), {"s": X}, {"m": BEATS // 2}),
        Case("qs_gather", dict(InWidth=4, NumRows=16, RowBeats=2, TableFile="g.mem"), {"s": half}, one, {"g.mem": RAMP * 2}),
    ]
    _, cycles = run_timed(cases, tmp_path)
    assert BEATS <= cycles <= BEATS + 5  # the longest pipeline


def test_frames_without_a_gap(tmp_path):
    reorder = Case("qs_reorder", dict(Width=4, InBeats=FRAME, OutBeats=FRAME, OrderFile="o.mem"), {"s": X}, {"m": BEATS},
                   {"o.mem": mem(range(FRAME)[::-1], 8)})
    _, cycles = run_timed([reorder], tmp_path / "reorder")
    assert cycles <= BEATS + FRAME + 5
    m, k, n, frames = 4, 5, 6, 8
    matmul = Case("qs_matmul", dict(M=m, K=k, N=n, AWidth=4, BWidth=4), {"a": X[:m * k] * frames, "b": X[:k * n] * frames}, {"m": m * n * frames})
    _, cycles = run_timed([matmul], tmp_path / "matmul")
    assert cycles <= m * k * n * frames + k * n + 8


WINDOWS = [  # rows, columns, blocks, groups, kernel, stride, padding, taps a beat (0: qs_window)
    (8, 8, 2, 1, 3, 1, 1, 0), (8, 8, 1, 1, 3, 1, 0, 0), (8, 8, 2, 2, 2, 2, 0, 0), (9, 8, 3, 1, 1, 2, 0, 0), (7, 6, 1, 1, 5, 1, 2, 0), (9, 9, 2, 1, 3, 2, 1, 0),
    (8, 8, 2, 2, 3, 1, 1, 9), (8, 8, 1, 1, 3, 1, 1, 3), (9, 9, 2, 2, 3, 2, 1, 3), (8, 8, 1, 1, 3, 1, 0, 9),
]


def test_windows_keep_their_pace(tmp_path):
    """Cycles from frame to frame as hw/dataflow computes them, for modules alone."""
    cases, want = [], []
    for rows, cols, blocks, groups, k, s, p, taps in WINDOWS:
        out = [(n + 2 * p - k) // s + 1 for n in (rows, cols)]
        params = dict(Blocks=blocks, Width=4, InRows=rows, InCols=cols, OutRows=out[0], OutCols=out[1], KernelRows=k, KernelCols=k, StrideRows=s,
                      StrideCols=s, PadTop=p, PadLeft=p)
        taken, given = rows * cols * blocks, out[0] * out[1] * blocks * k * k
        if taps:
            cases.append(Case("qs_taps", params | dict(Taps=taps), {"s": [1] * taken * 6}, {"m": given // taps * 6}))
            want.append(taps_cycles(line((rows, cols), out, (k, k), (s, s), (1, 1), (p, p)), blocks, k * k // taps))
            assert want[-1] == taken + given // taps - given // (k * k)
        else:
            ring = ring_rows(rows, out[0], k, s, 1)
            cases.append(Case("qs_window", params | dict(Groups=groups, RingRows=ring), {"s": [1] * taken * 6}, {"m": given * 6}, surplus=True))
            want.append(max(taken, given))
    run_timed(cases, tmp_path)
    times = [t for t in json.loads((tmp_path / "result.json").read_text())["times"]][1::2]
    for w, t, c, cycles in zip(WINDOWS, times, cases, want):
        frame = c.outputs["m"] // 6
        assert t[5 * frame - 1] - t[3 * frame - 1] == 2 * cycles, (w, cycles, [t[k * frame - 1] for k in range(1, 7)])
