/* What stands between the projections, on runs of elements: each function is one step of the model's graph (ir/lm/expand.py).
 *
 * Doubles carry integers: every product and sum below stays under 2^53 (codegen/lm/bounds.py checks the model's widths), so floor(x * 2^-n + .5)
 * is the rounding of the graph.  Shares of a maximum t are floor(k * v / t + 1/2) = floor((2 k v + t) / 2t); with half a step of 1 / 2t added
 * no value lies on an integer, the nearest is 1 / 4t > 2^-32 away, and k / t as a double is wrong by less than 2^-38 times that. */
#include <math.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#define QS_CLAMP(x, lo, hi) ((x) < (lo) ? (lo) : (x) > (hi) ? (hi) : (x))

/* As a minimum and a maximum, which are one instruction each. */
static inline double qs_within(double x, double lo, double hi) {
  x = x < lo ? lo : x;
  return x > hi ? hi : x;
}

typedef struct { int32_t value, slope; } qs_line;
typedef struct { const qs_line *lines; int shift; int32_t lo, hi; } qs_curve;

/* While the elements below are worked on, memory would stand still: the weights that come next are asked for in the meantime, some lines with
 * each block of elements.  Each thread has its own place in its stream. */
enum { QS_BLOCK = 128, QS_LINES = 24, QS_AHEAD = 384 << 10 };
static _Thread_local const char *qs_coming, *qs_coming_end;

static inline int qs_block(int k, int n) {
  const char *to = qs_coming + 64 * QS_LINES;
  to = to < qs_coming_end ? to : qs_coming_end;
  for (; qs_coming < to; qs_coming += 64) __builtin_prefetch(qs_coming, 0, 2);
  return k + QS_BLOCK < n ? k + QS_BLOCK : n;
}
#define QS_BLOCKS(k, n) for (int from = 0, to; from < (n) && (to = qs_block(from, n), 1); from = to) for (int k = from; k < to; ++k)

/* 2^-n */
static double qs_step(int n) { return ldexp(1.0, -n); }

/* y = clamp(round(x * scale)) */
static void qs_scaled(const int32_t *restrict x, int32_t *restrict y, int n, double scale, double lo, double hi) {
  QS_BLOCKS(k, n) {
    const double v = floor(x[k] * scale + .5);
    y[k] = (int32_t)qs_within(v, lo, hi);
  }
}

/* y = clamp(round(a * b * scale)) */
static void qs_product(const int32_t *restrict a, const int32_t *restrict b, int32_t *restrict y, int n, double scale) {
  QS_BLOCKS(k, n) {
    const double v = floor((double)a[k] * b[k] * scale + .5);
    y[k] = (int32_t)qs_within(v, -QS_VECTOR, QS_VECTOR);
  }
}

/* v = clamp(round(x * gain)) and the largest magnitude, at least 1. */
static int32_t qs_gain(const int32_t *restrict x, const float *restrict gain, int32_t *restrict v, int n) {
  int32_t top = 1;
  QS_BLOCKS(k, n) {
    const double y = floor(x[k] * (double)gain[k] + .5);
    const int32_t w = (int32_t)qs_within(y, -QS_VECTOR, QS_VECTOR), size = w < 0 ? -w : w;
    v[k] = w;
    top = size > top ? size : top;
  }
  return top;
}

/* The same with one gain. */
static int32_t qs_one_gain(const int32_t *restrict x, double gain, int32_t *restrict v, int n) {
  int32_t top = 1;
  QS_BLOCKS(k, n) {
    const double y = floor(x[k] * gain + .5);
    const int32_t w = (int32_t)qs_within(y, -QS_VECTOR, QS_VECTOR), size = w < 0 ? -w : w;
    v[k] = w;
    top = size > top ? size : top;
  }
  return top;
}

/* Codes of v, whose largest magnitude is top. */
static void qs_codes(const int32_t *restrict v, int8_t *restrict q, int n, int32_t top) {
  const double by = (double)QS_TOP / top, half = .5 + .25 / top;
  QS_BLOCKS(k, n) q[k] = (int8_t)(int32_t)floor(v[k] * by + half);
}

/* Sum of the squares of the shares of top. */
static int64_t qs_shares(const int32_t *u, int n, int32_t top) {
  const double by = (double)QS_SHARE / top, half = .5 + .25 / top;
  int64_t sum = 0;
  QS_BLOCKS(k, n) {
    const int32_t y = (int32_t)floor(u[k] * by + half);
    sum += (int64_t)y * y;
  }
  return sum;
}

/* Sum of the squares of round(x * scale). */
static int64_t qs_squares(const int32_t *x, int n, double scale) {
  int64_t sum = 0;
  QS_BLOCKS(k, n) {
    const int32_t y = (int32_t)floor(x[k] * scale + .5);
    sum += (int64_t)y * y;
  }
  return sum;
}

