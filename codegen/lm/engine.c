/* One token through the model: what each thread does with its parts of the rows, and where it waits for the others.
 *
 * A part owns rows of every projection and all that follows from them, up to the vectors of the next projection and their largest
 * magnitudes; codes are what crosses, so there are two barriers for each group of projections that share a norm. */

enum { QS_MOST_K = 64, QS_TOPS = 4, QS_WIDE = QS_H > QS_I ? QS_H : QS_I };

typedef struct { int32_t sum, token; } qs_candidate;
typedef struct {
  int32_t top[QS_TOPS];
  int64_t sum, squares;
  qs_candidate best[QS_MOST_K];
  char apart[64]; /* from what another thread writes */
} qs_partial;

static void qs_keep(int64_t *to, const int32_t *x, int at, int n) { for (int k = 0; to && k < n; ++k) to[at + k] = x[at + k]; }
static void qs_keep_bytes(int64_t *to, const int8_t *x, int at, int n) { for (int k = 0; to && k < n; ++k) to[at + k] = x[at + k]; }
#define QS_KEEP(t, field, x, r) qs_keep((t) ? (t)->field : NULL, x, (r).begin, (r).end - (r).begin)
#define QS_NOTE(t, field, x) ((t) && !id ? (void)((t)->field[0] = (x)) : (void)0)

typedef struct {
  _Alignas(64) int32_t h[QS_H], vector[QS_TOPS][QS_WIDE], acc[3][QS_WIDE], x[3][QS_WIDE], state[QS_L][QS_H], sums[QS_V];
  _Alignas(64) int8_t codes[3][QS_WIDE];
  qs_partial partial[QS_PARTS];
  const uint8_t *weights;
  void *memory;
  size_t mapped;
  qs_trace *trace, *kept;  /* trace: kept while a traced step runs, else NULL */
  int32_t token, head, k, inverse, threads, ready;  /* head: whether this token's is wanted; ready: whether there are sums to draw from */
  uint32_t seed;
  int64_t factor;  /* of the head */
  qs_pool pool;
} qs_lm;

#define QS_EACH(p) for (int p = id; p < QS_PARTS; p += group->tasks)
#define QS_SIZE(r) ((r).end - (r).begin)

static const float *qs_floats(const qs_lm *m, size_t at) { return (const float *)(const void *)(m->weights + at); }
static const qs_line *qs_lines(const qs_lm *m, size_t at) { return (const qs_line *)(const void *)(m->weights + at); }

/* Asks for what is read soon, into the second cache: gains and states of what follows a product, which takes longer than they need to come. */
static void qs_fetch(const void *from, size_t bytes) {
  for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch((const char *)from + at, 0, 2);
}

static void qs_fetch_gains(const qs_lm *m, int layer, size_t first, qs_rows r) {
  qs_fetch((const float *)(const void *)(m->weights + QS_GAINS_AT) + (size_t)layer * QS_LAYER_GAINS + first + r.begin, 4 * (size_t)(r.end - r.begin));
}
static const float *qs_gains(const qs_lm *m, int layer, size_t first) { return qs_floats(m, QS_GAINS_AT) + (size_t)layer * QS_LAYER_GAINS + first; }

/* The sums of a part's rows of a projection. */
static void qs_multiply(const qs_lm *m, const qs_part *p, int which, int layer, const int8_t *codes, int32_t *y) {
  const qs_matrix *a = &p->matrix[which];
  if (!a->panels) return;
  const uint8_t *w = m->weights + p->stream + (which == QS_HEAD ? 0 : (size_t)layer * p->layer_bytes) + a->at;
  const void *pointers[] = {codes, w, y};
  qs_any args[5], result = {0, 0, {0}};
  for (int i = 0; i < 3; ++i) args[i] = (qs_any){QS_POINTER, 0, {.p = (void *)(uintptr_t)pointers[i]}};
  args[3] = (qs_any){QS_INT, 0, {.i = 0}};
  args[4] = (qs_any){QS_INT, 0, {.i = a->panels}};
  a->run(NULL, args, 5, &result);
  const size_t end = which < QS_DOWN ? p->matrix[which + 1].at : p->layer_bytes;
  qs_coming = which == QS_HEAD ? NULL : (const char *)w + (end - a->at);  /* streams stand in the order in which they are read */
  qs_coming_end = which == QS_HEAD ? NULL : qs_coming + QS_AHEAD;
}

