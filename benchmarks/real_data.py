"""Samples for the real models, from the folder that QSEARCH_DATA names: what each net takes, NCHW, float32.

Each function is a data factory for the command line, for example `--data benchmarks.real_data:cifar10`.
"""
import os
from pathlib import Path

import numpy as np

from ir import UserError

CIFAR_MEAN, CIFAR_STD = np.float32([.485, .456, .406]), np.float32([.229, .224, .225])


def root() -> Path:
    """The folder of real data."""
    if not os.environ.get("QSEARCH_DATA"):
        raise UserError("the environment variable QSEARCH_DATA is not set; it names the folder of real data and models")
    return Path(os.environ["QSEARCH_DATA"])


def _cifar(prepare) -> dict[str, np.ndarray]:
    with np.load(root() / "cifar10" / "exact.npz") as z:
        x, y, cx, cy = (z[k] for k in ("test_x", "test_y", "train_x", "train_y"))
    def nchw(v): return np.ascontiguousarray(prepare(v.astype(np.float32)).transpose(0, 3, 1, 2))
    return {"x": nchw(x), "y": y.astype(np.int64), "calib_x": nchw(cx[:512]), "calib_y": cy[:512].astype(np.int64)}


def cifar10() -> dict[str, np.ndarray]:
    """For ResNet-20/56: 500 test and 512 training images, normalized."""
    return _cifar(lambda v: (v / 255 - CIFAR_MEAN) / CIFAR_STD)


def cifar10_vit() -> dict[str, np.ndarray]:
    """For the CIFAR vision transformer: as `cifar10`, normalized with that network's own means and deviations."""
    return _cifar(lambda v: (v / 255 - np.float32([.4914, .4822, .4465])) / np.float32([.2023, .1994, .2010]))


def cifar10_raw() -> dict[str, np.ndarray]:
    """For ResNet-8: 500 test and 512 training images, pixels 0..255."""
    return _cifar(lambda v: v)


def _jpegs(size: int) -> tuple[np.ndarray, np.ndarray]:
    from PIL import Image
    files = sorted((root() / "imagenet" / "img224").glob("*.jpg"))
    pictures = (Image.open(f).convert("RGB") for f in files)  # of 224x224
    x = np.stack([np.asarray(p if size == 224 else p.resize((size, size), Image.BILINEAR)) for p in pictures])
    return x.transpose(0, 3, 1, 2).astype(np.float32), np.array([int(f.name[:4]) for f in files])


def imagenet() -> dict[str, np.ndarray]:
    """For MobileNetV1: 200 images to score, 300 others to calibrate with, x / 127.5 - 1.  One image a class."""
    x, y = _jpegs(224)
    x = x / 127.5 - 1
    return {"x": np.ascontiguousarray(x[:200]), "y": y[:200], "calib_x": np.ascontiguousarray(x[200:]), "calib_y": y[200:]}


def people() -> dict[str, np.ndarray]:
    """For visual wake words: photographs scaled to 96x96, pixels 0..1, without labels."""
    x = _jpegs(96)[0] / 255
    return {"x": np.ascontiguousarray(x[:300]), "calib_x": np.ascontiguousarray(x[300:])}


def machines() -> dict[str, np.ndarray]:
    """For the anomaly-detection autoencoder: stand-ins for log-mel frames (five frames of 128 bins), smooth in both axes.

    There is no data for this net, so only equality and fidelity to the float net mean something.
    """
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.normal(0, 2, (812, 5, 128)), -1) + rng.normal(-30, 8, (812, 1, 1))
    x = walk.reshape(812, 640).astype(np.float32)
    return {"x": x[:300], "calib_x": x[300:]}


def keywords() -> dict[str, np.ndarray]:
    """For the keyword-spotting DS-CNN-S: MFCC frames (1, 49, 10).  The file is sorted by class: its samples are shuffled first."""
    with np.load(root() / "speech_commands" / "DS_CNN_S_mfcc_ref_even.npz") as z:
        order = np.random.default_rng(0).permutation(len(z["y"]))
        x, y = z["mfcc"][order, None].astype(np.float32), z["y"][order].astype(np.int64)
    return {"x": x[512:1512], "y": y[512:1512], "calib_x": x[:512], "calib_y": y[:512]}


def keywords_tiny() -> dict[str, np.ndarray]:
    """For the keyword net of MLPerf Tiny: MFCC frames (1, 49, 10), its published int8 codes times their scale; 64 to calibrate with."""
    with np.load(root() / "mlperf_tiny" / "kws01_first500.npz") as z:
        x, y = (z["mfcc_int8"].astype(np.float32)[:, None] - 83) * np.float32(0.5847), z["y"].astype(np.int64)
    return {"x": x[64:], "y": y[64:], "calib_x": x[:64], "calib_y": y[:64]}
