"""CUDA code without a GPU: nvcc takes it, and run thread by thread on an emulated GPU it computes what ir.run computes."""
import random
import shutil
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from gpu_emulator import library
from op_cases import CASES
from product_cases import PRODUCTS
from strategies import random_graph, samples

import codegen
import ir
from codegen.cuda.compiler import compiled, describe, ptx
from codegen.cuda.driver import Driver
from codegen.cuda.gemm import Tile
from codegen.cuda.model import CudaModel
from codegen.cuda.program import program
from codegen.cuda.source import source
from ir import Graph, Input, Ints, Node, Op, UserError

NAME = "conv 3x3 padded with its zero point"
RANDOM = {f"random graph {seed}": random_graph(random.Random(seed)) for seed in range(24)}
TILES = {"mma": "mma", "dp4a": "dp4a", "mma 128 x 128": Tile("mma", (2, 4), (4, 4)), "mma 64 x 64": Tile("mma", (2, 2), (2, 4)),
         "mma 64 x 16": Tile("mma", (4, 1), (1, 2)), "dp4a 64 x 64": Tile("dp4a", (2, 2), (8, 4)), "dp4a 16 x 8": Tile("dp4a", (1, 1), (4, 1))}
TILED = {f"{name}, {tile}": g for i, (name, g) in enumerate(PRODUCTS.items())
         for tile in ("mma", list(TILES)[1 + i % (len(TILES) - 1)])}
needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")


def says(text: str): return pytest.raises(UserError, match=text)


@dataclass
class Emulated:
    """Programs whose kernels are in one library."""
    source: str
    library: str
    about: dict

    def model(self, name: str) -> CudaModel: return CudaModel(b"", *self.about[name], self.library)


def emulated(graphs: dict[str, Graph], folder, tiles: dict | None = None) -> Emulated:
    programs = {name: program(g, f"g{i}_", (tiles or {}).get(name, "mma")) for i, (name, g) in enumerate(graphs.items())}
    text, launches = source(*programs.values())
    about = {name: (p.blob(), describe(graphs[name], p, ours, ["sm_80"])) for (name, p), ours in zip(programs.items(), launches)}
    return Emulated(text, str(library(text, sum(launches, []), folder / "libcuda.so")), about)


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> Emulated: return emulated(CASES | RANDOM, tmp_path_factory.mktemp("cases"))


@pytest.mark.parametrize("order", ["forwards", "backwards"])
@pytest.mark.parametrize("name", CASES | RANDOM)
def test_equal(name, order, cases, monkeypatch):
    monkeypatch.setenv("EMULATED_GPU_ORDER", order)
    g = (CASES | RANDOM)[name]
    x = samples(g, 5)
    assert (cases.model(name)(x) == ir.run(g, x)).all()


@pytest.fixture(scope="module")
def tiled(tmp_path_factory) -> Emulated:
    return emulated(TILED, tmp_path_factory.mktemp("tiled"), {name: TILES[name.split(", ")[-1]] for name in TILED})


@pytest.mark.parametrize("count", [2, 11])
@pytest.mark.parametrize("name", TILED)
def test_tiles_equal(name, count, tiled, monkeypatch):
    monkeypatch.setenv("EMULATED_GPU_ORDER", "backwards" if count > 2 else "forwards")
    x = samples(TILED[name], count)
    assert (tiled.model(name)(x) == ir.run(TILED[name], x)).all()


def test_one_tile_for_any_number_of_samples():
    """The kernels of a product take turns: for every number of samples just one of them is run."""
    for g in PRODUCTS.values():
        for engine in ("mma", "dp4a"):
            p = program(g, tile=engine)
            ranges = {}
            for s in p.steps:
                ranges.setdefault(s.write.root, []).append((s.least, s.most))
            for found in ranges.values():
                if set(found) == {(1, None)}:  # a concat writes piece by piece
                    continue
                assert found[0][0] == 1 and found[-1][1] is None and all(a[1] + 1 == b[0] for a, b in zip(found, found[1:]))


def test_no_kernel_for_what_is_only_seen_another_way():
    """Channels last in and out: the convolution reads the caller's memory and writes it."""
    p = program(PRODUCTS["conv, channels last"], tile=TILES["mma 64 x 64"])
    assert [s.write.root.where for s in p.steps] == ["y"] and p.workspace == 0


@pytest.mark.parametrize("name, kernels", [("norm", 1), ("softmax", 3), ("residual block", 2), ("attention", 4)])
def test_kernels_of_a_call(name, kernels):
    """A norm is one kernel; a residual block adds in its second convolution; a softmax whose parts are joined copies them."""
    assert sum(s.least == 1 for s in program(PRODUCTS[name]).steps) == kernels


