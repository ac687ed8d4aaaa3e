"""A diffusion U-Net for MNIST digits: the noise of a noisy image at one of 1000 times, as a net of one float input.

Written for the weights of a DDPM (Ho et al. 2020, arXiv 2006.11239) whose file `ddpm_mnist/ddpm_mnist.pt` lies in the folder
of real data.  Image and time travel in one vector, (N, 784 + 100): the pixels, then a sinusoidal embedding of the time.
"""
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from ir import UserError

STEPS, SIDE, TIME = 1000, 28, 100  # times, pixels along an edge, numbers in the embedding of a time
PIXELS = SIDE * SIDE
BETAS = torch.linspace(1e-4, 0.02, STEPS)
KEPT = torch.cumprod(1 - BETAS.double(), 0)  # share of the image's variance that is left at each time

Model = Callable[[torch.Tensor], torch.Tensor]  # packed (N, 884) -> noise (N, 1, 28, 28), or flat


class Block(nn.Sequential):
    """Layer norm over a whole (C, H, W), then two 3x3 convolutions with SiLU after each."""

    def __init__(self, i: int, o: int, side: int):
        super().__init__()
        self.ln = nn.LayerNorm((i, side, side))
        self.conv1, self.act1 = nn.Conv2d(i, o, 3, 1, 1), nn.SiLU()
        self.conv2, self.act2 = nn.Conv2d(o, o, 3, 1, 1), nn.SiLU()


def blocks(side: int, *widths: int) -> nn.Sequential:
    return nn.Sequential(*(Block(i, o, side) for i, o in zip(widths, widths[1:])))


def time_layers(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(TIME, width), nn.SiLU(), nn.Linear(width, width))


class UNet(nn.Module):
    """Packed (N, 884) -> the noise in the image (N, 1, 28, 28).  Levels of 28, 14, 7 and 3 pixels; skips are joined."""

    def __init__(self):
        super().__init__()
        for name, width in dict(te1=1, te2=10, te3=20, te_mid=40, te4=80, te5=40, te_out=20).items():
            self.add_module(name, time_layers(width))
        self.b1, self.b2, self.b3 = blocks(28, 1, 10, 10, 10), blocks(14, 10, 20, 20, 20), blocks(7, 20, 40, 40, 40)
        self.b_mid = blocks(3, 40, 20, 20, 40)
        self.b4, self.b5, self.b_out = blocks(7, 80, 40, 20, 20), blocks(14, 40, 20, 10, 10), blocks(28, 20, 10, 10, 10)
        self.b_out[2].ln = nn.Identity()  # the very last norm was never trained
        self.down1, self.down2 = nn.Conv2d(10, 10, 4, 2, 1), nn.Conv2d(20, 20, 4, 2, 1)
        self.down3 = nn.Sequential(nn.Conv2d(40, 40, 2), nn.SiLU(), nn.Conv2d(40, 40, 4, 2, 1))
        self.up1 = nn.Sequential(nn.ConvTranspose2d(40, 40, 4, 2, 1), nn.SiLU(), nn.ConvTranspose2d(40, 40, 2))
        self.up2, self.up3 = nn.ConvTranspose2d(20, 20, 4, 2, 1), nn.ConvTranspose2d(10, 10, 4, 2, 1)
        self.conv_out = nn.Conv2d(10, 1, 3, 1, 1)

    def forward(self, packed: torch.Tensor) -> torch.Tensor:
        x, time = packed[:, :PIXELS].unflatten(1, (1, SIDE, SIDE)), packed[:, PIXELS:]
        def level(name: str, v: torch.Tensor) -> torch.Tensor:
            """The blocks of a level, on v with the time's word in each channel."""
            return self.get_submodule(f"b{name}")(v + self.get_submodule(f"te{name}")(time)[:, :, None, None])
        fine = level("1", x)
        half = level("2", self.down1(fine))
        quarter = level("3", self.down2(half))
        y = level("_mid", self.down3(quarter))
        y = level("4", torch.cat((quarter, self.up1(y)), 1))
        y = level("5", torch.cat((half, self.up2(y)), 1))
        return self.conv_out(level("_out", torch.cat((fine, self.up3(y)), 1)))