/* Sixteen at once: a line, value and slope, is gathered as one word of 64 bits.  How many elements it did. */
static int qs_curved_vectors(const qs_curve *c, const int32_t *restrict x, int32_t *restrict y, int n) {
  int k = 0;
#if defined(__AVX512F__) && QS_NARROW_CURVES
  const __m512i below = _mm512_set1_epi32(1 << (QS_PIECE_BITS - 1)), half = _mm512_set1_epi32((1 << c->shift) / 2);
  const __m512i lo = _mm512_set1_epi32(c->lo), hi = _mm512_set1_epi32(c->hi);
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30), odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  const __m128i shift = _mm_cvtsi32_si128(c->shift);
  for (; k + 16 <= n; k += 16) {
    if (!(k % QS_BLOCK)) qs_block(k, n);
    const __m512i v = _mm512_loadu_si512(x + k), piece = _mm512_srai_epi32(_mm512_add_epi32(v, below), QS_PIECE_BITS);
    const __m512i offset = _mm512_sub_epi32(v, _mm512_slli_epi32(piece, QS_PIECE_BITS));
    const __m512i a = _mm512_i32gather_epi64(_mm512_castsi512_si256(piece), c->lines + QS_PIECES / 2, 8);
    const __m512i b = _mm512_i32gather_epi64(_mm512_extracti64x4_epi64(piece, 1), c->lines + QS_PIECES / 2, 8);
    const __m512i value = _mm512_permutex2var_epi32(a, even, b), slope = _mm512_permutex2var_epi32(a, odd, b);
    const __m512i line = _mm512_sra_epi32(_mm512_add_epi32(_mm512_add_epi32(value, half), _mm512_mullo_epi32(slope, offset)), shift);
    _mm512_storeu_si512(y + k, _mm512_max_epi32(lo, _mm512_min_epi32(hi, line)));
  }
#else
  (void)c, (void)x, (void)y, (void)n;
#endif
  return k;
}

static void qs_curved(const qs_curve *c, const int32_t *restrict x, int32_t *restrict y, int n) {
  const qs_line *restrict lines = c->lines + QS_PIECES / 2;
  const int shift = c->shift;
  const qs_wide half = ((qs_wide)1 << shift) / 2;
  const int32_t lo = c->lo, hi = c->hi, below = 1 << (QS_PIECE_BITS - 1);
  for (int k = qs_curved_vectors(c, x, y, n); k < n; ++k) {
    const int32_t piece = (x[k] + below) >> QS_PIECE_BITS, offset = x[k] - (piece << QS_PIECE_BITS);
    const qs_wide line = (lines[piece].value + (qs_wide)lines[piece].slope * offset + half) >> shift;
    y[k] = (int32_t)QS_CLAMP(line, lo, hi);
  }
}

/* f = clamp(lower + round(f * (1 - lower))) */
static void qs_forget(const int32_t *restrict s, const float *restrict lower, int32_t *restrict f, int n) {
  QS_BLOCKS(k, n) {
    const double y = lower[k] + floor(s[k] * (QS_ONE - (double)lower[k]) * (1 / QS_ONE) + .5);
    f[k] = (int32_t)qs_within(y, 0., QS_ONE - 1);
  }
}

/* s = clamp(round(f * s + (1 - f) * c)), c with fewer fraction bits. */
static void qs_recur(const int32_t *restrict f, const int32_t *restrict c, int32_t *restrict s, int n) {
  QS_BLOCKS(k, n) {
    const double x = (double)f[k] * s[k] + (QS_ONE - f[k]) * c[k] * QS_FINE, y = floor(x * (1 / QS_ONE) + .5);
    s[k] = (int32_t)qs_within(y, -2147483648., 2147483647.);
  }
}

static void qs_add(int32_t *restrict h, const int32_t *restrict y, int n) {
  for (int k = 0; k < n; ++k) h[k] = QS_CLAMP(h[k] + y[k], QS_RESIDUAL_LO, QS_RESIDUAL_HI);
}

static int32_t qs_largest(const int32_t *x, int n) {
  int32_t top = x[0];
  for (int k = 1; k < n; ++k) top = x[k] > top ? x[k] : top;
  return top;
}

/* ---- numbers of a token ------------------------------------------------------------------------------------------------------- */

/* floor(a / b + 1/2) of 0 <= a < 2^62, 1 <= b < 2^62. */
static int64_t qs_ratio(int64_t a, int64_t b) { return (int64_t)((2 * (uint64_t)a + (uint64_t)b) / (2 * (uint64_t)b)); }

static int64_t qs_rounded(int64_t x, int shift) { return shift ? (x + ((int64_t)1 << (shift - 1))) >> shift : x; }

/* floor(sqrt(x)) of x < 2^52: so far the floor of a correctly rounded root is right. */
static int64_t qs_root(int64_t x) { return (int64_t)sqrt((double)x); }

static int64_t qs_norm_root(int64_t sum) { return qs_root((sum < QS_SHARE * QS_SHARE ? QS_SHARE * QS_SHARE : sum) << QS_ROOT_SHIFT); }

/* What one step of a projection's sums is worth, in steps of 2^-shift. */
static int64_t qs_factor(const qs_scale *s, int32_t top, int32_t norm_top, int64_t root) {
  const int64_t f = qs_ratio(top * s->num, norm_top * root);
  return QS_CLAMP(f, 1, QS_FACTOR_MAX);
}

/* ---- parts of the rows ----------------------------------------------------------------------------------------------------------- */

enum { QS_G, QS_F, QS_I_, QS_O, QS_U, QS_V_, QS_DOWN, QS_HEAD, QS_PROJECTIONS };  /* as in the streams: the order is that of layout.py */

typedef int (*qs_kernel)(void *self, const qs_any *args, int32_t count, qs_any *result);
typedef struct { int begin, end; } qs_rows;
typedef struct { qs_kernel run; int32_t panels; size_t at; } qs_matrix;  /* at: bytes from the start of the part's layer, or of its stream (head) */
typedef struct { qs_rows h, i, v; size_t stream, layer_bytes; qs_matrix matrix[QS_PROJECTIONS]; } qs_part;
