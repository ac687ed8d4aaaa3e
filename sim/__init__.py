"""Simulation under Verilator and cocotb: integers in, simulated integers out."""
from .module import Case, run_module, run_modules
from .ship import ship
from .simulate import SimResult, simulate
from .tools import environment
