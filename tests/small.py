"""A model and data that command-line tests can name: `tests.small:net`, `tests.small:data`."""
import functools

import numpy as np
import torch
from torch import nn

from qsearch.digits import digits


class SmallNet(nn.Module):
    """A strided convolution with batch norm, a residual pair and a dense layer, for 8x8 digits."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.mix = nn.Conv2d(8, 8, 1)
        self.fc = nn.Linear(8 * 16, 10)

    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x)))
        return self.fc(torch.flatten(torch.relu(x + self.mix(x)), 1))


@functools.cache
def net() -> SmallNet:
    """Trained for some epochs: enough for a score well above chance."""
    torch.manual_seed(0)
    model, d = SmallNet(), digits()
    x, y = torch.from_numpy(d["calib_x"]), torch.from_numpy(d["calib_y"])
    opt = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(6):
        for at in torch.randperm(len(x)).split(64):
            loss = nn.functional.cross_entropy(model(x[at]), y[at])
            opt.zero_grad()
            loss.backward()
            opt.step()
    return model.eval()


def data() -> dict[str, np.ndarray]:
    """200 digits to score, 200 to calibrate with."""
    d = digits()
    return {"x": d["x"][:200], "y": d["y"][:200], "calib_x": d["calib_x"][:200], "calib_y": d["calib_y"][:200]}


def many() -> dict[str, np.ndarray]:
    """All digits, so that measuring takes some seconds."""
    return digits()


def nan_net() -> SmallNet:
    """A model with a weight that is no number."""
    torch.manual_seed(0)
    model = SmallNet().eval()
    with torch.no_grad():
        model.mix.weight[0, 0] = float("nan")
    return model


def batches():
    """The same data as an iterable of batches, as a DataLoader gives."""
    d = data()
    return [(torch.from_numpy(d["x"][i:i + 50]), torch.from_numpy(d["y"][i:i + 50])) for i in range(0, 200, 50)]


class Odd(nn.Module):
    """Holds an operation that has no integer meaning here."""

    def forward(self, x):
        return torch.cumsum(x, 1)


def odd() -> Odd: return Odd().eval()


def no_model() -> int: return 3
