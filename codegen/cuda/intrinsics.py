"""What TIR cannot say: the byte products of the GPU and wide loads, as device functions around PTX.

EMULATED_GPU is defined where CUDA source is compiled for a CPU to be tested; there the functions call stand-ins.
"""
from tvm import tirx
from tvm.script.ir_builder import tirx as T

SIGN = {"int8": ("s", "true"), "uint8": ("u", "false")}

LOAD = """
__device__ __forceinline__ void qs_load{bytes}(uint* d, const uchar* p, int at, bool inside, uint pad) {{
  {vector} v = {pads};
  if (inside) v = *reinterpret_cast<const {vector}*>(p + at);
  {unpack}
}}
"""
COPY = """
__device__ __forceinline__ void qs_copy{bytes}(uint* d, const uchar* p, int at, bool inside) {{
#ifdef EMULATED_GPU
  emulated_copy(d, p + at, {bytes}, inside);
#else
  uint to = (uint)__cvta_generic_to_shared(d);
  asm volatile("cp.async.{cache}.shared.global [%0], [%1], {bytes}, %2;" :: "r"(to), "l"(inside ? p + at : p), "r"(inside ? {bytes} : 0) : "memory");
#endif
}}
"""
COMMIT = """
__device__ __forceinline__ void qs_commit() {
#ifdef EMULATED_GPU
  emulated_commit();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
"""
ARRIVED = """
__device__ __forceinline__ void qs_arrived{left}() {{
#ifdef EMULATED_GPU
  emulated_arrived({left});
#else
  asm volatile("cp.async.wait_group {left};" ::: "memory");
#endif
}}
"""
MATRICES = """
__device__ __forceinline__ void qs_warp_matrices(uint* d, const uint* row) {
#ifdef EMULATED_GPU
  emulated_matrices(d, row);
#else
  uint from = (uint)__cvta_generic_to_shared(row);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3]) : "r"(from) : "memory");
#endif
}
"""
UNPACK = """
__device__ __forceinline__ void qs_unpack{bits}(uint* d, const uchar* p, int at, bool inside) {{
  uint w[{words}] = {{}};
  if (inside) {{
    {vector} v = *reinterpret_cast<const {vector}*>(p + at);
    {unpack}
  }}
#pragma unroll
  for (int i = 0; i < 4; ++i) {{
    uint code = (w[i / {per}] >> ({bits} * (i % {per}))) & {mask}u;
    d[i] = inside ? ((code | 0x80808080u) - {half}u) ^ 0x80808080u : 0u;
  }}
}}
"""
WARP = """
template <typename V> __device__ __forceinline__ V qs_warp_{fold}(V v) {{
#pragma unroll
  for (int m = 16; m; m >>= 1) {{
    V other = __shfl_xor_sync(0xffffffffu, v, m);
    v = {expression};
  }}
  return v;
}}
"""
DP4A = """
__device__ __forceinline__ int qs_dp4a_{a}{b}(uint a, uint b, int c) {{
#ifdef EMULATED_GPU
  return emulated_dp4a<{sa}, {sb}>(a, b, c);
#else
  int d;
  asm("dp4a.{a}32.{b}32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
#endif
}}
"""
MMA = """
__device__ __forceinline__ void qs_mma_{a}{b}(int* d, const uint* a, const uint* b) {{
#ifdef EMULATED_GPU
  emulated_mma<{sa}, {sb}>(d, a, b);
#else
  asm("mma.sync.aligned.m16n8k32.row.col.s32.{a}8.{b}8.s32 {{%0, %1, %2, %3}}, {{%4, %5, %6, %7}}, {{%8, %9}}, {{%0, %1, %2, %3}};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}}
"""


