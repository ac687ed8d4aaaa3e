"""Simulation under Verilator and cocotb: integers in, simulated integers out."""
from .compare import Difference, output_difference
from .jobs import example
from .module import Case, run_module, run_modules
from .result import SimResult
from .ship import add_test, ship
from .simulate import simulate
from .stages import Stage, stages
from .tools import environment
