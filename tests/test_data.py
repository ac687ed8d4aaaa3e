"""Samples in: what is taken, how it is split, and what is said of what cannot be taken."""
import re

import numpy as np
import pytest

from ir import UserError
from qsearch.data import load_data
from qsearch.digits import digits

X, Y = np.random.default_rng(0).random((10, 3, 4, 4), np.float32), np.arange(10) % 3


def test_npz_is_split(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, y=Y)
    d = load_data(tmp_path / "d.npz")
    assert (d.calib_x == X[:5]).all() and (d.x == X[5:]).all() and (d.y == Y[5:]).all()


def test_own_calibration_samples(tmp_path):
    np.savez(tmp_path / "d.npz", x=X, y=Y, calib_x=X[:3])
    d = load_data(tmp_path / "d.npz")
    assert len(d.x) == 10 and len(d.calib_x) == 3 and d.calib_y is None


def test_factories():
    whole, parts = load_data("tests.small:data"), load_data("tests.small:batches")
    assert len(whole.x) == 200 and len(parts.calib_x) == 100 and len(parts.x) == 100
    assert (parts.calib_x == whole.x[:100]).all() and parts.y.dtype.kind == "i"


def test_one_sample_does_both():
    d = load_data({"x": X[:1], "y": Y[:1]})
    assert len(d.x) == len(d.calib_x) == 1


def test_limit_and_key():
    a, b = load_data({"x": X, "y": Y}, limit=2), load_data({"x": X, "y": Y})
    assert len(a.x) == 2 and a.key != b.key and b.key == load_data({"x": X, "y": Y}).key


def test_digits_are_all_there():
    d = digits()
    assert d["x"].shape == (500, 1, 8, 8) and len(d["calib_x"]) == 1297 and d["x"].max() == 1


def nan(): return np.where(np.arange(10)[:, None, None, None] == 7, np.nan, X)


@pytest.mark.parametrize("given,line", [
    ({"x": nan()}, "x holds NaN or Inf (first in sample 7); clean the data first"),
    ({"x": X * np.float32(np.inf)}, "x holds NaN or Inf (first in sample 0); clean the data first"),
    ({"x": X[:0]}, "x has the shape (0, 3, 4, 4); (N, *input) with at least one sample is needed"),
    ({"x": X, "y": Y[:4]}, "10 samples in x, but 4 labels in y"),
    ({"y": Y}, "no array 'x' (it has y); x holds the model's inputs, y the labels"),
    ({"x": X, "calib_x": X[:, :2]}, "calib_x (10, 2, 4, 4) and x (10, 3, 4, 4) hold samples of different shapes"),
    ({"x": np.array([["a"]])}, "x is of type <U1; numbers are needed"),
    ([], "gave no batches; at least one sample is needed"),
    (7, "gave a int; a dict of arrays, (x, y) or an iterable of batches is needed"),
    ("none.npz", "none.npz: no such file; data is an .npz with arrays x and y, or package.module:factory"),
    ("nothing", "data 'nothing' is neither a file that exists nor package.module:factory"),
    ("tests.small:absent", "data 'tests.small:absent': tests.small has no 'absent'"),
    ("no.such:thing", "data 'no.such:thing': cannot import no.such: No module named 'no'"),
])
def test_messages(given, line):
    with pytest.raises(UserError, match=re.escape(line)):
        load_data(given)


def test_cut_off_file(tmp_path):
    np.savez(tmp_path / "d.npz", x=X)
    whole = (tmp_path / "d.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:len(whole) // 2])
    with pytest.raises(UserError, match=r"cut\.npz: not an \.npz file, or cut off"):
        load_data(tmp_path / "cut.npz")
