"""`qsearch demo`: the whole road on scikit-learn's handwritten digits."""
from pathlib import Path

from ir import UserError
from ir.store import whole

from . import flow
from .digits import DigitNet, digits, train
from .screen import Screen
from .settings import Settings

BUDGETS = ("bytes=45%", "lut=7000", "cycles=5000")
TARGETS = ("cpu", "onnx", "ecp5-85k")


def demo(out: Path, screen: Screen, seed: int = 0, images: int = 64) -> flow.Result:
    """Train, measure, plan, quantize, train again, compile three ways, check; everything lands in `out`."""
    from .cli import show_result
    data = digits(seed)
    model = trained(data, out / "float.pt", seed, screen)
    settings = Settings(targets=TARGETS, budgets=BUDGETS, metrics=("kl", "sqnr"), tune=4, simulate=images, check=len(data["x"]),
                        pareto=8, seed=seed)
    result = flow.run(model, data, out, settings, screen)
    show_result(result)
    return result


def trained(data: dict, path: Path, seed: int, screen: Screen) -> DigitNet:
    """The float network: loaded if an earlier run saved it, else trained."""
    import torch
    if path.exists():
        try:
            kept = torch.load(path, weights_only=True)
            if kept["seed"] == seed:
                net = DigitNet()
                net.load_state_dict(kept["state"])
                return net.eval()
        except Exception:
            screen.say(f"{path} is damaged; training again")
    with screen.step("train the float network") as progress:
        net = train(data, seed=seed, progress=progress)
    try:
        with whole(path) as tmp:
            torch.save({"seed": seed, "state": net.state_dict()}, tmp)
    except RuntimeError as e:
        raise UserError(f"cannot write {path}: {e}") from None
    return net
