"""Simulation under Verilator and cocotb: integers in, simulated integers out."""
from .module import Case, run_module, run_modules
from .result import SimResult
from .ship import add_test, ship
from .simulate import simulate
from .tools import environment
