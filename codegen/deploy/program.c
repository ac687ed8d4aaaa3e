/* The standalone program of a model: INPUT... OUTPUT, files of integers as .npy or, under any other name, as raw values in C order.
 *
 * Included behind runtime.c and a model's tables.  Source of the format: NumPy's numpy.lib.format, versions 1 to 3.
 */
#include <errno.h>

typedef struct { uint8_t *bytes; size_t size, at, samples; char kind; int width; } qs_file;

static int qs_ends(const char *text, const char *end) {
  const size_t n = strlen(text), m = strlen(end);
  return n >= m && !strcmp(text + n - m, end);
}

static int qs_read(const char *path, qs_file *f) {
  FILE *in = fopen(path, "rb");
  if (!in) return qs_fail("cannot read %s: %s", path, strerror(errno));
  size_t room = 0;
  f->size = 0;
  for (;;) {
    if (f->size == room) {
      uint8_t *more = realloc(f->bytes, room = room ? 2 * room : 1 << 16);
      if (!more) { fclose(in); return qs_fail("%s: no memory for it", path); }
      f->bytes = more;
    }
    const size_t got = fread(f->bytes + f->size, 1, room - f->size, in);
    if (!got) break;
    f->size += got;
  }
  const int bad = ferror(in);
  fclose(in);
  return bad ? qs_fail("cannot read %s: %s", path, strerror(errno)) : 0;
}

static void qs_print_shape(char *text, size_t room, const qs_tensor *t) {
  size_t used = (size_t)snprintf(text, room, "(N");
  for (int i = 0; i < t->ndim && used < room; ++i) used += (size_t)snprintf(text + used, room - used, ", %lld", (long long)t->shape[i]);
  if (used < room) snprintf(text + used, room - used, ")");
}

/* The value behind 'key': in a .npy header, a Python literal of a dict. */
static const char *qs_entry_of(const char *header, const char *key) {
  const char *at = strstr(header, key);
  at = at ? strchr(at + strlen(key), ':') : NULL;
  return at ? at + 1 + strspn(at + 1, " ") : "";
}

static int qs_parse_npy(const char *path, qs_file *f, const qs_tensor *t) {
  char wanted[256], header[1024];
  if (f->size < 10 || memcmp(f->bytes, "\x93NUMPY", 6)) return qs_fail("%s: not a .npy file", path);
  const int wide = f->bytes[6] > 1;
  const size_t length = f->bytes[8] | (size_t)f->bytes[9] << 8 | (wide && f->size > 11 ? (size_t)f->bytes[10] << 16 | (size_t)f->bytes[11] << 24 : 0);
  f->at = (wide ? 12u : 10u) + length;
  if (f->at > f->size || length >= sizeof header) return qs_fail("%s: not a .npy file, or cut off", path);
  for (size_t i = 0; i < length; ++i) { /* messages quote it */
    const char c = (char)f->bytes[f->at - length + i];
    header[i] = c < ' ' || c > '~' ? ' ' : c;
  }
  header[length] = 0;
  const char *type = qs_entry_of(header, "'descr'"), *order = qs_entry_of(header, "'fortran_order'"), *shape = qs_entry_of(header, "'shape'");
  const char end = type[0] ? type[1] : 0;
  f->kind = end ? type[2] : 0;
  f->width = f->kind ? type[3] - '0' : 0;
  if (type[0] != '\'' || (end != '<' && end != '|') || (f->kind != 'i' && f->kind != 'u') || (f->width != 1 && f->width != 2 && f->width != 4 && f->width != 8) || type[4] != '\'')
    return qs_fail("%s: values of type %.*s, where integers are needed (%s, input '%s')", path, (int)strcspn(type, ","), type, t->dtype, t->name);
  if (strncmp(order, "False", 5)) return qs_fail("%s: in Fortran order; write it in C order (numpy.ascontiguousarray)", path);
  qs_print_shape(wanted, sizeof wanted, t);
  int64_t sizes[16];
  int ndim = 0;
  char *at = (char *)(uintptr_t)shape + (*shape == '(');
  while (ndim < 16 && *at >= '0' && *at <= '9') {
    sizes[ndim++] = strtoll(at, &at, 10);
    at += strspn(at, ", ");
  }
  int same = ndim == t->ndim + 1 && *at == ')';
  for (int i = 0; same && i < t->ndim; ++i) same = sizes[i + 1] == t->shape[i];
  if (!same) return qs_fail("%s: shape %.*s), where input '%s' takes %s", path, (int)strcspn(shape, ")"), shape, t->name, wanted);
  f->samples = (size_t)sizes[0];
  const size_t sample = t->size * (size_t)f->width;
  if ((f->size - f->at) % sample || (f->size - f->at) / sample != f->samples) return qs_fail("%s: cut off, or longer than its header says", path);
  return 0;
}

static int qs_parse_raw(const char *path, qs_file *f, const qs_tensor *t) {
  const size_t sample = t->size * (size_t)t->bits / 8;
  *f = (qs_file){f->bytes, f->size, 0, f->size / sample, t->code ? 'u' : 'i', t->bits / 8};
  return f->size % sample ? qs_fail("%s: %zu bytes; one sample of input '%s' takes %zu", path, f->size, t->name, sample) : 0;
}

static int64_t qs_value(const uint8_t *p, char kind, int width) {
  uint64_t v = 0;
  for (int i = 0; i < width; ++i) v |= (uint64_t)p[i] << 8 * i;
  if (kind == 'i' && width < 8 && v >> (8 * width - 1)) v |= ~(uint64_t)0 << 8 * width;
  return (int64_t)v;
}

