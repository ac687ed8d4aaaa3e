"""Learned rounding: each weight goes to one of the two grid points that enclose it, and which one is found by gradients."""
import torch

from ir import NumberFormat

from ..sites.site_layers import Layer

STRETCH, OFFSET = 1.2, 0.1  # of the sigmoid: it reaches 0 and 1 at finite arguments
REACH = 0.1                 # a unit of what is added to a bias, as a part of the range of the layer's results
SOLID = 1e-3                # so near to 0 or 1 a choice counts as made


class Rounding:
    """The weights of a layer between grid points: (lower + h * (upper - lower)) * scale, h = clip(1.2 sigmoid(v) - 0.1, 0, 1).

    h starts where the weight lies; weights at or beyond the ends of the grid have no choice.  `stretch` (one for each scale of
    the layer) is the logarithm by which its scale is moved, `push` (O,) what its bias is moved by.
    Nagel et al. 2020 (AdaRound, arXiv 2004.10568), equations 22 and 23.  We differ: the grid may have gaps (float and
    power-of-two formats), and scales and biases are learned with the choices.
    """

    def __init__(self, site: Layer, weight: torch.Tensor):
        self.site = site
        self.scale = grid_scale(site).float()
        v = weight / self.scale
        self.lower, self.upper = neighbours(site.fmt, v)
        self.free = self.upper > self.lower
        gap = (self.upper - self.lower).clip(min=1)
        h = ((v - self.lower) / gap).clip(0, 1)
        self.logit = (((h + OFFSET) / STRETCH) / (1 - (h + OFFSET) / STRETCH)).log().requires_grad_()
        self.stretch = torch.zeros(site.log_scale.shape, requires_grad=not site.fmt.scale)  # a fixed point format keeps its step
        self.push = torch.zeros(len(weight), requires_grad=True)
        self.reach = site.out.encoding.scale * (site.out.fmt.hi - site.out.fmt.lo) * REACH

    def h(self) -> torch.Tensor: return (STRETCH * self.logit.sigmoid() - OFFSET).clip(0, 1)

    def codes(self) -> torch.Tensor:
        """The grid points chosen."""
        return torch.where(self.free & (self.logit >= 0), self.upper, self.lower).detach()

    def soft(self) -> torch.Tensor:
        """The weights, with gradients."""
        return (self.lower + self.h() * (self.upper - self.lower)) * self.moved()

    def hard(self) -> torch.Tensor:
        """The weights as chosen; only the scales carry a gradient."""
        return self.codes() * self.moved()

    def bias(self) -> torch.Tensor: return self.site.bias.detach() + self.reach * self.push

    def moved(self) -> torch.Tensor:
        stretch = self.stretch.exp()
        return self.scale * stretch.view(-1, *[1] * (self.scale.dim() - 1)) if stretch.dim() == 1 else self.scale * stretch

    def keep(self) -> None:
        """Put scales and choices into the layer."""
        codes = self.codes()
        self.site.log_scale.data += self.stretch.detach().double()
        self.site.bias.data = self.bias().detach()
        settle(self.site, codes)

    def indecision(self, beta: float) -> torch.Tensor:
        """Sum of 1 - |2h - 1|**beta over the free weights (AdaRound, equation 24): 0 when every choice is made."""
        return ((1 - (2 * self.h() - 1).abs().pow(beta)) * self.free).sum()

    def undecided(self) -> int:
        """How many free choices are not within SOLID of 0 or 1."""
        h = self.h().detach()[self.free]
        return int((torch.minimum(h, 1 - h) > SOLID).sum())


def grid_scale(site: Layer) -> torch.Tensor:
    """The real value of one step of each weight of a layer, float64, of a shape that goes with the weights."""
    steps = site.steps(site.realised(site.operand)[0].detach())
    return steps.view(site.weight.shape if site.factors is not None else (-1, *[1] * (site.weight.dim() - 1)))


def codes_of(site: Layer) -> torch.Tensor:
    """The grid points to which the site rounds its weights."""
    return site.fmt.nearest((site.weight.detach() / grid_scale(site)).float(), torch).float()


def settle(site: Layer, codes: torch.Tensor) -> None:
    """Set the weights so that the site rounds them to these codes."""
    site.weight.data = (codes * grid_scale(site)).float()


def neighbours(fmt: NumberFormat, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The grid points around v (reals in steps), as floats: below and above; both the same at the ends of the grid and beyond."""
    if isinstance(fmt.grid, range):
        lower = v.floor().clip(fmt.lo, fmt.hi)
        upper = (v.floor() + 1).clip(fmt.lo, fmt.hi)
    else:
        grid = torch.tensor(list(fmt.grid), dtype=v.dtype)
        at = torch.searchsorted(grid, v.contiguous(), right=True)
        lower, upper = grid[(at - 1).clip(0)], grid[at.clip(max=len(grid) - 1)]
    return lower, torch.where(v <= fmt.lo, lower, upper)
