/* Runs one compiled graph: what its code expects of a runtime, threads, and checks before it runs.
 *
 * The generated source of a model includes this file and adds its tables (see codegen/deploy/source.py).  C11 and libc; POSIX threads
 * unless QS_NO_THREADS.  Nothing here prints, exits or leaves memory behind: an error is a return value and a line of text.
 * The calling convention of the code is that of TVM FFI 0.1 (tvm/ffi/c_api.h, dlpack.h, tvm/runtime/c_backend_api.h).
 */
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if !defined(QS_NO_THREADS)
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>
#define QS_THREAD_LOCAL _Thread_local
#else
#define QS_THREAD_LOCAL
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

enum { QS_ALIGN = 64, QS_MAX_THREADS = 256, QS_MAX_INPUTS = 16, QS_INT = 1, QS_TENSOR = 7, QS_CPU = 1 };

typedef struct { int32_t type; uint32_t zero; union { int64_t i; void *p; } v; } qs_any;
typedef struct {
  void *data;
  int32_t device, device_id, ndim;
  uint8_t code, bits;
  uint16_t lanes;
  int64_t *shape, *strides;
  uint64_t offset;
} qs_view;
typedef struct { void *sync; int32_t tasks; } qs_group;
typedef int (*qs_task)(int id, qs_group *group, void *data);

/* An input or the output: `size` integers for each sample, each within lo..hi; code 0 is signed, 1 unsigned. */
typedef struct { const char *name, *dtype; int code, bits, ndim; const int64_t *shape; size_t size; int64_t lo, hi; } qs_tensor;
/* An instruction set that the code uses, and where the CPU says that it has it; `saved`: the bits of XCR0 that go with it. */
typedef struct { const char *name; uint32_t leaf, subleaf; int reg, bit; uint64_t saved; } qs_feature;

static QS_THREAD_LOCAL char qs_text[512];

static int qs_fail(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(qs_text, sizeof qs_text, format, args);
  va_end(args);
  return -1;
}

/* ---- does this CPU have it -------------------------------------------------------------------------------------------------- */

static int qs_has(const qs_feature *f) {
#if defined(__x86_64__)
  uint32_t r[4] = {0, 0, 0, 0}, low = 0, high = 0;
  if (!__get_cpuid_count(f->leaf, f->subleaf, &r[0], &r[1], &r[2], &r[3]) || !(r[f->reg] >> f->bit & 1)) return 0;
  if (!f->saved) return 1;
  uint32_t a, b, c, d;
  __cpuid(1, a, b, c, d);
  if (!(c >> 27 & 1)) return 0; /* no XGETBV: the system saves none of it */
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & f->saved) == f->saved;
#elif defined(__aarch64__) && defined(__linux__)
  return getauxval(f->leaf) >> f->bit & 1;
#else
  (void)f;
  return 1;
#endif
}

static int qs_check_cpu(const qs_feature *features, size_t count, const char *target) {
  for (size_t i = 0; i < count; ++i)
    if (!qs_has(&features[i])) return qs_fail("built for %s: this CPU, or its system, lacks %s; compile the graph for this machine", target, features[i].name);
  return 0;
}

/* ---- are the values within the proven interval -------------------------------------------------------------------------------- */

#define QS_OUTSIDE(T)                                                              \
  static size_t qs_outside_##T(const T *x, size_t n, T lo, T hi) {                 \
    unsigned bad = 0;                                                              \
    for (size_t i = 0; i < n; ++i) bad |= (unsigned)((x[i] < lo) | (x[i] > hi));   \
    if (!bad) return n;                                                            \
    size_t i = 0;                                                                  \
    while (x[i] >= lo && x[i] <= hi) ++i;                                          \
    return i;                                                                      \
  }
QS_OUTSIDE(int8_t)
QS_OUTSIDE(uint8_t)
QS_OUTSIDE(int16_t)
QS_OUTSIDE(uint16_t)
QS_OUTSIDE(int32_t)
QS_OUTSIDE(int64_t)

#define QS_CASE(T)                                                    \
  {                                                                   \
    const T *v = x;                                                   \
    const size_t at = qs_outside_##T(v, n, (T)t->lo, (T)t->hi);       \
    return at == n ? 0                                                \
                   : qs_fail("input '%s' takes integers in [%lld, %lld], got %lld at place %zu of sample %zu", t->name, (long long)t->lo, \
                             (long long)t->hi, (long long)v[at], at % t->size, at / t->size);                                             \
  }

