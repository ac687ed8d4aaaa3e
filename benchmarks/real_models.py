"""Real networks down the whole road: float, fake-quant and integer scores on the same samples, mismatches, seconds.

    QSEARCH_DATA=... python -m benchmarks.real_models [--only resnet20] [--out runs] [--plan w8a8|mixed4]

For each model: W8A8, then a mixed plan of 4 weight bits on average, both after calibration only; TVM and ONNX Runtime are
compared with the reference on every value of 100 samples.  Rows go to OUT/real_models.json and, as a table, to stdout.
"""
import argparse
import json
from pathlib import Path

from benchmarks import real_data
from qsearch import flow
from qsearch.data import load_data
from qsearch.settings import Settings
from qsearch.screen import Screen

ONNX = {"resnet20": ("resnet20_cifar10", "cifar10"), "resnet8": ("resnet8_cifar10_mlperf_tiny", "cifar10_raw"),
        "mobilenet_v1_075": ("mobilenet_v1_075_imagenet", "imagenet"), "ad_autoencoder": ("ad_autoencoder", "machines"),
        "vww_mobilenet_v1_025": ("vww_mobilenet_v1_025", "people"), "kws_ds_cnn_s": ("kws_ds_cnn_s", "keywords")}
PLANS = {"w8a8": {"options": "int8/uint8", "budgets": ()},
         "mixed4": {"options": "int2,int3,int4,int5,int6,int8/uint8", "budgets": ("wbits=4",)}}


def models(out: Path) -> dict:
    """name -> (model, data factory); ResNet-20 also as a torch module and as a .pt2 file made from it."""
    folder = real_data.root() / "onnx"
    found = {k: (str(folder / f"{f}.onnx"), getattr(real_data, d)) for k, (f, d) in ONNX.items() if (folder / f"{f}.onnx").exists()}
    if "resnet20" in found:
        found["resnet20_torch"] = ("benchmarks.resnet20:resnet20", real_data.cifar10)
        found["resnet20_pt2"] = (str(pt2(out / "resnet20.pt2")), real_data.cifar10)
    return found


def pt2(path: Path) -> Path:
    """ResNet-20 as torch.export saves it, with a free batch axis."""
    import torch
    from benchmarks.resnet20 import resnet20
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        batch = {0: torch.export.Dim("batch")}
        torch.export.save(torch.export.export(resnet20(), (torch.zeros(2, 3, 32, 32),), dynamic_shapes=(batch,)), path)
    return path


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--only", nargs="*")
    p.add_argument("--plan", nargs="*", default=list(PLANS))
    p.add_argument("--out", type=Path, default=Path("runs"))
    args = p.parse_args()
    rows, screen = [], Screen()
    for name, (model, data) in models(args.out).items():
        if args.only and name not in args.only:
            continue
        samples = load_data(data())
        for plan in args.plan:
            metrics = ("output_mse",) if name == "ad_autoencoder" else ("kl",)
            s = Settings(targets=("cpu", "onnx"), metrics=metrics, rounding="gptq", samples=64, **PLANS[plan])
            screen.say(f"{name} {plan}")
            r = flow.run(model, samples, args.out / f"{name}-{plan}", s, screen)
            rows.append({"model": name, "plan": plan, "samples": len(samples.x), **{x["model"]: x["score"] or "-" for x in r.rows[:3]},
                         **{f"wrong, {x['model']}": x["mismatches"] for x in r.rows[1:]}, "seconds": r.seconds})
            (args.out / "real_models.json").write_text(json.dumps(rows, indent=1))
    screen.table("real models", [{k: v for k, v in r.items() if k != "seconds"} for r in rows])


if __name__ == "__main__":
    main()
