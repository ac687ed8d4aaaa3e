"""How many outputs and inputs each layer handles in a cycle, so that the whole keeps a budget or a pace."""
