"""Formats of weights and of inputs, measured apart and chosen together."""
from collections.abc import Iterable, Mapping

from ir import Option, Table, UserError

from .objectives import one_model


def join(weights: Table, acts: Table | None = None, options: Iterable[str] | Mapping[str, Iterable[str]] | None = None) -> Table:
    """The damage of whole options as the sum of their two sides: `int4/uint8` of `int4/-` and `-/uint8`.

    |W| + |A| cells a layer are measured and |W| * |A| can be chosen; costs stay exact, as they are of whole options.  `acts` None:
    `weights` has both kinds.  `options` limits what is made, for all layers or {layer: options}; None makes all.
    That the two sides' damages add is an assumption, as that layers' do (MixDQ, section 4.3, searches the two apart).
    UserError: tables of different metrics, models or layers, a side that was not measured.
    """
    acts = weights if acts is None else acts
    if (weights.name, weights.unit) != (acts.name, acts.unit):
        raise UserError(f"tables {weights.name!r} and {acts.name!r} are of different metrics; join two of the same")
    one_model([weights, acts])
    if differing := weights.rows.keys() ^ acts.rows.keys():
        raise UserError(f"only one of the tables joined has layer {min(differing)!r}; measure both sides of it")
    wanted = options if isinstance(options, Mapping) else dict.fromkeys(weights.rows, None if options is None else tuple(options))
    rows = {layer: _row(layer, row, acts.rows[layer], wanted.get(layer)) for layer, row in weights.rows.items()}
    return Table(weights.name, weights.kind, rows, weights.unit, acts.about | weights.about | {"joined": True}, max(weights.fixed, acts.fixed))


def _row(layer: str, weights: Mapping[str, float], acts: Mapping[str, float], wanted: Iterable[str] | None) -> dict[str, float]:
    left = {o.removesuffix("/-"): v for o, v in weights.items() if o.endswith("/-")}
    right = {o.removeprefix("-/"): v for o, v in acts.items() if o.startswith("-/")}
    if not left or not right:
        side, other = ("weights", "int4/-") if not left else ("inputs", "-/uint8")
        raise UserError(f"layer {layer!r}: no damage of {side} alone was measured; measure options such as {other}")
    row = {}
    for option in [f"{w}/{a}" for w in left for a in right] if wanted is None else [str(Option.parse(o)) for o in wanted]:
        w, _, a = option.partition("/")
        if missing := [o for o, known in ((f"{w}/-", w in left), (f"-/{a}", a in right)) if not known]:
            raise UserError(f"layer {layer!r}: option {option} needs the damage of {missing[0]}, which was not measured "
                            f"(known: {', '.join([f'{k}/-' for k in left] + [f'-/{k}' for k in right])})")
        row[option] = left[w] + right[a]
    return row
