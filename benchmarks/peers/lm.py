"""Weight-only quantization of stories260K by other tools: nats per token with the linear layers of the blocks at some bits and groups.

    QSEARCH_DATA=... PEER/bin/python -m benchmarks.peers.lm OUT.json --peer torchao --settings 4g32 3g32 2g32 4

The model is a transformers LlamaForCausalLM with the weights of the checkpoint and its hidden layer padded with zeros from 172 to 192
channels, as these tools want groups that divide; what it computes is unchanged.  The head stays in float.
"""
import argparse
import json
import resource
import time
from pathlib import Path

import torch
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks import lm_data

PADDED = 192


def model() -> LlamaForCausalLM:
    """The checkpoint as transformers has it."""
    source = lm_data.model()
    s = source.shape
    config = LlamaConfig(vocab_size=s.vocabulary, hidden_size=s.dim, intermediate_size=PADDED, num_hidden_layers=s.layers,
                         num_attention_heads=s.heads, num_key_value_heads=s.kv_heads, rms_norm_eps=1e-5, max_position_embeddings=512,
                         tie_word_embeddings=False, bos_token_id=1, eos_token_id=2, torch_dtype="float32")
    out, more = LlamaForCausalLM(config).eval(), PADDED - s.hidden
    state = {"model.embed_tokens.weight": source.embed.weight, "model.norm.weight": source.norm.weight, "lm_head.weight": source.head.weight}
    for i, b in enumerate(source.blocks):
        a, m, at = b.attention, b.mlp, f"model.layers.{i}."
        state |= {f"{at}self_attn.{k}_proj.weight": f.weight for k, f in (("q", a.q), ("k", a.k), ("v", a.v), ("o", a.out))}
        state |= {f"{at}mlp.{k}_proj.weight": F.pad(f.weight, pad) for k, f, pad in (
            ("gate", m.gate, (0, 0, 0, more)), ("up", m.up, (0, 0, 0, more)), ("down", m.down, (0, more)))}
        state |= {f"{at}input_layernorm.weight": b.norm1.weight, f"{at}post_attention_layernorm.weight": b.norm2.weight}
    out.load_state_dict({k: v.detach() for k, v in state.items()})
    return out


def torchao(net, bits: int, group: int, variant: str, fit):
    from torchao.quantization import IntxWeightOnlyConfig, MappingType, PerAxis, PerGroup, quantize_
    from torchao.quantization.quantize_.workflows import IntxChooseQParamsAlgorithm
    kind = {"sym": dict(mapping_type=MappingType.SYMMETRIC), "asym": dict(mapping_type=MappingType.ASYMMETRIC),
            "hqq": dict(mapping_type=MappingType.SYMMETRIC, intx_choose_qparams_algorithm=IntxChooseQParamsAlgorithm.HQQ_SCALE_ONLY)}[variant]
    config = IntxWeightOnlyConfig(weight_dtype=getattr(torch, f"int{bits}"), granularity=PerGroup(group) if group else PerAxis(0), **kind)
    quantize_(net, config, filter_fn=lambda m, name: isinstance(m, torch.nn.Linear) and name != "lm_head")
    return net


def hqq(net, bits: int, group: int, variant: str, fit):
    from hqq.core.quantize import BaseQuantizeConfig, HQQLinear
    for layer in net.model.layers:
        for part in (layer.self_attn, layer.mlp):
            for name, m in list(part.named_children()):
                if isinstance(m, torch.nn.Linear):
                    config = BaseQuantizeConfig(nbits=bits, group_size=group or m.in_features, axis=1)
                    setattr(part, name, HQQLinear(m, config, compute_dtype=torch.float32, device="cpu", initialize=True))
    return net


def quanto(net, bits: int, group: int, variant: str, fit):
    from optimum.quanto import freeze, qint2, qint4, qint8, quantize
    quantize(net, weights={2: qint2, 4: qint4, 8: qint8}[bits], exclude="lm_head")  # its groups are its own choice
    freeze(net)
    return net


def autoround(net, bits: int, group: int, variant: str, fit):
    from auto_round import AutoRound
    batches = [b.contiguous() for b in fit[:, :-1].split(8)]
    rounder = AutoRound(net, tokenizer=object(), bits=bits, group_size=group or -1, sym=variant == "sym", dataset=batches, seqlen=fit.shape[1] - 1,
                        nsamples=len(fit), batch_size=8, iters=200, device_map="cpu", amp=False)
    net, _ = rounder.quantize()
    return net


PEERS = {"torchao": (torchao, ("sym", "asym", "hqq")), "hqq": (hqq, ("",)), "quanto": (quanto, ("",)), "autoround": (autoround, ("sym", "asym"))}


def scored(net, test): return lm_data.score(lambda x: net(x).logits.float(), test)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", type=Path)
    p.add_argument("--peer", choices=sorted(PEERS), required=True)
    p.add_argument("--settings", nargs="+", required=True, help="bits and group, such as 4g32; 4 for whole channels")
    args = p.parse_args()
    torch.set_num_threads(1)
    fit, test = lm_data.split()
    reference = scored(model(), test)
    run, variants = PEERS[args.peer]
    rows = [{"peer": args.peer, "setting": "float", "nats": reference.mean}]
    for setting in args.settings:
        bits, _, group = setting.partition("g")
        for variant in variants:
            start, row = time.process_time(), {"peer": args.peer, "setting": setting, "variant": variant}
            try:
                net = run(model(), int(bits), int(group or 0), variant, fit)
                row["seconds"] = time.process_time() - start
                drop, error = scored(net, test).drop(reference)
                row |= {"drop": drop, "error": error, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
            except Exception as e:  # a peer's refusal is a result
                row["refused"] = f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"[:160]
            rows.append(row)
            print(row, flush=True)
    args.out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
