"""What a net costs to deploy: bytes on disk, time from the start of a process to its first answer, most memory; ours and ONNX Runtime.

    QSEARCH_DATA=... python -m benchmarks.cpu_builds FOLDER [--nets resnet8 ...] [--plan w8a8] [--runs 15] [--json FILE]

Every run is a process of its own that reads one sample from a .npy file and writes the answer to another; all ways take turns, one thread
each.  Time is the wall's, from the start of the process to its end; memory is the most that it ever held resident.  "bytes" are all that
must be shipped besides Python, numpy and the C library: for ours one file, for ONNX Runtime the model and its own shared libraries.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import codegen
from benchmarks import cpu_graphs, cpu_turns
from benchmarks.cpu_ours import samples
from codegen.words import word
from ir import Graph, UserError, run

WITH_NUMPY = "import sys, numpy; x = numpy.load(sys.argv[1]); numpy.save(sys.argv[2], x)"
WITH_ONNX_RUNTIME = """
import sys, numpy, onnxruntime as ort
o = ort.SessionOptions()
o.intra_op_num_threads, o.log_severity_level = 1, 3
if sys.argv[4] == "ready":
    o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
s = ort.InferenceSession(sys.argv[3], o, providers=["CPUExecutionProvider"])
numpy.save(sys.argv[2], s.run(None, {s.get_inputs()[0].name: numpy.load(sys.argv[1])})[0])
"""


def built(g: Graph, folder: Path) -> Path:
    """The folder with the graph's deployables, made if there is none."""
    if not (folder / "manifest.json").exists():
        codegen.tvm.build(g, folder)
    return folder


def optimised(model: Path) -> Path:
    """The ONNX file as ONNX Runtime leaves it when it has optimised it for this machine."""
    import onnxruntime
    out = model.with_suffix(".ready.onnx")
    if not out.exists():
        o = onnxruntime.SessionOptions()
        o.optimized_model_filepath, o.log_severity_level = str(out), 3
        onnxruntime.InferenceSession(str(model), o, providers=["CPUExecutionProvider"])
    return out


def ways(net: str, g: Graph, folder: Path, source: Path, answer: Path) -> dict[str, tuple[list[str], int]]:
    """name -> (command, bytes to ship)."""
    made, python = built(g, folder / f"{net}-deploy"), [sys.executable]
    files = {"ours, program": ([str(made / "model"), str(source), str(answer)], made / "model"),
             "ours, library from Python": ([*python, str(made / "run.py"), str(source), str(answer)], made / "libmodel.so"),
             "Python with numpy alone": ([*python, "-c", WITH_NUMPY, str(source), str(answer)], None)}
    found = {k: (command, file.stat().st_size if file else 0) for k, (command, file) in files.items()}
    try:
        import onnxruntime
        from codegen import onnx_qdq
    except ModuleNotFoundError:
        print("onnxruntime is not installed: no figures of it")
        return found
    model, library = folder / f"{net}-ort-qdq.onnx", sum(p.stat().st_size for p in Path(onnxruntime.__file__).parent.rglob("*.so*"))
    if not model.exists():
        onnx_qdq.save(g, model, floats=False)
    for name, path, how in (("ORT int8", model, "model"), ("ORT int8, optimised beforehand", optimised(model), "ready")):
        found[name] = ([*python, "-c", WITH_ONNX_RUNTIME, str(source), str(answer), str(path), how], path.stat().st_size + library)
    return found


LAUNCHER = r"""
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv) {
  struct timespec a, b;
  struct rusage used;
  int status;
  clock_gettime(CLOCK_MONOTONIC, &a);
  const pid_t child = fork();
  if (!child) { execvp(argv[1], argv + 1); _exit(127); }
  if (argc < 2 || child < 0 || wait4(child, &status, 0, &used) < 0) return 1;
  clock_gettime(CLOCK_MONOTONIC, &b);
  printf("%.3f %ld %d\n", (b.tv_sec - a.tv_sec) * 1e3 + (b.tv_nsec - a.tv_nsec) / 1e6, used.ru_maxrss, status);
  return 0;
}
"""


def launcher(folder: Path) -> Path:
    """A small program that starts another and prints its milliseconds, most KB and status: a child starts with its parent's memory, and
    counts it.  UserError: no C compiler.
    """
    if not (cc := next(filter(shutil.which, ("cc", "gcc", "clang")), None)):
        raise UserError("no C compiler (cc, gcc, clang); install gcc")
    (folder / "launch.c").write_text(LAUNCHER)
    subprocess.run([cc, "-O1", "launch.c", "-o", "launch"], cwd=folder, check=True)
    return folder / "launch"


def once(launch: Path, command: list[str]) -> tuple[float, float]:
    """(milliseconds, most MB) of a process.  UserError: it fails."""
    done = subprocess.run([launch, *command], env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    ms, kb, status = (float(v) for v in done.stdout.split()[-3:])
    if status:
        raise UserError(f"{' '.join(command)} fails: {done.stderr.strip()[-300:]}")
    return ms, kb / 1024


def measure(net: str, plan: str, folder: Path, runs: int) -> list[dict]:
    """Rows of one net."""
    g = cpu_graphs.graph(net, plan, folder)
    x = samples(g, 1)
    with tempfile.TemporaryDirectory() as scratch:
        source, answer = Path(scratch) / "x.npy", Path(scratch) / "y.npy"
        np.save(source, x.astype(word(g.inputs[0].type)))
        launch = launcher(Path(scratch))
        commands, seen = ways(net, g, folder, source, answer), {}
        for r in range(runs):
            for name in list(commands)[::1 if r % 2 else -1]:
                seen.setdefault(name, []).append(once(launch, commands[name][0]))
                if r == 0 and name.startswith("ours") and (np.load(answer) != run(g, x)).any():
                    raise UserError(f"{net}: {name} differs from the reference")
    print(f"{net} {plan}, first answer and most memory of a process")
    rows = []
    for name, v in seen.items():
        t, mb = cpu_turns.summary([ms for ms, _ in v]), statistics.median(m for _, m in v)
        rows.append({"net": net, "plan": plan, "way": name, "ms": t.us, "low": t.low, "high": t.high, "mb": mb, "bytes": commands[name][1]})
        print(f"  {name:32} {t.us:8.1f} ms ({t.low:.1f} .. {t.high:.1f}) {mb:8.1f} MB {commands[name][1] / 1e6:8.2f} MB on disk", flush=True)
    return rows


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("--nets", nargs="+", choices=list(cpu_graphs.CASES), default=list(cpu_graphs.CASES))
    p.add_argument("--plan", choices=cpu_graphs.PLANS, default="w8a8")
    p.add_argument("--runs", type=int, default=15)
    p.add_argument("--json", type=Path)
    args = p.parse_args()
    found = []
    for net in args.nets:
        found += measure(net, args.plan, args.folder, args.runs)
        cpu_turns.write(args.json, found)


if __name__ == "__main__":
    main()
