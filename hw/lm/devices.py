"""Boards that a language-model core is fitted to: what the chip has, what stands around it, and how well its memory streams.

Sources: resources of chips: hw/targets.py, AMD DS890 (UltraScale+), DS963 (Alveo U280), DS978 (U55C), DS965 (U50); memory: UG1089 (KV260:
DDR4-2400 of 64 bits), Digilent's reference manual of the Arty A7 (DDR3L of 16 bits), PG276 (HBM: 32 ports of 256 bits);
shares of a port's beats that arrive in long bursts, measured by public projects: 0.80 on the KV260 (MerlijnW70/bitnet-kv260), 0.89 with
LiteDRAM on the Arty (Neumann-Labs/ternfpga); for HBM and the ZCU104 nobody published one: 0.80 is taken from the KV260.
Power at rest: FPGA-DS-02012 (supply current of ECP5), else what such boards draw idle, a range; measured power of a board
that streams ternary weights: bitnet-kv260, TerEffic (arXiv 2502.16473) on the U280.
"""
from dataclasses import dataclass

from ir import Registry

from ..targets import TARGETS

BOARDS: Registry = Registry("board for a language model")


@dataclass(frozen=True)
class Outer:
    """An outer memory: its kind, size, peak rate; `ports` AXI4 read ports of `port_bits` bits, `share` of whose beats arrive; pJ a bit."""
    kind: str
    megabytes: int
    gigabytes_s: float
    ports: int
    port_bits: int
    share: float
    picojoules: tuple[float, float]

    def arriving(self, engines: int, beat_bits: int, clock_mhz: float) -> float:
        """The share of the cycles in which every engine gets a beat, with one port each."""
        return min(self.share, self.gigabytes_s * 1e3 * self.share / (engines * beat_bits / 8 * clock_mhz), 1.0)


@dataclass(frozen=True)
class Board:
    """A chip and its memory.  resources: lut, ff, dsp, bram (of bram_bits), uram; rest_w: power at rest; measured_w: busy, by others."""
    name: str
    family: str
    resources: dict[str, int]
    clock_mhz: float
    outer: Outer | None
    rest_w: tuple[float, float]
    measured_w: tuple[float, str] | None = None


DDR4, DDR3, HBM2 = (15, 25), (20, 40), (4, 7)  # pJ a bit: Horowitz, ISSCC 2014 (DRAM interfaces); O'Connor et al., MICRO 2017 (HBM2)


def _board(*fields) -> None: BOARDS.register(fields[0])(Board(*fields))


def _chip(name: str) -> tuple[str, dict[str, int]]: return TARGETS[name].family, TARGETS[name].resources | {"uram": 0}


def _big(lut: int, dsp: int, bram: int, uram: int) -> tuple[str, dict[str, int]]:
    return "xcup", {"lut": lut, "ff": 2 * lut, "dsp": dsp, "bram": bram, "uram": uram}


_board("kv260", "xcup", TARGETS["xck26"].resources | {"uram": 64}, 250, Outer("DDR4", 4096, 19.2, 4, 128, 0.80, DDR4), (2.5, 3.5),
       (6.2, "the board of bitnet-kv260 while it streams"))
_board("zcu104", *_big(230_400, 1728, 624, 96), 250, Outer("DDR4", 2048, 19.2, 4, 128, 0.80, DDR4), (5, 9))
_board("alveo-u280", *_big(1_303_680, 9024, 4032, 960), 300, Outer("HBM2", 8192, 460, 32, 256, 0.80, HBM2), (25, 35),
       (46, "the card of TerEffic with a model of 2.7 B weights in HBM"))
_board("alveo-u55c", *_big(1_303_680, 9024, 4032, 960), 300, Outer("HBM2", 16384, 460, 32, 256, 0.80, HBM2), (25, 35))
_board("alveo-u50", *_big(871_680, 5952, 2688, 640), 300, Outer("HBM2", 8192, 316, 32, 256, 0.80, HBM2), (20, 30))
_board("arty-a7-35t", *_chip("xc7a35t"), 100, Outer("DDR3L", 256, 1.6, 1, 128, 0.89, DDR3), (0.5, 1.0))
_board("arty-a7-100t", *_chip("xc7a100t"), 100, Outer("DDR3L", 256, 1.6, 1, 128, 0.89, DDR3), (0.6, 1.1))
_board("ecp5-25k", *_chip("ecp5-25k"), 50, None, (0.09, 0.13))
_board("ecp5-45k", *_chip("ecp5-45k"), 50, None, (0.13, 0.19))
_board("ecp5-85k", *_chip("ecp5-85k"), 50, None, (0.23, 0.35))
