"""How large a net is, line by line: weights, metadata, files and compressed files apart, so that one's gain is not taken for another's.

Of the 18 times by which the tiny time-series transformer shrank (Allam et al., arXiv 2303.08951), 11 were the file format's and 1.6 the
quantization's.  Here a ratio is always of two like lines.
"""
import io
import math
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ir import Conv, Dense, Gather, Graph, Lut, Option, Plan, Requant, UserError
from ir.opset import constants
from ir.show import width
from ir.store import save_graph
from .net import Net

GROUPS = ("weights", "metadata", "container", "compressed")
FLOAT_BYTES = 4
WEIGHTS = {Dense: "weight", Conv: "weight", Gather: "table"}  # what a layer is trained for; the other arrays are metadata
SHIFT_BYTES = 1
LEVEL = 9  # of deflate


@dataclass(frozen=True)
class Row:
    """One line: its group, what it is, its bytes, and what it says of them."""
    group: str
    what: str
    bytes: int
    about: str = ""


@dataclass
class Size:
    """A table of bytes.  weights + metadata is what a device must hold; container and compressed are two ways to ship it."""
    name: str
    rows: list[Row]

    def of(self, group: str) -> int | None:
        """Bytes of a group; None where nothing is known of it."""
        rows = [r.bytes for r in self.rows if r.group == group]
        return sum(rows) if rows else None

    @property
    def packed(self) -> int: return (self.of("weights") or 0) + (self.of("metadata") or 0)

    def ratios(self, other: "Size") -> dict[str, float]:
        """How many times larger `other` is, of each group that both have, and of weights and metadata together ("packed")."""
        pairs = {g: (other.of(g), self.of(g)) for g in GROUPS} | {"packed": (other.packed, self.packed)}
        return {g: a / b for g, (a, b) in pairs.items() if a is not None and b}

    def text(self, other: "Size | None" = None) -> str:
        """The table as Markdown; with `other`, how many times larger each of its groups is."""
        ratios = self.ratios(other) if other else {}
        lines = [f"| {self.name} | bytes | |" + (f" {other.name} / this |" if other else ""), "|---|---:|---|" + ("---:|" if other else "")]
        def line(what, count, about="", ratio=None):
            lines.append(f"| {what} | {count:,} | {about} |" + (f" {ratio:.2f} |" if ratio else " |" if other else ""))
        for g in GROUPS:
            rows = [r for r in self.rows if r.group == g]
            for r in rows:
                line(f"{g}: {r.what}", r.bytes, r.about)
            if rows:
                line(f"**{g}**", self.of(g), "", ratios.get(g))
            if g == "metadata":
                line("**weights + metadata**", self.packed, "total on a device", ratios.get("packed"))
        return "\n".join(lines) + "\n"


def size_report(model: Graph | Net, plan: Plan | None = None, files: Path | str | Iterable | None = None, name: str = "") -> Size:
    """The size of an integer graph or of a captured float net.

    plan: gives the bits of a layer's codes; without it they are those that the layer's largest integer needs.  files: a folder
    (everything in it) or files as they are stored; None writes a graph's graph.json and weights.npz aside to measure them.
    Each layer is counted in the smallest of three stores: dense (each code at its bits), bitmask-sparse (a bit a weight, codes of
    the nonzero ones) or codebook (indices into the layer's codes).  UserError: files that are not there.
    """
    rows = graph_rows(model, plan) if isinstance(model, Graph) else net_rows(model)
    if files is None and isinstance(model, Graph):
        with tempfile.TemporaryDirectory() as folder:
            save_graph(model, folder)
            rows += file_rows(folder)
    elif files is not None:
        rows += file_rows(files)
    return Size(name or ("integer graph" if isinstance(model, Graph) else "float net"), rows)


