"""Which options each layer may choose from."""
import fnmatch
from collections.abc import Iterable, Mapping, Sequence

from ir import Option, UserError

DEFAULT_MENU = ("int2,int4,int6,int8/uint8",)


def menu(*texts: str) -> tuple[str, ...]:
    """Option texts, without repeats, of menus such as `int2,int4/uint8` (= int2/uint8 int4/uint8) or `int4,int8/uint4,uint8`.

    Commas list formats on either side of the slash, all pairs are meant; spaces or semicolons separate menus.
    """
    found: dict[str, None] = {}
    for part in " ".join(texts).replace(";", " ").split():
        weights, slash, acts = part.partition("/")
        if not slash:
            raise UserError(f"menu {part!r} is not of the form weights/activations, for example int2,int4,int8/uint8")
        for w in weights.split(","):
            for a in acts.split(","):
                found[str(Option.parse(f"{w}/{a}"))] = None
    if not found:
        raise UserError("an empty menu; give options such as int2,int4,int8/uint8")
    return tuple(found)


def parse_rules(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """{pattern: options} of rules written `first=int8/uint8`, `last=...`, `features.*=int4,int8/uint8`."""
    rules = {}
    for text in texts:
        pattern, equals, options = text.partition("=")
        if not equals or not pattern.strip():
            raise UserError(f"rule {text!r} is not of the form layer=options, for example first=int8/uint8")
        rules[pattern.strip()] = menu(options)
    return rules


def per_layer(layers: Sequence[str], options: Sequence[str],
              rules: Mapping[str, Sequence[str]] | None = None) -> dict[str, tuple[str, ...]]:
    """{layer: options}: `options` for all, save where a rule speaks; of several that match a layer the last holds.

    A rule's key is `first`, `last`, a layer's name or a pattern with * and ?.  UserError: a rule that matches nothing.
    """
    chosen = dict.fromkeys(layers, tuple(options))
    for pattern, special in (rules or {}).items():
        matched = named(layers, pattern)
        if not matched:
            raise UserError(f"rule for {pattern!r} matches no layer (layers: first, last, {', '.join(layers)})")
        chosen |= dict.fromkeys(matched, tuple(special))
    return chosen


def named(layers: Sequence[str], pattern: str) -> list[str]:
    """The layers that a pattern names: `first`, `last`, a layer's name, or a pattern with * and ?."""
    if pattern in layers:
        return [pattern]
    if pattern in ("first", "last"):
        return [layers[0 if pattern == "first" else -1]] if layers else []
    return fnmatch.filter(layers, pattern)