/* The values in the type of the input, in place of what was read. */
static int qs_convert(const char *path, qs_file *f, const qs_tensor *t) {
  const int width = t->bits / 8;
  const size_t count = f->samples * t->size;
  uint8_t *out = malloc(count * (size_t)width + 1);
  if (!out) return qs_fail("%s: no memory for it", path);
  for (size_t i = 0; i < count; ++i) {
    const int64_t v = qs_value(f->bytes + f->at + i * (size_t)f->width, f->kind, f->width);
    if (v < t->lo || v > t->hi || (v < 0 && f->kind == 'u')) {
      free(out);
      return qs_fail("%s: input '%s' takes integers in [%lld, %lld], got %lld at place %zu of sample %zu", path, t->name, (long long)t->lo, (long long)t->hi,
                     (long long)v, i % t->size, i / t->size);
    }
    for (int b = 0; b < width; ++b) out[i * (size_t)width + (size_t)b] = (uint8_t)((uint64_t)v >> 8 * b);
  }
  free(f->bytes);
  f->bytes = out;
  return 0;
}

static int qs_write(const char *path, const qs_tensor *t, const uint8_t *y, size_t n) {
  char shape[256], header[512], part[4096];
  size_t used = (size_t)snprintf(shape, sizeof shape, "(%zu,", n);
  for (int i = 0; i < t->ndim && used < sizeof shape; ++i)
    used += (size_t)snprintf(shape + used, sizeof shape - used, i + 1 < t->ndim ? " %lld," : " %lld", (long long)t->shape[i]);
  const int length = snprintf(header, sizeof header, "{'descr': '%s%c%d', 'fortran_order': False, 'shape': %s), }", t->bits == 8 ? "|" : "<",
                              t->code ? 'u' : 'i', t->bits / 8, shape);
  const int padded = (10 + length + 1 + 63) / 64 * 64 - 10; /* values start at a multiple of 64 */
  if ((size_t)snprintf(part, sizeof part, "%s.part", path) >= sizeof part) return qs_fail("cannot write %s: the name is too long", path);
  FILE *out = fopen(part, "wb");
  if (!out) return qs_fail("cannot write %s: %s", path, strerror(errno));
  if (qs_ends(path, ".npy")) fprintf(out, "\x93NUMPY%c%c%c%c%-*s\n", 1, 0, padded & 255, padded >> 8, padded - 1, header);
  fwrite(y, (size_t)t->bits / 8, n * t->size, out);
  const int bad = ferror(out) | fclose(out);
  if (bad || rename(part, path)) {
    qs_fail("cannot write %s: %s", path, strerror(errno));
    remove(part);
    return -1;
  }
  return 0;
}

static int qs_load_inputs(const qs_graph *g, char **paths, qs_file *files) {
  for (int i = 0; i < g->input_count; ++i) {
    const qs_tensor *t = &g->inputs[i];
    if (qs_read(paths[i], &files[i])) return -1;
    if (qs_ends(paths[i], ".npy") ? qs_parse_npy(paths[i], &files[i], t) : qs_parse_raw(paths[i], &files[i], t)) return -1;
    if (files[i].samples != files[0].samples) return qs_fail("%s: %zu samples, where %s has %zu", paths[i], files[i].samples, paths[0], files[0].samples);
    if (qs_convert(paths[i], &files[i], t)) return -1;
  }
  return 0;
}

static int qs_compute(const qs_graph *g, int threads, qs_file *files, const char *output) {
  const void *xs[QS_MAX_INPUTS];
  const size_t n = files[0].samples;
  for (int i = 0; i < g->input_count; ++i) xs[i] = files[i].bytes;
  uint8_t *y = malloc(n * g->output->size * (size_t)g->output->bits / 8 + 1);
  if (!y) return qs_fail("no memory for the output of %zu samples", n);
  qs_model *m = qs_create(g, threads);
  const int bad = !m || qs_run(m, xs, y, n) || qs_write(output, g->output, y, n);
  qs_destroy(m);
  free(y);
  return bad ? -1 : 0;
}

static int qs_usage(const qs_graph *g, const char *program) {
  fprintf(stderr, "usage: %s [--threads N]", program);
  for (int i = 0; i < g->input_count; ++i) fprintf(stderr, " %s", g->inputs[i].name);
  fprintf(stderr, " OUTPUT   (files: .npy, or raw values under any other name)\n");
  return 2;
}

static int qs_main(const qs_graph *g, int argc, char **argv) {
  qs_file files[QS_MAX_INPUTS] = {{0}};
  char **paths = argv + 1, *end = NULL;
  long threads = 1;
  if (argc > 2 && !strcmp(paths[0], "--threads")) {
    threads = strtol(paths[1], &end, 10);
    if (*end || end == paths[1] || threads < 0 || threads > QS_MAX_THREADS) return qs_usage(g, argv[0]);
    paths += 2;
  }
  if (argv + argc - paths != g->input_count + 1) return qs_usage(g, argv[0]);
  const int bad = qs_load_inputs(g, paths, files) || qs_compute(g, (int)threads, files, paths[g->input_count]);
  if (bad) fprintf(stderr, "%s\n", qs_text);
  for (int i = 0; i < g->input_count; ++i) free(files[i].bytes);
  return bad ? 1 : 0;
}
