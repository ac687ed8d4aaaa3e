"""Quantize a model of your own from Python: a plan under a byte budget, an ONNX file, and proof that it computes the same.

    python examples/own_model.py
"""
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import qsearch


def trained() -> tuple[nn.Module, np.ndarray, np.ndarray]:
    """A small dense network on handwritten digits, with the pixels (N, 64) and labels (N,)."""
    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = (x / 16).astype(np.float32), y.astype(np.int64)
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(15):
        for at in torch.randperm(1297).split(64):
            loss = nn.functional.cross_entropy(net(torch.from_numpy(x)[at]), torch.from_numpy(y)[at])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.eval(), x, y


def main(out: str = "qsearch-own") -> qsearch.Result:
    net, x, y = trained()
    data = {"x": x[1297:], "y": y[1297:], "calib_x": x[:512], "calib_y": y[:512]}
    result = qsearch.run(net, data, out, qsearch.Settings(targets=("onnx",), budgets=("bytes=45%",)))
    for layer, option in result.plan.options.items():
        print(f"{layer:4} {option}")
    for row in result.rows:
        print(f"{row['model']:20} {row['score']:>8}  {row['mismatches'] or 0} values differ")
    return result


if __name__ == "__main__":
    main()
