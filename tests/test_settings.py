"""What a user decides is refused where it means nothing, before any work, and nothing that was given goes unheeded."""
import sys

import pytest

from ir import Option, Plan, Table, UserError
from qsearch import cli, planning
from qsearch.plan_view import sums
from qsearch.sensing import pairs_setting
from qsearch.settings import Settings, sensible
from qsearch.tables import listing
from search import Pairs

OPTIONS = ("int2/uint8", "int4/uint8", "int8/uint8")
COST = {"bytes": Table("bytes", "cost", {k: dict(zip(OPTIONS, (2.0, 4.0, 8.0))) for k in "abc"}, about={"model": "m"})}
KL = Table("kl", "damage", {k: dict(zip(OPTIONS, (9.0 * w, 3.0 * w, 0.0))) for k, w in zip("abc", (1, 2, 3))}, about={"model": "m"})
TASK = Table("task", "damage", {k: dict(zip(OPTIONS, (9.0 * w, 3.0 * w, 0.0))) for k, w in zip("abc", (3, 2, 1))}, about={"model": "m"})


@pytest.mark.parametrize("given,line", [
    ({"samples": 0}, "--samples 0: give 1 or more"),
    ({"workers": 0}, "--workers 0: give 1 or more"),
    ({"evaluations": -5}, "--evaluations -5: give 1 or more"),
    ({"pareto": 1}, "--pareto 1: a front has 2 or more plans; 0 asks for none"),
    ({"pareto": -1}, "--pareto -1: a front has 2 or more plans; 0 asks for none"),
    ({"floors": ("kl=-1",)}, "--floor kl=-1: give a damage of 0 or more"),
    ({"floors": ("kl=nan",)}, "--floor kl=nan: give a damage of 0 or more"),
    ({"order": "first"}, "order 'first' is not one of weighted, lexicographic"),
    ({"ratios": (1.0,)}, "--ratio says how groups share a budget, and there are none; give --group, or leave it out"),
    ({"groups": ("a=x:kl", "b=y:kl", "c=*:kl")}, "3 groups; the command takes one or two, search.decoupled any number"),
    ({"groups": ("a=*:kl",), "searcher": "greedy"}, "--group takes no account of --searcher greedy; leave out one of the two"),
    ({"groups": ("a=*:kl",), "forbid": ("a=int2/*",)}, "--group takes no account of --forbid; leave out one of the two"),
    ({"searcher": "evolve", "pairs": "predicted"}, "--searcher evolve takes no account of --pairs; leave out one of the two"),
    ({"searcher": "greedy", "order": "lexicographic"}, "--searcher greedy takes no account of --order lexicographic; leave out one of the two"),
])
def test_settings_that_mean_nothing(given, line):
    with pytest.raises(UserError) as e:
        sensible(Settings(**given))
    assert str(e.value) == line


@pytest.mark.parametrize("text,kind,number", [("predicted", "predicted", 0), ("predicted:20", "predicted", 20), ("adjacent", "adjacent", 0),
                                              ("window:3", "window", 3), ("top:6", "top", 6), ("all", "all", 0), ("", "", 0)])
def test_pairs_that_can_be_asked_for(text, kind, number):
    assert pairs_setting(Settings(pairs=text)) == (kind, number)


@pytest.mark.parametrize("text", ["nosuch", "predicted:", "predicted:x", "predicted:0", "window", "window:x", "top:-1", "all:3"])
def test_pairs_that_mean_nothing(text):
    with pytest.raises(UserError) as e:
        pairs_setting(Settings(pairs=text))
    assert str(e.value) == f"pairs {text!r}: give predicted, predicted:64, adjacent, window:3, top:6 or all"


def test_one_metric_over_some_layers_counts_these_alone():
    damage, budget = {"kl": KL, "task": TASK}, ("bytes=16",)
    plain = planning.choose(damage, COST, Settings(budgets=budget, metrics=("kl",)))
    part = planning.choose(damage, COST, Settings(budgets=budget, metrics=("kl=1@a", "task=1@b,c")))
    assert {k: str(o) for k, o in plain.options.items()} == {"a": "int4/uint8", "b": "int4/uint8", "c": "int8/uint8"}
    assert {k: str(o) for k, o in part.options.items()} == {"a": "int8/uint8", "b": "int4/uint8", "c": "int4/uint8"}
    with pytest.raises(UserError, match="^layer 'b' belongs to no group of layers; name it in one of a$"):
        planning.choose(damage, COST, Settings(budgets=budget, metrics=("kl=1@a",)))
    with pytest.raises(UserError, match="weight -1.0 is not a number >= 0"):
        planning.choose(damage, COST, Settings(budgets=budget, metrics=("kl=-1",)))