/* A vector behind gains, for codes (which 1 to 3) or for a norm (0); a part without rows leaves the least top there is. */
static void qs_behind(qs_lm *m, int p, const int32_t *x, qs_rows r, int which, const float *gain, int64_t *kept) {
  m->partial[p].top[which] = qs_gain(x + r.begin, gain + r.begin, m->vector[which] + r.begin, QS_SIZE(r));
  qs_keep(kept, m->vector[which], r.begin, QS_SIZE(r));
}

static void qs_all_tops(const qs_lm *m, int32_t top[QS_TOPS]) {
  for (int j = 0; j < QS_TOPS; ++j) {
    top[j] = 1;
    for (int p = 0; p < QS_PARTS; ++p) top[j] = m->partial[p].top[j] > top[j] ? m->partial[p].top[j] : top[j];
  }
}

/* The codes of vectors 1 to `count`, and the part's squares of vector 0's shares. */
static void qs_quantize(qs_lm *m, int p, qs_rows r, int count, const int32_t top[QS_TOPS], int64_t *const kept[3]) {
  for (int j = 0; j < count; ++j) {
    qs_codes(m->vector[j + 1] + r.begin, m->codes[j] + r.begin, QS_SIZE(r), top[j + 1]);
    qs_keep_bytes(kept[j], m->codes[j], r.begin, QS_SIZE(r));
  }
  m->partial[p].sum = qs_shares(m->vector[0] + r.begin, QS_SIZE(r), top[0]);
}

static int64_t qs_total(const qs_lm *m) {
  int64_t sum = 0;
  for (int p = 0; p < QS_PARTS; ++p) sum += m->partial[p].sum;
  return sum;
}

/* The share of a norm's further number, squared. */
static int64_t qs_share_of(int64_t eps, int32_t top) {
  const int64_t y = qs_ratio(eps * QS_SHARE, top);
  return y * y;
}

static void qs_to_attn(qs_lm *m, int p, int layer) {
  const qs_rows r = qs_parts[p].h;
  qs_attn_trace *t = m->trace ? &m->trace->layers[layer].attn : NULL;
  qs_behind(m, p, m->h, r, 0, qs_gains(m, layer, QS_AT_ATTN_UNIT), t ? t->norm_u : NULL);
  qs_behind(m, p, m->h, r, 1, qs_gains(m, layer, QS_AT_G), t ? t->g_in : NULL);
  qs_behind(m, p, m->h, r, 2, qs_gains(m, layer, QS_AT_F), t ? t->f_in : NULL);
  qs_behind(m, p, m->h, r, 3, qs_gains(m, layer, QS_AT_I), t ? t->i_in : NULL);
}

static void qs_to_head(qs_lm *m, int p) {
  const qs_rows r = qs_parts[p].h;
  qs_behind(m, p, m->h, r, 0, qs_floats(m, QS_HEAD_UNIT_AT), m->trace ? m->trace->norm_u : NULL);
  qs_behind(m, p, m->h, r, 1, qs_floats(m, QS_HEAD_GAIN_AT), m->trace ? m->trace->head_in : NULL);
}

