"""`qsearch prove`: the modules of a generated design, with its parameters."""
import numpy as np
import pytest
from typer.testing import CliRunner

from hw import generate, unroll_design
from hw.proof import prove_design, rows
from ir import Add, Constant, Dense, Graph, Input, Ints, Requant, UserError
from qsearch.cli import app


def branches() -> Graph:
    """A value that two branches read and that meets itself again."""
    g = Graph()
    g.add("x", Input(Ints((2, 2), -8, 7)))
    g.add("twice", Add(), "x", "x")
    g.add("both", Add(), "twice", g.add("c", Constant([[1, 2], [3, 4]])))
    g.add("q", Requant([3], 2, 0, 0, 15), "both")
    g.add("y", Dense(np.ones((1, 2), int), [1]), "q")
    return g


def test_modules_of_a_design(tmp_path):
    generate(branches(), tmp_path / "d")
    made = list(rows(prove_design(tmp_path / "d", 120, ["qs_fork", "qs_mvu", "qs_skid"])))
    assert [r["module"] for r in made if not r["property"]] == ["qs_mvu"] and {r["module"] for r in made} == {"qs_skid", "qs_fork", "qs_mvu"}
    assert all(r["proof"].startswith("for all time, induction of ") for r in made if r["property"]) and len(made) == 9


def test_command(tmp_path):
    generate(branches(), tmp_path / "d")
    said = CliRunner().invoke(app, ["prove", str(tmp_path / "d"), "-m", "qs_skid"])
    assert said.exit_code == 0
    first = said.stdout.splitlines()[0]
    assert first.startswith("qs_skid DataWidth=2: a beat once offered stays, unchanged, until it is taken: for all time, induction of 1 cycle (")


def test_bad_input(tmp_path):
    generate(branches(), tmp_path / "d")
    with pytest.raises(UserError, match=rf"^{tmp_path}/d has no module qs_div; it has qs_add, "):
        list(prove_design(tmp_path / "d", modules=["qs_div"]))
    g = Graph()
    g.add("y", Dense([[1, 2]], [0]), g.add("x", Input(Ints((2,), 0, 3))))
    unroll_design(g, tmp_path / "u")
    with pytest.raises(UserError, match=rf"^{tmp_path}/u holds a design of kind unrolled; only the modules of dataflow designs are proven$"):
        list(prove_design(tmp_path / "u"))