static int qs_check_values(const qs_tensor *t, const void *x, size_t n) {
  const int64_t lowest = t->code ? 0 : t->bits == 64 ? INT64_MIN : -((int64_t)1 << (t->bits - 1));
  const int64_t highest = t->code ? ((int64_t)1 << t->bits) - 1 : t->bits == 64 ? INT64_MAX : ((int64_t)1 << (t->bits - 1)) - 1;
  if (t->lo == lowest && t->hi == highest) return 0;
  switch (t->bits + t->code) {
    case 8: QS_CASE(int8_t)
    case 9: QS_CASE(uint8_t)
    case 16: QS_CASE(int16_t)
    case 17: QS_CASE(uint16_t)
    case 32: QS_CASE(int32_t)
    default: QS_CASE(int64_t)
  }
}

/* ---- threads: each waits awake for a while, then asleep ------------------------------------------------------------------------- */

#if !defined(QS_NO_THREADS)
typedef struct {
  int threads, spins;
  pid_t process; /* a forked child has no workers */
  pthread_t ids[QS_MAX_THREADS];
  pthread_mutex_t lock;
  pthread_cond_t wake, done;
  atomic_uint epoch, phase;                      /* rises with every launch; with every barrier */
  atomic_int asleep, awaited, pending, arrived, failed, quit;
  qs_task task;
  void *data;
  qs_group group;
  char text[sizeof qs_text];                     /* of the task that failed first */
} qs_pool;
typedef struct { qs_pool *pool; int id; } qs_seat;

static QS_THREAD_LOCAL qs_pool *qs_current;

static void qs_relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void qs_do_task(qs_pool *p, int id) {
  if (!p->task(id, &p->group, p->data)) return;
  pthread_mutex_lock(&p->lock);
  if (!p->failed) memcpy(p->text, qs_text, sizeof qs_text);
  p->failed = 1;
  pthread_mutex_unlock(&p->lock);
}

static unsigned qs_next_epoch(qs_pool *p, unsigned seen) {
  for (int i = 0; i < p->spins; ++i, qs_relax())
    if (p->epoch != seen) return p->epoch;
  pthread_mutex_lock(&p->lock);
  ++p->asleep; /* before epoch is read: qs_launch writes epoch first and reads asleep then */
  while (p->epoch == seen) pthread_cond_wait(&p->wake, &p->lock);
  --p->asleep;
  pthread_mutex_unlock(&p->lock);
  return p->epoch;
}

static void *qs_worker(void *seat) {
  qs_pool *p = ((qs_seat *)seat)->pool;
  const int id = ((qs_seat *)seat)->id;
  free(seat);
  for (unsigned seen = 0;;) {
    seen = qs_next_epoch(p, seen);
    if (p->quit) return NULL;
    qs_current = p;
    qs_do_task(p, id);
    if (--p->pending == 0 && p->awaited) {
      pthread_mutex_lock(&p->lock);
      pthread_cond_signal(&p->done);
      pthread_mutex_unlock(&p->lock);
    }
  }
}

static void qs_new_epoch(qs_pool *p) {
  ++p->epoch;
  if (!p->asleep) return;
  pthread_mutex_lock(&p->lock);
  pthread_cond_broadcast(&p->wake);
  pthread_mutex_unlock(&p->lock);
}

static void qs_await_workers(qs_pool *p) {
  for (int i = 0; i < p->spins; ++i, qs_relax())
    if (!p->pending) return;
  pthread_mutex_lock(&p->lock);
  p->awaited = 1;
  while (p->pending) pthread_cond_wait(&p->done, &p->lock);
  p->awaited = 0;
  pthread_mutex_unlock(&p->lock);
}

static int qs_launch(qs_task task, void *data, int tasks) {
  qs_pool *p = qs_current;
  qs_group alone = {NULL, 1};
  (void)tasks; /* as many as there are threads: that is what barriers need */
  if (!p || p->threads == 1) return task(0, &alone, data);
  p->task = task;
  p->data = data;
  p->group = (qs_group){p, p->threads};
  p->failed = p->arrived = 0;
  p->pending = p->threads - 1;
  qs_new_epoch(p);
  qs_do_task(p, 0);
  qs_await_workers(p);
  if (p->failed) memcpy(qs_text, p->text, sizeof qs_text);
  return p->failed ? -1 : 0;
}