def load(folder: Path | str) -> UNet:
    """The trained U-Net of the folder of real data (QSEARCH_DATA), ready to be captured.  UserError: no such file, or another.

    On MNIST test images its mean squared error at t = 50/200/500/900 is .099/.044/.016/.003.
    """
    file = Path(folder) / "ddpm_mnist" / "ddpm_mnist.pt"
    if not file.is_file():
        raise UserError(f"{file}: no such file; QSEARCH_DATA must name the folder of real data")
    weights = {k.removeprefix("network."): v for k, v in torch.load(file, map_location="cpu", weights_only=True).items()}
    table = weights.pop("time_embed.weight")
    if (table - embedding(torch.arange(STEPS))).abs().max() > 1e-3:
        raise UserError(f"{file}: its embedding of times is not the sinusoidal one; take the file that the data's README names")
    model = UNet()
    model.load_state_dict({k: v for k, v in weights.items() if not k.startswith("b_out.2.ln.")})
    return model.eval()


def embedding(t: torch.Tensor) -> torch.Tensor:
    """Times (N,) -> (N, 100): sines and cosines in turn, of wavelengths that grow (Vaswani et al. 2017, section 3.5).

    We differ, as the trained weights do: wavelengths grow to 10000**2 * 2 pi, twice as fast.
    """
    pair = torch.arange(TIME // 2, dtype=torch.float64) / (TIME // 2)
    angle = t.double()[:, None] * torch.pow(torch.tensor(1e4, dtype=torch.float64), -2 * pair)
    return torch.stack((angle.sin(), angle.cos()), 2).flatten(1).float()


def pack(x: torch.Tensor, t: int | torch.Tensor) -> torch.Tensor:
    """Noisy images (N, 1, 28, 28) or (N, 784) and their times (one, or (N,)) as the model's input (N, 884)."""
    return torch.cat((x.reshape(len(x), PIXELS), embedding(torch.as_tensor(t).expand(len(x)))), 1)


def noisy(images: torch.Tensor, noise: torch.Tensor, t: int | torch.Tensor) -> torch.Tensor:
    """Images (N, 1, 28, 28) in [-1, 1] after t + 1 steps of noise (Ho et al. 2020, equation 4)."""
    kept = KEPT[torch.as_tensor(t)].float().reshape(-1, 1, 1, 1)
    return kept.sqrt() * images + (1 - kept).sqrt() * noise


@torch.no_grad()
def epsilon(model: Model, x_t: torch.Tensor, t: int | torch.Tensor) -> torch.Tensor:
    """The noise that the model sees in x_t (N, 1, 28, 28) at time t (one, or (N,)), as (N, 1, 28, 28)."""
    return torch.as_tensor(model(pack(x_t, t))).reshape(-1, 1, SIDE, SIDE)


def trajectory(model: Model, noise: torch.Tensor, steps: int = 50) -> torch.Tensor:
    """Images on their way from noise (N, 1, 28, 28) to digits, (steps + 1, N, 1, 28, 28): the noise first, the digits last.

    Deterministic: DDIM with eta = 0 (Song et al. 2021, arXiv 2010.02502, equation 12) at `steps` times, equally spaced from
    999 down.  We differ: the predicted image is held within [-1, 1], without which these weights drift in brightness.
    """
    times = torch.linspace(STEPS - 1, 0, steps).round().long().tolist()
    out = [noise]
    for t, after in zip(times, [*times[1:], -1]):
        now, then = float(KEPT[t]), float(KEPT[after]) if after >= 0 else 1.0
        e = epsilon(model, out[-1], t)
        image = ((out[-1] - (1 - now) ** 0.5 * e) / now ** 0.5).clip(-1, 1)
        out.append(then ** 0.5 * image + (1 - then) ** 0.5 * e)
    return torch.stack(out)
