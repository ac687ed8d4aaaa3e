"""A graph convolutional network whose aggregation is quantized on its own: W4A8 features, int8 adjacency.

    python -m benchmarks.gcn [--seeds 5] [--epochs 200] [--tune 40]

Trains Kipf & Welling's two layers on Cora (QSEARCH_DATA, Planetoid split: 140 labels, 500 nodes to choose, 1000 to test) and
prints accuracy of the float net, of the net quantized after training, of the one trained with its integers, and of the integer
graph.  One sample is the whole graph: (nodes, features).
"""
import argparse
import collections
import pickle
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from ir import Plan, UserError, run
from quant import Net, QuantNet, calibrate, capture, quantize

from .real_data import root

SAFE = {"ndarray": np.ndarray, "dtype": np.dtype, "defaultdict": collections.defaultdict, "list": list}  # what the pickles may name


class GCN(nn.Module):
    """softmax's argument of A relu(A x W1) W2 (Kipf & Welling 2017, equation 9), x (N, nodes, features).

    The normalized adjacency (nodes, nodes) is a frozen linear layer over nodes, so that a plan gives it an option of its own.
    We differ: biases are added before the aggregation.
    """

    def __init__(self, adjacency: torch.Tensor, features: int, hidden: int, classes: int):
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(features, hidden), nn.Linear(hidden, classes)
        self.aggregate1, self.aggregate2 = aggregation(adjacency), aggregation(adjacency)
        self.drop = nn.Dropout(0.5)
        for m in (self.linear1, self.linear2):
            nn.init.xavier_uniform_(m.weight)
            nn.init.zeros_(m.bias)

    def forward(self, x):
        h = self.aggregate1(self.linear1(self.drop(x)).transpose(1, 2)).transpose(1, 2)
        h = self.linear2(self.drop(F.relu(h)))
        return self.aggregate2(h.transpose(1, 2)).transpose(1, 2)


def aggregation(adjacency: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(*adjacency.shape, bias=False)
    layer.weight = nn.Parameter(adjacency.clone(), requires_grad=False)
    return layer


def normalized(edges: np.ndarray, nodes: int) -> torch.Tensor:
    """D**-1/2 (A + I) D**-1/2 of an undirected graph, edges (E, 2) in either direction."""
    a = np.eye(nodes)
    a[edges[:, 0], edges[:, 1]] = a[edges[:, 1], edges[:, 0]] = 1
    d = a.sum(1) ** -0.5
    return torch.from_numpy(a * d[:, None] * d).float()


class Planetoid(pickle.Unpickler):
    """Opens the data set's files and nothing else: arrays, sparse matrices, dictionaries and lists."""

    def find_class(self, module: str, name: str):
        from scipy.sparse import csr_matrix
        known = SAFE | {"csr_matrix": csr_matrix, "_reconstruct": np.empty(0).__reduce__()[0]}
        if module.split(".")[0] not in ("numpy", "scipy", "collections", "__builtin__", "builtins") or name not in known:
            raise UserError(f"the file names {module}.{name}, which no Planetoid file needs; it was not opened")
        return known[name]


def planetoid(path: Path):
    with open(path, "rb") as f:
        return Planetoid(f, encoding="latin1").load()


def cora() -> dict:
    """x (1, 2708, 1433) with rows that sum to 1, y (2708,), adjacency, and the nodes to train, choose and test on."""
    folder = root() / "gnn" / "cora"
    x, allx, tx, ally, ty, graph = (planetoid(folder / f"ind.cora.{n}") for n in ("x", "allx", "tx", "ally", "ty", "graph"))
    test = np.loadtxt(folder / "ind.cora.test.index", dtype=int)
    features = np.concatenate([allx.toarray(), tx.toarray()]).astype(np.float32)
    labels = np.concatenate([ally, ty]).argmax(1)
    for v in (features, labels):  # the test nodes were written in the order of the index file
        v[test] = v[np.sort(test)]
    edges = np.array([(a, b) for a, bs in graph.items() for b in bs])
    features /= np.maximum(features.sum(1, keepdims=True), 1)
    return {"x": torch.from_numpy(features)[None], "y": torch.from_numpy(labels), "adjacency": normalized(edges, len(features)),
            "train": torch.arange(x.shape[0]), "choose": torch.arange(x.shape[0], x.shape[0] + 500), "test": torch.from_numpy(np.sort(test))}


def train(net: nn.Module, d: dict, epochs: int, lr: float = 0.01, decay: float = 5e-4, params=None) -> None:
    """Adam on the labelled nodes; the weights that were best on the nodes to choose with stay."""
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr, weight_decay=decay)
    best, kept = accuracy(net, d, "choose"), None
    for _ in range(epochs):
        net.train()
        loss = F.cross_entropy(net(d["x"])[0, d["train"]], d["y"][d["train"]])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if (now := accuracy(net, d, "choose")) >= best:
            best, kept = now, {k: v.clone() for k, v in net.state_dict().items() if "aggregate" not in k}
    if kept:
        net.load_state_dict(kept, strict=False)
    net.eval()