def load(k, v, size: int, target, first: int, at, inside, pad: int) -> None:
    """target[first:] = the `size` (4 or 16) bytes of v's memory at byte `at`, or the byte `pad` over and over where not `inside`."""
    vector, pads, unpack = {4: ("uint", "pad", "d[0] = v;"),
                            16: ("uint4", "make_uint4(pad, pad, pad, pad)", "d[0] = v.x; d[1] = v.y; d[2] = v.z; d[3] = v.w;")}[size]
    text = LOAD.format(bytes=size, vector=vector, pads=pads, unpack=unpack)
    T.evaluate(T.cuda.func_call(f"qs_load{size}", T.address_of(target[first]), k.view(v, "uint8").data, k.place(v, at, "uint8"),
                                tirx.const(True, "bool") if inside is None else inside, tirx.const((pad & 255) * 0x01010101, "uint32"),
                                source_code=text, return_type="void"))


def copy(k, v, size: int, target, word, at, inside) -> None:
    """Starts to copy the `size` (4 or 16) bytes at byte `at` of v's memory, or zeros where not `inside`, to a word of shared memory."""
    T.evaluate(T.cuda.func_call(f"qs_copy{size}", T.address_of(target[word]), k.view(v, "uint8").data, k.place(v, at, "uint8"),
                                tirx.const(True, "bool") if inside is None else inside, return_type="void",
                                source_code=COPY.format(bytes=size, cache="cg" if size == 16 else "ca")))


def commit() -> None:
    """The thread's copies since the last commit are one group."""
    T.evaluate(T.cuda.func_call("qs_commit", source_code=COMMIT, return_type="void"))


def arrived(left: int) -> None:
    """Waits until all but the last `left` groups of the thread's copies are there."""
    T.evaluate(T.cuda.func_call(f"qs_arrived{left}", source_code=ARRIVED.format(left=left), return_type="void"))


def matrices(target, first: int, shared, word) -> None:
    """target[first:first+4] = the thread's words of four matrices of 8 rows of 16 bytes; thread l points to row l % 8 of matrix l // 8."""
    T.evaluate(T.cuda.func_call("qs_warp_matrices", T.address_of(target[first]), T.address_of(shared[word]), source_code=MATRICES,
                                return_type="void"))


def unpack(k, v, bits: int, target, first: int, at, inside) -> None:
    """target[first:first+4] = 16 weights of 2 or 4 bits at byte `at` of v as bytes; 0 where not `inside`."""
    vector, part = {2: ("uint", "w[0] = v;"), 4: ("uint2", "w[0] = v.x; w[1] = v.y;")}[bits]
    text = UNPACK.format(bits=bits, words=bits // 2, vector=vector, unpack=part, per=8 // bits, mask=hex(((1 << bits) - 1) * 0x01010101),
                         half=hex((1 << bits - 1) * 0x01010101))
    T.evaluate(T.cuda.func_call(f"qs_unpack{bits}", T.address_of(target[first]), k.view(v, "uint8").data, k.place(v, at, "uint8"),
                                tirx.const(True, "bool") if inside is None else inside, source_code=text, return_type="void"))


def warp(fold: str, value, dtype: str):
    """The sum or max of a value over the 32 threads of a warp, in all of them."""
    text = WARP.format(fold=fold, expression={"sum": "v + other", "max": "max(v, other)"}[fold])
    return T.cuda.func_call(f"qs_warp_{fold}", value, source_code=text, return_type=dtype)


def dp4a(a_type: str, b_type: str, a, b, c):
    """c + the four products of the bytes of words a and b."""
    (sa, ta), (sb, tb) = SIGN[a_type], SIGN[b_type]
    return T.cuda.func_call(f"qs_dp4a_{sa}{sb}", a, b, c, source_code=DP4A.format(a=sa, b=sb, sa=ta, sb=tb), return_type="int32")


def mma(a_type: str, b_type: str, d, at: int, a, a_at: int, b, b_at: int) -> None:
    """d[at:at+4] += the lane's part of a product of 16 x 32 by 32 x 8 bytes, whose fragments are a[a_at:a_at+4] and b[b_at:b_at+2]."""
    (sa, ta), (sb, tb) = SIGN[a_type], SIGN[b_type]
    T.evaluate(T.cuda.func_call(f"qs_mma_{sa}{sb}", T.address_of(d[at]), T.address_of(a[a_at]), T.address_of(b[b_at]),
                                source_code=MMA.format(a=sa, b=sb, sa=ta, sb=tb), return_type="void"))
