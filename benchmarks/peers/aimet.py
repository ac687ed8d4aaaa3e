"""Qualcomm AIMET: automatic mixed precision, its list of sensitivities walked down until the weights fit a budget.

    QSEARCH_DATA=... PEER/bin/python -m benchmarks.peers.aimet OUT [--model resnet20] [--samples 128]

AIMET's own search stops at an allowed drop of accuracy.  A budget of bits is met here by its first phase (sensitivity of each group of
quantizers by SQNR of the outputs, its built-in callback) and the order in which its second phase takes the groups; the second
phase's evaluations, which would only decide where to stop, are answered by a constant and so cost it no time.
"""
import json
import re
import tempfile
from importlib.metadata import version
from pathlib import Path

import torch

_operators = torch.library.Library("torchvision", "DEF")  # torchvision's wheel is built for CUDA; AIMET only imports it
for _signature in ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
                   "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"):
    _operators.define(_signature)

from aimet_torch.batch_norm_fold import fold_all_batch_norms  # noqa: E402
from aimet_torch.common.amp.utils import AMPSearchAlgo  # noqa: E402
from aimet_torch.common.defs import CallbackFunc, QuantizationDataType, QuantScheme  # noqa: E402
from aimet_torch.common.quantsim_config.utils import get_path_for_per_channel_config  # noqa: E402
from aimet_torch.amp.mixed_precision_algo import EvalCallbackFactory  # noqa: E402
from aimet_torch.mixed_precision import choose_mixed_precision  # noqa: E402
from aimet_torch.model_preparer import prepare_model  # noqa: E402
from aimet_torch.quantsim import QuantizationSimModel  # noqa: E402

from benchmarks.peers.common import BATCH, Clock, Images, arguments, average, save, scores, weights  # noqa: E402
from benchmarks.peers.models import MODELS  # noqa: E402


def simulation(args, images: Images, prepared) -> QuantizationSimModel:
    """Everything at 8 bits, ranges from the calibration images."""
    sim = QuantizationSimModel(prepared, images.x[:1], QuantScheme.post_training_tf_enhanced, args.acts, 8,
                               config_file=get_path_for_per_channel_config())
    calibrate(sim, images)
    return sim


def calibrate(sim, images: Images) -> None:
    with torch.no_grad():
        sim.compute_encodings(lambda model, _: run(model, images), None)


def run(model, images: Images) -> None:
    for x, _ in images.batches():
        model(x)


def prepare(args, images: Images):
    """The network with functions made modules and batch norms folded, as AIMET asks."""
    model = prepare_model(MODELS[args.model].make())
    fold_all_batch_norms(model, tuple(images.x[:1].shape), images.x[:1])
    return model.eval()


def sensitivities(args, images: Images, sim, samples: int) -> list:
    """[group of quantizers, candidate, SQNR] from the least sensitive on."""
    kind = QuantizationDataType.int
    candidates = [((args.acts, kind), (b, kind)) for b in sorted(args.menu, reverse=True)]
    loader = torch.utils.data.DataLoader(images.x, batch_size=BATCH)
    callback = EvalCallbackFactory(loader, lambda m, x: m(x)).sqnr(num_samples=samples)
    with tempfile.TemporaryDirectory() as folder:
        choose_mixed_precision(sim, images.x[:1], candidates, callback, CallbackFunc(lambda model, _: 1.0), None, folder, True,
                               CallbackFunc(lambda model, _: run(model, images)), use_all_amp_candidates=True,
                               amp_search_algo=AMPSearchAlgo.Binary)
        return json.loads((Path(folder) / ".cache" / "accuracy_list.json").read_text())


def walked(found: list, sizes: dict[str, int], budget: float) -> dict[str, int]:
    """8 bits, then every step of the list in turn, until the weights fit."""
    bits = dict.fromkeys(sizes, 8)
    for group, candidate, *_ in found:
        if average(bits, sizes) <= budget:
            break
        wanted = int(re.findall(r"\((\d+), ", candidate)[1])
        bits |= {name: wanted for kind, name in group if kind == "weight" and name in bits}
    return bits


def main() -> None:
    p = arguments(__doc__)
    p.add_argument("--samples", type=int, default=128, help="images for the sensitivities (128: its own default)")
    args = p.parse_args()
    torch.set_num_threads(1)
    images, sizes = Images(args.model, args.seed), weights(MODELS[args.model].make())
    clock = Clock()
    prepared = prepare(args, images)
    found = sensitivities(args, images, simulation(args, images, prepared), args.samples)
    seconds, plans = clock.read(), []
    for budget in args.budget:
        bits = walked(found, sizes, budget)
        sim = simulation(args, images, prepared)
        for name, module in sim.model.named_modules():
            if name in bits:
                module.param_quantizers["weight"].bitwidth = bits[name]
        calibrate(sim, images)
        plans.append({"budget": budget, "bits": bits, "seconds": seconds, "own": scores(sim.model, images)})
    save(args, "aimet_amp", version("aimet-torch"), plans, float=scores(MODELS[args.model].make(), images), list=found)


if __name__ == "__main__":
    main()
