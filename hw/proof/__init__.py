"""Proofs with an SMT solver: streams, buffers, arithmetic."""
from .pipeline import prove_pipeline
from .prove import Report, prove_module
