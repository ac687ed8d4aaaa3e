"""Language models trained on one text with one budget: what each reached, and the curve of its losses.

    python -m benchmarks.lm_training FOLDER [FOLDER ...] [--rows 10]

Each folder is what `qsearch train -o FOLDER` wrote; one whose training has not ended is told by its last row, marked with *.
"""
import argparse
import csv
from pathlib import Path

import torch

COLUMNS = ("model", "parameters", "steps", "tokens", "wall s", "train, nats a character", "held out, all", "held out, its first 16384 characters")


def facts(folder: Path) -> tuple[dict, list[dict]]:
    """One row of the table, and the curve."""
    rows = list(csv.DictReader((folder / "loss.csv").open()))
    ended = (folder / "model.pt").exists()
    state = torch.load(folder / ("model.pt" if ended else "checkpoint.pt"), weights_only=True)
    s, last = state["settings"], rows[-1]
    weights = state["model"] if ended else state["training"]["model"]
    values = (s["kind"] + ("" if ended else " *"), sum(v.numel() for v in weights.values()), last["step"],
              int(last["step"]) * s["batch"] * s["length"], f"{float(last['seconds']):.0f}", last["train_loss"],
              f"{state['held_out_loss']:.4f}" if ended else "", last["held_out_loss"])
    return dict(zip(COLUMNS, values)), rows


def curve(runs: list[tuple[dict, list[dict]]], count: int) -> list[dict]:
    """Train and held-out loss of each model at `count` steps, evenly spread."""
    common = [r["step"] for r in max((rows for _, rows in runs), key=len)]
    at = [common[round(n * (len(common) - 1) / (count - 1))] for n in range(count)] if count > 1 else common[-1:]
    out = []
    for step in dict.fromkeys(at):
        row = {"step": step}
        for fact, rows in runs:
            here = next((r for r in rows if r["step"] == step), None)
            row[fact["model"]] = f"{here['train_loss']} / {here['held_out_loss']}" if here else ""
        out.append(row)
    return out


def table(rows: list[dict]) -> str:
    return "\n".join([f"| {' | '.join(rows[0])} |", "|" + "---|" * len(rows[0]), *(f"| {' | '.join(map(str, r.values()))} |" for r in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--rows", type=int, default=10)
    args = parser.parse_args()
    runs = [facts(f) for f in args.folders]
    print(table([f for f, _ in runs]), table(curve(runs, args.rows)), sep="\n\n")


if __name__ == "__main__":
    main()
