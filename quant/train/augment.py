"""Images changed at random for training."""
import torch
from torch.nn import functional as F


def flip_and_crop(padding: int = 4):
    """f(x, rng): images (N, C, H, W) mirrored with probability 1/2 and shifted by up to `padding` pixels; outside stands 0.

    The augmentation of He et al. 2016, section 4.2, for CIFAR; rng is a torch.Generator.
    """
    def change(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        n, _, h, w = x.shape
        flip = torch.rand(n, generator=rng) < 0.5
        x = F.pad(torch.where(flip.view(n, 1, 1, 1), x.flip(-1), x), [padding] * 4)
        rows, columns = (torch.randint(2 * padding + 1, (n, 1), generator=rng) + torch.arange(size) for size in (h, w))
        return x[torch.arange(n).view(n, 1, 1), :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
    return change
