"""Proofs with an SMT solver: streams, buffers, arithmetic."""
