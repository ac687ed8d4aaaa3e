"""What `qsearch compile` does with a language model."""
from pathlib import Path

from ir import UserError, lm

from . import backends
from .compiling import kb

PROCESSORS = ("cpu", "aarch64")


def for_processor(folder: str, t, out: Path, form: str, mcpu: str, name: str, threads: int) -> list[str]:
    """Compiles the model in `folder` into `out`; lines for the user about it.  UserError: a target that is not made for language models."""
    if t.name not in PROCESSORS:
        raise UserError(f"{folder} is a language model, which target {t.name!r} does not run; give {' or '.join(PROCESSORS)}, or an FPGA")
    from codegen import lm as engine
    form = "base3" if form == "integer" else form
    about = engine.build(lm.load_lm(folder), out, backends.processor(t, mcpu), name, form, threads)
    text = '"Once"' if about["vocab"] else '"3 1 4"'
    return [str(out), f"weights {kb(about['weight_bytes'])} packed as {form}, {kb(about['file_bytes'])} with embeddings and gains; "
            f"{threads} thread{'s' if threads > 1 else ''} at most", f"try {out / name} {text} -n 100 --top-k 8 --temperature 0.8 --seed 1"]
