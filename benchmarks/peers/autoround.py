"""AutoRound (Intel): asks AutoScheme for mixed bits of a network of the comparison and prints what it says.

    QSEARCH_DATA=... PEER/bin/python -m benchmarks.peers.autoround [--model vit]

Version 0.16.1 takes language models only: it refuses a module without a tokenizer, and calibrates on texts.
"""
import argparse

from auto_round import AutoRound, AutoScheme

from benchmarks.peers.models import MODELS


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", choices=sorted(MODELS), default="vit")
    args = p.parse_args()
    scheme = AutoScheme(avg_bits=4, options=("W2A16", "W4A16", "W8A16"))
    for tokenizer in (None, object()):
        try:
            AutoRound(MODELS[args.model].make(), tokenizer=tokenizer, scheme=scheme, device_map="cpu").quantize()
            print("it ran")
        except (ValueError, AttributeError, TypeError) as e:
            print(f"{'with' if tokenizer else 'without'} a tokenizer: {type(e).__name__}: {e}")


if __name__ == "__main__":
    main()
