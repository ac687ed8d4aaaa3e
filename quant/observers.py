"""Calibration: what values each tensor takes, and the range that a format should cover of it."""
from dataclasses import dataclass, field

import numpy as np
import torch

from ir import Encoding, NumberFormat, Registry, UserError
from .encode import encoding_of
from .net import Net

SAMPLE = 1 << 15  # values kept of each tensor
MEND_IMAGES, MEND_BYTES = 256, 1 << 29  # images that later mend weights and biases, and the size of their largest tensor
BINS = 2048       # of the histogram of the entropy observer (TensorRT)

WEIGHT_RANGES = ("mse", "minmax", "lsq", "lsq+")

OBSERVERS: Registry = Registry("observer")  # name -> f(stats, format) -> (lo, hi)


@dataclass
class Stats:
    """What was seen of one tensor: its ends, a sample of its values, its mean in each channel."""
    lo: float
    hi: float
    sample: np.ndarray  # (<= about SAMPLE,) float32, sorted
    mean: torch.Tensor  # (C,) float32; C is the last axis after `linear`, else the first


@dataclass
class Calibration:
    """Calibration images and what they did to each step of the float net."""
    x: torch.Tensor
    stats: dict[str, Stats]
    observer: str = "mse"
    model: str = ""     # hash of the float net
    mend: int = 0       # the channel means are those of the first `mend` images
    fixed: dict[tuple[str, str], Encoding] = field(default_factory=dict)  # (step, name of a format) -> what is not left to the observer
    _memo: dict = field(default_factory=dict)

    def encoding(self, step: str, fmt: NumberFormat) -> Encoding:
        """Scale and zero point that the observer chooses for the result of a step in a format."""
        if step not in self.stats:
            raise UserError(f"the calibration knows no step {step!r}; calibrate the same model that you quantize")
        key = step, fmt.name
        if key in self.fixed:
            return self.fixed[key]
        if key not in self._memo:
            self._memo[key] = encoding_of(*OBSERVERS[self.observer](self.stats[step], fmt), fmt)
        return self._memo[key]


