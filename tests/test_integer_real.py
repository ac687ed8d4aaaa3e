"""A trained vision transformer and a trained language model wholly in integers: as good as in float, equal on every backend."""
import numpy as np
import pytest
import torch

import codegen
from benchmarks import lm_data
from benchmarks.real_data import cifar10_vit
from ir import Plan, run
from quant import calibrate, capture, load_model, quantize


@pytest.mark.slow
def test_a_vision_transformer_in_integers(real_data):
    data = cifar10_vit()
    net = load_model(str(real_data / "onnx" / "vit_cifar10.onnx"))
    x, y = (torch.from_numpy(data[k][:100]) for k in "xy")
    q = quantize(net, Plan.uniform(net.layers, "int8/uint8"), calibrate(net, torch.from_numpy(data["calib_x"][:32])))
    with torch.no_grad():
        had, wanted = q(x).argmax(1), net(x).argmax(1)
    assert (had == wanted).float().mean() >= 0.95 and (had == y).float().mean() >= (wanted == y).float().mean() - 0.02
    g, codes = q.lower(), q.encode(x[:4]).detach().long().numpy()
    integers = run(g, codes)
    assert (q.forward_integers(torch.from_numpy(codes).float()).detach().numpy() == integers).all()
    assert (codegen.onnx.run(codegen.onnx.build(g), codes) == integers).all()


@pytest.mark.slow
def test_a_language_model_in_integers(real_data):
    fit, test = lm_data.split(64, 8)
    net = capture(lm_data.model(64), fit[:2, :-1])
    q = quantize(net, Plan.uniform(net.layers, "int8/uint8"), calibrate(net, fit[:, :-1]))
    drop, _ = lm_data.score(q, test[:8]).drop(lm_data.score(net, test[:8]))
    assert drop < 0.05
    g, codes = q.lower(), test[:2, :-1].numpy()
    integers = run(g, codes)
    with torch.no_grad():
        assert (g.encodings[g.output.name].decode(integers).astype(np.float32) == q(test[:2, :-1]).numpy()).all()
    assert (codegen.onnx.run(codegen.onnx.build(g), codes) == integers).all()
