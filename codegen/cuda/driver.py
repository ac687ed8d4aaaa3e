"""The NVIDIA driver through ctypes: what a compiled graph needs of it, and nothing that has to be installed besides."""
import ctypes

import numpy as np

from ir import UserError

LIBRARY = "libcuda.so.1"
NO_BINARY, MEMORY = (209, 218, 222), 2  # error codes: no code for this GPU (or from a newer toolkit); out of memory
MAJOR, MINOR = 75, 76                   # device attributes: compute capability
NON_BLOCKING, RELAXED = 1, 2            # stream flag; capture mode


class Driver:
    """One GPU and a stream of work for it.  UserError: no driver, no GPU."""

    def __init__(self, library: str = LIBRARY, device: int = 0):
        try:
            self.lib = ctypes.CDLL(library)
        except OSError:
            raise UserError(f"no GPU here: the NVIDIA driver ({library}) cannot be loaded; run this on a machine with an NVIDIA GPU") from None
        count, self.device, self.context = ctypes.c_int(), ctypes.c_int(), ctypes.c_void_p()
        if self.lib.cuInit(0) or self.lib.cuDeviceGetCount(ctypes.byref(count)) or device >= count.value:
            raise UserError(f"no GPU here: the NVIDIA driver finds {count.value} devices, and number {device} was asked for")
        self.call("cuDeviceGet", ctypes.byref(self.device), device)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(self.context), self.device)
        self.enter()
        self.stream = ctypes.c_void_p()
        self.call("cuStreamCreate", ctypes.byref(self.stream), NON_BLOCKING)

    def enter(self) -> None:
        """Makes the GPU's context that of the calling thread."""
        self.call("cuCtxSetCurrent", self.context)

    def call(self, name: str, *args) -> None:
        """A function of the driver.  UserError: what it answers, in one line."""
        if code := getattr(self.lib, name)(*args):
            said = ctypes.c_char_p()
            self.lib.cuGetErrorName(code, ctypes.byref(said))
            need = "; give fewer samples at once" if code == MEMORY else ""
            raise UserError(f"the GPU driver refuses {name}: {(said.value or b'error').decode()} ({code}){need}")

    @property
    def arch(self) -> str:
        """Such as "sm_90"."""
        number = ctypes.c_int()
        digits = []
        for attribute in (MAJOR, MINOR):
            self.call("cuDeviceGetAttribute", ctypes.byref(number), attribute, self.device)
            digits.append(str(number.value))
        return "sm_" + "".join(digits)

    def functions(self, image: bytes, names: list[str], archs: list[str]) -> dict[str, ctypes.c_void_p]:
        """The kernels of a fatbin compiled for `archs`, by name."""
        module = ctypes.c_void_p()
        code = self.lib.cuModuleLoadData(ctypes.byref(module), image)
        if code in NO_BINARY:
            raise UserError(f"compiled for {', '.join(archs)}, and this GPU is {self.arch} (or its driver is older than the compiler); "
                            f"build it again with archs=({self.arch!r},)")
        if code:
            self.call("cuModuleLoadData", ctypes.byref(module), image)
        found = {}
        for name in dict.fromkeys(names):
            found[name] = ctypes.c_void_p()
            self.call("cuModuleGetFunction", ctypes.byref(found[name]), module, name.encode())
        return found

    def allocate(self, size: int) -> ctypes.c_uint64:
        pointer = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(max(size, 1)))
        return pointer

    def free(self, pointer: ctypes.c_uint64) -> None: self.call("cuMemFree_v2", pointer)

    def write(self, pointer, a: np.ndarray) -> None:
        """`a`, which is in C order, to the GPU."""
        self.call("cuMemcpyHtoDAsync_v2", pointer, ctypes.c_void_p(a.ctypes.data), ctypes.c_size_t(a.nbytes), self.stream)

    def read(self, pointer, a: np.ndarray) -> None:
        """From the GPU into `a`, when all that was asked of it is done."""
        self.call("cuMemcpyDtoHAsync_v2", ctypes.c_void_p(a.ctypes.data), pointer, ctypes.c_size_t(a.nbytes), self.stream)
        self.wait()

    def wait(self) -> None: self.call("cuStreamSynchronize", self.stream)

    def launch(self, function, grid, threads: int, args: list) -> None:
        """args: ctypes values, in order."""
        pointers = (ctypes.c_void_p * len(args))(*(ctypes.addressof(a) for a in args))
        self.call("cuLaunchKernel", function, *grid, threads, 1, 1, 0, self.stream, pointers, None)

    def captured(self, launches) -> ctypes.c_void_p:
        """All that launches() launches, as one thing to replay."""
        graph, ready = ctypes.c_void_p(), ctypes.c_void_p()
        self.call("cuStreamBeginCapture_v2", self.stream, RELAXED)
        launches()
        self.call("cuStreamEndCapture", self.stream, ctypes.byref(graph))
        self.call("cuGraphInstantiateWithFlags", ctypes.byref(ready), graph, ctypes.c_ulonglong(0))
        self.call("cuGraphDestroy", graph)
        return ready

    def replay(self, ready: ctypes.c_void_p) -> None: self.call("cuGraphLaunch", ready, self.stream)

    def forget(self, ready: ctypes.c_void_p) -> None: self.call("cuGraphExecDestroy", ready)
