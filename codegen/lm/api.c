/* A model in memory: weights read and checked, tokens step by step, drawing, text, states.  Source of the sampler: ir/lm/sample.py. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { QS_HUGE = 2 << 20, QS_READ = 64 << 20, QS_STAMP = 16, QS_INVERSE_BITS = 8, QS_EXP_BITS = 16, QS_NAT_BITS = 12 };
typedef struct { char magic[8], stamp[QS_STAMP]; uint64_t bytes, check; uint8_t rest[24]; } qs_head_line;

/* ---- weights ------------------------------------------------------------------------------------------------------------------- */

/* Sum over all words but those of the first line of word * (2 * place + 1), modulo 2^64. */
static uint64_t qs_check_sum(const uint64_t *w, size_t n) {
  uint64_t sum = 0;
  for (size_t i = 0; i < n; ++i) sum += w[i] * (2 * i + 1);
  return sum;
}

static int qs_read_all(int file, uint8_t *to, size_t size) {
  for (size_t at = 0; at < size;) {
    const size_t some = size - at < QS_READ ? size - at : QS_READ;
    const ssize_t got = read(file, to + at, some);
    if (got <= 0) return -1;
    at += (size_t)got;
  }
  return 0;
}

static int qs_check_weights(const char *path, const uint8_t *w) {
  const qs_head_line *head = (const void *)w;
  if (memcmp(head->magic, QS_MAGIC, sizeof head->magic)) return qs_fail("%s: not a file of weights; give the one that was built with this program", path);
  if (memcmp(head->stamp, QS_MODEL, QS_STAMP))
    return qs_fail("%s: weights of model %.16s, this is %.16s; give the file that was built with this program", path, head->stamp, QS_MODEL);
  if (head->bytes != QS_BYTES || head->check != qs_check_sum((const void *)(w + 64), (QS_BYTES - 64) / 8))
    return qs_fail("%s: damaged: its sum is not the one that it was written with; build it again", path);
  return 0;
}

/* The file in memory of huge pages: streams cross fewer of them. */
static int qs_load_weights(qs_lm *m, const char *path) {
  struct stat about;
  const int file = open(path, O_RDONLY);
  if (file < 0 || fstat(file, &about)) {
    if (file >= 0) close(file);
    return qs_fail("cannot read weights %s: %s", path, strerror(errno));
  }
  if ((uint64_t)about.st_size != QS_BYTES) {
    close(file);
    return qs_fail("%s: %lld bytes, where this model's weights have %lld; it is cut off or of another model", path, (long long)about.st_size, (long long)QS_BYTES);
  }
  m->mapped = (QS_BYTES + QS_HUGE - 1) / QS_HUGE * QS_HUGE + QS_HUGE;
  uint8_t *memory = mmap(NULL, m->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    m->mapped = 0;
    close(file);
    return qs_fail("no memory for %lld bytes of weights", (long long)QS_BYTES);
  }
  uint8_t *start = (uint8_t *)(((uintptr_t)memory + QS_HUGE - 1) / QS_HUGE * QS_HUGE);
  madvise(start, m->mapped - QS_HUGE, MADV_HUGEPAGE);
  m->memory = memory;
  m->weights = start;
  const int bad = qs_read_all(file, start, QS_BYTES);
  close(file);
  if (bad) return qs_fail("cannot read weights %s: %s", path, errno ? strerror(errno) : "it ends early");
  return qs_check_weights(path, start);
}

/* ---- the life of a model ---------------------------------------------------------------------------------------------------------- */

static void qs_close(qs_lm *m) {
  if (!m) return;
  if (m->threads > 1 && m->pool.process == getpid()) qs_stop(&m->pool, m->threads - 1);
  if (m->mapped) munmap(m->memory, m->mapped);
  free(m->kept);
  free(m);
}

static qs_lm *qs_open(const char *weights, int threads) {
  if (qs_check_cpu(qs_features, QS_FEATURES, QS_TARGET)) return NULL;
  if (threads < 1 || threads > QS_PARTS) {
    qs_fail("%d threads; this build has %d part%s, so give 1 to %d, or compile it for more", threads, QS_PARTS, QS_PARTS == 1 ? "" : "s", QS_PARTS);
    return NULL;
  }
  qs_lm *m = qs_allocate(sizeof *m);
  if (!m) {
    qs_fail("no memory for a model of %zu bytes", sizeof *m);
    return NULL;
  }
  memset(m, 0, sizeof *m);
  m->threads = m->pool.threads = threads;
  m->k = 1;
  m->inverse = 1 << QS_INVERSE_BITS;
  m->seed = 1;
  if (qs_load_weights(m, weights) || (threads > 1 && qs_start(&m->pool))) {
    m->threads = 1; /* no thread has started, or all have ended */
    qs_close(m);
    return NULL;
  }
  return m;
}

