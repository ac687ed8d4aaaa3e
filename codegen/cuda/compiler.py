"""ir.Graph -> a folder with CUDA code for named architectures; made without a GPU, loaded by codegen/cuda/model.py where there is one."""
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from shutil import which

import tvm

from ir import Graph, UserError
from ir.store import digest, graph_hash, save_json, save_text, whole

from ..words import interface
from .model import FILE
from .program import Program, program
from .source import source

ARCHS = ("sm_80", "sm_90")
TENSOR_CORES = 80      # the first architecture with the product of 16 x 32 by 32 x 8 bytes
INDEX = (1 << 31) - 1  # indices and offsets in the kernels are int32
MAX_GROUP = 1024       # samples computed at once


def build(g: Graph, out: Path | str, archs: tuple[str, ...] = ARCHS) -> dict:
    """Writes kernels.cu (to read), kernels.fatbin, weights.bin and, last, manifest.json, which vouches for the rest; returns the manifest.

    archs: such as ("sm_80", "sm_90"); of the newest one PTX as well, which later GPUs compile when they load it.
    UserError: an op without a rule, no nvcc, an architecture that nvcc does not know, a folder that cannot be written.
    """
    known_archs(archs)
    p = program(g, tile="mma" if all(int(a.strip("sm_af")) >= TENSOR_CORES for a in archs) else "dp4a")
    text, (launches,) = source(p)
    files = {"kernels.fatbin": compiled(text, archs), "weights.bin": p.blob().tobytes()}
    out = Path(out)
    (out / "manifest.json").unlink(missing_ok=True)  # an older one must not vouch for half a new build
    save_text(out / "kernels.cu", text)
    for name, data in files.items():
        with whole(out / name) as tmp:
            tmp.write_bytes(data)
    manifest = {**describe(g, p, launches, archs), "hashes": {name: digest(data) for name, data in files.items()}}
    save_json(out / "manifest.json", FILE, manifest)
    return manifest


def describe(g: Graph, p: Program, launches: list[dict], archs) -> dict:
    """What the loader must know, as plain data."""
    return {**interface(g), "launches": launches, "workspace": p.workspace, "group": group_size(g, p), "archs": list(archs),
            "graph_hash": graph_hash(g), "versions": {"tvm": tvm.__version__}}


def group_size(g: Graph, p: Program) -> int:
    """Samples at once, so that no byte of the workspace and no element of a tensor lies beyond an int32."""
    most = min(INDEX // max(p.workspace, 1), INDEX // (8 * p.widest))
    constants = sum(r.bytes for r, _ in p.weights)
    if most < 1 or constants > INDEX:
        raise UserError(f"this graph takes {p.workspace} bytes of memory for a sample, {p.widest} elements in its largest tensor and {constants} "
                        "bytes of constants; the CUDA backend indexes 2 GiB of each: split the graph")
    return min(MAX_GROUP, most)


def compiled(text: str, archs: tuple[str, ...]) -> bytes:
    """The fatbin of CUDA source."""
    numbers = [a.removeprefix("sm_") for a in archs]
    return _nvcc_of(text, "-fatbin", *(f"-gencode=arch=compute_{n},code=sm_{n}" for n in numbers),
                    f"-gencode=arch=compute_{numbers[-1]},code=compute_{numbers[-1]}")


def ptx(text: str, arch: str) -> str:
    """The virtual assembly of CUDA source."""
    return _nvcc_of(text, "-ptx", f"-arch=compute_{arch.removeprefix('sm_')}").decode()


def _nvcc_of(text: str, *options: str) -> bytes:
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "kernels.cu").write_text(text)
        run = subprocess.run([_nvcc(), "-O3", "-std=c++17", *options, "kernels.cu", "-o", "out"], cwd=work, capture_output=True, text=True)
        if run.returncode:
            raise UserError(f"nvcc refuses the kernels of this graph: {(run.stderr or run.stdout).strip().splitlines()[0]}")
        return (Path(work) / "out").read_bytes()


def known_archs(archs) -> None:
    """UserError: none, or one that nvcc does not know."""
    known = _known(_nvcc())
    if unknown := [a for a in archs if a not in known] or not archs:
        raise UserError(f"nvcc knows no GPU architecture {', '.join(unknown) if archs else '(none was named)'}; give some of {', '.join(known)}")


@cache
def _known(nvcc: str) -> list[str]: return subprocess.run([nvcc, "--list-gpu-code"], capture_output=True, text=True).stdout.split()


def _nvcc() -> str:
    return which("nvcc") or _refuse("no nvcc here, which compiles the kernels; install the CUDA toolkit (a GPU is not needed) and put nvcc on PATH")


def _refuse(text: str): raise UserError(text)