@torch.no_grad()
def accuracy(net: nn.Module, d: dict, part: str) -> float:
    return float(right(net.eval()(d["x"]), d, part).double().mean())


def right(scores: torch.Tensor, d: dict, part: str) -> torch.Tensor: return scores[0, d[part]].argmax(1) == d["y"][d[part]]


def plan(net: Net, linear: str = "int4/uint8", aggregate: str = "int8/int8") -> Plan:
    """One option for the layers over features, another for the aggregation."""
    return Plan({n: aggregate if "aggregate" in n else linear for n in net.layers})


def quantized(net: Net, d: dict, options: Plan) -> QuantNet:
    """After training; the adjacency stays as it is in any further training."""
    q = quantize(net, options, calibrate(net, d["x"]), bias_correction=False)
    for name, layer in q.layers.items():
        if "aggregate" in name:
            layer.weight.requires_grad_(False)
            layer.bias.requires_grad_(False)
    return q


def integers(q: QuantNet, d: dict) -> torch.Tensor:
    """Scores (1, nodes, classes) of the integer graph."""
    return q.decode(torch.from_numpy(run(q.lower(), q.encode(d["x"]).long().numpy())))


def main() -> None:
    p = argparse.ArgumentParser()
    p.add_argument("--seeds", type=int, default=5)
    p.add_argument("--epochs", type=int, default=200)
    p.add_argument("--tune", type=int, default=40)
    a = p.parse_args()
    d, rows = cora(), []
    for seed in range(a.seeds):
        torch.manual_seed(seed)
        model = GCN(d["adjacency"], d["x"].shape[2], 16, 7)
        train(model, d, a.epochs)
        net = capture(model.eval(), d["x"])
        q = quantized(net, d, plan(net))
        row = [accuracy(model, d, "test"), accuracy(q, d, "test")]
        train(q, d, a.tune, 2e-3, 0.0)
        scores = integers(q, d)
        with torch.no_grad():
            assert torch.equal(scores, q(d["x"]))
        rows.append([*row, float(right(scores, d, "test").double().mean())])
        print(f"| {seed} | " + " | ".join(f"{100 * v:.1f}" for v in rows[-1]) + " |", flush=True)
    print("| mean of test nodes, % | float | W4A8 after training | W4A8 trained, integer graph |\n|---|---|---|---|")
    r = 100 * np.array(rows)
    half = lambda v: np.std(v, ddof=1) / len(v) ** 0.5 if len(v) > 1 else float("nan")
    print("| accuracy | " + " | ".join(f"{v.mean():.2f} +- {half(v):.2f}" for v in r.T) + " |")
    print("| minus float | | " + " | ".join(f"{v.mean():+.2f} +- {half(v):.2f}" for v in (r[:, 1:] - r[:, :1]).T) + " |")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