def calibrate(net: Net, x: torch.Tensor, observer: str = "mse", batch: int = 32) -> Calibration:
    """Run the float net on x (N, *input.shape) and keep what a range needs.

    UserError: no images, another shape, NaN or infinity in the data or inside the net, unknown observer.
    """
    OBSERVERS[observer]
    x = checked(net, x)
    largest = 4 * max(int(np.prod(s.shape)) for s in net.steps.values())
    mend = min(len(x), max(1, min(MEND_IMAGES, MEND_BYTES // largest) // batch) * batch)
    seen: dict[str, list] = {}
    with torch.no_grad():
        for i in range(0, len(x), batch):
            for name, v in net(x[i:i + batch], keep=True).items():
                seen.setdefault(name, []).append(_look(net.steps[name].kind, v, len(x), len(v) if i < mend else 0))
    for name, looks in seen.items():
        if not np.isfinite([v for lo, hi, *_ in looks for v in (lo, hi)]).all():
            raise UserError(f"step {name!r} of the float model gives NaN or infinity on the calibration data; check the model and its preprocessing")
    return Calibration(x, {k: _together(v) for k, v in seen.items()}, observer, net.hash, mend)


def checked(net: Net, x) -> torch.Tensor:
    """x as float32, fit for the net.  UserError: what is wrong with it."""
    x = torch.as_tensor(x)
    x = x if x.dtype == torch.float32 else x.float()
    if x.dim() == 0 or len(x) == 0:
        raise UserError(f"no images to calibrate with (an array of shape {tuple(x.shape)}); give at least one, better 128 to 512")
    if tuple(x.shape[1:]) != net.input.shape:
        raise UserError(f"the model takes (N, {', '.join(map(str, net.input.shape))}), not {tuple(x.shape)}; check the layout of the data")
    if not torch.isfinite(x).all():
        raise UserError(f"{int((~torch.isfinite(x)).sum())} of {x.numel()} values of the data are NaN or infinite; clean the data first")
    return x


def _look(kind: str, v: torch.Tensor, images: int, weight: int) -> tuple:
    flat = v.float().reshape(-1)
    per_image = max(1, SAMPLE // images)
    step = max(1, flat.numel() // len(v) // per_image) | 1  # odd: no lockstep with rows of 2**n pixels
    axis = v.dim() - 1 if kind == "linear" else 1
    mean = v.float().mean([d for d in range(v.dim()) if d != axis]) if v.dim() > 1 else v.float().mean()[None]
    return float(flat.min()), float(flat.max()), flat[::step].numpy().copy(), mean, weight


def _together(looks: list) -> Stats:
    lo, hi = min(k[0] for k in looks), max(k[1] for k in looks)
    weights = torch.tensor([float(k[4]) for k in looks])
    mean = (torch.stack([k[3] for k in looks]) * weights[:, None]).sum(0) / weights.sum()
    return Stats(lo, hi, np.sort(np.concatenate([k[2] for k in looks] + [[lo, hi]]).astype(np.float32)), mean)


@OBSERVERS.register("minmax")
def minmax(s: Stats, fmt: NumberFormat) -> tuple[float, float]:
    """The ends of what was seen."""
    return s.lo, s.hi


@OBSERVERS.register("percentile")
def percentile(s: Stats, fmt: NumberFormat, percent: float = 99.99) -> tuple[float, float]:
    """The range that all but (100 - percent) % of the values lie in, on either side."""
    lo, hi = np.percentile(s.sample, [100 - percent, percent])
    return float(lo), float(hi)


@OBSERVERS.register("mse")
def mse(s: Stats, fmt: NumberFormat) -> tuple[float, float]:
    """The range with the smallest mean squared error of quantization: both ends shrink together, then each alone."""
    lo, hi = min(s.lo, 0.0), max(s.hi, 0.0)
    p = np.linspace(1.0, 0.1, 46)
    lo, hi = _best(s.sample, fmt, [(lo * k, hi * k) for k in p])
    if fmt.signed or not lo or not hi:
        return lo, hi
    lo, hi = _best(s.sample, fmt, [(lo, hi * k) for k in np.linspace(1.3, 0.5, 17)])
    return _best(s.sample, fmt, [(lo * k, hi) for k in np.linspace(1.3, 0.5, 17)])


@OBSERVERS.register("entropy")
def entropy(s: Stats, fmt: NumberFormat) -> tuple[float, float]:
    """The threshold that keeps most information: the smallest KL divergence between the clipped histogram of |x| and its
    quantized form (Migacz, "8-bit inference with TensorRT", GTC 2017).  We differ: one-sided data of an unsigned format use
    all its codes, and the empty bins of the reference stay empty in the quantized histogram (as in TensorRT's slides).
    """
    top = max(-s.lo, s.hi)
    if top == 0:
        return s.lo, s.hi
    counts = np.histogram(np.abs(s.sample[s.sample != 0]), BINS, (0, top))[0].astype(np.float64)
    levels = fmt.hi + 1 if fmt.signed else (fmt.hi - fmt.lo + 1 if s.lo >= 0 else (fmt.hi - fmt.lo + 1) // 2)
    ends = np.unique(np.linspace(min(levels, BINS), BINS, 128).astype(int))
    t = top * ends[int(np.argmin([_divergence(counts, e, min(levels, e)) for e in ends]))] / BINS
    return max(s.lo, -t), min(s.hi, t)


def _divergence(counts: np.ndarray, end: int, levels: int) -> float:
    """KL of the first `end` bins (what lies beyond joins the last) against their average over `levels` equal groups."""
    p = counts[:end].copy()
    group = np.arange(end) * levels // end
    used = p > 0
    mass, width = np.bincount(group, p, levels), np.bincount(group, used, levels)
    q = np.where(used, (mass / np.maximum(width, 1))[group], 0.0)
    p[-1] += counts[end:].sum()
    both = (p > 0) & (q > 0)
    if not both.any():
        return np.inf
    p, q = p / p.sum(), q / q.sum()
    lost = p[(p > 0) & ~both].sum()  # mass where the quantized histogram has none
    return float((p[both] * np.log(p[both] / q[both])).sum() + lost * 20)


def _best(x: np.ndarray, fmt: NumberFormat, ranges: list[tuple[float, float]]) -> tuple[float, float]:
    return ranges[int(np.argmin([_error(x, encoding_of(lo, hi, fmt), fmt) for lo, hi in ranges]))]


def _error(x: np.ndarray, e: Encoding, fmt: NumberFormat) -> float:
    q = fmt.nearest(x / np.float32(e.scale) + np.float32(e.zero))
    return float(np.square((q - np.float32(e.zero)) * np.float32(e.scale) - x, dtype=np.float64).mean())


def weight_scale(w: torch.Tensor, fmt: NumberFormat, how: str = "mse", per_channel: bool = True, steps: int = 80) -> torch.Tensor:
    """Scale of each output channel of w (O, ...), or (1,) for the tensor, as float64.

    "minmax": the largest weight is the largest code; "mse": the least squared error among `steps` shrunken scales (as the
    clip search of GPTQ; for ternary it finds what TWN, Li et al. 2016, solves for); "lsq": 2 mean|w| / sqrt(largest code)
    (Esser et al. 2020, section 2.1); "lsq+": the farther of mean +- 3 deviations is the largest code (Bhalgat et al. 2020,
    section 3.2, with our largest code for their 2**(bits - 1)).  A channel of zeros gets the largest scale of the others, and
    no scale is below 2**-10 of the largest: requant multipliers stay fine.  A fixed point format has a scale of its own.
    """
    if how not in WEIGHT_RANGES:
        raise UserError(f"unknown weight range {how!r} (known: {', '.join(WEIGHT_RANGES)})")
    rows = w.detach().reshape(len(w) if per_channel else 1, -1).double()
    if fmt.scale:
        return torch.full((len(rows),), fmt.scale, dtype=torch.float64, device=w.device)
    full = rows.abs().amax(1) / fmt.hi
    best = full.clone()
    if how == "lsq":
        best = 2 * rows.abs().mean(1) / fmt.hi ** 0.5
    if how == "lsq+":
        best = (rows.mean(1).abs() + 3 * rows.std(1, correction=0)) / fmt.hi
    if how == "mse":
        error = torch.full_like(full, float("inf"))
        for k in range(steps):
            scale = (full * (1 - k / steps)).clip(1e-30)
            codes = fmt.nearest((rows / scale[:, None]).float(), torch)
            e = (codes * scale[:, None] - rows).square().sum(1)
            best, error = torch.where(e < error, scale, best), torch.minimum(e, error)
    top = float(best.max())
    return torch.where(full > 0, best, top).clip(top * 2.0 ** -10) if float(full.max()) > 0 else torch.ones_like(full)
