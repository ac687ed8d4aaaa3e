"""Simulation under Verilator and cocotb: integers in, simulated integers out."""
from .module import Case, run_module, run_modules
from .tools import environment
