"""Cost tables measured on the hardware, and how far their sums are from whole networks: markdown tables.

    OMP_NUM_THREADS=1 QSEARCH_DATA=... python -m benchmarks.hw_tables latency [--only resnet20] [--cache DIR]
    python -m benchmarks.hw_tables fpga [--device ecp5-85k] [--cycles 5000] [--cache DIR]

latency: layers of real networks through TVM and ONNX Runtime on this machine; the fixed part is fitted to a uniform plan, the
sum is checked on mixed plans that nothing was fitted to.  fpga: the demo's digits network, each layer through Yosys alone, fitted
cells beside measured ones, and three whole designs.  Measurements are kept, so a second run prints at once.
"""
import argparse
import math
import time

import numpy as np

import hw
import quant
from benchmarks import real_data
from benchmarks.real_models import ONNX
from codegen import latency
from hw.targets import fpga
from ir.example import menus
from qsearch import digits
from qsearch.hardware import design, lowered, uniform
from qsearch.steps import beside_layers

NETS = ("resnet8", "resnet20", "kws_ds_cnn_s")
CPU_OPTIONS = ("int8/uint8", "int4/uint8", "ternary/uint8", "int4/uint4")
FPGA_OPTIONS = ("int8/uint8", "int4/uint8", "ternary/uint8")
PLANS = 3


def captured(model, x: np.ndarray):
    """(net, calibration) of a float model; ranges are minimum and maximum, as only costs are looked at."""
    import torch
    samples = torch.from_numpy(np.ascontiguousarray(x))
    net = quant.load_model(model, example=samples[:2])
    return net, quant.calibrate(net, samples, observer="minmax")


def drawn(rows: dict, seed: int) -> dict[str, str]:
    """{layer: option}, each drawn at random."""
    r = np.random.default_rng(seed)
    return {k: str(r.choice(list(row))) for k, row in rows.items()}


def latencies(only, cache) -> None:
    print("| network | target | layers | seconds | programs | sum of layers, us | fixed, us | plan | predicted, us | whole, us | error |\n"
          "|---|---|---|---|---|---|---|---|---|---|---|")
    for name in only or NETS:
        file, data = ONNX[name]
        net, calibration = captured(str(real_data.root() / "onnx" / f"{file}.onnx"), getattr(real_data, data)()["calib_x"][:64])
        layers = quant.geometry(net)
        for target in latency.BACKENDS:
            start = time.monotonic()
            table = latency.latency_table(layers, dict.fromkeys(layers, CPU_OPTIONS), target, cache)
            seconds = time.monotonic() - start
            distinct = len({v for row in table.rows.values() for v in row.values()})
            plain = uniform(table)
            left = latency.fit_fixed(table, lowered(net, plain, calibration), plain, target, cache)
            own = math.fsum(table.rows[k][o] for k, o in plain.items())
            head = f"| {name} | {target} | {len(layers)} | {seconds:.0f} | {distinct} | {own:.0f} | {table.fixed:.0f} |"
            print(f"{head} int8/uint8 (fitted) | {own + table.fixed:.0f} | {(own + table.fixed) / (1 + left):.0f} | {left:+.1%} |")
            for seed in range(PLANS):
                plan = drawn(table.rows, seed)
                e = latency.additive_error(table, lowered(net, plan, calibration), plan, target, cache)
                print(f"{head} mixed {seed} | {e['predicted']:.0f} | {e['measured']:.0f} | {e['relative']:+.1%} |", flush=True)


def resources(device: str, cycles: int, cache) -> None:
    data, t = digits.digits(), fpga(device)
    net, calibration = captured(digits.train(data, epochs=8), data["calib_x"][:64])
    layers = quant.geometry(net)
    offered = menus(layers, dict.fromkeys(layers, FPGA_OPTIONS), t.name)
    fitted = hw.layer_costs(layers, list(FPGA_OPTIONS), t, cycles)
    beside_layers(net, calibration, fitted, t)
    start = time.monotonic()
    tables = hw.measure(layers, offered, t, fitted=fitted, cache=cache)
    print(f"{sum(map(len, offered.values()))} cells in {time.monotonic() - start:.0f} s on {t.name} at {cycles} cycles a frame; "
          "fitted / measured\n\n| layer | option | LUT | error | FF | error | DSP | BRAM |\n|---|---|---|---|---|---|---|---|")
    for k, menu in offered.items():
        for o in menu:
            pairs = {r: (fitted[r].rows[k][o], tables[r].rows[k][o]) for r in ("lut", "ff", "dsp", "bram")}
            shown = [f"{a:.0f} / {b:.0f} | {a / b - 1:+.1%}" if r in ("lut", "ff") else f"{a:.0f} / {b:.0f}" for r, (a, b) in pairs.items()]
            print(f"| {k} | {o} | {' | '.join(shown)} |")
    print("\n| tables | plan | resource | layers | fixed | predicted | whole design | error |\n|---|---|---|---|---|---|---|---|")
    rows = {k: dict.fromkeys(menu) for k, menu in offered.items()}
    plans = {"int8/uint8 (fitted)": dict.fromkeys(layers, "int8/uint8"), **{f"mixed {s}": drawn(rows, s) for s in range(2)}}
    designs = {title: design(net, plan, calibration, t, cycles) for title, plan in plans.items()}
    for kind, source in {"the cost model's": fitted, "measured": tables}.items():
        if source is tables:
            hw.fit_fixed(tables, *next(iter(designs.values())), t, cache)
        for title, made in designs.items():
            for r, e in hw.additive_error(source, *made, t, cache).items():
                own = e["predicted"] - source[r].fixed
                print(f"| {kind} | {title if source is tables else title.split(' (')[0]} | {r} | {own:.0f} | {source[r].fixed:.0f} "
                      f"| {e['predicted']:.0f} | {e['measured']} | {e['relative']:+.1%} |", flush=True)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=("latency", "fpga"))
    p.add_argument("--only", nargs="*")
    p.add_argument("--device", default="ecp5-85k")
    p.add_argument("--cycles", type=int, default=5000)
    p.add_argument("--cache")
    args = p.parse_args()
    if args.what == "latency":
        latencies(args.only, args.cache)
    else:
        resources(args.device, args.cycles, args.cache)


if __name__ == "__main__":
    main()
