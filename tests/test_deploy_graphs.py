"""Graphs of every kind of op as deployables: one file of C, and code for a 64-bit Arm."""
import subprocess

import numpy as np
import pytest
from op_cases import CASES
from strategies import samples
from test_deploy import ran, says

import codegen
import ir
from codegen.deploy import source
from ir.store import load_json

CHOSEN = ["dense of matrices", "conv 3x3 padded with its zero point", "conv uneven all over", "conv depthwise", "conv 1d causal, dilated",
          "requant of 60 bits", "add of two signs", "matmul", "maxpool uneven", "lut of wide values",
          "div of wide values", "sqrt of wide values", "concat of unlike types", "recur from a state", "expand"]
DRIVER = """
#include <stdio.h>
#include <stdlib.h>
{includes}
static FILE *in, *out;
static void *more(size_t bytes) {{
  void *p = calloc(bytes, 1);
  if (!p || fread(p, 1, bytes, in) != bytes) exit(3);
  return p;
}}
{functions}
int main(int argc, char **argv) {{
  in = fopen(argv[argc - 2], "rb");
  out = fopen(argv[argc - 1], "wb");
  if (!in || !out) return 2;
{calls}
  return fclose(out);
}}
"""
FUNCTION = """
static void run_{name}(void) {{
{arrays}
  {y}_t *y = calloc({n} * {upper}_Y_SIZE, sizeof *y);
  {name} *m = {name}_create(4);
  if (!m || {name}_run(m, {words}, y, {n})) {{
    puts({name}_error());
    exit(1);
  }}
  {name}_destroy(m);
  fwrite(y, sizeof *y, {n} * {upper}_Y_SIZE, out);
}}
"""
COUNT = 5


def driver(manifests: list[dict]) -> str:
    """A program that runs all models on samples of one file and writes all results into another."""
    functions = []
    for m in manifests:
        words, upper = source.parameters(m), m["name"].upper()
        arrays = [f"  {i['dtype']}_t *{w} = more({COUNT} * {upper}_{w.upper()}_SIZE * sizeof *{w});" for w, i in zip(words, m["inputs"])]
        functions.append(FUNCTION.format(name=m["name"], upper=upper, y=m["output"]["dtype"], n=COUNT, words=", ".join(words),
                                         arrays="\n".join(arrays)))
    return DRIVER.format(includes="".join(f'#include "{m["name"]}.h"\n' for m in manifests), functions="".join(functions),
                         calls="".join(f"  run_{m['name']}();\n" for m in manifests))


@pytest.mark.slow
def test_one_file_of_c_for_every_op(tmp_path):
    """All of them in one program, compiled by the very command that the files name, and as strictly as C goes."""
    manifests, feeds = [], b""
    for k, name in enumerate(CHOSEN):
        assert codegen.tvm.build(CASES[name], tmp_path, "c", f"m{k}") is None
        manifests.append(load_json(tmp_path / "manifest.json", "C model"))
        x = samples(CASES[name], COUNT)
        values = [x[i["name"]] if isinstance(x, dict) else x for i in manifests[-1]["inputs"]]
        feeds += b"".join(v.astype(i["dtype"]).tobytes() for v, i in zip(values, manifests[-1]["inputs"]))
    (tmp_path / "x.bin").write_bytes(feeds)
    (tmp_path / "main.c").write_text(driver(manifests))
    strict = ["cc", "-std=c11", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-Wno-unused"]
    assert ran(*strict, "main.c", *(f"{m['name']}.c" for m in manifests), "-lm", "-o", "all", cwd=tmp_path) == (0, "")
    assert ran("./all", "x.bin", "y.bin", cwd=tmp_path) == (0, "")
    results, at = (tmp_path / "y.bin").read_bytes(), 0
    for name, m in zip(CHOSEN, manifests):
        expected = ir.run(CASES[name], samples(CASES[name], COUNT))
        y = np.frombuffer(results, m["output"]["dtype"], expected.size, at).reshape(expected.shape)
        assert (y == expected).all(), name
        at += y.nbytes
    assert at == len(results)


def test_c_is_the_same_each_time_and_whole(tmp_path):
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        codegen.tvm.build(CASES["dense"], folder, "c", "net")
    files = [{p.name: p.read_bytes() for p in f.iterdir()} for f in folders]
    assert files[0] == files[1] and sorted(files[0]) == ["manifest.json", "net.c", "net.h"]
    with says("C code cannot be called here; give a folder to write it into"):
        codegen.tvm.build(CASES["dense"], target="c")
    with says("manifest.json: a qsearch C model of version 1, where a compiled model of version 1 is needed"):
        codegen.load(folders[0])
    with says("cannot write .*: Not a directory; choose a folder that can be written"):
        codegen.tvm.build(CASES["dense"], folders[0] / "net.c" / "x", "c")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["maxpool uneven", "add of two signs"])
def test_arm_in_an_emulator(name, arm, tmp_path):
    g = CASES[name]
    x = samples(g, COUNT)
    codegen.tvm.build(g, tmp_path, "aarch64")
    feeds = x if isinstance(x, dict) else {"x": x}
    for key, v in feeds.items():
        np.save(tmp_path / f"{key}.npy", v)
    command = [arm, "./model", "--threads", "2", *(f"{i.name}.npy" for i in g.inputs), "out.npy"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert (np.load(tmp_path / "out.npy") == ir.run(g, x)).all()
