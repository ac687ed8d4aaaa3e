"""MatMul-free language models as programs for CPUs: a prompt in, tokens out, without TVM or Python where they run.

`build(program, folder)` compiles a model (ir.lm.Program) and writes its weights; `load(folder)` runs it from Python.  The products are
TIR kernels (codegen.lowbit), all that stands between them is C, compiled with the model's sizes; every value is that of `ir.lm.graph`.
"""
from .build import build
from .layout import FORMS, Layout
from .load import load
