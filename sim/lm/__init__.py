"""Simulation of a language-model core: tokens in, simulated tokens and every intermediate value out."""
from pathlib import Path

SV = Path(__file__).parent / "sv"
