"""CUDA code without a GPU: nvcc takes it, and run thread by thread on an emulated GPU it computes what ir.run computes."""
import random
import shutil
from dataclasses import dataclass

import numpy as np
import pytest
from gpu_emulator import library
from op_cases import CASES
from strategies import random_graph, samples

import codegen
import ir
from codegen.cuda.compiler import compiled, describe
from codegen.cuda.model import CudaModel
from codegen.cuda.program import program
from codegen.cuda.source import source
from ir import Graph, Input, Ints, Node, Op, UserError

NAME = "conv 3x3 padded with its zero point"
RANDOM = {f"random graph {seed}": random_graph(random.Random(seed)) for seed in range(40)}
needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")


def says(text: str): return pytest.raises(UserError, match=text)


@dataclass
class Emulated:
    """Graphs whose kernels are in one library."""
    source: str
    library: str
    about: dict

    def model(self, name: str) -> CudaModel: return CudaModel(b"", *self.about[name], self.library)


def emulated(graphs: dict[str, Graph], folder) -> Emulated:
    text, launches, about = "", [], {}
    for i, (name, g) in enumerate(graphs.items()):
        p = program(g, f"g{i}_")
        more, ours = source(p)
        text += more if not text else more[more.index('extern "C"'):]
        launches += ours
        about[name] = p.blob(), describe(g, p, ours, ["sm_80"])
    return Emulated(text, str(library(text, launches, folder / "libcuda.so")), about)


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> Emulated: return emulated(CASES | RANDOM, tmp_path_factory.mktemp("cases"))


@pytest.mark.parametrize("order", ["forwards", "backwards"])
@pytest.mark.parametrize("name", CASES | RANDOM)
def test_equal(name, order, cases, monkeypatch):
    monkeypatch.setenv("EMULATED_GPU_ORDER", order)
    g = (CASES | RANDOM)[name]
    x = samples(g, 5)
    assert (cases.model(name)(x) == ir.run(g, x)).all()


@needs_nvcc
def test_nvcc_takes_every_op(cases):
    assert compiled(cases.source, ("sm_80",))[:4] == b"\x50\xed\x55\xba"  # a fatbin


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


def test_messages_of_graphs(tmp_path):
    g = Graph()
    g.add("x", Input(Ints((3,), 0, 9)))
    g.nodes["y"] = Node("y", Op(), ("x",), Ints((3,), 0, 9))
    with says("^node 'y': the CUDA backend has no rule for Op$"):
        program(g)
    large = Graph()
    large.add("x", Input(Ints((1 << 15, 1 << 14), 0, 9)))
    with says("the CUDA backend indexes 2 GiB: split the graph"):
        describe(large, program(large), [], [])
