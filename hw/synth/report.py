"""The report of a synthesis: counts beside what the device has, a row for each layer, and the files."""
import json
import tempfile
from pathlib import Path

from ir import UserError, store
from ir.target import Target

from . import nextpnr
from .layers import layer_of
from .nextpnr import Part
from .squeeze import expanded

RESOURCES = ("lut", "ff", "carry", "dsp", "bram")
WORDS = {"lut": "LUT", "ff": "flip-flops", "dsp": "DSP blocks", "bram": "block RAMs"}
PACK_S = 300.0


def counts(target: Target, instances: dict[str, dict[str, int]], nodes: list[str]) -> dict:
    """The part of the report that synthesis gives.  nodes: of the graph, whose layers they are."""
    total = {r: sum(u[r] for u in instances.values()) for r in RESOURCES}
    full = {r: n / target.resources[r] if target.resources.get(r) else float(n > 0) * 2 for r, n in total.items() if r in target.resources}
    fullest = max(full.values())
    report = {"device": target.name, **total, "fullest": round(fullest, 4), "fits": fullest <= 1, "why": "",
              "instances": {n or "(top)": u for n, u in instances.items()}}
    layers(report, nodes)
    if fullest > 1:
        report["why"] = _why(target, report, max(full, key=full.__getitem__))
    return report


def layers(report: dict, nodes: list[str]) -> None:
    """Sets report["layers"]: the instances' numbers summed by layer, in the order of the graph, and "ns" where it was routed."""
    rows, slow = {}, report.get("slowest_ns", {})
    for instance, u in report["instances"].items():
        name = layer_of(instance, nodes)
        row = rows.setdefault(name, {"layer": name} | dict.fromkeys(RESOURCES, 0) | ({"ns": 0.0} if slow else {}))
        for r in RESOURCES:
            row[r] += u[r]
        if slow:
            row["ns"] = round(max(row["ns"], slow.get("" if instance == "(top)" else instance, 0.0)), 2)
    order = {n: k for k, n in enumerate(nodes)}
    report["layers"] = sorted(rows.values(), key=lambda r: order.get(r["layer"], len(order)))


def unfit(report: dict) -> None:
    """Sets "fits" and "why" of a report whose cells, packed, are more than the device has."""
    over = {c: n - of for c, (n, of) in report["packed"].items() if n > of}
    if over:
        cell = max(over, key=over.__getitem__)
        n, of = report["packed"][cell]
        most = max(report["layers"], key=lambda row: row["lut"])
        report |= {"fits": False, "why": f"packed, the design needs {n:,} {cell} where {report['device']} has {of:,} ({n - of:,} too many); "
                                         f"most LUT: {most['layer']} with {most['lut']:,}"}


def _why(target: Target, report: dict, r: str) -> str:
    most = max(report["layers"], key=lambda row: row[r])
    n, of = report[r], target.resources[r]
    return f"the design needs {n:,} {WORDS[r]} where {target.name} has {of:,} ({n - of:,} too many); largest: {most['layer']} with {most[r]:,}"


def save(folder: Path, report: dict, module: dict, made: dict | None, part: Part | None) -> Path:
    """Writes folder/synth/<device>.json, and what it was made of into folder/synth/<device>/; each whole or not at all."""
    out = folder / "synth"
    name = report["device"]
    try:
        out.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=out) as d:
            new = Path(d) / "new"
            new.mkdir()
            (new / "netlist.json").write_text(json.dumps({"creator": "qsearch", "modules": {"qs_top": module}}))
            if made:
                (new / "nextpnr.log").write_text(made["log"])
            if made and "config" in made:
                config = expanded(made["config"])
                (new / part.config[1]).write_bytes(config)
                if (bits := nextpnr.bitstream(part, config, PACK_S)) is not None:
                    (new / part.packer[1]).write_bytes(bits)
            if (out / name).exists():
                (out / name).rename(Path(d) / "old")
            new.rename(out / name)
    except OSError as e:
        raise UserError(f"cannot write {out}: {e.strerror or e}") from None
    store.save_json(out / f"{name}.json", "synthesis", report)
    return out / f"{name}.json"
