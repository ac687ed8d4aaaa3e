"""FPGA targets: how Yosys maps a family, and what each device has.

Sources: Lattice FPGA-DS-02012 (ECP5), FPGA-DS-02008 (iCE40 UltraPlus), FPGA-DS-02029 (iCE40 LP/HX), AMD DS180 (7 series),
DS891 (Zynq UltraScale+: the ZU5 that DS987 has as XCK26), UG474 and UG574 (LUTs of a memory); cells: Yosys `techlibs`.
"""
from dataclasses import dataclass

from ir import Registry, UserError
from ir.target import TARGETS, Target

FAMILIES: Registry = Registry("FPGA family")
DEFAULT = "ecp5-85k"
DSP_BITS = 9  # smaller products than 9 by 9 bits are built of LUTs: multiplier blocks are few, and requantizers need them


@dataclass(frozen=True)
class Family:
    """How to synthesize for a family and what each cell of the netlist occupies, in the units of `Target.resources`.

    lut: look-up tables of `lut_inputs` inputs; bram: blocks of `bram_bits`; a cell that is not named is free (wide-LUT
    multiplexers, buffers).  carry: the cells of carry chains, which are told and not budgeted, for they come with LUTs.
    """
    name: str
    synth: str                      # Yosys command; the top module is appended (no module of hw/rtl uses a word read while it is written)
    arith: str                      # options of techmap for hw/data/arith.v
    lut_inputs: int
    bram_bits: int
    cells: dict[str, dict[str, int]]
    carry: tuple[str, ...]
    library: str                    # files of Yosys that declare the family's cells, for designs that name them

    def count(self, cells: dict[str, int]) -> dict[str, int]:
        """Cell type -> number, to resource -> number."""
        return {r: sum(n * per.get(c, 0) for c, n in cells.items()) for r, per in self.cells.items()}

    def carries(self, cells: dict[str, int]) -> int:
        """Cell type -> number, to the number of carry cells."""
        return sum(cells.get(c, 0) for c in self.carry)


def _family(name: str, *rest) -> None: FAMILIES.register(name)(Family(name, *rest))


XILINX_LUT = {  # a LUT6 holds 64 bits and has one write port; a memory needs a copy for each port that reads elsewhere
    **{f"LUT{i}": 1 for i in range(1, 7)}, "LUT6_2": 1, "INV": 1, "SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1, "RAM32M": 4, "RAM64M": 4,
    "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1D": 8, "RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4,
    "RAM512X1S": 8, "RAM32M16": 8, "RAM64M8": 8, "RAM32X16DR8": 8, "RAM64X8SW": 8}
XILINX_CELLS = "+/xilinx/cells_sim.v +/xilinx/cells_xtra.v"
XILINX_FF = {"FDRE": 1, "FDSE": 1, "FDCE": 1, "FDPE": 1}
ICE40 = {"lut": {"SB_LUT4": 1},
         "ff": {f"SB_DFF{n}{c}": 1 for n in ("", "N") for c in ("", "E", "SR", "R", "SS", "S", "ESR", "ER", "ESS", "ES")},
         "dsp": {"SB_MAC16": 1}, "bram": {f"SB_RAM40_4K{e}": 1 for e in ("", "NR", "NW", "NRNW")}}

_family("ecp5", "synth_ecp5 -no-rw-check", "-D CCU2C", 4, 18 * 1024, {
    "lut": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},  # of a distributed RAM: 4 store, 2 are lost to its write port
    "ff": {"TRELLIS_FF": 1}, "dsp": {"MULT18X18D": 1}, "bram": {"DP16KD": 1}}, ("CCU2C",), "+/lattice/cells_sim_ecp5.v +/lattice/cells_bb_ecp5.v")
_family("xc7", "synth_xilinx -family xc7 -noiopad", "-D QS_CARRY=4", 6, 18 * 1024, {
    "lut": XILINX_LUT, "ff": XILINX_FF, "dsp": {"DSP48E1": 1}, "bram": {"RAMB18E1": 1, "RAMB36E1": 2}}, ("CARRY4",), XILINX_CELLS)
_family("xcup", "synth_xilinx -family xcup -noiopad -noclkbuf", "-D QS_CARRY=8", 6, 18 * 1024, {
    "lut": XILINX_LUT, "ff": XILINX_FF, "dsp": {"DSP48E2": 1}, "bram": {"RAMB18E2": 1, "RAMB36E2": 2}}, ("CARRY4", "CARRY8"), XILINX_CELLS)
_family("ice40", "synth_ice40 -dsp -device u", "", 4, 4 * 1024, ICE40, ("SB_CARRY",), "+/ice40/cells_sim.v")
_family("ice40hx", "synth_ice40", "", 4, 4 * 1024, ICE40, ("SB_CARRY",), "+/ice40/cells_sim.v")


def _device(name: str, family: str, clock_mhz: float, lut: int, ff: int, dsp: int, bram: int) -> None:
    TARGETS.register(name)(Target(name, "fpga", {"lut": lut, "ff": ff, "dsp": dsp, "bram": bram}, clock_mhz, family))


_device("ecp5-25k", "ecp5", 50, 24288, 24288, 28, 56)
_device("ecp5-45k", "ecp5", 50, 43848, 43848, 72, 108)
_device("ecp5-85k", "ecp5", 50, 83640, 83640, 156, 208)
_device("ice40-up5k", "ice40", 12, 5280, 5280, 8, 30)
_device("ice40-hx8k", "ice40hx", 40, 7680, 7680, 0, 32)
_device("xc7a35t", "xc7", 100, 20800, 41600, 90, 100)
_device("xc7a100t", "xc7", 100, 63400, 126800, 240, 270)
_device("xck26", "xcup", 200, 117120, 234240, 1248, 288)
for _alias, _name in {"fpga": DEFAULT, "xc7": "xc7a100t", "xcup": "xck26"}.items():
    TARGETS.register(_alias)(TARGETS[_name])


def fpga(target: "str | Target | None" = None) -> Target:
    """The FPGA of that name, the default for None.  UserError: unknown, or not an FPGA."""
    t = target if isinstance(target, Target) else TARGETS[target or DEFAULT]
    if t.kind != "fpga":
        known = ", ".join(n for n, k in TARGETS.items() if k.kind == "fpga")
        raise UserError(f"target {t.name!r} is a {t.kind}; an FPGA is needed here ({known})")
    return t
