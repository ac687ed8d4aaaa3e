"""The C sources that are written for one model: its header, its tables, and its weights as an assembler file."""
import keyword
import re
from math import prod

from ir import UserError

BITS = {"int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "int32": 32, "int64": 64}
C_WORDS = set("""auto break case char const continue default do double else enum extern float for goto if inline int long register restrict return
short signed sizeof static struct switch typedef union unsigned void volatile while asm main class new delete private public template this""".split())
HOOKS = {"__tvm_ffi_main": "entry", "TVMFFIErrorSetRaisedFromCStrParts": "raise", "__TVMBackendParallelLaunch": "launch",
         "__TVMBackendParallelBarrier": "barrier", "__TVMBackendAllocWorkspace": "alloc", "__TVMBackendFreeWorkspace": "free"}


def check_name(name: str) -> None:
    """UserError: not what a C program can call a model."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name) or name in C_WORDS or keyword.iskeyword(name):
        raise UserError(f"{name!r} cannot name a library: give a small letter, then small letters, digits and _, up to 40, and no word of C")


def symbol(name: str, old: str, defined: bool = True) -> str:
    """The name, in the library of model `name`, of what compiled code calls `old`: two models can be linked into one program.

    What it takes from libc (memset) keeps its name.
    """
    return f"{name}__{HOOKS.get(old, old.strip('_'))}" if defined or old in HOOKS else old


def parameters(manifest: dict) -> list[str]:
    """A name in C for each input."""
    taken, found = {"m", "y", "n"} | C_WORDS, []
    for i in manifest["inputs"]:
        word = re.sub(r"\W", "_", i["name"], flags=re.ASCII).lower()
        word = word if word[:1].isalpha() else f"x{word}"
        while word in taken:
            word += "_"
        taken.add(word)
        found.append(word)
    return found


def header(manifest: dict) -> str:
    """NAME.h: the public face, for C and C++."""
    name, inputs, output, upper = manifest["name"], manifest["inputs"], manifest["output"], manifest["name"].upper()
    words = parameters(manifest)
    constants = [line for w, t in [*zip(words, inputs), ("y", output)] for line in _constants(f"{upper}_{w.upper()}", t)]
    return f"""/* {name}: a network of integers compiled by qsearch for {manifest["machine"]} ({manifest["target"]}); graph {manifest["graph_hash"]}.
 *
 *   {name} *m = {name}_create(1);
 *   if (!m || {name}_run(m, {", ".join(words)}, y, n)) puts({name}_error());
 *   {name}_destroy(m);
 *
 * Arrays hold n samples in C order.
{"".join(f" * {_describe('input ' + t['name'], t)}{chr(10)}" for t in inputs)} * {_describe("output", output)}
 */
#ifndef QSEARCH_{upper}_H
#define QSEARCH_{upper}_H

#include <stddef.h>
#include <stdint.h>

{chr(10).join(constants)}

#if defined(__GNUC__)
#define {upper}_API __attribute__((visibility("default")))
#else
#define {upper}_API
#endif
#ifdef __cplusplus
extern "C" {{
#endif

typedef struct {name} {name};

/* A model that computes on `threads` threads (0: one for each CPU that the process may use; always 1 in lib{name}.a, which needs no threads).
 * NULL if this CPU lacks an instruction set that the code uses, or memory is short: {name}_error() says why. */
{upper}_API {name} *{name}_create(int threads);

/* y of n samples.  0, or -1 with a line in {name}_error(): a value outside its interval, a missing array, a model that runs in another thread. */
{upper}_API int {name}_run({arguments(manifest)});

/* What went wrong last in this thread. */
{upper}_API const char *{name}_error(void);

{upper}_API void {name}_destroy({name} *m);

#ifdef __cplusplus
}}
#endif
#endif
"""


def source(manifest: dict, features: dict[str, tuple]) -> str:
    """NAME.c: tables of the model behind runtime.c, and the public functions; with -DQS_PROGRAM also main()."""
    name = manifest["name"]
    names = "".join(f"#define QS_{new.upper()} {symbol(name, old)}\n" for old, new in HOOKS.items())
    return f"""{names}#include "{name}.h"
#include "runtime.c"

extern int QS_ENTRY(void *self, const qs_any *args, int32_t count, qs_any *result);
extern const uint8_t {name}__weights[], {name}__weights_end[];

{tables(manifest, features)}#ifdef QS_PROGRAM
#include "program.c"
int main(int argc, char **argv) {{ return qs_main(&qs_this, argc, argv); }}
#endif
"""


def tables(manifest: dict, features: dict[str, tuple]) -> str:
    """What runtime.c must know of the model, and its public functions."""
    name, inputs, output, words = manifest["name"], manifest["inputs"], manifest["output"], parameters(manifest)
    shapes = "".join(f"static const int64_t qs_shape{k}[] = {{{', '.join(map(str, [*t['shape'], 0]))}}};\n" for k, t in enumerate([*inputs, output]))
    table = "".join(f"  {_row(t, k)},\n" for k, t in enumerate(inputs))
    needs = "".join(f'  {{"{f}", {leaf}u, {sub}u, {reg}, {bit}, {saved}u}},\n' for f, (leaf, sub, reg, bit, saved) in features.items())
    return f"""{shapes}static const qs_tensor qs_inputs[] = {{
{table}}};
static const qs_tensor qs_output = {_row(output, len(inputs))};
static const qs_feature qs_features[] = {{
{needs}  {{"", 0, 0, 0, 0, 0}}
}};
static const qs_graph qs_this = {{
  "{name}", "{manifest['target']}", "{manifest['weights_hash']}", {symbol(name, "__tvm_ffi_main")}, qs_inputs, &qs_output, {len(inputs)},
  qs_features, {len(features)}, {name}__weights, {name}__weights_end, {manifest['sizes']['weights']}, {manifest['workspace']},
}};

{name} *{name}_create(int threads) {{ return ({name} *)qs_create(&qs_this, threads); }}
void {name}_destroy({name} *m) {{ qs_destroy((qs_model *)m); }}
const char *{name}_error(void) {{ return qs_text; }}

int {name}_run({arguments(manifest)}) {{
  const void *xs[] = {{{", ".join(words)}}};
  return qs_run((qs_model *)m, xs, y, n);
}}
"""


def arguments(manifest: dict) -> str:
    """Those of NAME_run."""
    inputs = [f"const {i['dtype']}_t *{w}" for w, i in zip(parameters(manifest), manifest["inputs"])]
    return ", ".join([f"{manifest['name']} *m", *inputs, f"{manifest['output']['dtype']}_t *y", "size_t n"])


def weights_source(manifest: dict) -> str:
    """NAME_weights.S: the file weights.bin in read-only memory at a multiple of 64, its hash behind it."""
    name = manifest["name"]
    symbols = "".join(f"  .globl {s}\n  .hidden {s}\n" for s in (f"{name}__weights", f"{name}__weights_end"))
    return f"""{symbols}  .section .rodata.{name}_weights,"a",%progbits
  .balign 64
{name}__weights:
  .incbin "weights.bin"
{name}__weights_end:
  .ascii "{manifest["weights_hash"]}"
  .section .note.GNU-stack,"",%progbits
"""


def _describe(what: str, t: dict) -> str:
    real = f"; real value {t['scale']!r} * (integer - {t['zero']})" if "scale" in t else ""
    name = re.sub(r"[^\w. :/-]", "_", what, flags=re.ASCII)
    return f"{name}: {t['dtype']} (n, {', '.join(map(str, t['shape']))}), integers in [{t['lo']}, {t['hi']}]{real}"


def _constants(prefix: str, t: dict) -> list[str]:
    limits = [f"#define {prefix}_SIZE {prod(t['shape'])}  /* of one sample */", f"#define {prefix}_LO {_number(t['lo'])}",
              f"#define {prefix}_HI {_number(t['hi'])}"]
    return limits + ([f"#define {prefix}_SCALE {t['scale']!r}", f"#define {prefix}_ZERO {t['zero']}"] if "scale" in t else [])


def _row(t: dict, k: int) -> str:
    name = re.sub(r"[^\w. :/-]", "_", t["name"], flags=re.ASCII)
    unsigned = int(t["dtype"].startswith("u"))
    return (f'{{"{name}", "{t["dtype"]}", {unsigned}, {BITS[t["dtype"]]}, {len(t["shape"])}, qs_shape{k}, {prod(t["shape"])}u, '
            f"{_number(t['lo'])}, {_number(t['hi'])}}}")


def _number(v: int) -> str:
    return "INT64_MIN" if v == -2**63 else f"INT64_C({v})" if abs(v) >= 2**31 else f"({v})" if v < 0 else str(v)