static int qs_barrier(int id, qs_group *group) {
  qs_pool *p = group->sync;
  (void)id;
  if (!p) return 0;
  const unsigned phase = p->phase;
  if (++p->arrived == group->tasks) {
    p->arrived = 0;
    ++p->phase;
    return 0;
  }
  for (int i = 0; p->phase == phase; ++i) {
    if (p->failed) return -1; /* a task that failed never arrives */
    if (i < p->spins) qs_relax();
    else sched_yield();
  }
  return 0;
}

static void qs_stop(qs_pool *p, int workers) {
  p->quit = 1;
  qs_new_epoch(p);
  for (int i = 0; i < workers; ++i) pthread_join(p->ids[i], NULL);
}

static int qs_cpus(void) {
  cpu_set_t allowed;
  return sched_getaffinity(0, sizeof allowed, &allowed) ? 1 : CPU_COUNT(&allowed);
}

/* No thread is bound to a CPU: the caller's would have to be as well, or it can land on a worker's CPU, where both wait for each other awake
 * (12 layers that took 55 us on two threads took 700 us then).
 */
static int qs_start(qs_pool *p) {
  p->epoch = p->phase = 0;
  p->asleep = p->awaited = p->pending = p->quit = 0;
  p->spins = p->threads <= qs_cpus() ? 1 << 14 : 0; /* some 0.3 ms: to be woken takes 0.05 ms and more */
  pthread_mutex_init(&p->lock, NULL);
  pthread_cond_init(&p->wake, NULL);
  pthread_cond_init(&p->done, NULL);
  for (int i = 0; i < p->threads - 1; ++i) {
    qs_seat *seat = malloc(sizeof *seat);
    if (seat) *seat = (qs_seat){p, i + 1};
    if (!seat || pthread_create(&p->ids[i], NULL, qs_worker, seat)) {
      free(seat);
      qs_stop(p, i);
      return qs_fail("cannot start thread %d of %d; ask for fewer", i + 1, p->threads);
    }
  }
  p->process = getpid();
  return 0;
}

#else
static int qs_cpus(void) { return 1; }

#if !defined(QS_PORTABLE)
static int qs_launch(qs_task task, void *data, int tasks) {
  qs_group alone = {NULL, 1};
  (void)tasks;
  return task(0, &alone, data);
}

static int qs_barrier(int id, qs_group *group) {
  (void)id, (void)group;
  return 0;
}
#endif
#endif

/* ---- what the compiled code calls, under the names that source.py gives them ------------------------------------------------- */

static void *qs_allocate(size_t bytes) { return aligned_alloc(QS_ALIGN, (bytes + QS_ALIGN) / QS_ALIGN * QS_ALIGN); }

#if !defined(QS_PORTABLE) /* C code of a graph calls none of these */
static void *qs_workspace(int device, int id, uint64_t bytes, int code, int bits) {
  (void)device, (void)id, (void)code, (void)bits;
  return qs_allocate(bytes);
}

static int qs_free_workspace(int device, int id, void *p) {
  (void)device, (void)id;
  free(p);
  return 0;
}

int (*QS_LAUNCH)(qs_task, void *, int) = qs_launch;
int (*QS_BARRIER)(int, qs_group *) = qs_barrier;
void *(*QS_ALLOC)(int, int, uint64_t, int, int) = qs_workspace;
int (*QS_FREE)(int, int, void *) = qs_free_workspace;

void QS_RAISE(const char *kind, const char **parts, int32_t count) {
  size_t used = 0;
  (void)kind;
  for (int32_t i = 0; i < count; ++i)
    for (const char *c = parts[i] ? parts[i] : ""; *c && used + 1 < sizeof qs_text; ++c) {
      const int blank = *c == '\n' || *c == ' '; /* one line, whatever the parts are */
      if (!blank || (used && qs_text[used - 1] != ' ')) qs_text[used++] = blank ? ' ' : *c;
    }
  qs_text[used] = 0;
}
#endif

/* ---- a model: a graph, its weights, and memory to run it in --------------------------------------------------------------------- */

typedef int (*qs_entry)(void *self, const qs_any *args, int32_t count, qs_any *result);
typedef struct {
  const char *name, *target, *stamp; /* stamp: what stands behind the right weights */
  qs_entry entry;
  const qs_tensor *inputs, *output;
  int input_count;
  const qs_feature *features;
  size_t feature_count;
  const uint8_t *weights, *weights_end;
  size_t weight_bytes, workspace_bytes; /* workspace of one thread */
} qs_graph;

