"""Quantization after training: changes of the float net, ranges and rounding."""
