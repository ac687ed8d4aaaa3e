"""A graph as one pipeline of adders, constants built in: a frame every cycle, for networks that must answer in nanoseconds."""
