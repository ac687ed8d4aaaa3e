"""Every number format and every rounding obeys its contract.  A new format is tested by existing."""
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from ir import FORMATS, NumberFormat, UserError
from ir.ops import clamp, requant, round_shift


MEMBERS = [FORMATS[n] for n in ("fx8.4", "fx2.0", "fx16.20", "e1m1", "e2m2", "e3m0", "e3m4", "e4m2", "e5m0", "e1m6")]  # of families


@pytest.fixture(params=[*FORMATS.values(), *MEMBERS], ids=str)
def fmt(request) -> NumberFormat: return request.param


def probes(fmt) -> np.ndarray:
    """Every grid point, every midpoint and their neighbours in float64, quarters between, and values beyond both ends."""
    g = np.array(fmt.grid, np.float64)
    mid = (g[1:] + g[:-1]) / 2
    beyond = [fmt.lo - 1000, fmt.lo - 1, fmt.lo - .5, fmt.hi + .5, fmt.hi + 1, fmt.hi + 1000]
    return np.sort(np.concatenate([g, mid, np.nextafter(mid, -np.inf), np.nextafter(mid, np.inf), g + .25, g - .25, beyond]))


def distance(fmt, v):
    """From v to the grid point nearest to it: one on either side of where v would stand."""
    g = np.array(fmt.grid, np.float64)
    at = np.searchsorted(g, v)
    return np.minimum(np.abs(v - g[np.clip(at - 1, 0, len(g) - 1)]), np.abs(v - g[np.clip(at, 0, len(g) - 1)]))


def test_nearest_is_nearest_and_on_the_grid(fmt):
    v = probes(fmt)
    q = fmt.nearest(v)
    assert np.isin(q, fmt.grid).all()
    assert (np.abs(q - v) == distance(fmt, v)).all()


def test_grid_points_are_fixed(fmt):
    assert (fmt.nearest(np.array(fmt.grid, float)) == fmt.grid).all()


def test_nearest_is_monotone(fmt):
    assert (np.diff(fmt.nearest(probes(fmt))) >= 0).all()


def test_ties_go_to_the_even_step(fmt):
    """Steps are counted from 0: of two neighbours the one with the even number takes the tie."""
    g = np.array(fmt.grid)
    first = next(i for i, v in enumerate(g) if v >= 0)
    below_is_even = (np.arange(len(g) - 1) - first) % 2 == 0
    assert (fmt.nearest((g[1:] + g[:-1]) / 2) == np.where(below_is_even, g[:-1], g[1:])).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torch_agrees_with_numpy(fmt, dtype):
    v = torch.tensor(probes(fmt), dtype=dtype)
    q = fmt.nearest(v, torch)
    assert q.dtype == dtype and np.array_equal(q.numpy(), fmt.nearest(v.numpy()))


def test_bits_and_range(fmt):
    assert 2 ** (fmt.bits - 1) < len(fmt.grid) <= 2 ** fmt.bits
    assert (fmt.lo, fmt.hi) == (min(fmt.grid), max(fmt.grid)) and fmt.signed == (fmt.lo < 0)


def test_table_of_formats():
    """The formats that people name, spelled out."""
    assert {n: list(FORMATS[n].grid) for n in ("int2", "uint2", "ternary", "pot4", "e2m1")} == {
        "int2": [-2, -1, 0, 1], "uint2": [0, 1, 2, 3], "ternary": [-1, 0, 1],
        "pot4": [-64, -32, -16, -8, -4, -2, -1, 0, 1, 2, 4, 8, 16, 32, 64],
        "e2m1": [-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12]}
    assert [(FORMATS[n].lo, FORMATS[n].hi, FORMATS[n].bits) for n in ("int8", "uint8", "int16", "uint16")] == [
        (-128, 127, 8), (0, 255, 8), (-32768, 32767, 16), (0, 65535, 16)]


