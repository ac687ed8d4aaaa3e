"""The C source of one language model: its numbers, its tables, its header."""
from ir.lm import Program
from ir.lm.sample import COARSE, FINE
from ir.lm.words import ROOT, SHARE

from ..deploy.source import HOOKS, symbol
from . import values
from .bounds import curve_word
from .kernels import shapes
from .layout import PROJECTIONS, Sections, embedding_word

CALL = "void *self, const qs_any *args, int32_t count, qs_any *result"


def header(name: str, p: Program, s: Sections, model: str) -> str:
    """NAME.h: the public face, for C and C++."""
    upper, n = name.upper(), s.layout
    return f"""/* {name}: a MatMul-free language model in integers, compiled by qsearch; model {model}.
 * It is {n.dim} wide and has {n.layers} layers and {n.tokens} tokens.
 *
 *   {name} *m = {name}_create("{name}.weights", 1);
 *   if (!m || {name}_generate(m, prompt, prompt_length, tokens, count)) puts({name}_error());
 *   {name}_destroy(m);
 *
 * A function that fails gives -1 or NULL, and {name}_error() a line; nothing prints or ends the process.  A model is used by one thread at a time.
 */
#ifndef QSEARCH_{upper}_H
#define QSEARCH_{upper}_H

#include <stddef.h>
#include <stdint.h>

#define {upper}_TOKENS {n.tokens}
#define {upper}_THREADS {n.parts}  /* at most */

#if defined(__GNUC__)
#define {upper}_API __attribute__((visibility("default")))
#else
#define {upper}_API
#endif
#ifdef __cplusplus
extern "C" {{
#endif

typedef struct {name} {name};

/* Reads the file of weights, which was built with this library, into memory. */
{upper}_API {name} *{name}_create(const char *weights, int threads);

/* k candidates (1: the likeliest, nothing is drawn), 256 / temperature, and the state of xorshift32. */
{upper}_API int {name}_sampler({name} *m, int k, int inverse_temperature, uint32_t seed);

/* One token; wanted: whether a token is to be drawn behind it (not within a prompt). */
{upper}_API int {name}_step({name} *m, int32_t token, int wanted);

/* The next token, by the sampler, or -1.  It is not stepped with. */
{upper}_API int32_t {name}_next({name} *m);

/* Steps with a prompt and then with all that is drawn, but for the last. */
{upper}_API int {name}_generate({name} *m, const int32_t *prompt, size_t n, int32_t *tokens, size_t count);

/* Tokens of a text (UTF-8, ends with 0): how many there are, of which up to `room` are written; or -1. */
{upper}_API ptrdiff_t {name}_encode(const {name} *m, const char *text, int32_t *tokens, size_t room);

/* The text of a token and its bytes, without a 0 at its end; NULL if the model has no vocabulary. */
{upper}_API const char *{name}_piece(const {name} *m, int32_t token, size_t *bytes);

/* As at the beginning of a text; what a text was (the states and the sampler) can be saved and restored. */
{upper}_API void {name}_reset({name} *m);
{upper}_API size_t {name}_state_bytes(void);
{upper}_API void {name}_save(const {name} *m, void *state);
{upper}_API int {name}_restore({name} *m, const void *state);

/* A step that keeps every value of the model's graph, and one of them by its name there: how many integers it has, or -1. */
{upper}_API int {name}_trace({name} *m, int32_t token);
{upper}_API ptrdiff_t {name}_value(const {name} *m, const char *value, int64_t *out, size_t room);

/* The bytes of packed weights that a token reads (a benchmark compares with plain reading). */
{upper}_API const void *{name}_weights(const {name} *m, size_t *bytes);

/* What went wrong last in this thread. */
{upper}_API const char *{name}_error(void);

{upper}_API void {name}_destroy({name} *m);

#ifdef __cplusplus
}}
#endif
#endif
"""


def source(name: str, p: Program, s: Sections, model: str, target: str, features: dict[str, tuple]) -> str:
    """NAME.c: the model's numbers in front of the engine; main() is hidden in the library and left out of it."""
    hooks = "".join(f"#define QS_{new.upper()} {symbol(name, old)}\n" for old, new in HOOKS.items())
    needs = "".join(f'  {{"{f}", {leaf}u, {sub}u, {reg}, {bit}, {saved}u}},\n' for f, (leaf, sub, reg, bit, saved) in features.items())
    return f"""{hooks}#include "{name}.h"
#include "runtime.c"

{_numbers(name, p, s, model, target, len(features))}
typedef {embedding_word(p)}_t qs_embedding;
typedef {curve_word(p)}_t qs_wide;
typedef struct {{ int64_t num; int shift; }} qs_scale;
typedef struct {{ qs_scale f, i, o, gate, down; int product, square, eps_shift, glu_product; int64_t eps_mul, eps_num; }} qs_layer;

static const qs_feature qs_features[] = {{
{needs}  {{"", 0, 0, 0, 0, 0}}
}};
static const qs_layer qs_layers[QS_L] = {{
{"".join(f"  {_layer(layer)},{chr(10)}" for layer in p.layers)}}};
static const qs_scale qs_head = {_scale(p.head)};
static const int32_t qs_coarse[] = {{{", ".join(map(str, COARSE))}}};
static const int32_t qs_exact[] = {{{", ".join(map(str, FINE))}}};

{values.structures()}
#include "glue.c"
{_curve("qs_sigmoid", p.sigmoid, s, 0)}{_curve("qs_silu", p.silu, s, 1)}
{_parts(name, s)}

#include "engine.c"
#include "api.c"

{_face(name)}
#include "program.c"
"""


