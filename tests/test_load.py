"""Models by name: files and factories, and one line for each way to get it wrong."""
import re

import pytest
import torch
from ir import UserError
from torch import nn

from quant import capture, load_model, load_onnx

FACTORIES = """
from torch import nn
import torch
def good():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
def broken(): raise RuntimeError("no weights here")
def number(): return 5
class Net(nn.Linear):
    def __init__(self): super().__init__(3, 2)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a module of factories that no other test imports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "qs_factories.py").write_text(FACTORIES)
    (tmp_path / "qs_broken.py").write_text("import a_library_that_is_not_there\n")
    yield tmp_path
    import sys
    sys.modules.pop("qs_factories", None)


def test_a_factory_a_module_and_a_program_give_one_hash(here):
    from qs_factories import good
    x = torch.randn(2, 3, 8, 8)
    torch.export.save(torch.export.export(good().eval(), (x,)), here / "m.pt2")
    nets = [load_model("qs_factories:good", x), load_model(good(), x), load_model(here / "m.pt2"), load_model(str(here / "m.pt2"), x)]
    assert len({n.hash for n in nets}) == 1
    assert list(nets[2].steps) == ["input", "0", "2", "3", "4"]
    assert (nets[2](x) - good().eval()(x)).abs().max() < 1e-5


def test_a_module_class_is_a_factory(here):
    assert load_model("qs_factories:Net", torch.zeros(1, 3)).input.shape == (3,)


MISTAKES = {
    "nowhere.onnx": r"^nowhere.onnx: no such file; expected an ONNX model$",
    "nowhere.pt2": r"^nowhere.pt2: no such file; expected a program of torch.export.save$",
    "weights.pth": r"^weights.pth: weights alone say nothing of the structure; give package.module:factory",
    "thing": r"^thing: not a model; give file.onnx, file.pt2 or package.module:factory$",
    "qs_nothing.models:f": r"^qs_nothing.models:f: no module 'qs_nothing' in .* or on the Python path; give file.onnx",
    "qs_broken:f":
        r"importing qs_broken failed: ModuleNotFoundError: No module named 'a_library_that_is_not_there'; install what it needs$",
    "qs_factories:god": r"^qs_factories:god: module qs_factories has no callable 'god'; it has good, broken, number, Net$",
    "qs_factories:broken": r"^qs_factories:broken: the factory failed: RuntimeError: no weights here; it is called without arguments",
    "qs_factories:number": r"^qs_factories:number: returned int; a factory returns a torch.nn.Module$",
}


@pytest.mark.parametrize("spec", MISTAKES)
def test_mistakes(spec, here):
    with pytest.raises(UserError, match=MISTAKES[spec]) as e:
        load_model(spec, torch.zeros(1, 3))
    assert "\n" not in str(e.value)


def test_a_torch_module_needs_an_example(here):
    with pytest.raises(UserError, match=r"^qs_factories:good: an example input is needed to capture a torch module; give the data$"):
        load_model("qs_factories:good")


@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
@pytest.mark.parametrize("damage", ["cut", "foreign", "empty"])
def test_damaged_files(here, suffix, damage):
    from qs_factories import good
    path = here / f"m.{suffix}"
    if suffix == "pt2":
        torch.export.save(torch.export.export(good().eval(), (torch.randn(2, 3, 8, 8),)), path)
    else:
        save_onnx(path)
    data = path.read_bytes()
    path.write_bytes({"cut": data[:len(data) // 2], "foreign": b"one,two,three\n" * 99, "empty": b""}[damage])
    with pytest.raises(UserError, match=rf"^{re.escape(str(path))}: (cannot be read as|not an ONNX model).*(save|export) it again$") as e:
        load_model(path)
    assert "\n" not in str(e.value)


def test_data_that_does_not_fit(here):
    from qs_factories import good
    save_onnx(here / "m.onnx")
    torch.export.save(torch.export.export(good().eval(), (torch.randn(2, 3, 8, 8),)), here / "m.pt2")
    with pytest.raises(UserError, match=r"^m.onnx: takes \(N, 6\), but the data has \(N, 3, 9, 9\); reshape the data, or give"):
        load_model("m.onnx", torch.zeros(2, 3, 9, 9))
    with pytest.raises(UserError, match=r"^m.pt2: takes \(N, 3, 8, 8\), but the data has \(N, 3, 9, 9\); reshape the data"):
        load_model("m.pt2", torch.zeros(2, 3, 9, 9))
    with pytest.raises(UserError, match=r"^qs_factories:good: does not run on an input of shape \(1, 3, 9, 9\): RuntimeError: .*; check"):
        load_model("qs_factories:good", torch.zeros(2, 3, 9, 9))


def test_load_onnx_gives_a_module(here):
    save_onnx(here / "m.onnx")
    module = load_onnx(here / "m.onnx")
    assert isinstance(module, nn.Module) and list(module.state_dict()) == ["fc.weight", "fc.bias"]
    assert capture(module, module.example).hash == load_model("m.onnx").hash


def save_onnx(path):
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    w, b = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32), np.ones(4, np.float32)
    graph = helper.make_graph([helper.make_node("Gemm", ["x", "fc.weight", "fc.bias"], ["y"], transB=1)], "g",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
                              [numpy_helper.from_array(w, "fc.weight"), numpy_helper.from_array(b, "fc.bias")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
