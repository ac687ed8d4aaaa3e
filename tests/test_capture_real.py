"""Real transformers and diffusion nets, captured: they agree with what they came from."""
import numpy as np
import onnxruntime
import pytest
import torch

from benchmarks import ddpm_model
from quant import capture, load_model


@pytest.mark.slow
def test_a_vision_transformer_agrees_with_onnx_runtime(real_data):
    path = real_data / "onnx" / "vit_cifar10.onnx"
    images = np.load(real_data / "cifar10" / "exact.npz")["test_x"][:4]
    x = ((images / 255 - (.4914, .4822, .4465)) / (.2023, .1994, .2010)).transpose(0, 3, 1, 2).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    wanted = onnxruntime.InferenceSession(str(path), options).run(None, {"x": x})[0]
    net = load_model(str(path))
    assert np.abs(net(torch.from_numpy(x)).detach().numpy() - wanted).max() < 1e-4
    assert len(net.layers) == 18 and {"blocks.0.in_proj", "blocks.3.fc2", "head"} < net.layers.keys()


def test_the_noise_of_a_diffusion_net_is_found(real_data):
    model = ddpm_model.load(real_data)
    images = torch.from_numpy(np.load(real_data / "mnist" / "mnist.npz")["test_x"][:64]).float()[:, None] / 127.5 - 1
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    for t, wanted in ((50, 0.099), (200, 0.044), (500, 0.016), (900, 0.003)):
        found = float((ddpm_model.epsilon(model, ddpm_model.noisy(images, noise, t), t) - noise).square().mean())
        assert abs(found / wanted - 1) < 0.25, t
    digits = ddpm_model.trajectory(model, noise[:4], 20)
    assert digits.shape == (21, 4, 1, 28, 28) and digits[-1].abs().max() <= 1 and digits[-1].std() > 0.2


@pytest.mark.slow
def test_a_diffusion_net_is_captured(real_data):
    model = ddpm_model.load(real_data)
    x = ddpm_model.pack(torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 50, 500, 999]))
    net = capture(model, x)
    with torch.no_grad():
        assert (net(x) - model(x)).abs().max() < 1e-4
    assert len(net.layers) == 65 and net.steps["up3"].macs == 28 * 28 * 10 * 10 * 16