/* From the codes of g, f and i to the vectors of o. */
static void qs_mix(qs_lm *m, int part, int layer, double f_scale, double i_scale) {
  const qs_part *p = &qs_parts[part];
  const qs_layer *c = &qs_layers[layer];
  const qs_rows r = p->h;
  const int a = r.begin, n = QS_SIZE(r);
  qs_attn_trace *t = m->trace ? &m->trace->layers[layer].attn : NULL;
  int32_t *g = m->acc[0] + a, *f = m->acc[1] + a, *i = m->acc[2] + a, *x = m->x[0] + a, *y = m->x[1] + a, *z = m->x[2] + a;
  int32_t *state = m->state[layer] + a;
  qs_fetch_gains(m, layer, QS_AT_LOWER, r), qs_fetch_gains(m, layer, QS_AT_O_UNIT, r), qs_fetch_gains(m, layer, QS_AT_O, r);
  qs_fetch(state, 4 * (size_t)n);
  for (int j = 0; j < 3; ++j) qs_multiply(m, p, QS_G + j, layer, m->codes[j], m->acc[j] + a);
  QS_KEEP(t, g, m->acc[0], r), QS_KEEP(t, f, m->acc[1], r), QS_KEEP(t, i, m->acc[2], r);
  qs_scaled(f, x, n, f_scale, QS_GATE_LO, QS_GATE_HI), QS_KEEP(t, f_value, m->x[0], r);
  qs_curved(&qs_sigmoid(m), x, y, n), QS_KEEP(t, f_sigmoid, m->x[1], r);
  qs_forget(y, qs_gains(m, layer, QS_AT_LOWER) + a, f, n), QS_KEEP(t, forget, m->acc[1], r);
  qs_scaled(i, x, n, i_scale, QS_GATE_LO, QS_GATE_HI), QS_KEEP(t, i_value, m->x[0], r);
  qs_curved(&qs_silu(m), x, y, n), QS_KEEP(t, i_silu, m->x[1], r);
  qs_recur(f, y, state, n), QS_KEEP(t, state, m->state[layer], r);
  qs_scaled(state, x, n, 1 / QS_FINE, QS_GATE_LO, QS_GATE_HI), QS_KEEP(t, state_gate, m->x[0], r);
  qs_curved(&qs_silu(m), x, y, n), QS_KEEP(t, state_silu, m->x[1], r);
  qs_product(g, y, z, n, qs_step(c->product)), QS_KEEP(t, gated, m->x[2], r);
  m->partial[part].squares = qs_squares(g, n, qs_step(c->square));
  qs_behind(m, part, m->x[2], r, 0, qs_gains(m, layer, QS_AT_O_UNIT), t ? t->gated_norm_u : NULL);
  qs_behind(m, part, m->x[2], r, 1, qs_gains(m, layer, QS_AT_O), t ? t->o_in : NULL);
}

/* From the codes of o, or of down, to the residual. */
static void qs_to_residual(qs_lm *m, int part, int which, int layer, double scale, int64_t *sums, int64_t *value, int64_t *residual) {
  const qs_part *p = &qs_parts[part];
  const int a = p->h.begin, n = QS_SIZE(p->h);
  qs_multiply(m, p, which, layer, m->codes[0], m->acc[0] + a);
  qs_keep(sums, m->acc[0], a, n);
  qs_scaled(m->acc[0] + a, m->x[0] + a, n, scale, QS_RESIDUAL_LO, QS_RESIDUAL_HI);
  qs_keep(value, m->x[0], a, n);
  qs_add(m->h + a, m->x[0] + a, n);
  qs_keep(residual, m->h, a, n);
}

/* From the codes of gate to the vectors of down. */
static void qs_glu(qs_lm *m, int part, int layer, double scale) {
  const qs_part *p = &qs_parts[part];
  const qs_rows r = p->i;
  const int a = r.begin, n = QS_SIZE(r);
  qs_mlp_trace *t = m->trace ? &m->trace->layers[layer].mlp : NULL;
  int32_t *u = m->acc[0] + a, *v = m->acc[1] + a, *x = m->x[0] + a, *z = m->x[1] + a;
  qs_fetch_gains(m, layer, QS_AT_DOWN, r);
  if (QS_DOWN_UNITS > 1) qs_fetch_gains(m, layer, QS_AT_DOWN_UNIT, r);
  qs_multiply(m, p, QS_U, layer, m->codes[0], u);
  qs_multiply(m, p, QS_V_, layer, m->codes[0], v);
  QS_KEEP(t, gate, m->acc[0], r), qs_keep(t ? t->gate + QS_I : NULL, m->acc[1], a, n);
  qs_scaled(u, x, n, scale, QS_GATE_LO, QS_GATE_HI), QS_KEEP(t, gate_value, m->x[0], r);
  qs_curved(&qs_silu(m), x, u, n), QS_KEEP(t, silu, m->acc[0], r);
  qs_product(u, v, z, n, qs_step(qs_layers[layer].glu_product)), QS_KEEP(t, gated, m->x[1], r);
  const float *unit = qs_gains(m, layer, QS_AT_DOWN_UNIT);
  m->partial[part].top[0] = QS_DOWN_UNITS == 1 ? qs_one_gain(z, unit[0], m->vector[0] + a, n) : qs_gain(z, unit + a, m->vector[0] + a, n);
  QS_KEEP(t, gated_norm_u, m->vector[0], r);
  qs_behind(m, part, m->x[1], r, 1, qs_gains(m, layer, QS_AT_DOWN), t ? t->down_in : NULL);
}

