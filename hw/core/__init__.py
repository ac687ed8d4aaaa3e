"""A graph as a microprogram for a small sequential core, for networks too large to stream."""
