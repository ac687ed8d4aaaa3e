"""qs_skid, qs_fifo and qs_dwc: what goes in comes out, in order, whoever stalls."""
import pytest

from checks import Check, agree, check, random_ints
from ir import Ints, Reshape
from sim import Case
from sim.module import run_timed
from sim.words import pack

pytestmark = pytest.mark.slow


def same(top: str, params: dict, width: int, in_lanes: int = 1, out_lanes: int = 1) -> Check:
    t = Ints((12,), -(1 << width - 1), (1 << width - 1) - 1)
    return check(Reshape((12,)), [t], [random_ints(t, 60)], top, params, lanes=in_lanes, out_lanes=out_lanes)


def test_order_is_kept(tmp_path):
    buffers = [same("qs_skid", {"DataWidth": 8}, 8), *[same("qs_fifo", {"DataWidth": 5, "Depth": d}, 5) for d in (1, 2, 3, 8)]]
    lanes = [same("qs_dwc", {"Width": 3, "InLanes": i, "OutLanes": o}, 3, i, o) for i, o in [(1, 2), (1, 12), (2, 6), (3, 3), (6, 2), (12, 1), (4, 1)]]
    agree(buffers + lanes, tmp_path, (None, 1, 2, 3, 4))


def test_full_throughput(tmp_path):
    """Without stalls a buffer passes a beat a cycle."""
    beats = pack(range(1000), 1, 10)
    for top, params in [("qs_skid", {"DataWidth": 10}), ("qs_fifo", {"DataWidth": 10, "Depth": 4})]:
        _, cycles = run_timed([Case(top, params, {"s": beats}, {"m": 1000})], tmp_path)
        assert cycles <= 1004
