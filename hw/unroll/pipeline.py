"""Where the registers stand: stages of about equal delay, cut where the fewest bits cross."""
import math
from dataclasses import dataclass

from .family import Family
from .mincut import FOREVER, Network
from .scalars import Scalars

LEVELS = 7.0  # of logic in a stage, see family.delay: about five adders


@dataclass(frozen=True)
class Pipeline:
    """stage[v]: the stage in which value v is made (0 .. stages - 1).  Register rank r stands between stages r - 1 and r; rank 0
    holds the inputs and rank `stages` the results, where there are such."""
    stage: list[int]
    stages: int
    first: bool
    last: bool

    @property
    def latency(self) -> int:
        """Register ranks from input to output: cycles."""
        return self.stages - 1 + self.first + self.last

    def registers(self, s: Scalars) -> list[range]:
        """Of each value, the ranks that hold it."""
        end = list(self.stage)
        for k in range(len(s.ops)):
            for a in s.args(k):
                end[a] = max(end[a], self.stage[k])
        for r in s.outputs:
            if r.value is not None:
                end[r.value] = self.stages - 1 + self.last
        return [range(a + 1, b + 1) for a, b in zip(self.stage, end)]


def piped(s: Scalars, family: Family, stages: int | None = None, first: bool = True, last: bool = True) -> Pipeline:
    """The scalars in that many stages (None: of about LEVELS), each as short as can be.  first, last: registers on inputs and on results."""
    delay = [family.delay(s, k) for k in range(len(s.ops))]
    readers = s.readers()
    longest = _longest(s, delay)
    stages = stages or max(1, math.ceil(longest / LEVELS))
    limit = _limit(s, delay, stages, longest)
    latest = _latest(readers, delay, limit, stages)
    stage = [0] * len(s.ops)
    for cut in range(1, stages):
        for k in _behind(s, readers, delay, limit, latest, stage, cut):
            stage[k] = cut
    for k, op in enumerate(s.ops):
        if family.is_input(op):
            stage[k] = -1 if first else 0
    return Pipeline(stage, stages, first, last)


def _longest(s: Scalars, delay: list[float]) -> float:
    """Delay of the longest way from an input to a result."""
    arrival = [0.0] * len(delay)
    for k in range(len(delay)):
        arrival[k] = delay[k] + max((arrival[a] for a in s.args(k)), default=0.0)
    return max(arrival, default=0.0)


def _limit(s: Scalars, delay: list[float], stages: int, longest: float) -> float:
    """The least delay of a stage with which so many suffice."""
    low, high = max(max(delay, default=0.0), longest / stages), longest
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if _needed(s, delay, middle) <= stages else (middle, high)
    return high + 1e-6


def _needed(s: Scalars, delay: list[float], limit: float) -> int:
    """Stages of at most `limit` when every value is made as early as it can be."""
    at = [(0, 0.0)] * len(delay)
    for k in range(len(delay)):
        stage, start = max((at[a] for a in s.args(k)), default=(0, 0.0))
        at[k] = (stage, start + delay[k]) if start + delay[k] <= limit else (stage + 1, delay[k])
    return 1 + max((stage for stage, _ in at), default=0)


def _latest(readers: list[list[int]], delay: list[float], limit: float, stages: int) -> list[int]:
    """The last stage in which each value can be made."""
    at = [(0, 0.0)] * len(delay)
    for k in range(len(delay) - 1, -1, -1):
        back, used = max((at[r] for r in readers[k]), default=(0, 0.0))
        at[k] = (back, used + delay[k]) if used + delay[k] <= limit else (back + 1, delay[k])
    return [stages - 1 - back for back, _ in at]


def _behind(s: Scalars, readers, delay, limit: float, latest: list[int], stage: list[int], cut: int) -> set[int]:
    """The values behind register rank `cut`: those that must be there, and what makes the rank narrowest."""
    open_ = [k for k in range(len(s.ops)) if stage[k] == cut - 1]  # made in the stage before, or later
    arrival = {}
    for k in open_:
        arrival[k] = delay[k] + max((arrival.get(a, 0.0) for a in s.args(k)), default=0.0)
    results = {r.value for r in s.outputs}
    earlier = [k for k in range(len(s.ops)) if stage[k] < cut - 1 and any(r in arrival for r in readers[k])]
    at = {k: 2 + 2 * i for i, k in enumerate([*open_, *earlier])}
    net = Network(2 + 2 * len(at))
    for k, node in at.items():
        net.add(node, node + 1, s.width(k))
        if k not in arrival or latest[k] < cut or not any(True for _ in s.args(k)):
            net.add(0, node, FOREVER)
        elif arrival[k] > limit:
            net.add(node, 1, FOREVER)
        for r in set(readers[k]):
            if r in at:
                net.add(node + 1, at[r], FOREVER)
                net.add(at[r], node, FOREVER)
        if k in results:
            net.add(node + 1, 1, FOREVER)
    before = net.source_side(0, 1)
    return {k for k in open_ if at[k] not in before}
