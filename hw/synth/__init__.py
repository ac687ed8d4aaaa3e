"""Synthesis, placement and routing with open tools."""