def _numbers(name: str, p: Program, s: Sections, model: str, target: str, features: int) -> str:
    w, n = p.words, s.layout
    table = {"NAME_TEXT": f'"{name}"', "TARGET": f'"{target}"', "MODEL": f'"{model}"', "MAGIC": '"qslm-w1"', "FEATURES": features,
             "POINTER": 4, "H": n.dim, "I": n.hidden, "L": n.layers, "V": n.tokens, "PARTS": n.parts,
             "VECTOR": f"{w.vector}.", "TOP": w.top, "SHARE": f"INT64_C({1 << SHARE})", "ROOT_SHIFT": 2 * ROOT,
             "FACTOR_MAX": (1 << w.factor_bits) - 1, "GATE": w.gate, "GATE_LO": f"{w.gates[0]}.", "GATE_HI": f"{w.gates[1]}.",
             "ONE": f"{1 << w.sigmoid}.", "FINE": f"{1 << w.state - w.gate}.",
             "RESIDUAL_LO": w.residuals[0], "RESIDUAL_HI": w.residuals[1], "PIECES": s.pieces, "PIECE_BITS": w.piece_bits,
             "DOWN_UNITS": s.down_units, "HAS_TEXT": int(bool(p.vocab)),
             "NARROW_CURVES": int(curve_word(p) == "int32"), "BYTES": f"UINT64_C({s.at['end']})",
             "LAYER_GAINS": s.gains["end"], "WEIGHTS_AT": s.at["stream0"],
             **{f"{k.upper()}_AT": s.at[k] for k in ("gains", "embeddings", "head_unit", "head_gain")}, "PIECES_AT": s.at["text"],
             **{f"AT_{k.upper()}": at for k, at in s.gains.items()}}
    return "".join(f"#define QS_{k} {v}\n" for k, v in table.items())


def _scale(q) -> str: return f"{{INT64_C({q.num}), {q.shift}}}"


def _layer(layer) -> str:
    a, m = layer.attn, layer.mlp
    scales = ", ".join(map(_scale, (a.f, a.i, a.o, m.gate, m.down)))
    return f"{{{scales}, {a.product}, {a.square}, {a.eps_shift}, {m.product}, INT64_C({a.eps_mul}), INT64_C({m.eps_num})}}"


def _curve(name: str, c, s: Sections, place: int) -> str:
    at = s.at["curves"] + 2 * place * 4 * s.pieces
    return f"#define {name}(m) ((qs_curve){{qs_lines(m, {at}), {c.shift}, {c.lo}, {c.hi}}})\n"


def _parts(name: str, s: Sections) -> str:
    n, functions = s.layout, shapes(s.layout)
    declared = "".join(f"extern int {symbol(name, f'__tvm_ffi_{f}')}({CALL});\n" for f in functions.values())
    rows = []
    for part in range(n.parts):
        matrices = []
        for place, projection in zip(n.places(part), PROJECTIONS):
            begin, end = n.rows(part, projection)
            function = symbol(name, f"__tvm_ffi_{functions[end - begin, n.columns(projection)]}") if end > begin else "NULL"
            matrices.append(f"{{{function}, {-(-(end - begin) // n.format.rows)}, {place}u}}")
        owned = ", ".join("{" + ", ".join(map(str, n.rows(part, k))) + "}" for k in ("g", "u", "head"))
        rows.append(f"  {{{owned}, {s.at[f'stream{part}']}u, {n.layer_bytes(part)}u, {{{', '.join(matrices)}}}}},\n")
    return f"{declared}static const qs_part qs_parts[QS_PARTS] = {{\n{''.join(rows)}}};"


def _face(n: str) -> str:
    """The public functions."""
    return f"""{n} *{n}_create(const char *weights, int threads) {{ return ({n} *)qs_open(weights, threads); }}
int {n}_sampler({n} *m, int k, int inverse, uint32_t seed) {{ return qs_sampler((qs_lm *)m, k, inverse, seed); }}
int {n}_step({n} *m, int32_t token, int wanted) {{ return qs_advance((qs_lm *)m, token, wanted); }}
int32_t {n}_next({n} *m) {{ return qs_next((qs_lm *)m); }}
int {n}_generate({n} *m, const int32_t *prompt, size_t n, int32_t *tokens, size_t count) {{
  return qs_generate((qs_lm *)m, prompt, n, tokens, count);
}}
ptrdiff_t {n}_encode(const {n} *m, const char *text, int32_t *tokens, size_t room) {{ return qs_encode((const qs_lm *)m, text, tokens, room); }}
const char *{n}_piece(const {n} *m, int32_t token, size_t *bytes) {{
  return QS_HAS_TEXT && token >= 0 && token < QS_V ? qs_piece((const qs_lm *)m, token, bytes) : NULL;
}}
void {n}_reset({n} *m) {{ qs_reset((qs_lm *)m); }}
size_t {n}_state_bytes(void) {{ return sizeof(qs_saved); }}
void {n}_save(const {n} *m, void *state) {{ qs_save((const qs_lm *)m, state); }}
int {n}_restore({n} *m, const void *state) {{ return qs_restore((qs_lm *)m, state); }}
int {n}_trace({n} *m, int32_t token) {{ return qs_traced((qs_lm *)m, token); }}
ptrdiff_t {n}_value(const {n} *m, const char *value, int64_t *out, size_t room) {{ return qs_value((const qs_lm *)m, value, out, room); }}
const void *{n}_weights(const {n} *m, size_t *bytes) {{
  *bytes = QS_BYTES - QS_WEIGHTS_AT;
  return ((const qs_lm *)m)->weights + QS_WEIGHTS_AT;
}}
const char *{n}_error(void) {{ return qs_text; }}
void {n}_destroy({n} *m) {{ qs_close((qs_lm *)m); }}
"""
