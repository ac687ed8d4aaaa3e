"""Deployables of a compiled graph: a shared library with a C header and a Python loader, a static library, a standalone program.

`link(code, weights, manifest, folder, toolchain)` writes them, `load(folder)` runs them, `target.parse(text)` says what to compile for.
None of them needs TVM, Python or a C++ library where it runs.
"""
from .link import link
from .load import Library, load
from .toolchain import Toolchain
