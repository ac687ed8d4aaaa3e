/* The command-line program of a language model: text in, text out as it comes, tokens a second at the end. */
#include <time.h>

enum { QS_LONGEST_PATH = 4096 };

typedef struct { const char *prompt, *weights; long count, k, threads; double temperature; long long seed; int numbers; } qs_options;

static double qs_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int qs_help(const char *program) {
  fprintf(stderr, "usage: %s PROMPT [-n TOKENS] [--top-k K] [--temperature T] [--seed S] [--threads N] [--weights FILE] [--numbers]\n"
                  "  PROMPT     text, or with --numbers (and for a model without a vocabulary) tokens: \"3 1 4\"\n", program);
  return 2;
}

static int qs_whole(const char *text, const char *what, long long least, long long most, long long *out) {
  char *end;
  *out = strtoll(text, &end, 10);
  if (*end || end == text || *out < least || *out > most) return qs_fail("%s %s: give a whole number from %lld to %lld", what, text, least, most);
  return 0;
}

/* 0, -1 with a line, or 2 for wrong usage. */
static int qs_parse(int argc, char **argv, qs_options *o) {
  for (int i = 1; i < argc; ++i) {
    const char *a = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
    long long whole = 0;
    if (!strcmp(a, "--numbers")) { o->numbers = 1; continue; }
    if (a[0] != '-' || (a[1] >= '0' && a[1] <= '9') || !a[1] || !o->prompt) {
      if (o->prompt) return 2;
      o->prompt = a;
      continue;
    }
    if (!value) return 2;
    ++i;
    if (!strcmp(a, "-n")) { if (qs_whole(value, a, 1, 1LL << 40, &whole)) return -1; o->count = (long)whole; }
    else if (!strcmp(a, "--top-k")) { if (qs_whole(value, a, 1, QS_MOST_K, &whole)) return -1; o->k = (long)whole; }
    else if (!strcmp(a, "--threads")) { if (qs_whole(value, a, 1, QS_PARTS, &whole)) return -1; o->threads = (long)whole; }
    else if (!strcmp(a, "--seed")) { if (qs_whole(value, a, 1, 4294967295LL, &whole)) return -1; o->seed = whole; }
    else if (!strcmp(a, "--weights")) o->weights = value;
    else if (!strcmp(a, "--temperature")) {
      char *end;
      o->temperature = strtod(value, &end);
      if (*end || end == value || !(o->temperature > 0)) return qs_fail("temperature %s: give a positive one, or top-k 1 for the likeliest token", value);
    } else return 2;
  }
  return o->prompt ? 0 : 2;
}

/* Beside the program, unless it was named. */
static const char *qs_weights_path(const char *given, char path[QS_LONGEST_PATH]) {
  if (given) return given;
  const ssize_t n = readlink("/proc/self/exe", path, QS_LONGEST_PATH - 1);
  path[n > 0 ? n : 0] = 0;
  char *slash = strrchr(path, '/');
  slash = slash ? slash + 1 : path;
  snprintf(slash, (size_t)(path + QS_LONGEST_PATH - slash), "%s.weights", QS_NAME_TEXT);
  return path;
}

static ptrdiff_t qs_parse_numbers(const char *text, int32_t *out, size_t room) {
  size_t count = 0;
  for (const char *at = text; *(at += strspn(at, " ,\t\n"));) {
    char *end;
    const long token = strtol(at, &end, 10);
    if (end == at || token < 0 || token >= QS_V) return qs_fail("prompt '%s': give tokens from 0 to %d with spaces between", text, QS_V - 1);
    if (count < room) out[count] = (int32_t)token;
    ++count;
    at = end;
  }
  return (ptrdiff_t)count;
}

static void qs_print(const qs_lm *m, int32_t token, int numbers) {
  size_t n;
  if (numbers) printf("%d ", token);
  else {
    const char *piece = qs_piece(m, token, &n);
    fwrite(piece, 1, n, stdout);
  }
  fflush(stdout);
}

static int qs_speak(qs_lm *m, const qs_options *o, const int32_t *prompt, size_t n, int numbers) {
  const double begin = qs_now();
  for (size_t i = 0; i < n; ++i) {
    if (qs_advance(m, prompt[i], i + 1 == n)) return -1;
    qs_print(m, prompt[i], numbers);
  }
  const double first = qs_now();
  for (long i = 0; i < o->count; ++i) {
    const int32_t token = qs_next(m);
    if (token < 0) return -1;
    qs_print(m, token, numbers);
    if (i + 1 < o->count && qs_advance(m, token, 1)) return -1;
  }
  const double end = qs_now();
  putchar('\n');
  fprintf(stderr, "prompt: %zu tokens, %.1f tokens/s", n, (double)n / (first - begin));
  if (o->count > 1) fprintf(stderr, "; text: %ld tokens, %.1f tokens/s", o->count, (double)(o->count - 1) / (end - first));
  fprintf(stderr, " on %d thread%s\n", m->threads, m->threads > 1 ? "s" : "");
  return 0;
}

static int qs_run_program(const qs_options *o) {
  char path[QS_LONGEST_PATH];
  const double inverse = nearbyint((1 << QS_INVERSE_BITS) / o->temperature);
  const int numbers = o->numbers || !QS_HAS_TEXT;
  if (inverse > 65535) return qs_fail("temperature %g: take one above %g, or top-k 1 for the likeliest token", o->temperature, 256. / 65535);
  qs_lm *m = qs_open(qs_weights_path(o->weights, path), (int)o->threads);
  if (!m) return -1;
  const size_t room = strlen(o->prompt) + 1;
  int32_t *prompt = malloc(room * sizeof *prompt);
  const ptrdiff_t n = !prompt ? qs_fail("no memory for the prompt")
                      : numbers ? qs_parse_numbers(o->prompt, prompt, room) : qs_encode(m, o->prompt, prompt, room);
  int bad = n < 0 || qs_sampler(m, (int)o->k, (int)inverse, (uint32_t)o->seed);
  if (!n) bad = qs_fail("an empty prompt; give at least one token to begin with");
  bad = bad || qs_speak(m, o, prompt, (size_t)n, numbers);
  free(prompt);
  qs_close(m);
  return bad ? -1 : 0;
}

int main(int argc, char **argv) {
  qs_options o = {.count = 100, .k = 1, .threads = 1, .temperature = 1, .seed = 1};
  const int bad = qs_parse(argc, argv, &o);
  if (bad == 2) return qs_help(argv[0]);
  if (!bad && !qs_run_program(&o)) return 0;
  fprintf(stderr, "%s\n", qs_text);
  return 1;
}