typedef struct {
  const qs_graph *graph;
  void *workspace;
  uint8_t *stage; /* aligned copies of a group of samples */
  size_t stage_bytes;
  int threads;
#if !defined(QS_NO_THREADS)
  atomic_flag busy;
  qs_pool pool;
#endif
} qs_model;

static void qs_destroy(qs_model *m) {
  if (!m) return;
#if !defined(QS_NO_THREADS)
  if (m->threads > 1 && m->pool.process == getpid()) qs_stop(&m->pool, m->threads - 1);
#endif
  free(m->stage);
  free(m->workspace);
  free(m);
}

static qs_model *qs_create(const qs_graph *g, int threads) {
  if (qs_check_cpu(g->features, g->feature_count, g->target)) return NULL;
  if ((size_t)(g->weights_end - g->weights) != g->weight_bytes || memcmp(g->weights_end, g->stamp, strlen(g->stamp))) {
    qs_fail("%s: linked with weights that are not those of its code; build it again", g->name);
    return NULL;
  }
  if (threads < 0 || threads > QS_MAX_THREADS) {
    qs_fail("%s: %d threads; give 1 to %d, or 0 for one on each CPU", g->name, threads, QS_MAX_THREADS);
    return NULL;
  }
  const int cpus = qs_cpus();
  qs_model *m = calloc(1, sizeof *m);
  if (m) *m = (qs_model){.graph = g, .threads = threads ? threads : cpus < QS_MAX_THREADS ? cpus : QS_MAX_THREADS};
#if defined(QS_NO_THREADS)
  if (m) m->threads = 1;
#endif
  if (!m || !(m->workspace = qs_allocate(g->workspace_bytes * (size_t)m->threads))) {
    qs_fail("%s: no memory for %zu bytes of workspace", g->name, g->workspace_bytes * (size_t)(m ? m->threads : 1));
    free(m);
    return NULL;
  }
#if !defined(QS_NO_THREADS)
  m->pool.threads = m->threads;
  if (m->threads > 1 && qs_start(&m->pool)) {
    free(m->workspace);
    free(m);
    return NULL;
  }
#endif
  return m;
}

static qs_view qs_flat(void *data, int code, int bits, int64_t *shape) {
  static int64_t stride = 1;
  return (qs_view){data, QS_CPU, 0, 1, (uint8_t)code, (uint8_t)bits, 1, shape, &stride, 0};
}

/* One call of the compiled code, on n samples from the pointers on. */
static int qs_call(qs_model *m, const uint8_t *const *xs, uint8_t *y, size_t n) {
  const qs_graph *g = m->graph;
  qs_view views[QS_MAX_INPUTS + 3];
  int64_t shapes[QS_MAX_INPUTS + 3];
  qs_any args[QS_MAX_INPUTS + 5], result = {0, 0, {0}};
  int count = 0;
  for (; count < g->input_count; ++count) {
    shapes[count] = (int64_t)(n * g->inputs[count].size);
    views[count] = qs_flat((void *)(uintptr_t)xs[count], g->inputs[count].code, g->inputs[count].bits, &shapes[count]);
  }
  shapes[count] = (int64_t)(n * g->output->size);
  views[count] = qs_flat(y, g->output->code, g->output->bits, &shapes[count]);
  ++count;
  shapes[count] = (int64_t)g->weight_bytes;
  views[count] = qs_flat((void *)(uintptr_t)g->weights, 1, 8, &shapes[count]);
  ++count;
  shapes[count] = (int64_t)(g->workspace_bytes * (size_t)m->threads);
  views[count] = qs_flat(m->workspace, 1, 8, &shapes[count]);
  ++count;
  for (int i = 0; i < count; ++i) args[i] = (qs_any){QS_TENSOR, 0, {.p = &views[i]}};
  args[count++] = (qs_any){QS_INT, 0, {.i = (int64_t)n}};
  args[count++] = (qs_any){QS_INT, 0, {.i = m->threads}};
  return g->entry(NULL, args, count, &result) ? -1 : 0;
}

static size_t qs_bytes(const qs_tensor *t, size_t n) { return n * t->size * (size_t)t->bits / 8; }