def test_families():
    """Fixed point <WL,FL> and small floats are known by their name; all their codes are numbers."""
    assert {n: list(FORMATS[n].grid) for n in ("binary", "pot3", "apot4", "e1m1", "e2m0")} == {
        "binary": [-1, 1], "pot3": [-4, -2, -1, 0, 1, 2, 4], "e1m1": [-3, -2, -1, 0, 1, 2, 3], "e2m0": [-4, -2, -1, 0, 1, 2, 4],
        "apot4": [-10, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 10]}
    f = FORMATS["fx8.4"]
    assert (f.lo, f.hi, f.bits, f.scale, f is FORMATS["fx8.4"]) == (-128, 127, 8, 1 / 16, True) and FORMATS["int8"].scale == 0
    assert FORMATS["e3m2"].hi == 448 and FORMATS["e2m3"].hi == 60 and len(FORMATS["e3m4"].grid) == 255 and FORMATS["apot5"].bits == 5
    assert "fx8.4" in FORMATS and "e2m2" in FORMATS and not {"fx8.4", "e2m2"} & set(FORMATS.keys())
    for name in ("fx1.0", "fx17.4", "fx8", "fx08.4", "e6m1", "e4m4", "e0m3", "e1m0"):
        assert name not in FORMATS
        with pytest.raises(UserError, match=f"^unknown number format '{name}'"):
            FORMATS[name]


@pytest.mark.parametrize("grid", [[1, 2], [0, 0, 1], [2, 0, 1], range(0, 10, 2)[::-1]])
def test_what_is_no_grid(grid):
    with pytest.raises(ValueError, match="^odd: a grid is ascending, without repeats, and reaches from 0 or below to 0 or above; got"):
        NumberFormat("odd", grid)


def test_unknown_name_says_what_exists():
    with pytest.raises(UserError) as e:
        FORMATS["int44"]
    assert str(e.value).startswith("unknown number format 'int44'; did you mean 'int4'? (known: int2, uint2, int3, ")


def test_a_name_is_taken_once():
    with pytest.raises(ValueError, match="^number format 'int4' is defined twice"):
        FORMATS.register("int4")(FORMATS["int5"])


# value, shift, result; docs/ops.md prints the same table, computed
ROUND_SHIFT = [(5, 1, 3), (-5, 1, -2), (3, 1, 2), (-3, 1, -1), (1, 1, 1), (-1, 1, 0), (6, 2, 2), (-6, 2, -1), (-7, 2, -2),
               (7, 0, 7), (-1, 3, 0), (-4, 3, 0), (-5, 3, -1), (2**40 + 1, 1, 2**39 + 1)]


@pytest.mark.parametrize("x, n, y", ROUND_SHIFT)
def test_round_shift_table(x, n, y):
    assert round_shift(x, n) == y
    assert round_shift(np.array([x]), n).tolist() == [y] == round_shift(torch.tensor([x]), n).tolist()


@given(st.integers(-2**60, 2**60), st.integers(0, 60))
def test_round_shift_is_floor_of_x_and_a_half(x, n):
    assert round_shift(x, n) == (2 * x + 2**n) // 2**(n + 1)


@given(st.integers(-2**40, 2**40), st.integers(1, 2**15), st.integers(0, 31))
def test_requant_is_within_half_a_step(acc, mul, shift):
    error = acc * mul - (requant(acc, mul, shift, 0, -2**60, 2**60) << shift)
    assert -(1 << shift) <= 2 * error < (1 << shift) or shift == error == 0  # ties go up


@given(st.integers(-2**40, 2**40), st.integers(-2**40, 2**40), st.integers(1, 2**15), st.integers(0, 31), st.integers(-200, 200))
def test_requant_is_monotone_and_within_bounds(a, b, mul, shift, zero):
    ya, yb = (requant(v, mul, shift, zero, -128, 127) for v in sorted((a, b)))
    assert -128 <= ya <= yb <= 127


@given(st.lists(st.integers(-2**31, 2**31 - 1), min_size=1, max_size=20), st.integers(1, 2**24), st.integers(0, 40), st.integers(-128, 127))
def test_one_definition_at_every_type(acc, mul, shift, zero):
    want = [requant(v, mul, shift, zero, -128, 127) for v in acc]
    assert requant(np.array(acc), mul, shift, zero, -128, 127).tolist() == want
    assert requant(torch.tensor(acc), mul, shift, zero, -128, 127).tolist() == want


def test_clamp():
    assert [clamp(v, -2, 3) for v in (-9, -2, 0, 3, 9)] == [-2, -2, 0, 3, 3]
    assert clamp(np.array([-9, 0, 9]), -2, 3).tolist() == [-2, 0, 3] == clamp(torch.tensor([-9, 0, 9]), -2, 3).tolist()
