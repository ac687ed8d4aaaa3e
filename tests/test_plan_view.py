"""What people read of a plan says what its tables say."""
import pytest

from ir import Plan, Table, UserError
from qsearch.plan_view import difference, layer_rows, reasons

PLAN = Plan({"a": "int4/uint8", "b": "int8/uint8"}, {"kl": 0.5}, {"bytes": 1200.0, "lut": 30.0}, {"bytes": 2400.0}, why={"gap": 1e-4,
            "status": "optimal", "solver": "highs", "seconds": 0.25})
KL = Table("kl", "damage", {"a": {"int4/uint8": 0.4}, "b": {"int8/uint8": 0.1}})
BYTES = Table("bytes", "cost", {"a": {"int4/uint8": 400.0}, "b": {"int8/uint8": 800.0}})
LUT = Table("lut", "cost", {"a": {"int4/uint8": 10.0}, "b": {"int8/uint8": 12.5}}, fixed=7.5)


def test_layers_add_up():
    rows = layer_rows(PLAN, {"kl": KL}, {"bytes": BYTES, "lut": LUT, "bops": Table("bops", "cost", {"a": {}, "b": {}})})
    assert rows == [{"layer": "a", "option": "int4/uint8", "kl damage": "0.4", "bytes": "400", "lut": "10"},
                    {"layer": "b", "option": "int8/uint8", "kl damage": "0.1", "bytes": "800", "lut": "12.5"},
                    {"layer": "(all else)", "option": "", "kl damage": "", "bytes": "", "lut": "7.5"},
                    {"layer": "total", "option": "", "kl damage": "0.5", "bytes": "1,200", "lut": "30"}]


def test_why_a_layer_has_no_more():
    why = {"layers": {"a": {"next": "int5/uint8", "saves": .2, "needs": {"bytes": 100.0}, "over": {"bytes": 20.0}}},
           "budgets": {"bytes": {"price": .002}}}
    plan = Plan(PLAN.options, PLAN.damage, PLAN.costs, PLAN.budgets, why=why)
    rows = layer_rows(plan, {"kl": KL}, {})
    assert [r["the next better option"] for r in rows] == ["int5/uint8 saves 0.2 for +100 bytes, 20 bytes too many", "none", ""]
    assert reasons(plan) == ["budget bytes: 1,200 of 2,400 (50.0% used); one more would save 0.002 of damage"]


def test_reasons():
    assert reasons(PLAN) == ["budget bytes: 1,200 of 2,400 (50.0% used)",
                             "optimal: at most 0.01 % above the least possible damage (highs, 0.25 s)"]


def test_difference():
    other = Plan({"a": "int2/uint8", "b": "int8/uint8"}, {"kl": 0.75}, {"bytes": 900.0})
    layers, totals = difference(PLAN, other, ("x.json", "y.json"))
    assert layers == [{"layer": "a", "x.json": "int4/uint8", "y.json": "int2/uint8"}]
    assert totals == [{"total": "kl damage", "x.json": "0.5", "y.json": "0.75", "change": "+50.0%"},
                      {"total": "bytes", "x.json": "1,200", "y.json": "900", "change": "-25.0%"}]
    assert difference(PLAN, PLAN, ("p", "p"))[0] == []
    with pytest.raises(UserError, match=r"^the plans are of different models: 'b' is in x alone; compare plans of one model$"):
        difference(PLAN, Plan({"a": "int4/uint8"}), ("x", "y"))
