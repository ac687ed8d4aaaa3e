"""The nets that the CPU benchmarks run, as integer graphs and as float ONNX files, kept in a folder.

    QSEARCH_DATA=... python -m benchmarks.cpu_graphs FOLDER [--nets resnet8 vit ...] [--plans w8a8 mixed4]

Calibration only, weights to the nearest: speed and equality are measured here, accuracy elsewhere.  FOLDER/NET-PLAN is a graph,
FOLDER/NET.onnx the float net; what is there already is kept.
"""
import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import torch

from benchmarks import deit_tiny, real_data
from benchmarks.cpu_torch import module
from ir import Graph, Plan
from ir.store import load_graph, save_graph, whole
from quant import calibrate, load_model, quantize

PLANS = ("w8a8", "mixed4")
INNER = ("int4/uint8", "int2/uint8", "int4/uint8", "int6/uint8")  # of mixed4, in turns; 4 bits on average, both ends have 8
SAMPLES = 64  # to calibrate with


def noise() -> dict[str, np.ndarray]:
    x = deit_tiny.images(32).numpy()
    return {"x": x[16:], "calib_x": x[:16]}


@dataclass(frozen=True)
class Case:
    """Where a net comes from: a file below the data's `onnx`, or a torch module; and its samples.

    fold: whether the float file that others get is written anew with batch norm in the layers, which ONNX Runtime leaves beside a Gemm.
    """
    file: str
    data: Callable[[], dict[str, np.ndarray]]
    fold: bool = False

    def model(self):
        return str(real_data.root() / "onnx" / f"{self.file}.onnx") if self.file else deit_tiny.deit_tiny()


CASES = {"resnet8": Case("resnet8_cifar10_mlperf_tiny", real_data.cifar10_raw),
         "resnet20": Case("resnet20_cifar10", real_data.cifar10),
         "kws_ds_cnn_s": Case("kws_ds_cnn_s", real_data.keywords),
         "kws_ds_cnn_mlperf": Case("kws_ds_cnn_mlperf_tiny", real_data.keywords_tiny),
         "mobilenet_v1_075": Case("mobilenet_v1_075_imagenet", real_data.imagenet),
         "vww_mobilenet_v1_025": Case("vww_mobilenet_v1_025", real_data.people),
         "ad_autoencoder": Case("ad_autoencoder", real_data.machines, fold=True),
         "vit": Case("vit_cifar10", real_data.cifar10_vit),
         "deit_tiny": Case("", noise)}


def graph(net: str, plan: str, folder: Path) -> Graph:
    """The integer graph of a net, made if the folder has none."""
    place = folder / f"{net}-{plan}"
    if not (place / "graph.json").exists():
        case = CASES[net]
        x = torch.from_numpy(case.data()["calib_x"][:SAMPLES])
        model = load_model(case.model(), x[:2])
        save_graph(quantize(model, options(model.layers, plan), calibrate(model, x, batch=8)).lower(), place)
    return load_graph(place)


def options(layers, plan: str) -> Plan:
    """int8 everywhere, or mixed widths between an int8 layer at either end."""
    inner, last = cycle(INNER), len(layers) - 1
    return Plan({name: "int8/uint8" if plan == "w8a8" or i in (0, last) else next(inner) for i, name in enumerate(layers)})


def float_onnx(net: str, folder: Path) -> Path:
    """The float net as an ONNX file with input "x" and a free batch axis."""
    case, path = CASES[net], folder / f"{net}.onnx"
    if case.file and not case.fold:
        return Path(case.model())
    if not path.exists():
        with whole(path) as tmp, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # this exporter is the old one; it needs no further package
            x = torch.from_numpy(case.data()["x"][:2])
            model = module(load_model(case.model(), x)) if case.fold else case.model()
            torch.onnx.export(model, (x,), str(tmp), dynamo=False, opset_version=17,
                              input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "N"}, "y": {0: "N"}})
    return path


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", type=Path)
    p.add_argument("--nets", nargs="+", choices=list(CASES), default=list(CASES))
    p.add_argument("--plans", nargs="+", choices=PLANS, default=PLANS)
    args = p.parse_args()
    torch.set_num_threads(1)
    for net in args.nets:
        print(f"{net}: {float_onnx(net, args.folder)}", flush=True)
        for plan in args.plans:
            print(f"{net} {plan}: {len(graph(net, plan, args.folder).nodes)} nodes", flush=True)


if __name__ == "__main__":
    main()
