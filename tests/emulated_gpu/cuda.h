// Stands where the toolkit's cuda.h would: CUDA C++ for a GPU that is a CPU.  Blocks run one after the other; the threads of a block are
// fibers that run up to the next barrier, in an order that a test may turn round.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define EMULATED_GPU
#define __global__ static
#define __device__ static
#define __forceinline__ inline
#define __shared__ static
#define __launch_bounds__(n)

using std::max;
using std::min;

struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

struct Index { unsigned x, y, z; };
extern Index blockIdx, threadIdx;

void emulated_wait(bool of_block);                   // until all threads of the block, or of the warp, are here
uint32_t (*emulated_exchange(const uint32_t* mine, int count))[16];  // 32 rows: what every lane of the warp has given

static inline void __syncthreads() { emulated_wait(true); }
static inline void __syncwarp(unsigned = ~0u) { emulated_wait(false); }

template <typename V>
static inline V __shfl_xor_sync(unsigned, V v, int mask, int = 32) {
  uint32_t mine[2];
  memcpy(mine, &v, sizeof v);
  memcpy(&v, emulated_exchange(mine, sizeof v / 4)[(threadIdx.x % 32) ^ mask], sizeof v);
  return v;
}

// PTX ISA, "cp.async": a copy that may be done at any time up to the wait for its group.  The emulated driver does it at once or at the
// latest, as a test asks.
void emulated_copy(void* to, const void* from, int bytes, bool inside);
void emulated_commit();
void emulated_arrived(int left);

// PTX ISA, "ldmatrix" .x4: lane l points to row l % 8 of matrix l / 8 and receives word l % 4 of row l / 4 of each.
static inline void emulated_matrices(uint32_t* d, const uint32_t* row) {
  uint32_t mine[2];
  memcpy(mine, &row, 8);
  auto all = emulated_exchange(mine, 2);
  for (unsigned i = 0, lane = threadIdx.x % 32; i < 4; i++) {
    const uint32_t* from;
    memcpy(&from, all[8 * i + lane / 4], 8);
    d[i] = from[lane % 4];
  }
}

// PTX ISA, "dp4a": four products of bytes, each taken as signed or not, added to c.
template <bool signed_a, bool signed_b>
static inline int emulated_dp4a(uint32_t a, uint32_t b, int c) {
  for (int i = 0; i < 32; i += 8) {
    int p = signed_a ? int(int8_t(a >> i)) : int(uint8_t(a >> i)), q = signed_b ? int(int8_t(b >> i)) : int(uint8_t(b >> i));
    c = int(uint32_t(c) + uint32_t(p * q));
  }
  return c;
}

// PTX ISA, "Matrix Fragments for mma.m16n8k32" of 8-bit types: lane = 4 * group + t holds, of A (16 x 32), row group + 8 * (i % 2),
// columns 4 t + 16 * (i / 2) on, for register i; of B (32 x 8), column group, rows 4 t + 16 i on; of C and D (16 x 8), row
// group + 8 * (i / 2), column 2 t + i % 2.
template <bool signed_a, bool signed_b>
static inline void emulated_mma(int* d, const uint32_t* a, const uint32_t* b) {
  uint32_t mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  auto all = emulated_exchange(mine, 6);
  unsigned lane = threadIdx.x % 32, group = lane / 4, t = lane % 4;
  for (int i = 0; i < 4; i++)
    for (int k = 0; k < 32; k += 4) {
      unsigned holder = k % 16 / 4, row = group, column = 2 * t + i % 2;
      d[i] = emulated_dp4a<signed_a, signed_b>(all[4 * row + holder][i / 2 + 2 * (k / 16)], all[4 * column + holder][4 + k / 16], d[i]);
    }
}
