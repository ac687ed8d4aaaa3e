"""ResNet-20 for CIFAR-10 (He et al. 2016, section 4.2, option-A shortcuts) as a torch module with pretrained weights.

The weights are `cifar10/models/resnet20-12fca82f.th` in the folder that QSEARCH_DATA names.
"""
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.real_data import root


class Block(nn.Module):
    """Two 3x3 convolutions; where the shape changes, the shortcut drops pixels and pads channels with zeros."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.extra = (outputs - inputs) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.extra:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra, self.extra))
        return F.relu(x + y)


class ResNet20(nn.Module):
    """Three stages of three blocks with 16, 32 and 64 channels."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(Block(i, o, s), Block(o, o, 1), Block(o, o, 1)) for i, o, s in ((16, 16, 1), (16, 32, 2), (32, 64, 2)))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def resnet20() -> ResNet20:
    """The pretrained network in eval mode."""
    path = root() / "cifar10" / "models" / "resnet20-12fca82f.th"
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    net = ResNet20()
    net.load_state_dict({k.removeprefix("module."): v for k, v in state.items()})
    return net.eval()
