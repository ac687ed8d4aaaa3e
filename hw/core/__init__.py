"""A sequential core for networks too large to stream: one array of multipliers, led by a microprogram made from the graph."""
