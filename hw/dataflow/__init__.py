"""A graph as a folded streaming dataflow: how its values flow, which modules stand for its ops, the design that comes out."""
