"""The same nets and layers in torch on a GPU: float16 with its best layout, and int8 products by torch._int_mm, replayed as CUDA graphs."""
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch.nn import functional as F


def replayed(call: Callable[[], object]) -> Callable[[], object]:
    """The call without the host: captured once, then replayed; it does not wait for its end."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.no_grad(), torch.cuda.stream(side):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        call()
    return graph.replay


def net_ways(file: Path, batch: int) -> dict[str, Callable[[], object]]:
    """A float net in float16, for images with channels first and last: of an ONNX file, or `Deit` where there is none."""
    if file.is_file():
        from quant import load_model
        net = load_model(file)
        shape, nets = net.input.shape, [halved(net, "cuda") for _ in range(2)]
    else:
        from benchmarks.deit_tiny import deit_tiny
        shape, nets = (3, 224, 224), [deit_tiny().half().cuda() for _ in range(2)]
    x = torch.randn(batch, *shape, dtype=torch.float16, device="cuda")
    ways = {"torch fp16": replayed(lambda: nets[0](x))}
    if x.dim() == 4:
        last, y = nets[1].to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
        ways["torch fp16, channels last"] = replayed(lambda: last(y))
    return ways


def halved(net, device: str) -> torch.nn.Module:
    """A captured net in float16, with the tensors of the steps that are no layers of torch's."""
    from benchmarks.cpu_torch import AsCaptured, module
    m = module(net).half().to(device)
    for part in m.modules():
        if isinstance(part, AsCaptured):
            held = {k: v.to(device, torch.float16) for k in ("weight", "bias") if (v := getattr(part.step, k)) is not None}
            part.step = replace(part.step, **held)
    return m


def layer_ways(about: dict, batch: int, copies: int) -> dict[str, Callable[[], object]]:
    """A layer of random weights, with a ReLU behind it where it is float; `copies` of the weights take turns.

    about: "input", shape with channels last; "weight", shape; "conv", the keywords of conv2d, or {} for a product.
    """
    shape, outer = about["input"], about["weight"][0]
    weights = [torch.randn(about["weight"], dtype=torch.float16, device="cuda") for _ in range(copies)]
    b = torch.zeros(outer, dtype=torch.float16, device="cuda")
    if about["conv"]:
        x = torch.randn(batch, shape[-1], *shape[:-1], dtype=torch.float16, device="cuda").contiguous(memory_format=torch.channels_last)
        weights = [w.contiguous(memory_format=torch.channels_last) for w in weights]
        return {"torch fp16": in_turns([replayed(lambda w=w: F.relu_(F.conv2d(x, w, b, **about["conv"]))) for w in weights])}
    x = torch.randn(batch * (shape[0] if len(shape) > 1 else 1), shape[-1], dtype=torch.float16, device="cuda")
    ways = {"torch fp16": in_turns([replayed(lambda w=w: F.relu_(F.linear(x, w, b))) for w in weights])}
    if len(x) > 16:  # what _int_mm asks for
        q = torch.randint(-128, 128, x.shape, dtype=torch.int8, device="cuda")
        columns = [torch.randint(-128, 128, w.shape, dtype=torch.int8, device="cuda").t() for w in weights]
        ways["torch._int_mm"] = in_turns([replayed(lambda c=c: torch._int_mm(q, c)) for c in columns])
    return ways


def in_turns(calls: list[Callable[[], object]]) -> Callable[[], object]:
    """One of the calls at a time, so that weights come from memory and not from a cache."""
    state = [0]

    def call():
        calls[state[0] % len(calls)]()
        state[0] += 1
    return call


def wait() -> None: torch.cuda.synchronize()
