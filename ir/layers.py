"""The geometry of a layer that a plan decides on: all that a cost model may know before anything is quantized."""
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """One dense or convolution layer.  Shapes are of one sample; `kernel`, `in_space` and `out_space` are () for dense."""
    name: str
    kind: str                    # "conv" or "linear"
    out_channels: int
    in_channels: int
    groups: int = 1
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    in_space: tuple[int, ...] = ()
    out_space: tuple[int, ...] = ()

    @property
    def weights(self) -> int:
        """Number of weights, without biases."""
        return self.out_channels * self.fan_in

    @property
    def fan_in(self) -> int:
        """Products summed for one output."""
        return self.in_channels // self.groups * math.prod(self.kernel)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one sample."""
        return self.weights * self.positions

    @property
    def positions(self) -> int:
        """Number of output positions (pixels) of one sample."""
        return math.prod(self.out_space)

    @property
    def depthwise(self) -> bool: return self.groups > 1 and self.groups == self.in_channels
