"""Integer graphs as machine code for CPUs: one program per graph, compiled by TVM from kernels that are written in TIR.

    isa        what a processor offers: vector width, and how a sum of four products is spelled
    groups     which nodes are computed together: an anchor (conv, dense, ...) with the elementwise nodes behind it
    places     where a value lies in memory: order of axes, halo, word, offset of its code
    layout     a place for every value; copies where a kernel cannot read what is there
    kernel     one function under construction
    body       elementwise nodes as expressions, the exact requant among them
    rules      which kernel writes which anchor
    program    memory plan, order of the kernels, threads; the module that TVM compiles
"""
