"""Simulation of a language-model core: tokens in, simulated tokens and every intermediate value out."""
from .core import CoreRun, Surroundings, simulate
from .play import SV
from .ship import add_test
