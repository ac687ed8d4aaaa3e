"""The words for a CPU: "llvm" is this machine's, "llvm -mcpu=NAME" another of its kind, "aarch64" and "aarch64 -mcpu=NAME" a 64-bit Arm."""
import tvm
from tvm.target import codegen

from ir import UserError

from .features import KNOWN, needed
from .toolchain import HOST, Toolchain

# TVM tells LLVM that memory under different names never overlaps (TBAA); kernels that are inlined into each other give the same memory
# different names, so that is off.  LLVM 22 for AVX-512 lets a masked store of truncated values (what its loop vectorizer makes of a short
# or conditional loop) overwrite the element behind the mask.  The kernels spell their vectors out, so that pass is not needed: off.
LLVM_OPTIONS = ["-vectorize-loops=0", "-enable-tbaa=0"]
TRIPLES = {"x86_64": "x86_64-unknown-linux-gnu", "aarch64": "aarch64-unknown-linux-gnu"}
DEFAULT_CPU = {"x86_64": "x86-64-v3", "aarch64": "cortex-a76"}  # AVX2; Armv8.2 with the dot product


def parse(text: str) -> Toolchain:
    """UserError: another word, or a CPU that is not LLVM's."""
    kind, *options = text.split() or [""]
    cpu = options[0].removeprefix("-mcpu=") if options else ""
    if kind not in ("llvm", *TRIPLES) or len(options) > 1 or options and not options[0].startswith("-mcpu="):
        raise UserError(f"the TVM backend has no target {text!r}; give 'llvm' for this machine's CPU or 'llvm -mcpu=NAME' for another, "
                        f"{' or '.join(map(repr, TRIPLES))} (also with -mcpu) for a kind of machine")
    if HOST not in KNOWN and kind == "llvm":
        raise UserError(f"this machine is a {HOST}, which deployables are not made for; give one of {', '.join(TRIPLES)}")
    if kind == "llvm" and not cpu:
        return _host(text)
    machine = HOST if kind == "llvm" else kind
    target = {"kind": "llvm", "mcpu": cpu or DEFAULT_CPU[machine], "cl-opt": LLVM_OPTIONS}
    if machine != HOST:
        target["mtriple"] = TRIPLES[machine]
    generic = {k: v for k, v in target.items() if k != "mcpu"}
    known = [str(c) for c in codegen.llvm_get_cpu_archlist(tvm.target.Target(generic))]
    if target["mcpu"] not in known:
        raise UserError(f"LLVM knows no CPU {cpu!r} here (known: {', '.join(known)})")
    features = [str(f) for f in codegen.llvm_get_cpu_features(tvm.target.Target(target))]
    return Toolchain(text, machine, tuple(needed(machine, features)), target)


def _host(text: str) -> Toolchain:
    """This machine.  The features are named as well: what a virtual machine hides must not be used."""
    features = {str(k): bool(v) for k, v in tvm.get_global_func("tvm.codegen.llvm.GetHostCPUFeatures")().items()}
    target = {"kind": "llvm", "mcpu": codegen.llvm_get_system_cpu(), "cl-opt": LLVM_OPTIONS,
              "mattr": [("+" if on else "-") + k for k, on in features.items()]}
    return Toolchain(text, HOST, tuple(needed(HOST, [k for k, on in features.items() if on])), target)
