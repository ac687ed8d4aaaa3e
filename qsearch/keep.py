"""What the steps of a run leave in its folder, and how the next run reads it."""
from pathlib import Path

import numpy as np

from ir import Plan, Table, UserError
from ir.store import canonical, digest, load_graph, load_json, save_json


def save_tables(tables: dict[str, Table], out: Path, kind: str) -> dict[str, Table]:
    for name, t in tables.items():
        t.save(out / f"{kind}.{name}.table.json")
    return tables


def load_tables(names, out: Path, kind: str) -> dict[str, Table]:
    return {n: Table.load(out / f"{kind}.{n}.table.json") for n in names}


def save_plan(plan: Plan, path: Path) -> Plan:
    plan.save(path)
    return plan


def save_front(plans: list[Plan], out: Path) -> list[Plan]:
    for i, p in enumerate(plans):
        p.save(front_file(out, i))
    save_json(out / "front" / "front.json", "front", {"plans": len(plans)})
    return plans


def front_file(out: Path, i: int) -> Path: return out / "front" / f"{i:02d}.plan.json"


def load_front(out: Path) -> list[Plan]:
    n = load_json(out / "front" / "front.json", "front")["plans"]
    return [Plan.load(front_file(out, i)) for i in range(n)]


def load_quantized(out: Path):
    try:
        with np.load(out / "expected.npz") as z:
            expected = z["y"]
    except Exception as e:
        raise UserError(f"{out / 'expected.npz'}: damaged ({e})") from None
    return load_graph(out / "graph"), load_json(out / "accuracy.json", "accuracy")["rows"], expected


def canonical_rows(t: Table) -> str: return digest(t.name, canonical(t.rows), str(t.fixed))