@needs_nvcc
def test_nvcc_takes_every_op(cases):
    assert compiled(cases.source, ("sm_80",))[:4] == b"\x50\xed\x55\xba"  # a fatbin


@needs_nvcc
def test_tensor_cores_and_dp4a_are_in_the_code():
    programs = [program(PRODUCTS[name], tile + prefix, tile) for prefix, name in (("s", "dense of rows"), ("u", "conv of words"))
                for tile in ("mma", "dp4a")]
    text = ptx(source(*programs)[0], "sm_80")
    for a in "us":
        assert f"mma.sync.aligned.m16n8k32.row.col.s32.{a}8.s8.s32" in text and f"dp4a.{a}32.s32" in text


def test_batches_and_groups(cases):
    model, g = cases.model(NAME), CASES[NAME]
    model.group = 3
    for count in (0, 1, 3, 7, 5, 4, 2, 8, 1):  # more sizes than are kept
        x = samples(g, count)
        y = model(x)
        assert y.dtype == np.int64 and (y == ir.run(g, x)).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("cuda") / "model"
    codegen.cuda.build(CASES[NAME], out, archs=("sm_90",))
    return out


@needs_nvcc
@pytest.mark.slow
def test_on_a_gpu(cases, tiled):
    """The same on real hardware, where there is some."""
    try:
        archs = (Driver().arch,)
    except UserError as e:
        pytest.skip(str(e))
    for graphs, made in ((CASES | RANDOM, cases), (TILED, tiled)):
        image = compiled(made.source, archs)
        for name, g in graphs.items():
            model, x = CudaModel(image, *made.about[name]), samples(g, 40)
            for count in (1, 3, 40):
                few = {k: v[:count] for k, v in x.items()} if isinstance(x, dict) else x[:count]
                assert (model(few) == ir.run(g, few)).all(), name
            model.close()


@needs_nvcc
def test_folder(folder, tmp_path):
    assert sorted(p.name for p in folder.iterdir()) == ["kernels.cu", "kernels.fatbin", "manifest.json", "weights.bin"]
    manifest = ir.store.load_json(folder / "manifest.json", "cuda library")
    assert manifest["archs"] == ["sm_90"] and manifest["graph_hash"] == ir.store.graph_hash(CASES[NAME])
    driver = library((folder / "kernels.cu").read_text(), manifest["launches"], tmp_path / "libcuda.so")
    x = samples(CASES[NAME], 6)
    assert (codegen.cuda.load(folder, str(driver))(x) == ir.run(CASES[NAME], x)).all()


@needs_nvcc
def test_a_damaged_folder(folder, tmp_path):
    with says("manifest.json: no such file; expected a qsearch cuda library"):
        codegen.cuda.load(tmp_path)
    for name in ("manifest.json", "kernels.fatbin"):
        shutil.copy(folder / name, tmp_path)
    with says("weights.bin: missing, or not the file that manifest.json was written with; build it again"):
        codegen.cuda.load(tmp_path)


@needs_nvcc
def test_message_without_a_gpu(folder):
    with says(r"no GPU here: the NVIDIA driver \(no-such-driver.so\) cannot be loaded; run this on a machine with an NVIDIA GPU$"):
        codegen.cuda.load(folder, "no-such-driver.so")


@needs_nvcc
def test_message_of_an_architecture(tmp_path):
    with says(r"^nvcc knows no GPU architecture sm_12; give some of .*sm_80, .*sm_90"):
        codegen.cuda.build(CASES[NAME], tmp_path, archs=("sm_12",))


def test_message_without_nvcc(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with says("^no nvcc here, which compiles the kernels; install the CUDA toolkit"):
        codegen.cuda.build(CASES[NAME], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_message_without_tvm(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "codegen.cuda.compiler")
    monkeypatch.setitem(sys.modules, "tvm", None)
    with says("^codegen.cuda.build needs the Python package 'tvm', which is not installed; pip install apache-tvm$"):
        codegen.cuda.build(CASES[NAME], tmp_path)


def test_messages_of_graphs(tmp_path):
    g = Graph()
    g.add("x", Input(Ints((3,), 0, 9)))
    g.nodes["y"] = Node("y", Op(), ("x",), Ints((3,), 0, 9))
    with says("^node 'y': the CUDA backend has no rule for Op$"):
        program(g)
    large = Graph()
    large.add("x", Input(Ints((1 << 15, 1 << 14), 0, 9)))
    with says("^this graph takes .* 536870912 elements in its largest tensor .*; the CUDA backend indexes 2 GiB of each: split the graph$"):
        describe(large, program(large), [], [])
