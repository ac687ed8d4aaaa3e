"""A CUDA driver library that runs CUDA source on this CPU: made by g++ of the very text that nvcc is given.

It proves all of a CUDA build but the hardware: the kernels thread by thread with their barriers, grids, arguments, memory bounds.  What
a GPU would fault on kills the process: memory that is not there, a load that is not aligned, threads that wait for one another.
tests/emulated_gpu/cuda.h says what a thread, a barrier and the tensor-core instruction are there.
"""
import subprocess
from pathlib import Path

HERE = Path(__file__).parent / "emulated_gpu"


def library(source: str, launches: list[dict], out: Path) -> Path:
    """`out`: a shared library with the driver's calls (cuInit, cuLaunchKernel, ...) and these kernels."""
    rows = []
    for k in {k["kernel"]: k for k in launches}.values():
        args = ", ".join(f"*(int*)a[{i}]" if a == "n" else f"*(uchar**)a[{i}]" for i, a in enumerate(k["args"]))
        body = source[source.rindex(f" {k['kernel']}("):].split("extern \"C\"")[0]
        waits = any(word in body for word in ("__sync", "qs_mma", "qs_warp", "qs_copy"))
        rows.append(f'  {{"{k["kernel"]}", [](void** a) {{ {k["kernel"]}({args}); }}, {str(waits).lower()}, {len(k["args"])}, '
                    f'{4 if k["args"][-1] == "n" else 8}}},')
    text = "\n".join(["#include <cuda.h>", source.replace('extern "C" ', "").replace("__shared__ alignas(64)", "alignas(64) static"),
                      "struct Kernel { const char* name; void (*call)(void**); bool waits; int arguments; size_t last_bytes; };",
                      "static const Kernel KERNELS[] = {", *rows, "};", '#include "driver.inc"'])
    path = out.with_suffix(".cc")
    path.write_text(text)
    subprocess.run(["g++", "-std=c++17", "-O0", "-fwrapv", "-fno-strict-aliasing", "-fsanitize=alignment",
                    "-fsanitize-undefined-trap-on-error", "-w", "-shared", "-fPIC", f"-I{HERE}", str(path), "-o", str(out)],
                   check=True)
    return out