def graph_rows(g: Graph, plan: Plan | None = None) -> list[Row]:
    """Weights and metadata of an integer graph."""
    layers, biases, requants, tables, others, zeros = [], 0, 0, 0, 0, 2 * len(g.encodings)
    for n in g.nodes.values():
        field = WEIGHTS.get(type(n.op))
        if field:
            codes, bits, factors = coded(constants(n.op)[field], plan.options.get(n.name) if plan else None)
            layers.append((codes, bits))
            requants += packed(factors.size, width(factors))
            zeros += isinstance(n.op, Conv)  # the code that stands outside
        for k, v in constants(n.op).items():
            count = packed(v.size, width(v))
            if k == "bias":
                biases += count
            elif isinstance(n.op, Requant):
                requants += count + SHIFT_BYTES
                zeros += 3 * -(-n.type.bits // 8)
            elif isinstance(n.op, Lut):
                tables += count
            elif k != field:
                others += count
    rows, index, codebooks = stored(layers)
    meta = [("bitmasks", index, "which weights are not 0"), ("codebooks", codebooks, "codes of the clusters"),
            ("biases", biases, "at the bits of each layer's largest"), ("multipliers and shifts", requants, "scales of layers, channels and groups"),
            ("zero points and bounds", zeros, "of requants, paddings, input and output"),
            ("tables", tables, "nonlinearities"), ("other constants", others, "")]
    return rows + [Row("metadata", what, count, about) for what, count, about in meta if count]


ABOUT = {"dense": "each weight at the bits of its format", "bitmask-sparse": "the nonzero weights",
         "codebook": "indices into the layer's few values"}


def net_rows(net: Net) -> list[Row]:
    """Weights and biases of a float net, as float32; pruned and clustered layers in the stores that they allow."""
    layers = [s for s in net.steps.values() if s.weight is not None and s.kind in ("conv", "linear", "embedding")]
    stores, index, codebooks = stored([(s.weight.detach().cpu().numpy(), 8 * FLOAT_BYTES) for s in layers])
    rest = sum(t.numel() for s in net.steps.values() for t in (s.weight, s.bias) if t is not None) - sum(s.weight.numel() for s in layers)
    meta = [("bitmasks", index, "which weights are not 0"), ("codebooks", codebooks, "values of the clusters"),
            ("biases and norms", rest * FLOAT_BYTES, "float32")]
    return stores + [Row("metadata", *m) for m in meta if m[1]]


def stored(layers: list[tuple[np.ndarray, int]]) -> tuple[list[Row], int, int]:
    """Rows of the weights (codes, bits of a code) in the smallest store of each, bytes of bitmasks, bytes of codebooks."""
    found: dict[str, list[int]] = {}
    index = codebooks = 0
    for codes, bits in layers:
        how, held, mask, book = cheapest(codes, bits)
        found.setdefault(how, []).append(held)
        index, codebooks = index + mask, codebooks + book
    return [Row("weights", f"{k}, {len(b)} layer{'s' * (len(b) > 1)}", sum(b), ABOUT[k]) for k, b in sorted(found.items())], index, codebooks


def coded(values: np.ndarray, option: Option | None) -> tuple[np.ndarray, int, np.ndarray]:
    """Codes that are stored for a layer's integers, the bits of each, and the factors of its groups (none but for `int4g64`).

    A group's integers are codes times one factor, their greatest common divisor at the least.  Integers that no code of the
    option's format gives are stored as they are.
    """
    none = np.ones(0, np.int64)
    if option is None:
        return values, width(values), none
    fmt, rows = option.weight_format, values.reshape(len(values), -1)
    if option.granularity.startswith("g"):
        size = int(option.granularity[1:])
        parts = [rows[:, i:i + size] for i in range(0, rows.shape[1], size)]
        factors = np.stack([np.maximum(np.gcd.reduce(p, axis=1), 1) for p in parts], 1)
        codes = np.concatenate([p // factors[:, [i]] for i, p in enumerate(parts)], 1)
        if codes.min() >= fmt.lo and codes.max() <= fmt.hi:
            return codes, fmt.bits, factors
    fits = values.min() >= fmt.lo and values.max() <= fmt.hi
    return values, fmt.bits if fits else width(values), none


def cheapest(codes: np.ndarray, bits: int) -> tuple[str, int, int, int]:
    """(store, bytes of the weights, bytes of its bitmask, bytes of its codebook) of the smallest store for a layer's codes."""
    values, mask = np.unique(codes), packed(codes.size, 1)
    short = max(1, (len(values) - 1).bit_length())
    ways = [("dense", packed(codes.size, bits), 0, 0), ("bitmask-sparse", packed(np.count_nonzero(codes), bits), mask, 0)]
    if short < bits:
        ways.append(("codebook", packed(codes.size, short), 0, packed(len(values), bits)))
    return min(ways, key=lambda w: sum(w[1:]))


def packed(count: int, bits: int) -> int: return math.ceil(int(count) * bits / 8)


def file_rows(files: Path | str | Iterable) -> list[Row]:
    """The files as they are stored, and in one zip with deflate at level 9.  UserError: one that is not there."""
    given = [Path(files)] if isinstance(files, (str, Path)) else [Path(f) for f in files]
    if missing := [f for f in given if not f.exists()]:
        raise UserError(f"{missing[0]}: no such file or folder to take the size of")
    found = [(p, p.relative_to(f) if f.is_dir() else Path(p.name)) for f in given
             for p in (sorted(q for q in f.rglob("*") if q.is_file()) if f.is_dir() else [f])]
    if not found:
        raise UserError(f"{given[0]}: an empty folder; name one with files in it")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as z:
        for path, short in found:
            z.writestr(zipfile.ZipInfo(str(short)), path.read_bytes(), zipfile.ZIP_DEFLATED, LEVEL)
    rows = [Row("container", str(short), path.stat().st_size, "as stored") for path, short in found]
    return rows + [Row("compressed", f"zip of {len(found)} file{'s' * (len(found) > 1)}", len(buffer.getvalue()), f"deflate, level {LEVEL}")]
