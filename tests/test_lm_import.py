"""Published MatMul-free checkpoints: the same model from every kind of file, and one line for what is not one."""
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch

from ir import UserError, lm
from quant import Checkpoint, MatMulFreeLM, import_lm, lm_program

CONFIG = {"model_type": "hgrn_bit", "vocab_size": 23, "hidden_size": 12, "num_hidden_layers": 2, "intermediate_size": 20, "num_heads": 1,
          "architectures": ["HGRNBitForCausalLM"], "torch_dtype": "float16"}
NAMES = {torch.float16: "F16", torch.float32: "F32", torch.bfloat16: "BF16", torch.int8: "I8"}


def published(dtype=torch.float16) -> dict[str, torch.Tensor]:
    """Random weights under the published names."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = MatMulFreeLM(23, 12, 2, 20)
    for name, p in model.named_parameters():
        if name.endswith("norm.weight"):
            torch.nn.init.normal_(p, 1, 0.2)
    torch.nn.init.normal_(model.lower_bounds)
    return {(k if k.startswith("lm_head") else f"model.{k}"): v.detach().to(dtype) for k, v in model.state_dict().items()}


def write_safetensors(path, state) -> None:
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for k, v in state.items():
        raw = v.contiguous().view(torch.uint8).numpy().tobytes()
        header[k] = {"dtype": NAMES[v.dtype], "shape": list(v.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_torch(path, state) -> None: torch.save(state, path)


def folder(path, state, kind="safetensors", sharded=False, **config):
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(CONFIG | config))
    write, name = {"safetensors": (write_safetensors, "model.safetensors"), "torch": (write_torch, "pytorch_model.bin")}[kind]
    if not sharded:
        write(path / name, state)
        return path
    stem, end = name.rsplit(".", 1)
    parts = [dict(list(state.items())[n::2]) for n in (0, 1)]
    files = [f"{stem}-0000{n + 1}-of-00002.{end}" for n in (0, 1)]
    for part, file in zip(parts, files):
        write(path / file, part)
    (path / f"{name}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": {k: f for p, f in zip(parts, files) for k in p}}))
    return path


@pytest.mark.parametrize("kind", ["safetensors", "torch"])
@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.bfloat16], ids=str)
def test_a_checkpoint_is_our_model(tmp_path, kind, sharded, dtype):
    state = published(dtype)
    model = MatMulFreeLM(23, 12, 2, 20)
    model.load_state_dict({k.removeprefix("model."): v for k, v in state.items()})
    checkpoint = folder(tmp_path / "c", state, kind, sharded)
    tokens = torch.randint(0, 23, (2, 9))
    with torch.no_grad():
        assert torch.equal(Checkpoint(checkpoint).model()(tokens), model(tokens))
    p = import_lm(checkpoint)
    assert lm.lm_hash(p) == lm.lm_hash(lm_program(model)) and p.vocab is None and p.about["imported from"] == "c"
    assert p.about["ternary codes"].startswith("weights read as float32")


def test_parts_give_the_integers_of_the_whole_with_their_reals(tmp_path):
    c = Checkpoint(folder(tmp_path / "c", published()))
    a, b = lm_program(c), lm_program(c.model())
    assert a.reals.keys() == b.reals.keys() and all(np.array_equal(a.reals[k], b.reals[k]) for k in a.reals)
    assert lm.lm_hash(replace(a, reals={})) == lm.lm_hash(b)


def test_sizes_that_a_config_leaves_out(tmp_path):
    """The published defaults: 2048 wide, and a hidden width of 8/3 of the width in steps of 256."""
    path = folder(tmp_path / "c", published())
    (path / "config.json").write_text(json.dumps({k: v for k, v in CONFIG.items() if k != "intermediate_size"}))
    with pytest.raises(UserError, match=r"layers.0.mlp.gate_proj.weight has shape \(40, 12\), where config.json makes it \(512, 12\)$"):
        Checkpoint(path).model()
    (path / "config.json").write_text(json.dumps({k: v for k, v in CONFIG.items() if k != "hidden_size"}))
    with pytest.raises(UserError, match=r"embeddings.weight has shape \(23, 12\), where config.json makes it \(23, 2048\)$"):
        import_lm(path)


def test_the_command(typed, tmp_path):
    path = folder(tmp_path / "mm", published())
    (path / "tokenizer.json").write_text("{}")
    code, out, err = typed("import", path, "-o", tmp_path / "lm")
    assert code == 0 and "2 layers of width 12, 20 inside the GLU" in out and "tokenizer.json" in out, err
    assert lm.lm_hash(lm.load_lm(tmp_path / "lm")) == lm.lm_hash(import_lm(path)) and (tmp_path / "lm" / "tokenizer.json").read_text() == "{}"


def changed(**tensors):
    def change(path):
        state = published()
        for name, value in tensors.items():
            name = name.replace("__", ".")
            state[name] = value(state[name]) if name in state else value(None)
        folder(path, {k: v for k, v in state.items() if v is not None})
    return change


def configured(**config): return lambda path: folder(path, published(), **config)


def cut(path):
    folder(path, published())
    whole = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(whole[:-4])


def without_a_shard(path):
    folder(path, published(), "torch", True)
    (path / "pytorch_model-00002-of-00002.bin").unlink()


@pytest.mark.parametrize("make, line", [
    (configured(model_type="llama"), "{p}/config.json: model type 'llama'; MatMul-free checkpoints have 'hgrn_bit'"),
    (configured(use_short_conv=True), "{p}/config.json: use_short_conv True is not supported; models with False are"),
    (configured(num_heads=4), "{p}/config.json: num_heads 4 is not supported; models with 1 are"),
    (configured(expand_ratio=2), "{p}/config.json: expand_ratio 2 is not supported; models with 1 are"),
    (configured(tie_word_embeddings=True), "{p}/config.json: tie_word_embeddings True is not supported; models with False are"),
    (configured(rms_norm_eps=1e-5), "{p}/config.json: rms_norm_eps 1e-05 is not supported; models with 1e-06 are"),
    (configured(hidden_act="gelu"), "{p}/config.json: hidden_act 'gelu' is not supported; models with 'swish' or 'silu' are"),
    (configured(hidden_size=0), "{p}/config.json: hidden_size 0 is not a size"),
    (configured(num_hidden_layers=3), "{p}: tensor layers.2.attn.f_proj.norm.weight (and 14 more) is missing, by the sizes in config.json"),
    (configured(num_hidden_layers=1), "{p}: tensor layers.1.attn.f_proj.norm.weight (and 14 more) is unknown, by the sizes in config.json"),
    (changed(lm_head__norm__weight=lambda v: None), "{p}: tensor lm_head.norm.weight is missing, by the sizes in config.json"),
    (changed(model__norm__bias=lambda v: torch.zeros(12)), "{p}: tensor norm.bias is unknown, by the sizes in config.json"),
    (changed(model__norm__weight=lambda v: v[:-1]), "{p}: norm.weight has shape (11,), where config.json makes it (12,)"),
    (changed(model__embeddings__weight=lambda v: v * float("nan")), "{p}: embeddings.weight has values that are no numbers (NaN or infinite)"),
    (changed(lm_head__weight=torch.zeros_like), "{p}: lm_head.weight is zero everywhere; this checkpoint was never trained or saved whole"),
    (changed(lm_head__weight=lambda v: v.sign().to(torch.int8)), "{p}/model.safetensors: lm_head.weight: numbers of type I8, where "
     "F16, BF16, F32, F64 are read; packed or integer weights are not the trained ones, take the checkpoint that they were made from"),
    (lambda p: folder(p, published() | {"lm_head.weight": torch.ones(23, 12, dtype=torch.int8)}, "torch"),
     "{p}: lm_head.weight holds torch.int8; packed or integer weights are not the trained ones, take the checkpoint that they were made from"),
    (lambda p: [folder(p, published()), (p / "model.safetensors").unlink()],
     "{p}: no weights; expected model.safetensors, pytorch_model.bin, or their shards with an index.json"),
    (lambda p: [folder(p, published()), (p / "model.safetensors").write_bytes(b"PK\3\4 not at all")],
     "{p}/model.safetensors: not a safetensors file, or cut off"),
    (lambda p: [folder(p, published(), "torch"), (p / "pytorch_model.bin").write_bytes(b"PK\3\4 not at all")],
     "{p}/pytorch_model.bin: not a file of tensors by torch.save, or damaged ("),
    (lambda p: folder(p, {"a": "text"}, "torch"), "{p}/pytorch_model.bin: not a dictionary of tensors"),
    (cut, "{p}/model.safetensors: lm_head.norm.weight lies at bytes "),
    (without_a_shard, "{p}/pytorch_model-00002-of-00002.bin: no such file"),
    (lambda p: [folder(p, published(), sharded=True), (p / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../a"}}')],
     "{p}/model.safetensors.index.json: shard '../a' is not a file beside it"),
    (lambda p: [folder(p, published()), (p / "config.json").write_text("{")], "{p}/config.json: not JSON, or cut off ("),
], ids=range(25))
def test_refusals(typed, tmp_path, make, line):
    (tmp_path / "c").mkdir()
    make(tmp_path / "c")
    code, _, err = typed("import", tmp_path / "c", "-o", tmp_path / "lm")
    assert code == 1 and err.startswith("error: " + line.format(p=tmp_path / "c")) and err.count("\n") == 1, err
    assert not (tmp_path / "lm").exists()
