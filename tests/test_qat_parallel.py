"""Two processes train what one trains: the same losses and the same net, up to the order in which floats are summed.

With sgd: Adam divides by the size of a gradient, so that one of rounding errors alone (a bias before a norm) moves as far as any.
"""
import copy
import socket

import pytest
import torch
from torch import distributed, multiprocessing

from ir import Plan
from quant import calibrate, quantize, tune
from quant.train.augment import flip_and_crop
from quant_nets import NETS, images

RECIPES = {"labels": dict(epochs=2, lr=1e-2, batch=20, optimizer="sgd"),
           "outputs": dict(epochs=1, lr=1e-2, batch=13, optimizer="sgd", norms="virtual", features=("relu2",), ema=0.5)}


def pieces():
    net = NETS["residual"]()
    x = images(net, 53)  # the last batch has fewer images, in one recipe only one
    return net, quantize(net, Plan.uniform(net.layers, "int4/uint4"), calibrate(net, x)), x, (net(x) - net(x).mean(0)).argmax(1)


def train(q, net, x, y, recipe: str, path):
    """The losses of all steps and the history."""
    labels, losses = y if recipe == "labels" else None, []
    history = tune(q, x, labels, distill=net, augment=flip_and_crop(1), checkpoint=path, every=1,
                   progress=lambda done, total, loss: losses.append(loss), **RECIPES[recipe])
    return losses, history


def work(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    net, q, x, y = pieces()
    out = {}
    for recipe in RECIPES:
        t = copy.deepcopy(q)
        out[recipe] = *train(t, net, x, y, recipe, f"{folder}/{recipe}.{rank}.pt"), t.state_dict()
    torch.save(out, f"{folder}/result.{rank}")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_train_what_one_trains(tmp_path):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    multiprocessing.spawn(work, (port, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"result.{r}", weights_only=False) for r in (0, 1))
    net, q, x, y = pieces()
    for recipe in RECIPES:
        t = copy.deepcopy(q)
        losses, history = train(t, net, x, y, recipe, None)
        assert first[recipe][:2] == second[recipe][:2]
        assert all(torch.equal(a, b) for a, b in zip(first[recipe][2].values(), second[recipe][2].values()))
        assert first[recipe][0] == pytest.approx(losses, rel=1e-5)
        assert [h["loss"] for h in first[recipe][1]] == pytest.approx([h["loss"] for h in history], rel=1e-5)
        for name, v in t.state_dict().items():
            assert torch.allclose(first[recipe][2][name].double(), v.double(), rtol=1e-5, atol=1e-6), name
        assert (tmp_path / f"{recipe}.0.pt").exists() and not (tmp_path / f"{recipe}.1.pt").exists()
