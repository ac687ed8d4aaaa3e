"""The demo's network and data: a small residual CNN on scikit-learn's handwritten digits, 1797 images of 8x8 pixels."""
import numpy as np
import torch
from torch import nn


class Residual(nn.Module):
    """x + pointwise(depthwise(x)), each with batch norm, ReLU after the first and after the sum."""

    def __init__(self, channels: int):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        y = torch.relu(self.bn1(self.depthwise(x)))
        return torch.relu(x + self.bn2(self.pointwise(y)))


class DigitNet(nn.Module):
    """Standard and depthwise convolution, batch norm, ReLU, residual add, max and average pooling, dense."""

    def __init__(self, width: int = 16):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.stem_bn = nn.BatchNorm2d(width)
        self.block1 = Residual(width)
        self.pool = nn.MaxPool2d(2)
        self.widen = nn.Conv2d(width, 2 * width, 3, padding=1, bias=False)
        self.widen_bn = nn.BatchNorm2d(2 * width)
        self.block2 = Residual(2 * width)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.classify = nn.Linear(2 * width, 10)

    def forward(self, x):
        x = torch.relu(self.stem_bn(self.stem(x)))
        x = self.pool(self.block1(x))
        x = torch.relu(self.widen_bn(self.widen(x)))
        return self.classify(torch.flatten(self.mean(self.block2(x)), 1))


def digits(seed: int = 0) -> dict[str, np.ndarray]:
    """Pixels 0..16 as floats in [0, 1], (N, 1, 8, 8), and labels: 1297 to train and calibrate with, 500 to test on."""
    from sklearn.datasets import load_digits
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(x))
    x, y = (x[order].reshape(-1, 1, 8, 8) / 16).astype(np.float32), y[order].astype(np.int64)
    return {"x": x[-500:], "y": y[-500:], "calib_x": x[:-500], "calib_y": y[:-500]}


def train(data: dict[str, np.ndarray], epochs: int = 30, seed: int = 0, progress=lambda done, total, note="": None) -> DigitNet:
    """A trained DigitNet in eval mode: Adam, one-cycle learning rate, images shifted by up to a pixel."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # layers this small lose more to a second thread than they gain
    net, x, y = DigitNet(), torch.from_numpy(data["calib_x"]), torch.from_numpy(data["calib_y"])
    batches = -(-len(x) // 64)
    opt = torch.optim.Adam(net.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(opt, 1e-2, total_steps=epochs * batches)
    for epoch in range(epochs):
        for at in torch.randperm(len(x)).split(64):
            shift = tuple(torch.randint(-1, 2, (2,)).tolist())
            loss = nn.functional.cross_entropy(net(torch.roll(x[at], shift, (2, 3))), y[at])
            opt.zero_grad()
            loss.backward()
            opt.step()
            schedule.step()
        progress(epoch + 1, epochs, f"loss {loss.item():.3f}")
    return net.eval()
