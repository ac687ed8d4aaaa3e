"""Proofs with an SMT solver: streams, buffers, arithmetic."""
from .design import prove_design, rows
from .pipeline import prove_pipeline
from .prove import Report, prove_module
