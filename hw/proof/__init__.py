"""Proofs with an SMT solver: streams, buffers, arithmetic."""
from .prove import Report, prove_module
