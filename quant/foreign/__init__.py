"""Quantized ONNX files of others -> integer graphs."""