static int qs_advance(qs_lm *m, int32_t token, int head) {
  if (!m) return qs_fail("no model; create one first");
  if (token < 0 || token >= QS_V) return qs_fail("token %d is out of the vocabulary of %d", token, QS_V);
  m->token = token;
  m->head = head;
  m->ready = 0;
  if (m->threads > 1 && m->pool.process != getpid() && qs_start(&m->pool)) return -1;
  qs_current = &m->pool;
  const int bad = qs_launch(qs_token, m, m->threads);
  qs_current = NULL;
  m->ready = !bad && head;
  return bad;
}

/* A step that keeps every value of the graph. */
static int qs_traced(qs_lm *m, int32_t token) {
  if (!m) return qs_fail("no model; create one first");
  if (!m->kept && !(m->kept = calloc(1, sizeof *m->kept))) return qs_fail("no memory for the values of a token, %zu bytes", sizeof *m->kept);
  m->trace = m->kept;
  const int bad = qs_advance(m, token, 1);
  m->trace = NULL;
  for (int k = 0; !bad && k < QS_V; ++k) {
    const int64_t y = qs_rounded(m->sums[k] * m->factor, qs_head.shift);
    m->kept->head_value[k] = QS_CLAMP(y, -2147483648LL, 2147483647LL);
  }
  return bad;
}

/* ---- the next token --------------------------------------------------------------------------------------------------------------- */

static int qs_before(qs_candidate a, qs_candidate b) { return a.sum > b.sum || (a.sum == b.sum && a.token < b.token); }

/* The k best of all parts; how many there are. */
static int qs_candidates(const qs_lm *m, qs_candidate best[QS_MOST_K]) {
  int at[QS_PARTS] = {0}, count = 0;
  while (count < m->k) {
    int from = -1;
    for (int p = 0; p < QS_PARTS; ++p) {
      if (at[p] == m->k || m->partial[p].best[at[p]].token < 0) continue;
      if (from < 0 || qs_before(m->partial[p].best[at[p]], m->partial[from].best[at[from]])) from = p;
    }
    if (from < 0) break;
    best[count++] = m->partial[from].best[at[from]++];
  }
  return count;
}

static int64_t qs_weight(const qs_lm *m, int32_t behind) {
  const int64_t d = qs_rounded(behind * m->factor, qs_head.shift + QS_GATE - QS_NAT_BITS), near_ = d < (1LL << 32) ? d : 1LL << 32;
  const int64_t x = qs_rounded(near_ * m->inverse, QS_INVERSE_BITS), at = x < 65535 ? x : 65535;
  return qs_rounded((int64_t)qs_coarse[at >> 8] * qs_exact[at & 255], QS_EXP_BITS);
}

/* A token by the sampler, or -1. */
static int32_t qs_next(qs_lm *m) {
  if (!m || !m->ready) return qs_fail("no sums to draw from; step with a token and its head first");
  qs_candidate best[QS_MOST_K];
  const int count = qs_candidates(m, best);
  if (m->k == 1) return best[0].token;
  int64_t mass[QS_MOST_K], sum = 0;
  for (int i = 0; i < count; ++i) mass[i] = sum += qs_weight(m, best[0].sum - best[i].sum);
  m->seed ^= m->seed << 13;
  m->seed ^= m->seed >> 17;
  m->seed ^= m->seed << 5;
  const int64_t drawn = (int64_t)((uint64_t)m->seed * (uint64_t)sum >> 32);
  int i = 0;
  while (mass[i] <= drawn) ++i;
  return best[i].token;
}

static int qs_sampler(qs_lm *m, int k, int inverse, uint32_t seed) {
  if (!m) return qs_fail("no model; create one first");
  if (k < 1 || k > QS_MOST_K) return qs_fail("top-k of %d: take 1 (greedy) to %d", k, QS_MOST_K);
  if (k > QS_V) return qs_fail("top-k of %d from a vocabulary of %d; take at most that", k, QS_V);
  if (inverse < 0 || inverse > 65535) return qs_fail("1 / temperature of %d / 256: take 0 to 65535 of 1 / 256", inverse);
  if (!seed) return qs_fail("seed 0: take 1 to 4294967295; xorshift stays at 0");
  m->k = k;
  m->inverse = inverse;
  m->seed = seed;
  m->ready = 0; /* candidates are kept for the sampler of the step */
  return 0;
}

