"""A core for MatMul-free language models: layout of its weights, its memories, its microprogram, its cycles, its folder."""
