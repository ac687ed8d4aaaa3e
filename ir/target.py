"""Targets: what a device has and how fast it is taken to run.  Each backend registers its own here."""
from dataclasses import dataclass, field

from .registry import Registry

TARGETS: Registry = Registry("target")


@dataclass(frozen=True)
class Target:
    """A device to build for; a resource that is missing from `resources` is unlimited."""
    name: str
    kind: str                                                # of the backend: "cpu", "cuda", "onnx" or "fpga"
    resources: dict[str, int] = field(default_factory=dict)  # fpga: lut, ff, dsp, bram
    clock_mhz: float = 0.0                                   # that cycles are turned into time with; 0: unknown
    family: str = ""                                         # fpga: of hw.targets.FAMILIES
    dsp_bits: int = 0                                        # fpga: a product of so many bits squared gets a multiplier; 0: the default

    def seconds(self, cycles: float) -> float:
        """Time of so many clock cycles."""
        return cycles / (self.clock_mhz * 1e6)


for _name, _kind in {"cpu": "cpu", "aarch64": "cpu", "c": "cpu", "cuda": "cuda", "onnx": "onnx"}.items():
    TARGETS.register(_name)(Target(_name, _kind))
