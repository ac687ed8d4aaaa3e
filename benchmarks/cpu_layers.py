"""Single layers with their requant on a CPU: microseconds, part of the int8 peak measured in the same run, and what others take.

    python -m benchmarks.cpu_layers [--layers dense ...] [--options int8/uint8 ...] [--threads 1 2] [--batches 1 32] [--rounds 25]
                                    [--limit 20] [--peers onnx torch none] [--json FILE]

Feature maps come and go with their channels last, so that nobody has to turn them; a peer's float32 layer gets the layout it likes
best.  --layers takes those whose name contains one of the words.  Our answers are compared with `ir.run` before anything is timed.
"""
import argparse
import importlib
import os
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import cpu_peak, cpu_turns
from benchmarks.cpu_nets import PEERS, available
from benchmarks.cpu_ours import ours, samples
from ir import Conv, Dense, Graph, Input, Ints, Layer, Option, Requant, Transpose, UserError
from ir.example import example


def conv(name: str, i: int, o: int, kernel: int, size: int, stride: int = 1, groups: int = 1) -> Layer:
    return Layer(f"{name} {i}->{o} {size}x{size}", "conv", o, i, groups, (kernel, kernel), (stride, stride), (size, size), (-(-size // stride),) * 2)


def dense(rows: int, i: int, o: int) -> Layer:
    return Layer(f"dense {rows}x{i}x{o}", "linear", o, i, in_space=(rows,), out_space=(rows,))


LAYERS = (dense(1, 768, 3072), dense(128, 768, 3072), dense(197, 192, 768), conv("conv 3x3", 64, 64, 3, 56), conv("conv 3x3", 16, 16, 3, 32),
          conv("conv 3x3", 64, 64, 3, 8), conv("stem 3x3 /2", 3, 24, 3, 224, 2), conv("conv 1x1", 256, 64, 1, 56),
          conv("conv 1x1", 384, 384, 1, 14), conv("depthwise 3x3", 96, 96, 3, 112, 1, 96), conv("depthwise 3x3 /2", 48, 48, 3, 112, 2, 48),
          conv("depthwise 3x3", 384, 384, 3, 14, 1, 384))


def channel_last(g: Graph) -> Graph:
    """The same layer between transposes: feature maps (H, W, C) in and out."""
    x = g.inputs[0]
    if len(x.type.shape) != 3:
        return g
    c, h, w = x.type.shape
    new = Graph()
    new.add("input", Input(Ints((h, w, c), x.type.lo, x.type.hi)))
    new.add(x.name, Transpose((2, 0, 1)), "input")
    for n in list(g.nodes.values())[1:]:
        new.add(n.name, n.op, *n.args)
    new.add("output", Transpose((1, 2, 0)), g.output.name)
    return new


def onnx_ways(g: Graph, batch: int, threads: int) -> dict[str, Callable[[], object]]:
    """QDQ with channels last and first, and the layer in float32."""
    door, qdq = importlib.import_module("benchmarks.cpu_onnx"), importlib.import_module("codegen.onnx_qdq")
    forms = {"ORT int8": channel_last(g), **({"ORT int8, channels first": g} if channel_last(g) is not g else {})}
    ways = {k: door.bound(door.session(qdq.build(v, floats=False).SerializeToString(), threads, batch), batch) for k, v in forms.items()}
    return ways | {"ORT fp32": door.bound(door.session(door.float_layer(g), threads, batch), batch)}


def torch_ways(g: Graph, batch: int) -> dict[str, Callable[[], object]]:
    """Its int8 kernel by both engines, and the layer in float32 with channels last."""
    op = next(n.op for n in g.nodes.values() if isinstance(n.op, Conv | Dense))
    requant = next(n.op for n in g.nodes.values() if isinstance(n.op, Requant))
    x, w = torch.from_numpy(samples(g, batch)), torch.from_numpy(op.weight).to(torch.int8)
    scales = torch.from_numpy(requant.mul / 2.0 ** requant.shift).expand(len(w)).contiguous()
    bias, last = torch.from_numpy(op.bias).float(), torch.channels_last if x.dim() == 4 else torch.contiguous_format
    wq = torch._make_per_channel_quantized_tensor(w, scales, torch.zeros(len(w), dtype=torch.int64), 0)
    xq = torch._make_per_tensor_quantized_tensor(x.to(torch.uint8), 1.0, 0).contiguous(memory_format=last)
    xf, wf, ways = x.float().contiguous(memory_format=last), (w.float() * scales.float().view(-1, *[1] * (w.dim() - 1))), {}
    if isinstance(op, Dense):
        pack, run, how = torch.ops.quantized.linear_prepack, torch.ops.quantized.linear, ()
        ways["torch fp32"] = lambda: torch.nn.functional.linear(xf, wf, bias)
    else:
        before, after = ([p[i] for p in op.padding] for i in (0, 1))
        wf = wf.contiguous(memory_format=last)
        sides = [v for p in reversed(op.padding) for v in p] if before != after else None
        how = (list(op.stride), before if sides is None else [0, 0], list(op.dilation), op.groups)
        pack, run = torch.ops.quantized.conv2d_prepack, torch.ops.quantized.conv2d.new
        if sides:  # the layer's own padding is the same on both sides; the rest is not timed
            xq, xf = (torch.nn.functional.pad(v, sides).contiguous(memory_format=last) for v in (xq, xf))
        ways["torch fp32"] = lambda: torch.nn.functional.conv2d(xf, wf, bias, *how)
    for engine in ("x86", "onednn"):
        torch.backends.quantized.engine = engine
        packed = pack(wq, bias, *how)
        ways[f"torch int8 {engine}"] = lambda packed=packed: run(xq, packed, 1.0, 0)
    return ways


def measure(layer: Layer, options, batch: int, threads: int, args, peers) -> list[dict]:
    """Rows of one layer."""
    graphs = {o: example(layer, Option.parse(o)) for o in options}
    ways: dict[str, Callable[[], object]] = {}
    for o, g in graphs.items():
        try:
            ways[f"ours {o}"] = ours(channel_last(g), samples(channel_last(g), batch), threads)
        except UserError as e:
            print(f"{layer.name} {o}: {e}")
    plain = example(layer, Option.parse("int8/uint8"))
    ways |= onnx_ways(plain, batch, threads) if "onnx" in peers else {}
    ways |= torch_ways(plain, batch) if "torch" in peers else {}
    beside = {"peak": p} if (p := cpu_peak.peak()) else {}
    times = cpu_turns.turns(ways | beside, args.rounds, args.block, threads, args.limit)
    gops = cpu_peak.OPS / times.pop("peak").us / 1e3 * threads if beside else None
    best = min((t.us for k, t in times.items() if k.startswith("ORT int8")), default=None)
    print(f"{layer.name}, batch {batch}, {threads} thread{'s' * (threads > 1)}" + (f": int8 peak {gops:.0f} GOP/s" if gops else ""))
    rows = cpu_turns.rows(times, layer=layer.name, batch=batch, threads=threads)
    for r in sorted(rows, key=lambda r: r["us"]):
        r["gops"] = 2e-3 * layer.macs * batch / r["us"]
        r["of_peak"], r["ratio"] = r["gops"] / gops if gops else None, best / r["us"] if best else None
        print(f"  {r['way']:28} {r['us']:10.1f} us ({r['low']:.1f} .. {r['high']:.1f}) {r['gops']:7.1f} GOP/s"
              + (f" {100 * r['of_peak']:5.1f} %" if gops else "") + (f" {r['ratio']:6.2f} x" if best else ""), flush=True)
    return rows


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--layers", nargs="+", default=[""])
    p.add_argument("--options", nargs="+", default=["int8/uint8"])
    p.add_argument("--threads", nargs="+", type=int, default=[1])
    p.add_argument("--batches", nargs="+", type=int, default=[1])
    p.add_argument("--rounds", type=int, default=25)
    p.add_argument("--block", type=float, default=0.01, help="seconds of calls that are timed as one")
    p.add_argument("--limit", type=float, default=20, help="seconds after which no further round of a layer begins")
    p.add_argument("--peers", nargs="+", choices=[*PEERS, "none"], default=list(PEERS))
    p.add_argument("--json", type=Path)
    args = p.parse_args()
    torch.set_grad_enabled(False)
    os.environ["TVM_NUM_THREADS"] = str(max(args.threads))  # its pool never grows
    peers, found = available(args.peers), []
    for threads in args.threads:
        torch.set_num_threads(threads)
        for batch in args.batches:
            for layer in (v for v in LAYERS if any(word in v.name for word in args.layers)):
                found += measure(layer, args.options, batch, threads, args, peers)
                cpu_turns.write(args.json, found)


if __name__ == "__main__":
    main()
