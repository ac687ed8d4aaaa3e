"""Histograms before and after rounding: AdaPT's precision, the metric, and a floor that no plan falls below."""
import numpy as np
import pytest

from ir import FORMATS, Table, UserError
from search import METRICS, Floor, allocate, divergence, floor, measure, menu, smallest_fixed_point, smallest_lossless
from test_search_measure import NumpyNet

MENU = menu("int3,int4,int6,int8,int10/uint4,uint8,uint16")


def normal(sigma: float, seed: int) -> np.ndarray: return np.random.default_rng(seed).normal(0, sigma, 20000)


class Net(NumpyNet):
    """With the tensors of each layer."""

    def tensors(self, layer, option):
        seen = next(x for name, x, _ in self._run({}) if name == layer)
        w, both = self.weights[layer], []
        kept = self._round
        self._round = lambda v, fmt, top: both.append(kept(v, fmt, top)) or both[-1]
        self._layer(layer, seen, option)
        self._round = kept
        return (w, both[0]), (seen, both[1])


@pytest.mark.parametrize("sigma, fraction", [(0.05, 12), (0.5, 9)])
def test_fraction_bits_of_a_normal(sigma, fraction):
    """The median of 9 draws: the rare values of the tails make single ones differ by 2 bits."""
    found = [smallest_fixed_point(normal(sigma, seed), eps=1e-3, bins=100) for seed in range(9)]
    assert abs(np.median([f for _, f in found]) - fraction) <= 1
    for (word, f), seed in zip(found, range(9)):
        largest = np.abs(normal(sigma, seed)).max()
        assert word == max(f + 1, int(np.ceil(np.log2(largest))) + 1 + f) or word == f + 1 + int(np.log2(largest) > 0)


def test_more_fraction_bits_lose_less_on_average():
    lost = np.mean([[divergence(v, np.round(v * 2.0**f) / 2.0**f, 100, 2.0**-f) for f in range(4, 22)]
                    for v in (normal(0.05, seed) for seed in range(8))], axis=0)
    above = lost[:-1] > 1e-4  # below, single values in the tails decide
    assert above.sum() >= 8 and (np.diff(lost)[above] < 0).all() and lost[0] > 5 and lost[-1] < 1e-6


def test_nothing_lost_is_zero_and_never_negative():
    v = normal(1, 0)
    assert divergence(v, v) == 0 and divergence(np.zeros(5), np.zeros(5)) == 0 and divergence(np.zeros(5), np.ones(5)) > 5
    assert all(divergence(v, normal(1, seed)) > 0 for seed in range(1, 20))
    # two bins, by hand: 3 of 4 values move from the first to the second
    p, q = (np.array(counts) + 1e-6 for counts in ([4, 0], [1, 3]))
    p, q = p / p.sum(), q / q.sum()
    assert divergence(np.array([0.0] * 4), np.array([0, 1.0, 1, 1]), 2, 0.5) == pytest.approx((p * np.log(p / q)).sum(), rel=1e-12)


def test_what_is_outside_is_not_forgotten():
    """Values rounded beyond the largest of the floats still fall into a bin: no divergence of what is not there."""
    v = np.linspace(0, 0.9, 1000)
    assert divergence(v, v + 5, 10) > 5


def test_smallest_format():
    ints = [FORMATS[f"int{b}"] for b in range(2, 17)]
    found = smallest_lossless(normal(0.05, 0), ints)
    assert 9 <= found.bits <= 13
    assert smallest_lossless(normal(0.05, 0), ints, eps=1e-1).bits < found.bits < smallest_lossless(normal(0.05, 0), ints, eps=1e-5).bits
    assert smallest_lossless(normal(0.05, 0), ints[:4]) is None
    grid = np.random.default_rng(0).integers(-8, 8, 500) * 0.25
    assert smallest_lossless(grid, ints, eps=0).name == "int4" and smallest_lossless(np.zeros(9), ints).name == "int2"


def test_metric_is_the_sum_of_both_sides():
    net = Net()
    row = measure(net, ["information"], {"fc2": MENU})["information"].rows["fc2"]
    (w, wq), (x, xq) = net.tensors("fc2", "int4/uint8")
    assert row["int4/uint8"] == divergence(w, wq) + divergence(x, xq) > row["int10/uint16"] > 0
    net._round = lambda v, fmt, top: v
    assert METRICS["information"](net, "fc1", "int4/uint8") == 0


