"""What a ternary engine of the language-model core costs: LUT for each weight that it multiplies and adds in a cycle.

    python benchmarks/lm_engine.py                            all rows, synthesized by Yosys (a minute or two)
    python benchmarks/lm_engine.py --device ecp5-25k --route  one device, with the routed clock of the engine alone

A row is qs_lm_engine as a whole: unpacking of the weights, selection, adders and the accumulator of 20 bits (28 for activations of 16).
Peers, each by its own count: 64 weights of two bits in 1,350 LUT6 and 80 of base 3 times 4 vectors in 4,200 LUT6 (bitnet-kv260 and kin),
16 lanes in 479 LUT6, and about 20 LUT6 a lane with its accumulation elsewhere.
"""
import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from hw.lm.layout import ENCODINGS, Machine  # noqa: E402
from hw.synth.design import synth_module  # noqa: E402
from hw.targets import FAMILIES, fpga  # noqa: E402
from sim.build import LIBRARY, sources  # noqa: E402

ROWS = [("base3", 80, 8, 1), ("fields", 80, 8, 1), ("two_bit", 64, 8, 1), ("two_bit", 16, 8, 1), ("fields", 80, 8, 4), ("fields", 80, 16, 1)]


def measured(device: str, encoding: str, trits: int, width: int, batch: int, route: bool) -> dict:
    """The report of one engine."""
    params = dict(Trits=trits, ActWidth=width, Batch=batch, AccWidth=width + 12, Encoding=ENCODINGS.index(encoding),
                  BeatWidth=Machine(trits=trits, lanes=1, encoding=encoding).beat_bits)
    return synth_module(sources("qs_lm_engine", [LIBRARY]), "qs_lm_engine", device, params=params, route=route, clock_mhz=125 if route else None)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--device", action="append", help="one or several (ecp5-85k and xck26)")
    p.add_argument("--route", action="store_true", help="place and route as well, where nextpnr knows the device")
    args = p.parse_args()
    print("| device | LUT inputs | weights | a cycle | activations | vectors | LUT | FF | LUT per weight and vector | MHz |\n|" + "---|" * 10)
    for device in args.device or ("ecp5-85k", "xck26"):
        inputs = FAMILIES[fpga(device).family].lut_inputs
        for encoding, trits, width, batch in ROWS:
            r = measured(device, encoding, trits, width, batch, args.route)
            each = r["lut"] / trits / batch
            print(f"| {device} | {inputs} | {encoding} | {trits} | {width} bits | {batch} | {r['lut']:,} | {r['ff']:,} | {each:.1f} "
                  f"| {r.get('fmax_mhz', '-')} |", flush=True)


if __name__ == "__main__":
    main()