/* The mixer of a layer, from vectors to the residual: 4 barriers. */
static int qs_attn(int id, qs_group *group, qs_lm *m, int layer) {
  const qs_layer *c = &qs_layers[layer];
  qs_attn_trace *t = m->trace ? &m->trace->layers[layer].attn : NULL;
  int64_t *const kept[3] = {t ? t->g_codes : NULL, t ? t->f_codes : NULL, t ? t->i_codes : NULL}, *const kept_o[3] = {t ? t->o_codes : NULL};
  int32_t top[QS_TOPS];
  if (qs_barrier(id, group)) return -1;
  qs_all_tops(m, top);
  QS_EACH(p) qs_quantize(m, p, qs_parts[p].h, 3, top, kept);
  if (qs_barrier(id, group)) return -1;
  int64_t root = qs_norm_root(qs_total(m));
  const int64_t f = qs_factor(&c->f, top[2], top[0], root), i = qs_factor(&c->i, top[3], top[0], root);
  QS_NOTE(t, norm_top, top[0]), QS_NOTE(t, norm_root, root), QS_NOTE(t, f_factor, f), QS_NOTE(t, i_factor, i);
  QS_NOTE(t, g_top, top[1]), QS_NOTE(t, f_top, top[2]), QS_NOTE(t, i_top, top[3]);
  QS_EACH(p) qs_mix(m, p, layer, (double)f * qs_step(c->f.shift), (double)i * qs_step(c->i.shift));
  if (qs_barrier(id, group)) return -1;
  int64_t squares = 0;
  for (int p = 0; p < QS_PARTS; ++p) squares += m->partial[p].squares;
  const int64_t whole = qs_rounded(qs_root(squares) * c->eps_mul, c->eps_shift), eps = QS_CLAMP(whole, 0, (int64_t)QS_VECTOR);
  QS_NOTE(t, squares, squares), QS_NOTE(t, g_root, qs_root(squares)), QS_NOTE(t, eps, eps);
  qs_all_tops(m, top);
  top[0] = eps > top[0] ? (int32_t)eps : top[0];
  QS_EACH(p) qs_quantize(m, p, qs_parts[p].h, 1, top, kept_o);
  if (qs_barrier(id, group)) return -1;
  root = qs_norm_root(qs_total(m) + qs_share_of(eps, top[0]));
  const int64_t o = qs_factor(&c->o, top[1], top[0], root);
  QS_NOTE(t, gated_norm_top, top[0]), QS_NOTE(t, gated_norm_root, root), QS_NOTE(t, o_top, top[1]), QS_NOTE(t, o_factor, o);
  qs_mlp_trace *next = m->trace ? &m->trace->layers[layer].mlp : NULL;
  QS_EACH(p) {
    qs_fetch_gains(m, layer, QS_AT_MLP_UNIT, qs_parts[p].h), qs_fetch_gains(m, layer, QS_AT_GATE, qs_parts[p].h);
    qs_to_residual(m, p, QS_O, layer, (double)o * qs_step(c->o.shift), t ? t->o : NULL, t ? t->o_value : NULL, t ? t->residual : NULL);
    qs_behind(m, p, m->h, qs_parts[p].h, 0, qs_gains(m, layer, QS_AT_MLP_UNIT), next ? next->norm_u : NULL);
    qs_behind(m, p, m->h, qs_parts[p].h, 1, qs_gains(m, layer, QS_AT_GATE), next ? next->gate_in : NULL);
  }
  return 0;
}

