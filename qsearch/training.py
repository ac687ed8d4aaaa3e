"""What `--train NAME=VALUE` and its like say of a training: read, checked, and handed to quant.tune."""
from dataclasses import fields

from ir import UserError

OURS = ("epochs", "lr", "seed")  # options of the command itself
AUGMENT = ("none", "flip", "flip+crop")


def recipe(given: tuple[str, ...]) -> dict:
    """{field of quant.train.recipe.Recipe: value} of texts such as `mode=lsq+`, `norms=virtual`, `accumulator_bits=16`.

    UserError: not of that form, an unknown name, a value of another kind.
    """
    from quant.train.recipe import Recipe
    kinds = {f.name: type(f.default) for f in fields(Recipe) if f.name not in OURS}
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name not in kinds:
            raise UserError(f"--train {text!r}: give NAME=VALUE, with a name among {', '.join(kinds)}")
        found[name] = _value(name, value, kinds[name])
    Recipe(**found)  # refuses what is out of range before the long work
    return found


def _value(name: str, text: str, kind: type):
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return tuple(text.split(",")) if kind is tuple else kind(text)
    except (KeyError, ValueError):
        raise UserError(f"--train {name}={text}: {'true or false' if kind is bool else 'a number'} is needed") from None


def augmentation(name: str):
    """f(images, rng) for quant.tune, or None.  UserError: unknown."""
    if name not in AUGMENT:
        raise UserError(f"unknown augmentation {name!r} (known: {', '.join(AUGMENT)})")
    if name == "none":
        return None
    from quant.train.augment import flip_and_crop
    return flip_and_crop(0 if name == "flip" else 4)
