"""nextpnr's report in the terms of the design: the slowest path, and how slow each instance is."""
import re
from collections.abc import Mapping

from .harness import DESIGN

HARNESS = "(harness)"
PACKED = re.compile(r"(\$.*|_(DFF)?LC|_SLICE)$")  # what packing appends to the names of cells


def fmax_mhz(report: dict) -> float | None:
    """The clock frequency that the slowest path between two registers allows; None where there is no such path."""
    return min((c["achieved"] for c in report["fmax"].values()), default=None)


def slowest(report: dict, owners: Mapping[str, str]) -> dict[str, float]:
    """Instance -> the latest arrival at any of its registers, in ns after the clock edge (the registers' setup is not in it)."""
    found: dict[str, float] = {}
    for net in report.get("detailed_net_timings", []):
        for end in net["endpoints"]:
            if "async" not in net["event"] + end["event"]:
                at = owner(end["cell"], owners)
                found[at] = max(found.get(at, 0.0), max(end["delay"]) if isinstance(end["delay"], list) else end["delay"])
    return found


def critical(report: dict, owners: Mapping[str, str]) -> dict | None:
    """The slowest path between two registers; None where there is none.

    {"ns", "logic_ns", "routing_ns", "from", "to": instances, "start", "end": cells, "through": [[instance, ns, [source lines]], ...]}
    """
    paths = [p["path"] for p in report["critical_paths"] if "async" not in p["from"] + p["to"]]
    if not paths:
        return None
    path = max(paths, key=_total)
    through: list[list] = []
    for s in path:
        at = owner(s["to"]["cell"], owners)
        if at is None and through:
            at = through[-1][0]
        if not through or through[-1][0] != at:
            through.append([at, 0.0, []])
        through[-1][1] += s["delay"]
        through[-1][2] += [x for x in s.get("sources", []) if x.startswith("qs_") and x not in through[-1][2]]
    routing = sum(s["delay"] for s in path if s["type"] == "routing")
    start, end = path[0]["from"]["cell"], path[-1]["to"]["cell"]
    return {"ns": round(_total(path), 2), "logic_ns": round(_total(path) - routing, 2), "routing_ns": round(routing, 2),
            "from": owner(start, owners), "to": owner(end, owners), "start": start, "end": end,
            "through": [[at, round(ns, 2), sources] for at, ns, sources in through]}


def owner(cell: str, owners: Mapping[str, str]) -> str | None:
    """The instance that a cell of the packed netlist is of; None for one that nextpnr added."""
    name = cell.removeprefix(f"{DESIGN}.")
    if name == cell:
        return None if cell.startswith("$") else HARNESS
    while name not in owners and (short := PACKED.sub("", name)) != name:
        name = short
    return owners.get(name, name.split(".")[0] if "." in name else "")


def told(path: dict, name) -> str:
    """The slowest path in one line; name(instance) is what an instance is called."""
    way = [f"{name(at)} {ns:g} ns" + (f" ({', '.join(_lines(sources))})" if sources else "") for at, ns, sources in path["through"]]
    return f"{path['ns']:g} ns ({path['logic_ns']:g} in cells, {path['routing_ns']:g} in wires): " + " -> ".join(way)


def _lines(sources: list[str]) -> list[str]:
    """file.sv:line, each once, in the order of the path."""
    return list(dict.fromkeys(re.sub(r"\..*$", "", s.split(":")[1]).join([s.split(":")[0] + ":", ""]) for s in sources))


def _total(path: list[dict]) -> float: return sum(s["delay"] for s in path)
