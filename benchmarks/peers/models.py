"""The networks of the comparison as torch modules with pretrained weights, from the folder that QSEARCH_DATA names."""
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.real_data import root
from benchmarks.resnet20 import Block, ResNet20, resnet20

IMAGENET = (.485, .456, .406), (.229, .224, .225)
CIFAR = (.4914, .4822, .4465), (.2023, .1994, .2010)


@dataclass(frozen=True)
class Model:
    """A network and the (mean, std) of its pixels."""
    make: Callable[[], nn.Module]
    normal: tuple


def resnet56() -> nn.Module:
    """ResNet-20 with nine blocks in each stage."""
    net = ResNet20()
    net.layer1, net.layer2, net.layer3 = (
        nn.Sequential(Block(i, o, s), *(Block(o, o, 1) for _ in range(8))) for i, o, s in ((16, 16, 1), (16, 32, 2), (32, 64, 2)))
    net.load_state_dict({k.removeprefix("module."): v for k, v in _state("resnet56-4bfd9763.th")["state_dict"].items()})
    return net.eval()


class Attention(nn.Module):
    """Self-attention of four heads; one linear layer makes queries, keys and values."""

    def __init__(self, width: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = (t.reshape(b, n, self.heads, d // self.heads).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        mixed = (q @ k.transpose(2, 3) * (d // self.heads) ** -0.5).softmax(-1) @ v
        return self.out(mixed.transpose(1, 2).reshape(b, n, d))


class Layer(nn.Module):
    """Attention and two dense layers, each after a norm and around a shortcut."""

    def __init__(self, width: int):
        super().__init__()
        self.norm1, self.norm2, self.attn = nn.LayerNorm(width), nn.LayerNorm(width), Attention(width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class ViT(nn.Module):
    """Patches of 4x4 pixels, a class token, four layers of width 128."""

    def __init__(self, width: int = 128):
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.token, self.place = nn.Parameter(torch.zeros(1, 1, width)), nn.Parameter(torch.zeros(1, 65, width))
        self.blocks = nn.Sequential(*(Layer(width) for _ in range(4)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.place
        return self.head(self.norm(self.blocks(x))[:, 0])


RENAMED = {"cls_token": "token", "pos_embed": "place", "patch_embed.proj": "patch", "attn.in_proj_": "attn.qkv.",
           "attn.out_proj": "attn.out", "mlp.net.0": "up", "mlp.net.2": "down", "mlp.net.3": "down"}


def vit() -> nn.Module:
    """The small vision transformer, its attention spelled out in linear layers and products."""
    state = {}
    for name, v in _state("model_final.pt").items():
        for old, new in RENAMED.items():
            name = name.replace(old, new)
        state[name] = v
    net = ViT()
    net.load_state_dict(state)
    return net.eval()


def _state(name: str) -> dict: return torch.load(root() / "cifar10" / "models" / name, map_location="cpu", weights_only=True)


MODELS = {"resnet20": Model(resnet20, IMAGENET), "resnet56": Model(resnet56, IMAGENET), "vit": Model(vit, CIFAR)}
