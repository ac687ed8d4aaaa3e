"""What `qsearch compile` lets a user choose for processors, and what it says of the result."""
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from ir import Graph, UserError
from ir.store import load_json

STARTS = 9  # of the program, of which the median counts


def choices(t, mcpu: str, archs: tuple[str, ...], tune: int, name: str, core: str = "", unroll: bool = False, stages: int = 0,
            lanes: int = 0) -> dict:
    """Keywords of backends.build.  UserError: a choice that this target does not have."""
    given = {"--mcpu": mcpu, "--tune": tune, "--arch": archs, "--name": name != "model", "--core": core, "--unroll": unroll,
             "--stages": stages, "--lanes": lanes}
    cpu = {"--name"} | ({"--mcpu"} if t.name != "c" else set()) | ({"--tune"} if t.name == "cpu" and not mcpu else set())
    allowed = {"cpu": cpu, "cuda": {"--arch"}, "fpga": {"--unroll", *(("--stages", "--lanes") if unroll else ("--core",))}}.get(t.kind, set())
    if (wrong := next((k for k, v in given.items() if v and k not in allowed), None)) is not None:
        has = f"it has {', '.join(sorted(allowed))}" if allowed else "it has none of these options"
        raise UserError(f"{wrong} does not go with target {t.name}{' -mcpu' if mcpu and wrong == '--tune' else ''}: {has}")
    if tune < 0:
        raise UserError(f"--tune {tune}: give how many forms of each kernel to time, or 0")
    if min(stages, lanes) < 0:
        raise UserError(f"--stages {stages} --lanes {lanes}: give at least 1, or leave it out")
    unrolled = {k: v for k, v in {"stages": stages, "lanes": lanes}.items() if v} if unroll else None
    chosen = {k: v for k, v in {"mcpu": mcpu, "name": name if t.kind == "cpu" else "", "archs": archs, "core": core}.items() if v}
    return chosen | ({} if unrolled is None else {"unrolled": unrolled})


def tuned(g: Graph, tune: int, progress) -> dict:
    """The fastest of `tune` forms of each layer's kernel on this machine, from the user's cache where it was found before."""
    from codegen import tuning
    return tuning.tune(g, tune, progress=progress)


def facts(t, made: Path) -> list[str]:
    """Lines for the user about a build: sizes, and how long the program takes to start."""
    if t.kind == "fpga":
        d = load_json(made / "manifest.json", "design")
        return [f"{d['interval']:,} cycles a frame; the microprogram is in program.txt"] if d["kind"] == "core" else []
    if t.kind != "cpu":
        return []
    if t.name == "c":
        sizes = load_json(made / "manifest.json", "C model")["sizes"]
        return [f"weights {kb(sizes['weights'])}, working memory {kb(sizes['workspace'])}",
                f"build it with: cc -std=c11 -O2 -ffp-contract=off -c {next(made.glob('*.c')).name}  (and link with -lm)"]
    m = load_json(made / "manifest.json", "compiled model")
    sizes = m["sizes"]
    lines = [f"code {kb(sizes['code'])}, weights {kb(sizes['weights'])}, working memory {kb(sizes['workspace'])} a thread",
             "files " + ", ".join(f"{f} {kb(size)}" for f, size in sizes["files"].items() if not f.endswith((".h", ".py")))]
    seconds = start(made, m)
    return lines + ([f"the program reads a sample, computes and writes in {seconds * 1e3:.1f} ms, its start included"] if seconds else [])


def kb(size: int) -> str: return f"{size / 1024:,.1f} KB"


def start(made: Path, manifest: dict) -> float | None:
    """Seconds that the program takes for one sample, the median of some runs; None if this machine cannot run it."""
    with tempfile.TemporaryDirectory() as work:
        files = []
        for i in manifest["inputs"]:
            files.append(str(Path(work) / f"in{len(files)}.npy"))
            np.save(files[-1], np.full((1, *i["shape"]), i["lo"], i["dtype"]))
        seen = []
        for _ in range(STARTS):
            begin = time.perf_counter()
            try:
                done = subprocess.run([str(made.resolve() / manifest["name"]), *files, str(Path(work) / "out.npy")], capture_output=True)
            except OSError:  # for another kind of machine
                return None
            if done.returncode:
                return None
            seen.append(time.perf_counter() - begin)
    return statistics.median(seen)
