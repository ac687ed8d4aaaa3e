"""What stands around a design: AXI, control registers, wrappers, constraints, file lists."""
