"""Whole quantized nets as CUDA: convolutional, recurrent in shape, transformers; nvcc takes them, the emulated GPU computes them."""
import shutil

import pytest
import torch
from quant_nets import NETS as SMALL
from quant_nets import images
from test_capture import same
from test_capture_transformer import NETS as TRANSFORMERS
from test_capture_transformer import data
from test_codegen_cuda import emulated

from codegen.cuda.compiler import compiled
from ir import Graph, Plan, run
from quant import calibrate, quantize

pytestmark = pytest.mark.slow
OPTIONS = {name: ("int8/uint8", "ternary/int8", "int4/uint8")[i % 3] for i, name in enumerate((*SMALL, *TRANSFORMERS))}


def lowered(name: str) -> tuple[Graph, object]:
    """The graph of a net and some of its inputs."""
    torch.manual_seed(0)
    if name in SMALL:
        net = SMALL[name]()
        x = images(net)
    else:
        x = data(name)
        net = same(TRANSFORMERS[name](), x=x)
    q = quantize(net, Plan.uniform(net.layers, OPTIONS[name]), calibrate(net, x))
    return q.lower(), q.encode(x[:3]).detach().long().numpy()


@pytest.fixture(scope="module")
def nets(): return {name: lowered(name) for name in OPTIONS}


@pytest.fixture(scope="module")
def made(nets, tmp_path_factory): return emulated({name: g for name, (g, _) in nets.items()}, tmp_path_factory.mktemp("nets"))


@pytest.mark.parametrize("order", ["forwards", "backwards"])
@pytest.mark.parametrize("name", OPTIONS)
def test_equal(name, order, nets, made, monkeypatch):
    monkeypatch.setenv("EMULATED_GPU_ORDER", order)
    g, x = nets[name]
    assert (made.model(name)(x) == run(g, x)).all()


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
def test_nvcc_takes_them(made): assert compiled(made.source, ("sm_90",))
