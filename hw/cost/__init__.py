"""What a design takes, computed from its netlist with constants that were measured."""