static int qs_generate(qs_lm *m, const int32_t *prompt, size_t n, int32_t *out, size_t count) {
  if (!n || !count) return qs_fail("%zu tokens after a prompt of %zu; give at least one of each", count, n);
  for (size_t i = 0; i < n; ++i)
    if (qs_advance(m, prompt[i], i + 1 == n)) return -1;
  for (size_t i = 0; i < count; ++i) {
    out[i] = qs_next(m);
    if (out[i] < 0 || (i + 1 < count && qs_advance(m, out[i], 1))) return -1;
  }
  return 0;
}

/* ---- text ------------------------------------------------------------------------------------------------------------------------- */

static const char *qs_piece(const qs_lm *m, int32_t token, size_t *length) {
  const uint32_t *ends = (const uint32_t *)(const void *)(m->weights + QS_PIECES_AT);
  const uint32_t begin = token ? ends[token - 1] : 0;
  *length = ends[token] - begin;
  return (const char *)(m->weights + QS_PIECES_AT + 4 * (size_t)QS_V) + begin;
}

/* Tokens of a text: the longest piece that fits, from left to right; how many, or -1. */
static ptrdiff_t qs_encode(const qs_lm *m, const char *text, int32_t *out, size_t room) {
  if (!QS_HAS_TEXT) return qs_fail("this model has no vocabulary; give its tokens as numbers");
  size_t count = 0;
  for (const char *at = text; *at;) {
    size_t longest = 0;
    int32_t found = -1;
    for (int32_t t = 0; t < QS_V; ++t) {
      size_t n;
      const char *piece = qs_piece(m, t, &n);
      if (n > longest && !strncmp(at, piece, n)) longest = n, found = t;
    }
    if (found < 0) {
      int bytes = 1;
      while ((at[bytes] & 0xC0) == 0x80) ++bytes;
      return qs_fail("letter '%.*s' at byte %zu is not in the vocabulary of %d pieces", bytes, at, (size_t)(at - text), QS_V);
    }
    if (count < room) out[count] = found;
    ++count;
    at += longest;
  }
  return (ptrdiff_t)count;
}

/* ---- values and states -------------------------------------------------------------------------------------------------------------- */

/* A value of the last traced step by its name in the graph: how many integers it has, or -1. */
static ptrdiff_t qs_value(const qs_lm *m, const char *name, int64_t *out, size_t room) {
  if (!m || !m->kept) return qs_fail("no values were kept; trace a token first");
  const char *at = name;
  size_t base = 0;
  const qs_field *fields = qs_fields;
  if (!strncmp(name, "layers.", 7)) {
    char *end;
    const long layer = strtol(name + 7, &end, 10);
    const int attn = !strncmp(end, ".attn.", 6), mlp = !strncmp(end, ".mlp.", 5);
    if (layer < 0 || layer >= QS_L || !(attn || mlp)) return qs_fail("no value is called '%s'", name);
    base = offsetof(qs_trace, layers) + (size_t)layer * sizeof(qs_layer_trace) + (attn ? 0 : offsetof(qs_layer_trace, mlp));
    fields = attn ? qs_attn_fields : qs_mlp_fields;
    at = end + (attn ? 6 : 5);
  }
  for (; fields->name; ++fields) {
    if (strcmp(fields->name, at)) continue;
    const int64_t *from = (const void *)((const char *)m->kept + base + fields->at);
    for (size_t i = 0; i < fields->size && i < room; ++i) out[i] = from[i];
    return (ptrdiff_t)fields->size;
  }
  return qs_fail("no value is called '%s'", name);
}

static void qs_reset(qs_lm *m) {
  memset(m->state, 0, sizeof m->state);
  m->ready = 0;
}

typedef struct { char model[QS_STAMP]; int32_t k, inverse; uint32_t seed, rest; int32_t state[QS_L][QS_H]; } qs_saved;

static void qs_save(const qs_lm *m, void *to) {
  qs_saved *s = to;
  memcpy(s->model, QS_MODEL, QS_STAMP);
  s->k = m->k, s->inverse = m->inverse, s->seed = m->seed, s->rest = 0;
  memcpy(s->state, m->state, sizeof s->state);
}

static int qs_restore(qs_lm *m, const void *from) {
  const qs_saved *s = from;
  if (memcmp(s->model, QS_MODEL, QS_STAMP)) return qs_fail("a state of model %.16s, this is %.16s; restore one that this model saved", s->model, QS_MODEL);
  if (qs_sampler(m, s->k, s->inverse, s->seed)) return -1;
  memcpy(m->state, s->state, sizeof m->state);
  return 0;
}
