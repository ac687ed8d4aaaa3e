"""The example language model: captured as it is, read from a checkpoint, and as good on stories as it is known to be."""
import numpy as np
import pytest
import torch

from examples import llama
from ir import UserError
from quant import capture


def ids(net_tokens=16, count=4, vocabulary=40, seed=0):
    return torch.randint(0, vocabulary, (count, net_tokens), generator=torch.Generator().manual_seed(seed))


def test_captured_as_it_is():
    model, x = llama.random(), ids()
    net = capture(model, x)
    assert torch.allclose(net(x), model(x), rtol=1e-4, atol=1e-5)
    assert list(net.layers)[:7] == [f"blocks.0.{n}" for n in ("attention.q", "attention.k", "attention.v", "attention.out", "mlp.gate", "mlp.up",
                                                              "mlp.down")]


def test_a_token_depends_on_earlier_ones_only():
    model, x = llama.random(), ids()
    other = x.clone()
    other[:, 9] = (x[:, 9] + 1) % 40
    assert torch.equal(model(x)[:, :9], model(other)[:, :9]) and not torch.equal(model(x)[:, 9:], model(other)[:, 9:])


def written(path, model, longest=20):
    """The checkpoint file of a model, with the pairs of rotary positions side by side as llama2.c has them."""
    s, b = model.shape, model.blocks
    pairs = lambda w: w.unflatten(0, (-1, 2, s.head // 2)).transpose(1, 2).flatten(0, 2)
    kinds = [[x.norm1.weight for x in b], [pairs(x.attention.q.weight) for x in b], [pairs(x.attention.k.weight) for x in b],
             [x.attention.v.weight for x in b], [x.attention.out.weight for x in b], [x.norm2.weight for x in b], [x.mlp.gate.weight for x in b],
             [x.mlp.down.weight for x in b], [x.mlp.up.weight for x in b]]
    tensors = [model.embed.weight, *sum(kinds, []), model.norm.weight, torch.zeros(2, longest, s.head // 2), model.head.weight]
    head = np.array([s.dim, s.hidden, s.layers, s.heads, s.kv_heads, -s.vocabulary, longest], "<i4")
    path.write_bytes(head.tobytes() + b"".join(t.detach().numpy().astype("<f4").tobytes() for t in tensors))


def test_checkpoint(tmp_path):
    model = llama.random()
    written(tmp_path / "m.bin", model)
    read = llama.pretrained(tmp_path / "m.bin", tokens=16)
    assert torch.equal(read(ids()), model(ids()))
    (tmp_path / "cut.bin").write_bytes((tmp_path / "m.bin").read_bytes()[:-400])
    with pytest.raises(UserError, match=r"cut.bin: ends after \d+ of at least \d+ numbers; download it again$"):
        llama.pretrained(tmp_path / "cut.bin")
    with pytest.raises(UserError, match=r"no such checkpoint; the environment variable LLAMA_CHECKPOINT names a file in the format of llama2.c$"):
        llama.pretrained(tmp_path / "none.bin")
    (tmp_path / "odd.bin").write_bytes(b"ak42" * 20)
    with pytest.raises(UserError, match=r"are no header of llama2.c; its newer versions are not read$"):
        llama.pretrained(tmp_path / "odd.bin")


def test_nats_per_token_on_stories(real_data):
    from benchmarks import lm_data
    fit, test = lm_data.split()
    assert test[:, 1:].numel() > 20000 and not (test[:, None] == fit).all(-1).any()
    model = lm_data.model()
    net = capture(model, test[:2, :-1])
    assert 1.4 < lm_data.score(net, test[::6]).mean < 1.6