/* The gated linear unit of a layer, up to the vectors of what follows: 4 barriers. */
static int qs_mlp(int id, qs_group *group, qs_lm *m, int layer) {
  const qs_layer *c = &qs_layers[layer];
  qs_mlp_trace *t = m->trace ? &m->trace->layers[layer].mlp : NULL;
  int64_t *const kept[3] = {t ? t->gate_codes : NULL}, *const kept_down[3] = {t ? t->down_codes : NULL};
  int32_t top[QS_TOPS];
  if (qs_barrier(id, group)) return -1;
  qs_all_tops(m, top);
  QS_EACH(p) qs_quantize(m, p, qs_parts[p].h, 1, top, kept);
  if (qs_barrier(id, group)) return -1;
  int64_t root = qs_norm_root(qs_total(m));
  const int64_t gate = qs_factor(&c->gate, top[1], top[0], root), ratio = qs_ratio(c->eps_num, gate), eps = QS_CLAMP(ratio, 0, (int64_t)QS_VECTOR);
  QS_NOTE(t, norm_top, top[0]), QS_NOTE(t, norm_root, root), QS_NOTE(t, gate_top, top[1]), QS_NOTE(t, gate_factor, gate), QS_NOTE(t, eps, eps);
  QS_EACH(p) qs_glu(m, p, layer, (double)gate * qs_step(c->gate.shift));
  if (qs_barrier(id, group)) return -1;
  qs_all_tops(m, top);
  top[0] = eps > top[0] ? (int32_t)eps : top[0];
  QS_EACH(p) qs_quantize(m, p, qs_parts[p].i, 1, top, kept_down);
  if (qs_barrier(id, group)) return -1;
  root = qs_norm_root(qs_total(m) + qs_share_of(eps, top[0]));
  const int64_t down = qs_factor(&c->down, top[1], top[0], root);
  QS_NOTE(t, gated_norm_top, top[0]), QS_NOTE(t, gated_norm_root, root), QS_NOTE(t, down_top, top[1]), QS_NOTE(t, down_factor, down);
  QS_EACH(p) {
    for (size_t at = 0; layer + 1 < QS_L && at < 4; ++at) qs_fetch_gains(m, layer + 1, at * (QS_AT_G - QS_AT_ATTN_UNIT), qs_parts[p].h);
    qs_to_residual(m, p, QS_DOWN, layer, (double)down * qs_step(c->down.shift), t ? t->down : NULL, t ? t->down_value : NULL, t ? t->residual : NULL);
    if (layer + 1 < QS_L) qs_to_attn(m, p, layer + 1);
    else if (m->head) qs_to_head(m, p);
  }
  return 0;
}

/* The k largest sums of a part, in falling order, equal ones in the order of their tokens. */
static void qs_best(const qs_lm *m, int part, qs_candidate *best) {
  const qs_rows r = qs_parts[part].v;
  int count = 0;
  if (m->k == 1 && QS_SIZE(r)) {
    const int32_t top = qs_largest(m->sums + r.begin, QS_SIZE(r));
    int at = r.begin;
    while (m->sums[at] != top) ++at;
    best[count++] = (qs_candidate){top, at};
  } else {
    for (int at = r.begin; at < r.end; ++at) {
      const int32_t sum = m->sums[at];
      if (count == m->k && sum <= best[count - 1].sum) continue;
      int place = count < m->k ? count++ : count - 1;
      for (; place && best[place - 1].sum < sum; --place) best[place] = best[place - 1];
      best[place] = (qs_candidate){sum, at};
    }
  }
  if (count < QS_MOST_K) best[count].token = -1;
}

static int qs_to_sums(int id, qs_group *group, qs_lm *m) {
  qs_trace *t = m->trace;
  int64_t *const kept[3] = {t ? t->head_codes : NULL};
  int32_t top[QS_TOPS];
  if (qs_barrier(id, group)) return -1;
  qs_all_tops(m, top);
  QS_EACH(p) qs_quantize(m, p, qs_parts[p].h, 1, top, kept);
  if (qs_barrier(id, group)) return -1;
  const int64_t root = qs_norm_root(qs_total(m)), factor = qs_factor(&qs_head, top[1], top[0], root);
  QS_NOTE(t, norm_top, top[0]), QS_NOTE(t, norm_root, root), QS_NOTE(t, head_top, top[1]), QS_NOTE(t, head_factor, factor);
  if (!id) m->factor = factor;
  QS_EACH(p) {
    qs_multiply(m, &qs_parts[p], QS_HEAD, 0, m->codes[0], m->sums + qs_parts[p].v.begin);
    QS_KEEP(t, head, m->sums, qs_parts[p].v);
    qs_best(m, p, m->partial[p].best);
  }
  return 0;
}

/* What one thread does for one token. */
static int qs_token(int id, qs_group *group, void *data) {
  qs_lm *m = data;
  const qs_embedding *row = (const qs_embedding *)(const void *)(m->weights + QS_EMBEDDINGS_AT) + (size_t)m->token * QS_H;
  QS_EACH(p) {
    for (int k = qs_parts[p].h.begin; k < qs_parts[p].h.end; ++k) m->h[k] = row[k];
    QS_KEEP(m->trace, embeddings, m->h, qs_parts[p].h);
    qs_to_attn(m, p, 0);
  }
  for (int layer = 0; layer < QS_L; ++layer)
    if (qs_attn(id, group, m, layer) || qs_mlp(id, group, m, layer)) return -1;
  return m->head ? qs_to_sums(id, group, m) : 0;
}
