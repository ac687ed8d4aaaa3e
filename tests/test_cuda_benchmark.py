"""The GPU benchmark's own work, on the emulated GPU: what build makes, run checks and times."""
import json
import shutil

import numpy as np
import pytest
from gpu_emulator import library
from op_cases import CASES
from product_cases import PRODUCTS

import codegen
from benchmarks import cuda_nets
from codegen.cuda.model import CudaModel
from ir.store import load_json, save_graph

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A net and small graphs, without the layers: their references take long."""
    root = tmp_path_factory.mktemp("bench")
    patch = pytest.MonkeyPatch()
    patch.setattr(cuda_nets, "layers", lambda: {"dense": PRODUCTS["dense of rows"]})
    patch.setattr("op_cases.CASES", {k: CASES[k] for k in ("dense", "add that cancels")})
    patch.setattr("product_cases.PRODUCTS", {})
    save_graph(CASES["conv 3x3 padded with its zero point"], root / "net-w8a8")
    cuda_nets.build(root / "out", root, ("net-w8a8",), "sm_90")
    patch.undo()
    return root / "out"


def driver(folder, out) -> str:
    """The emulated GPU with the kernels of a build."""
    return str(library((folder / "kernels.cu").read_text(), load_json(folder / "manifest.json", "cuda library")["launches"], out))


@pytest.mark.parametrize("case", ["net-w8a8", "dense"])
def test_measure(folder, case, tmp_path, monkeypatch):
    lib = driver(folder / case, tmp_path / "libcuda.so")
    load = codegen.cuda.load
    monkeypatch.setattr(codegen.cuda, "load", lambda f: load(f, lib))
    monkeypatch.setattr(cuda_nets, "IN_A_ROW", 1)
    monkeypatch.setattr(cuda_nets, "BATCHES", (1, 3))
    found = cuda_nets.measure(folder / case, 3, 1)
    assert found["wrong"] == 0 and found["values"] > 0 and list(found["us"]) == ["1", "3"]
    assert all(0 < t["low"] <= t["median"] <= t["high"] for us in found["us"].values() for t in us.values())
    json.dumps(found)


def test_ops(folder, tmp_path):
    manifests = load_json(folder / "ops" / "ops.json", cuda_nets.KIND)["manifests"]
    lib = str(library((folder / "ops" / "kernels.cu").read_text(), sum((m["launches"] for m in manifests), []), tmp_path / "libcuda.so"))
    assert cuda_nets.check_ops(folder / "ops", lambda *a: CudaModel(*a, lib))["wrong"] == {}
    spoiled = cuda_nets.check_ops(folder / "ops", lambda image, weights, m: CudaModel(image, np.roll(weights, 1), m, lib))
    assert set(spoiled["wrong"]) == {"dense"}  # the other has no weights
