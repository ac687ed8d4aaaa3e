"""Groups of layers, and what is wrong with them, as text."""
import pytest

from ir import Layer, UserError
from search import groups
from search.groups import parse_groups

NAMES = ("down.attn2.k", "down.ff", "down.conv", "out")


def says(text, *call):
    with pytest.raises(UserError) as e:
        call[0](*call[1:])
    assert str(e.value) == text


def test_groups_by_name_and_rest():
    found = groups(NAMES, ["content=ff|attn2:ssim", "quality=*:sqnr"])
    assert {g: v.layers for g, v in found.items()} == {"content": NAMES[:2], "quality": NAMES[2:]}
    assert found["content"].metric == "ssim" and list(found) == ["content", "quality"]


def test_groups_by_kind():
    layers = {"a": Layer("a", "conv", 8, 8, 8, (3, 3)), "b": Layer("b", "conv", 8, 8, 1, (3, 3)), "c": Layer("c", "linear", 4, 8)}
    found = groups(layers, ["thin=kind:depthwise:sqnr", "convs=kind:conv:kl", "rest=*:mse"])
    assert [g.layers for g in found.values()] == [("a",), ("b",), ("c",)]
    says("group 'x': 'kind:lstm' matches no layer (kinds: conv, depthwise, linear); mend the pattern or leave the group out",
         groups, layers, ["x=kind:lstm:kl", "rest=*:kl"])
    says("group 'x' asks for kind:conv, but of the layers only names are known; give their geometry or a pattern of names",
         groups, NAMES, ["x=kind:conv:kl"])


@pytest.mark.parametrize("specs, text", [
    (["a=down:kl", "b=ff:kl", "c=*:kl"], "layer 'down.ff' is in two groups, 'a' and 'b'; narrow one of the patterns"),
    (["a=down:kl"], "layer 'out' is in no group; widen a pattern or add a group for the rest, such as rest=*:kl"),
    (["a=out:mse"], "layer 'down.attn2.k' is in no group (nor are 2 more); widen a pattern or add a group for the rest, such as rest=*:mse"),
    (["a=up:kl", "b=*:kl"], "group 'a': 'up' matches no layer (layers: down.attn2.k, down.ff, down.conv, out); mend the pattern or leave the "
     "group out"),
    (["a=.:kl", "b=*:kl"], "group 'b' takes the rest, but nothing is left for it; leave it out"),
    (["a=*:kl", "b=*:mse"], "groups a, b all take the rest (*); only one can"),
    (["a=ff:kl", "a=*:kl"], "group 'a' is given twice; join the two patterns with |"),
    (["a=(:kl"], "group 'a': pattern '(' is not a regular expression (missing ), unterminated subpattern at position 0); for all that is "
     "left write *"),
    (["a=ff"], "group 'a=ff' is not of the form name=pattern:metric, for example content=ff|attn2:ssim or rest=*:kl"),
    (["a=kind:conv"], "group 'a=kind:conv' is not of the form name=pattern:metric, for example content=ff|attn2:ssim or rest=*:kl"),
    ([], "no groups; give at least one, for example rest=*:kl"),
])
def test_groups_refused(specs, text): says(text, groups, NAMES, specs)


def test_groups_name_a_close_metric():
    with pytest.raises(UserError, match="unknown sensitivity metric 'ssin'; did you mean 'ssim'"):
        parse_groups(["a=*:ssin"])
