"""MixDQ's released weight allocations, solved again from its released sensitivities.

    python -m benchmarks.mixdq_logs FOLDER      FOLDER: a checkout of thu-nics/MixDQ (its files have no licence: none are kept here)

For each released configuration the target of a group is its own mean number of bits less the window of 0.02, which is where
the released programme lands when its window is filled.  Prints, for each, how many layers got the released bits.
"""
import argparse
import math
import time
from pathlib import Path

import numpy as np

from search.mixdq import mixdq

SCRIPTS = Path("mixed_precision_scripts")
LOGS = SCRIPTS / "sensitivity_log/sdxl_turbo/weight"
SIZES = SCRIPTS / "optimize/tensor_ratio/sdxl_turbo/weight_ratio_config.yaml"
CONFIGS = SCRIPTS / "mixed_percision_config/sdxl_turbo/final_config/weight"
MENU = {"content": (2, 4, 8), "quality": (4, 8)}
PLACES = {2: 0, 4: 1, 8: 2}  # of the bits in a line of sensitivities


def numbers(path: Path) -> dict:
    """Of a file of `name: number`, or of `name:` and lines `- number` below it."""
    found: dict = {}
    name = ""
    for line in path.read_text().splitlines():
        if line.startswith("- "):
            found[name].append(float(line[2:]))
        else:
            name, _, value = line.rpartition(":")
            found[name] = float(value) if value.strip() else []
    return found


def group(layer: str) -> str: return "content" if "ff" in layer or "attn2" in layer else "quality"


def solve(folder: Path, released: str) -> dict:
    """One row: agreement with a released configuration, objective and seconds."""
    sizes, config = numbers(folder / SIZES), numbers(folder / CONFIGS / f"{released}.yaml")
    row = {"released": released, "bits": mean(config, sizes)}
    for name, log in (("content", "ssim/bs32_split_ssim_weight"), ("quality", "sqnr/bs32_split_sqnr_weight")):
        logged = numbers(folder / LOGS / log / "sensitivity.yaml")
        layers = [k for k in logged if group(k) == name]
        table = {k: {b: logged[k][PLACES[b]] for b in MENU[name]} for k in layers}
        target, start = mean(config, sizes, layers) - 0.02, time.monotonic()
        found = mixdq(table, sizes, target)
        worth = [math.fsum(table[k][int(c[k])] for k in layers) for c in (found, config)]
        row |= {f"{name} bits": target + 0.02, f"{name} equal": f"{sum(found[k] == config[k] for k in layers)} of {len(layers)}",
                f"{name} better by": worth[0] - worth[1], f"{name} seconds": time.monotonic() - start}
    return row


def mean(bits: dict, sizes: dict, layers=None) -> float:
    """Average bits over the layers' sizes."""
    layers = list(layers or bits)
    return float(np.dot([bits[k] for k in layers], [sizes[k] for k in layers]) / math.fsum(sizes[k] for k in layers))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    rows = [solve(p.parse_args().folder, f"weight_{b}") for b in ("3.66", "4.00", "4.08", "5.02")]
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for r in rows:
        print("| " + " | ".join(f"{v:.4g}" if isinstance(v, float) else v for v in r.values()) + " |")


if __name__ == "__main__":
    main()
