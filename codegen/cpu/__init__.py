"""Integer graphs as machine code for CPUs: one program per graph, compiled by TVM from kernels that are written in TIR.

    isa        what a processor offers: vector width, and how sums of products are spelled
    groups     which nodes are computed together: an anchor (conv, dense, ...) with the elementwise nodes behind it
    places     where a value lies in memory: order of axes, halo, word, offset of its code
    layout     a place for every value; copies where a kernel cannot read what is there
    kernel     one function under construction
    body       elementwise nodes as expressions, the exact requant among them
    dots       one step of a sum of products, for each family of instructions and width of operands
    field      dense layers and convolutions as one thing
    tiling     which positions and channels stay in registers, and in which order the tiles are computed
    tiles      the kernel of such tiles; products: which of them is exact, and a plain kernel for all else
    packed     dense layers of few bits, as codegen.lowbit packs them; depthwise: convolutions of each channel by itself
    matmul     products of two activations; rowgroups, rows: norms, softmax and the like, a row at a time; tables: lookups in registers
    pools      maxima and sums of windows; moves: copies, transposes, halos; movers: table rows, recurrences; pointwise: all that is left
    choices    which form of a kernel is taken, where several were timed
    rules      which kernel writes which anchor
    program    memory plan, order of the kernels, threads; the module that TVM compiles
"""
