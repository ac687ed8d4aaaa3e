"""Training with the integers in the loop, pruning and clustering."""
