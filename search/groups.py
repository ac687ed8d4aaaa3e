"""Groups of layers that are judged by metrics of their own, as MixDQ (Zhao et al., 2024, section 4.2) splits content from quality."""
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ir import Layer, UserError

from .metrics import METRICS

_KIND, _REST = "kind:", "*"


@dataclass(frozen=True)
class Group:
    """A name, what is in it, and the metric that judges it.

    pattern: a regular expression that is searched in a layer's name, `kind:conv` (also linear, depthwise, ...), or `*` for
    every layer that no other group has.
    """
    name: str
    pattern: str
    metric: str
    layers: tuple[str, ...] = ()


def parse_groups(texts: Iterable[str]) -> list[Group]:
    """Groups, still without layers, of texts `name=pattern:metric`: `content=ff|attn2:ssim`, `quality=*:output_sqnr`.

    The pattern ends at the last colon.  UserError: not of that form, an unknown metric, a name given twice, or a bad pattern.
    """
    specs: list[Group] = []
    for text in texts:
        name, equals, rest = (part.strip() for part in text.partition("="))
        pattern, colon, metric = (part.strip() for part in rest.rpartition(":"))
        if not (name and equals and pattern and colon and metric) or pattern == _KIND[:-1]:
            raise UserError(f"group {text!r} is not of the form name=pattern:metric, for example content=ff|attn2:ssim or rest=*:kl")
        if name in (g.name for g in specs):
            raise UserError(f"group {name!r} is given twice; join the two patterns with |")
        specs.append(Group(name, pattern, METRICS[metric].name))
        _expression(specs[-1])
    if not specs:
        raise UserError("no groups; give at least one, for example rest=*:kl")
    if len(rest := [g.name for g in specs if g.pattern == _REST]) > 1:
        raise UserError(f"groups {', '.join(rest)} all take the rest (*); only one can")
    return specs


def groups(layers: Mapping[str, Layer] | Iterable[str], specs: Iterable[str | Group]) -> dict[str, Group]:
    """{name: group} with every layer in exactly one group; layers in their given order.

    layers: by name, with their geometry where a `kind:` is asked for.
    UserError: as parse_groups; a group that matches nothing, a layer in two groups, a layer in none.
    """
    specs = list(specs)
    specs = specs if specs and all(isinstance(s, Group) for s in specs) else parse_groups(specs)
    known = layers if isinstance(layers, Mapping) else dict.fromkeys(layers)
    taken: dict[str, str] = {}
    for g in (g for g in specs if g.pattern != _REST):
        for layer in (layer for layer in known if _matches(g, layer, known[layer])):
            if layer in taken:
                raise UserError(f"layer {layer!r} is in two groups, {taken[layer]!r} and {g.name!r}; narrow one of the patterns")
            taken[layer] = g.name
    rest = next((g.name for g in specs if g.pattern == _REST), None)
    taken |= {layer: rest for layer in known if rest and layer not in taken}
    if left := [layer for layer in known if layer not in taken]:
        more = f" (nor are {len(left) - 1} more)" if len(left) > 1 else ""
        raise UserError(f"layer {left[0]!r} is in no group{more}; widen a pattern or add a group for the rest, such as rest=*:{specs[-1].metric}")
    found = {g.name: replace(g, layers=tuple(layer for layer in known if taken[layer] == g.name)) for g in specs}
    if empty := [g for g in found.values() if not g.layers]:
        raise UserError(_nothing(empty[0], known))
    return found


def kind(layer: Layer) -> str:
    """`linear`, `conv` and so on; a convolution of one input channel for each group is `depthwise` and not `conv`."""
    return "depthwise" if layer.depthwise else layer.kind


def _matches(g: Group, name: str, layer: Layer | None) -> bool:
    if not g.pattern.startswith(_KIND):
        return bool(_expression(g).search(name))
    if layer is None:
        raise UserError(f"group {g.name!r} asks for {g.pattern}, but of the layers only names are known; give their geometry or a pattern of names")
    return kind(layer) == g.pattern[len(_KIND):].strip()


def _expression(g: Group) -> re.Pattern | None:
    if g.pattern == _REST or g.pattern.startswith(_KIND):
        return None
    try:
        return re.compile(g.pattern)
    except re.error as e:
        raise UserError(f"group {g.name!r}: pattern {g.pattern!r} is not a regular expression ({e}); for all that is left write *") from None


def _nothing(g: Group, layers: Mapping[str, Layer | None]) -> str:
    if g.pattern == _REST:
        return f"group {g.name!r} takes the rest, but nothing is left for it; leave it out"
    there = sorted({kind(v) for v in layers.values()}) if g.pattern.startswith(_KIND) else list(layers)
    return (f"group {g.name!r}: {g.pattern!r} matches no layer ({'kinds' if g.pattern.startswith(_KIND) else 'layers'}: "
            f"{', '.join(there)}); mend the pattern or leave the group out")