static size_t qs_padded(const qs_tensor *t, size_t n) { return (qs_bytes(t, n) + QS_ALIGN - 1) / QS_ALIGN * QS_ALIGN; }

static int qs_check(const qs_graph *g, const void *const *xs, const void *y, size_t n) {
  for (int i = 0; i < g->input_count; ++i) {
    if (!xs[i]) return qs_fail("%s: no values for input '%s'", g->name, g->inputs[i].name);
    if (n > SIZE_MAX / 4 / qs_bytes(&g->inputs[i], 1)) return qs_fail("%s: %zu samples are more than memory can hold", g->name, n);
    if (qs_check_values(&g->inputs[i], xs[i], n * g->inputs[i].size)) return -1;
  }
  return y ? 0 : qs_fail("%s: nowhere to write the output", g->name);
}

/* The code takes arrays at multiples of QS_ALIGN: others go through `stage`, a group of samples at a time. */
static int qs_run_staged(qs_model *m, const void *const *xs, void *y, size_t n, size_t group) {
  const qs_graph *g = m->graph;
  size_t room = qs_padded(g->output, group);
  for (int i = 0; i < g->input_count; ++i) room += qs_padded(&g->inputs[i], group);
  if (room > m->stage_bytes) {
    free(m->stage);
    m->stage = qs_allocate(room);
    m->stage_bytes = m->stage ? room : 0;
    if (!m->stage) return qs_fail("%s: no memory for %zu bytes of samples", g->name, room);
  }
  for (size_t at = 0; at < n; at += group) {
    const uint8_t *from[QS_MAX_INPUTS];
    const size_t count = n - at < group ? n - at : group;
    uint8_t *place = m->stage;
    for (int i = 0; i < g->input_count; ++i) {
      from[i] = memcpy(place, (const uint8_t *)xs[i] + qs_bytes(&g->inputs[i], at), qs_bytes(&g->inputs[i], count));
      place += qs_padded(&g->inputs[i], group);
    }
    if (qs_call(m, from, place, count)) return -1;
    memcpy((uint8_t *)y + qs_bytes(g->output, at), place, qs_bytes(g->output, count));
  }
  return 0;
}

static int qs_run_all(qs_model *m, const void *const *xs, void *y, size_t n) {
  const qs_graph *g = m->graph;
  if (qs_check(g, xs, y, n)) return -1;
  size_t widest = qs_bytes(g->output, 1);
  uintptr_t places = (uintptr_t)y;
  for (int i = 0; i < g->input_count; ++i) {
    widest = qs_bytes(&g->inputs[i], 1) > widest ? qs_bytes(&g->inputs[i], 1) : widest;
    places |= (uintptr_t)xs[i];
  }
  /* The code counts samples times threads in 32 bits.  Groups but the last are a multiple of QS_ALIGN samples where they can be: all start aligned. */
  size_t group = INT32_MAX / widest / (size_t)m->threads;
  group = group >= QS_ALIGN ? group / QS_ALIGN * QS_ALIGN : 1;
  if (places % QS_ALIGN || (group < n && group < QS_ALIGN)) {
    const size_t some = (1 << 20) / widest + (size_t)m->threads;
    group = group < some ? group : some;
    return qs_run_staged(m, xs, y, n, group < n ? group : n);
  }
  for (size_t at = 0; at < n; at += group) {
    const uint8_t *from[QS_MAX_INPUTS];
    for (int i = 0; i < g->input_count; ++i) from[i] = (const uint8_t *)xs[i] + qs_bytes(&g->inputs[i], at);
    if (qs_call(m, from, (uint8_t *)y + qs_bytes(g->output, at), n - at < group ? n - at : group)) return -1;
  }
  return 0;
}

static int qs_run(qs_model *m, const void *const *xs, void *y, size_t n) {
  if (!m) return qs_fail("no model to run; create one first");
  if (!n) return 0;
#if !defined(QS_NO_THREADS)
  if (atomic_flag_test_and_set(&m->busy)) return qs_fail("%s: this model runs in another thread; create one for each thread", m->graph->name);
  int bad = m->threads > 1 && m->pool.process != getpid() && qs_start(&m->pool);
  qs_current = &m->pool;
  bad = bad || qs_run_all(m, xs, y, n);
  qs_current = NULL;
  atomic_flag_clear(&m->busy);
  return bad ? -1 : 0;
#else
  return qs_run_all(m, xs, y, n);
#endif
}
