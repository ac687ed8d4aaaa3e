"""A compiled graph as one file of C11 that any little-endian machine with a C compiler can build: no threads, no libraries but libc and libm."""
import re
from math import prod
from pathlib import Path

from ir.store import digest, save_json, save_text

from . import source
from .link import NEEDED_KEYS, check_folder

FILE = "C model"  # what manifest.json says it is
TARGET = "c"
LINE = 32         # weights in a line


def write(code: str, weights: bytes, manifest: dict, folder: Path | str, name: str = "model") -> dict:
    """Writes NAME.c, NAME.h and, last, manifest.json; returns the whole manifest.

    code: C by TVM of `sample(inputs..., y, weights, workspace)` and what it calls; manifest: as for link.
    UserError: a name that C cannot have, a folder that cannot be written.
    """
    source.check_name(name)
    if missing := NEEDED_KEYS - manifest.keys():
        raise ValueError(f"a manifest without {sorted(missing)}")
    folder = Path(folder)
    check_folder(folder)
    manifest = {**manifest, "name": name, "target": TARGET, "machine": "any little-endian machine", "weights_hash": digest(weights),
                "sizes": {"weights": len(weights), "workspace": manifest["workspace"]}}
    texts = {f"{name}.c": text(code, weights, manifest), f"{name}.h": source.header(manifest)}
    (folder / "manifest.json").unlink(missing_ok=True)
    for file, content in texts.items():
        save_text(folder / file, content)
    save_json(folder / "manifest.json", FILE, manifest | {"files": {f: digest(t) for f, t in texts.items()}})
    return manifest


def text(code: str, weights: bytes, manifest: dict) -> str:
    """NAME.c."""
    name = manifest["name"]
    stamped = weights + manifest["weights_hash"].encode()
    rows = "".join(",".join(map(str, stamped[i:i + LINE])) + ",\n" for i in range(0, len(stamped), LINE))
    return f"""/* {name}, see {name}.h: cc -std=c11 -O2 -ffp-contract=off -c {name}.c, and link with -lm.  Written by qsearch, the kernels by TVM. */
#define QS_NO_THREADS
#define QS_PORTABLE
#include <math.h>
#include <stdbool.h>
#include "{name}.h"
#if defined(__BYTE_ORDER__) && defined(__ORDER_LITTLE_ENDIAN__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the weights are laid out for little-endian machines"
#endif
{(Path(__file__).parent / "runtime.c").read_text()}
/* ---- the graph ------------------------------------------------------------------------------------------------------------- */

static const _Alignas(64) uint8_t {name}__weights[] = {{
{rows}}};
#define {name}__weights_end ({name}__weights + {len(weights)})

{_private(code)}
{_entry(manifest)}
{source.tables(manifest, {})}"""


def _private(code: str) -> str:
    """TVM's functions, none of them seen outside of the file, without its headers."""
    body = code[code.index("TVM_DLL"):]
    body = re.sub(r'#ifdef __cplusplus\nextern "C"\n#endif\n', "", body)
    body = re.sub(r"^TVM_DLL (?:double|float) \w+\(.*\);\n", "", body, flags=re.MULTILINE)  # math.h has them
    return body.replace("TVM_DLL ", "static ")


def _entry(manifest: dict) -> str:
    """The calling convention of compiled code around `sample`."""
    tensors = [*manifest["inputs"], manifest["output"]]
    at = [f"    ({t['dtype']}_t *)((const qs_view *)args[{k}].v.p)->data + i * {prod(t['shape'])}" for k, t in enumerate(tensors)]
    blobs = [f"    ((const qs_view *)args[{len(tensors) + k}].v.p)->data" for k in range(2)]
    calls = ",\n".join(at + blobs)
    return f"""static int {source.symbol(manifest["name"], "__tvm_ffi_main")}(void *self, const qs_any *args, int32_t count, qs_any *result) {{
  (void)self, (void)result;
  for (int64_t i = 0; i < args[count - 2].v.i; ++i) sample(
{calls});
  return 0;
}}
"""
