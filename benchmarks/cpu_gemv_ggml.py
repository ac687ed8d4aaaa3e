"""ggml's dot products of packed weights, called for every row from code that TVM compiles: no graph, no queue, no quantization counted.

    python3 -m venv /tmp/peer_ggml && CMAKE_ARGS=-DGGML_NATIVE=ON /tmp/peer_ggml/bin/pip install --no-binary :all: llama-cpp-python
    python -m benchmarks.cpu_gemv --ggml /tmp/peer_ggml/lib/python3*/site-packages/llama_cpp/lib
"""
import ctypes
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tvm.script.ir_builder import tirx as T

LIKE = {"base3": ("TQ2_0", "TQ1_0"), "int2": ("TQ2_0", "TQ1_0"), "int4": ("Q4_0", "Q4_0 repacked")}  # what ours are compared with
TOLERANCE = 0.15  # of the largest result: that the kernels were called rightly, not how exact they are
GROUP = 8         # rows that the repacked kernel takes at once
HALF = 2          # bytes of a scale


@dataclass(frozen=True)
class Type:
    """A type of weights: weights and bytes of a block, and weights and bytes of a block of the activations that it is multiplied by."""
    name: str
    block: int
    bytes: int
    activations: str
    activation_block: int
    activation_bytes: int

    def row(self, depth: int) -> int: return depth // self.block * self.bytes


TYPES = (Type("tq1_0", 256, 54, "q8_K", 256, 292), Type("tq2_0", 256, 66, "q8_K", 256, 292), Type("q4_0", 32, 18, "q8_0", 32, 34))
libraries: list[ctypes.CDLL] = []  # ggml-base and ggml-cpu, kept open


def load(folder: Path | None) -> bool:
    """Makes ggml's functions known to compiled code; or says what is missing."""
    package = importlib.util.find_spec("llama_cpp")
    folder = folder or package and Path(package.origin).parent / "lib"
    try:
        if not folder:
            raise OSError("no package llama_cpp here, and no --ggml FOLDER given")
        libraries[:] = [ctypes.CDLL(str(folder / f"libggml-{n}.so"), mode=ctypes.RTLD_GLOBAL) for n in ("base", "cpu")]
        libraries[1].ggml_cpu_init()
    except OSError as e:
        print(f"without ggml: {e}; benchmarks/cpu_gemv_ggml.py says how to install it")
        return False
    return True


def products(rows: int, depth: int, pool: Callable, r: np.random.Generator) -> dict[str, tuple]:
    """{name: (body, tasks, x, w, y, stride)} as cpu_gemv.way takes them; each is called once and compared with floats."""
    x, found = r.normal(size=depth).astype(np.float32), {}
    for t in TYPES:
        w = r.integers(-1, 2, (rows, depth)).astype(np.float32) if t.block == 256 else r.normal(size=(rows, depth)).astype(np.float32)
        packed, codes = _quantized(t, w), _activations(t, x)
        found[t.name.upper()] = _body(t, depth), rows, codes, pool(packed), np.zeros(rows, np.float32), len(packed)
        _check(t, packed, codes, w @ x)
        if t.name == "q4_0" and rows % GROUP == 0:
            grouped = _grouped(packed.reshape(rows, depth // t.block, t.bytes))
            found["Q4_0 repacked"] = (_grouped_body(t, depth), rows // GROUP, codes, pool(grouped), np.zeros(rows, np.float32), len(grouped))
    return found


def _quantized(t: Type, w: np.ndarray) -> np.ndarray:
    out = np.zeros(len(w) * t.row(w.shape[1]), np.uint8)
    pack = getattr(libraries[0], f"quantize_{t.name}")
    pack.restype = ctypes.c_size_t
    assert pack(_pointer(w), _pointer(out), ctypes.c_int64(len(w)), ctypes.c_int64(w.shape[1]), None) == len(out), t.name
    return out


def _activations(t: Type, x: np.ndarray) -> np.ndarray:
    out = np.zeros(len(x) // t.activation_block * t.activation_bytes, np.uint8)
    getattr(libraries[1], f"quantize_row_{t.activations}")(_pointer(x), _pointer(out), ctypes.c_int64(len(x)))
    return out


def _pointer(a: np.ndarray) -> ctypes.c_void_p: return ctypes.c_void_p(a.ctypes.data)


def _check(t: Type, packed: np.ndarray, codes: np.ndarray, expected: np.ndarray) -> None:
    """The first rows by the function itself."""
    row, y = t.row(len(codes) // t.activation_bytes * t.activation_block), np.zeros(4, np.float32)
    for i in range(len(y)):
        getattr(libraries[1], f"ggml_vec_dot_{t.name}_{t.activations}")(
            ctypes.c_int(row // t.bytes * t.block), _pointer(y[i:]), ctypes.c_size_t(0), _pointer(packed[i * row:]), ctypes.c_size_t(0),
            _pointer(codes), ctypes.c_size_t(0), ctypes.c_int(1))
    assert np.abs(y - expected[:len(y)]).max() <= TOLERANCE * np.abs(expected).max(), t.name


def _body(t: Type, depth: int) -> Callable:
    def body(x, w, y, at, begin, end):
        zero = T.int64(0)
        with T.serial(begin, end) as i:
            T.evaluate(T.call_extern("void", f"ggml_vec_dot_{t.name}_{t.activations}", T.int32(depth), T.address_of(y[i]), zero,
                                     T.address_of(w[at + i.astype("int64") * t.row(depth)]), zero, T.address_of(x[0]), zero, T.int32(1)))
    return body


def _grouped(blocks: np.ndarray) -> np.ndarray:
    """Blocks (rows, n, bytes) of Q4_0 as the repacked kernel wants them: eight rows together, scales first, then 8 bytes of each in turn."""
    rows, n, _ = blocks.shape
    of = blocks.reshape(rows // GROUP, GROUP, n, -1).transpose(0, 2, 1, 3)  # (group, block, row, bytes)
    codes = of[..., HALF:].reshape(*of.shape[:3], 2, 8).transpose(0, 1, 3, 2, 4) ^ 0x88  # two's complement
    parts = of[..., :HALF].reshape(rows // GROUP, n, -1), codes.reshape(rows // GROUP, n, -1)
    return np.ascontiguousarray(np.concatenate(parts, -1)).reshape(-1)


def _grouped_body(t: Type, depth: int) -> Callable:
    def body(x, w, y, at, begin, end):
        T.evaluate(T.call_extern("void", f"ggml_gemv_{t.name}_8x8_{t.activations}", T.int32(depth), T.address_of(y[begin * GROUP]), T.int64(0),
                                 T.address_of(w[at + begin.astype("int64") * (GROUP * t.row(depth))]), T.address_of(x[0]), T.int32(1),
                                 (end - begin) * GROUP))
    return body
