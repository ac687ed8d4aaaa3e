"""Ternary, MatMul-free and spiking layers, and their all-integer model."""
