"""A net of the shape of DeiT-tiny with seeded random weights: its speed is that of the real one, its answers mean nothing."""
import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    """Attention and a perceptron, each behind a layer norm and added to the stream (pre-norm)."""

    def __init__(self, d: int, heads: int, mlp: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.qkv, self.proj = nn.LayerNorm(d), nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.norm2, self.up, self.down = nn.LayerNorm(d), nn.Linear(d, mlp), nn.Linear(mlp, d)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Deit(nn.Module):
    """Images (N, 3, 224, 224) to scores (N, 1000): 16x16 patches and a class token, 197 tokens of `d` (Touvron et al. 2021, table 1)."""

    def __init__(self, d: int = 192, heads: int = 3, blocks: int = 12, size: int = 224, patch: int = 16, classes: int = 1000):
        super().__init__()
        self.patches = nn.Conv2d(3, d, patch, patch)
        self.token, self.places = nn.Parameter(torch.randn(1, 1, d) * 0.02), nn.Parameter(torch.randn(1, 1 + (size // patch) ** 2, d) * 0.02)
        self.blocks = nn.Sequential(*[Block(d, heads, 4 * d) for _ in range(blocks)])
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), 1) + self.places
        return self.head(self.norm(self.blocks(x))[:, 0])


def deit_tiny(**shape: int) -> Deit:
    """The net, the same at every call; its norms have gains and offsets, as trained ones have."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        net = Deit(**shape).eval()
        for norm in (m for m in net.modules() if isinstance(m, nn.LayerNorm)):
            norm.weight.add_(0.1 * torch.randn_like(norm.weight))
            norm.bias.add_(0.1 * torch.randn_like(norm.bias))
        return net


def images(count: int = 16, size: int = 224) -> torch.Tensor:
    """Noise that looks like normalized photographs: mean 0, deviation 1, smooth over 7 pixels."""
    noise = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))
    smooth = F.avg_pool2d(noise, 7, 1, 3)
    return smooth / smooth.std()
