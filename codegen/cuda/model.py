"""A compiled graph on a GPU.  It needs the driver and numpy: no TVM, no toolkit."""
import ctypes
from pathlib import Path

import numpy as np

from ir import UserError
from ir.store import digest, load_json

from ..words import check_feeds
from .driver import LIBRARY, Driver

FILE = "cuda library"  # what manifest.json says it is
PLANS = 4              # batch sizes whose memory and captured launches are kept


class CudaModel:
    """model(x) -> y, integers (N, *shape) in, int64 out; several inputs as {name: array}.  UserError: wrong shape, values out of the interval."""

    def __init__(self, image: bytes, weights: np.ndarray, manifest: dict, library: str = LIBRARY):
        self.manifest, self.group, self.gpu = manifest, manifest["group"], Driver(library)
        self.functions = self.gpu.functions(image, [k["kernel"] for k in manifest["launches"]], manifest["archs"])
        self.weights = self.gpu.allocate(weights.nbytes)
        self.gpu.write(self.weights, weights)
        self.gpu.wait()
        self.plans: dict[int, Plan] = {}

    def __call__(self, x) -> np.ndarray:
        feeds, out = list(check_feeds(self.manifest["inputs"], x).values()), self.manifest["output"]
        parts = [self._group([np.ascontiguousarray(f[i:i + self.group]) for f in feeds]) for i in range(0, len(feeds[0]), self.group)]
        return np.concatenate(parts).astype(np.int64) if parts else np.zeros((0, *out["shape"]), np.int64)

    def plan(self, count: int) -> "Plan":
        """Memory and launches for so many samples."""
        self.gpu.enter()
        if count not in self.plans:
            while len(self.plans) >= PLANS:
                self.plans.pop(next(iter(self.plans))).close()
            self.plans[count] = Plan(self, count)
        return self.plans[count]

    def close(self) -> None:
        """Gives the GPU's memory back."""
        for plan in self.plans.values():
            plan.close()
        self.plans.clear()
        self.gpu.free(self.weights)

    def _group(self, feeds: list[np.ndarray]) -> np.ndarray:
        plan, out = self.plan(len(feeds[0])), self.manifest["output"]
        y = np.empty((len(feeds[0]), *out["shape"]), out["dtype"])
        for pointer, f in zip(plan.inputs, feeds):
            self.gpu.write(pointer, f)
        plan.run()
        self.gpu.read(plan.output, y)
        return y


class Plan:
    """The memory of one batch size, and its launches captured as one graph: `inputs` and `output` are pointers, run() starts it."""

    def __init__(self, model: CudaModel, count: int):
        m, self.gpu = model.manifest, model.gpu
        sizes = [count * int(np.prod(t["shape"])) * np.dtype(t["dtype"]).itemsize for t in (*m["inputs"], m["output"])]
        *self.inputs, self.output = self.memory = [self.gpu.allocate(s) for s in sizes]
        self.memory.append(self.gpu.allocate(count * m["workspace"]))
        named = {**{f"x{i}": p for i, p in enumerate(self.inputs)}, "y": self.output, "weights": model.weights, "workspace": self.memory[-1],
                 "n": ctypes.c_int(count)}

        def launches():
            for k in m["launches"]:
                if not k["least"] <= count <= (k["most"] or count):
                    continue
                grid = [g if isinstance(g, int) else -(-count * g[0] // g[1]) for g in k["grid"]]
                self.gpu.launch(model.functions[k["kernel"]], grid, k["threads"], [named[a] for a in k["args"]])
        self.ready = self.gpu.captured(launches)

    def run(self) -> None: self.gpu.replay(self.ready)

    def close(self) -> None:
        self.gpu.forget(self.ready)
        for p in self.memory:
            self.gpu.free(p)


def load(folder: Path | str, library: str = LIBRARY) -> CudaModel:
    """What build(graph, folder) wrote.  library: the driver's.  UserError: missing, damaged, no GPU here, or not one that it was compiled for."""
    folder = Path(folder)
    manifest = load_json(folder / "manifest.json", FILE)
    image, weights = (_whole(folder / name, manifest["hashes"][name]) for name in ("kernels.fatbin", "weights.bin"))
    try:
        return CudaModel(image, np.frombuffer(weights, np.uint8), manifest, library)
    except UserError as e:
        raise UserError(f"{folder}: {e}") from None


def _whole(path: Path, said: str) -> bytes:
    data = path.read_bytes() if path.is_file() else b""
    if digest(data) != said:
        raise UserError(f"{path}: missing, or not the file that manifest.json was written with; build it again")
    return data