@pytest.mark.parametrize("eps", [0.3, 0.05])
def test_no_plan_falls_below_the_floor(eps):
    """Bits are few, and cheaper options would fit: the plan still stays above."""
    net = Net()
    net.x = np.abs(net.x)
    options = dict.fromkeys(net.layers, MENU)
    lower = floor(net, options, eps, bins=20)
    assert not lower.missed and all(0 < len(m) < len(MENU) for m in lower.menus.values())
    for layer, left in lower.menus.items():
        for o in MENU:
            (w, wq), (x, xq) = net.tensors(layer, o)
            assert (o in left) == (max(divergence(w, wq, 20), divergence(x, xq, 20)) <= eps)
    damage = measure(net, ["mse"], options)["mse"]
    bits = damage.__class__("wbits", "cost", {k: {o: float(FORMATS[o.split("/")[0]].bits) for o in MENU} for k in options})
    free, held = (allocate(t, {"wbits": bits}, {"wbits": b}) for t, b in
                  ((damage, 9), (lower.under(damage), sum(min(bits.rows[k][o] for o in lower.menus[k]) for k in options))))
    assert all(str(o) in lower.menus[k] for k, o in held.options.items())
    assert not all(str(o) in lower.menus[k] for k, o in free.options.items())


def test_where_nothing_is_enough_the_best_is_left_and_told():
    net = Net()
    lower = floor(net, {"fc1": MENU, "out": MENU}, eps=0)
    assert lower.menus.keys() == lower.missed.keys() == {"fc1", "out"}
    for layer, (option, lost) in lower.missed.items():
        both = {o: [divergence(a, b) for a, b in net.tensors(layer, o)] for o in MENU}
        assert lower.menus[layer] == (option,) and option == min(MENU, key=lambda o: (max(both[o]), sum(both[o])))
        assert lost == max(both[option]) > 0


@pytest.mark.parametrize("do, text", [
    (lambda: floor(Net(), {"fc9": MENU}), "the model has no layer 'fc9' to quantize (it has fc1, fc2, out)"),
    (lambda: floor(Net(), {"fc1": MENU}, eps=-1), "a floor of eps=-1; give a divergence of 0 or more nats"),
    (lambda: smallest_fixed_point(np.array([1.0, np.nan])), "1 of 2 values are infinite or undefined; a precision is found for finite ones"),
    (lambda: smallest_fixed_point(normal(1e12, 0)), "no fixed point format of up to 32 bits keeps a divergence of 0.001 on values from -"),
    (lambda: floor(Net(), {"fc1": ["int3/uint4"]}, 1).under(measure(Net(), ["mse"], {"fc2": MENU})["mse"]),
     "the floor says nothing of layer 'fc2' of table 'mse'; make both from the same model and menus"),
    (lambda: floor(Net(), {"fc1": ["int3/uint4"]}, 1).under(measure(Net(), ["mse"], {"fc1": ["int8/uint8"]})["mse"]),
     "table 'mse': layer 'fc1' has none of the options that the floor allows (int3/uint4); make both from the same menus"),
])
def test_messages(do, text):
    with pytest.raises(UserError) as e:
        do()
    assert str(e.value).startswith(text)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_undefined_values_are_named():
    net = Net()
    net.weights["fc2"][0, 0] = np.inf
    with pytest.raises(UserError, match="^layer 'fc2' with 'int3/uint4': weights or inputs are infinite or undefined; mend the model or the data$"):
        floor(net, {"fc2": MENU})


def test_a_floor_of_any_table():
    table = Table("information", "damage", {"a": {"int2/uint8": .5, "int8/uint8": .01}, "b": {"int2/uint8": .9, "int8/uint8": .3}})
    found = Floor.of(table, .1)
    assert found.menus == {"a": ("int8/uint8",), "b": ("int8/uint8",)} and found.missed == {"b": ("int8/uint8", .3)}
    with pytest.raises(UserError, match=r"^a floor of information <= -1; give a damage of 0 or more$"):
        Floor.of(table, -1)
