"""Clock constraints in the form of each tool.  Pins belong to a board, so they are left to whoever has one."""


def constraints(clock_mhz: float) -> dict[str, str]:
    """File -> text: nextpnr for ECP5 (lpf) and iCE40 (pcf), Vivado and Yosys-based flows for AMD (xdc)."""
    return {"clock.lpf": f'FREQUENCY PORT "clk_i" {clock_mhz:g} MHZ;\n',
            "clock.pcf": f"set_frequency clk_i {clock_mhz:g}\n",
            "clock.xdc": f"create_clock -name clk_i -period {1000 / clock_mhz:.3f} [get_ports clk_i]\n"}