def test_reference_of_another_model(tmp_path):
    Plan(dict.fromkeys("abc", "int8/uint8"), model="other").save(tmp_path / "other.json")
    Plan(dict.fromkeys("abc", "int4/uint8"), model="m").save(tmp_path / "own.json")
    s = Settings(budgets=("bytes=100%",), metrics=("kl",), reference=str(tmp_path / "own.json"))
    for searcher in ("exact", "greedy"):
        s.searcher = searcher
        assert planning.choose({"kl": KL}, COST, s).budgets == {"bytes": 12.0}
    s.reference = str(tmp_path / "other.json")
    with pytest.raises(UserError) as e:
        planning.choose({"kl": KL}, COST, s)
    assert str(e.value) == f"--reference {s.reference} is a plan of model other, the damage tables are of m; give a plan of the same model"


@pytest.mark.parametrize("more,line", [
    (["--pareto", 4, "--searcher", "greedy"], "error: --pareto writes a front by the integer programme alone; leave out --group and --searcher\n"),
    (["--pareto", 4, "--order", "lexicographic"], "error: a front is over one damage or a weighted sum of several"),
    (["--pareto", 1], "error: --pareto 1: a front has 2 or more plans; 0 asks for none\n"),
    (["--pairs", "p.json", "--searcher", "greedy"], "error: --searcher greedy takes no account of --pairs; leave out one of the two\n"),
])
def test_plan_heeds_what_it_is_given(more, line, tmp_path, capsys, monkeypatch):
    KL.save(tmp_path / "damage.kl.table.json")
    COST["bytes"].save(tmp_path / "cost.bytes.table.json")
    monkeypatch.setattr(sys, "argv", ["qsearch", "-q", "plan", str(tmp_path), "-b", "bytes=16", "-o", str(tmp_path / "p.json"), *map(str, more)])
    with pytest.raises(SystemExit) as e:
        cli.main()
    assert e.value.code == 1 and capsys.readouterr().err.startswith(line)


def test_options_are_named_as_they_were_written():
    with pytest.raises(UserError, match="^unknown number format 'float'"):
        Option.parse("float/uint8")
    assert str(Option.parse("int4t/uint8")) == "int4t/uint8" and str(Option.parse("int4g64/int8")) == "int4g64/int8"


def test_lists_are_a_line_each_and_whole_sentences():
    for what in ("metrics", "costs", "observers", "searchers", "ties", "engines"):
        lines = listing(what)
        assert all(line.rstrip().endswith((".", "...", ")")) for line in lines), what
        assert len({len(line) - len(line[line.index(" "):].lstrip()) for line in lines}) == 1, what  # the texts begin below each other
    assert "fpga         fpga  the same as ecp5-85k" in listing("targets") and len(set(listing("targets"))) == len(listing("targets"))


def test_sums_tell_averages_to_four_digits():
    assert sums(Plan({"a": "int4/uint8"}, {"kl": 0.5}, {"wbits": 5.9047, "lut": 6759.0}, {"wbits": 6.0})) == (
        "kl damage 0.5, wbits 5.905 of 6, lut 6,759")


def test_plan_says_which_table_it_makes_small(tmp_path, capsys, monkeypatch):
    for t in (KL, TASK):
        t.save(tmp_path / f"damage.{t.name}.table.json")
    COST["bytes"].save(tmp_path / "cost.bytes.table.json")
    monkeypatch.setattr(cli.screen.err, "quiet", False)
    monkeypatch.setattr(sys, "argv", ["qsearch", "plan", str(tmp_path), "-b", "bytes=16", "-o", str(tmp_path / "p.json"), "-m", "task"])
    cli.app(standalone_mode=False)
    assert "minimises task of the damage tables kl, task" in capsys.readouterr().err
    assert str(Plan.load(tmp_path / "p.json").options["a"]) == "int8/uint8"


def test_a_front_with_and_without_pairs():
    s = Settings(budgets=("bytes=24",), metrics=("kl",), pareto=4)
    alone = planning.pareto({"kl": KL}, COST, s)
    repel = Pairs("kl", {("a", "b"): {("int4/uint8", "int4/uint8"): 50.0}}, {"model": "m"})
    together = planning.pareto({"kl": KL}, COST, s, repel)
    def both(plans): return [p for p in plans if str(p.options["a"]) == str(p.options["b"]) == "int4/uint8"]
    assert both(alone) and not both(together) and len(together) > 1
