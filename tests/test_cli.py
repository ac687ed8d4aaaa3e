"""The command, as a user types it: each verb reads what the one before wrote, and a mistake gets one line."""
import functools
import sys

import numpy as np
import pytest

from ir import Conv, Dense
from ir.store import load_graph
from qsearch import cli
from tests import small


@pytest.fixture
def qsearch(typed):
    """Runs `qsearch -q ARGS`."""
    return functools.partial(typed, "-q")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cli")


MODEL, DATA = "tests.small:net", "tests.small:data"
MENU = "int2,int4,int8/uint8"


@pytest.mark.slow
def test_each_verb_reads_what_the_one_before_wrote(qsearch, folder):
    tables, plan, graph, build = folder / "tables", folder / "plan.json", folder / "q", folder / "onnx"
    code, out, _ = qsearch("sense", MODEL, "-d", DATA, "-o", tables, "--options", MENU, "--samples", 64)
    assert code == 0 and "damage.kl.table.json" in out and (tables / "damage.sqnr.table.json").exists()
    assert qsearch("cost", MODEL, "-d", DATA, "-o", tables, "--options", MENU)[0] == 0
    code, out, err = qsearch("plan", tables, "-b", "bytes=60%", "--metric", "kl", "-o", plan)
    assert code == 0 and "kl damage" in out and "bytes" in out and "total" in out, err
    code, out, err = qsearch("plan", tables, "-b", "bytes=90%", "--metric", "kl", "-o", folder / "larger.json")
    assert code == 0, err
    code, out, err = qsearch("show", plan, "--diff", folder / "larger.json")
    assert code == 0 and "larger.json" in out and "kl damage" in out and "%" in out, err
    assert "same options" in qsearch("show", plan, "--diff", plan)[1]
    code, out, err = qsearch("quantize", MODEL, plan, "-d", DATA, "-o", graph)
    assert code == 0, err
    code, out, err = qsearch("eval", graph / "graph", "-d", DATA)
    integer = float(out.split()[0])
    assert code == 0 and integer > 60
    code, out, err = qsearch("eval", MODEL, "-d", DATA)
    assert abs(float(out.split()[0]) - integer) < 10
    assert qsearch("compile", graph / "graph", "-t", "onnx", "-o", build)[0] == 0
    code, out, err = qsearch("sim", build, "-d", DATA, "--samples", 20)
    assert code == 0, err
    assert "conv" in qsearch("show", plan)[1] and "requant" in qsearch("show", graph / "graph")[1]
    assert "int4/uint8" in qsearch("show", tables / "damage.kl.table.json")[1]


@pytest.mark.slow
def test_plans_of_a_front_cost_more_and_damage_less(qsearch, folder):
    code, out, err = qsearch("plan", folder / "tables", "-b", "bytes=100%", "--metric", "kl", "-o", folder / "f.json", "--pareto", 5)
    assert code == 0 and len(out.splitlines()) >= 2, err


@pytest.mark.parametrize("what,holds", [("formats", "ternary"), ("formats", "fx8.4"), ("metrics", "kl"), ("costs", "bops"), ("targets", "ecp5-85k"),
                                        ("observers", "percentile"), ("engines", "ray"), ("searchers", "exact"), ("ties", "residual"),
                                        ("ops", "requant"), ("preparations", "smooth"), ("training", "accumulator_bits = 0")])
def test_list(qsearch, what, holds):
    code, out, _ = qsearch("list", what)
    assert code == 0 and holds in out


@pytest.mark.parametrize("args,line", [
    (["run", "none.onnx", "-d", DATA], "none.onnx"),
    (["run", MODEL, "-d", "none.npz"], "error: none.npz: no such file; data is an .npz with arrays x and y, or package.module:factory"),
    (["run", MODEL, "-d", DATA, "-t", "ecp6"], "error: unknown target 'ecp6'"),
    (["run", MODEL, "-d", DATA, "-b", "lut"], "lut"),
    (["run", MODEL, "-d", DATA, "-b", "luts=3"], "luts"),
    (["run", MODEL, "-d", DATA, "-t", "ecp5-85k", "-b", "cycles=50%"],
     "error: budget cycles=50%: cycles are a goal for the folding, so give a number, for example cycles=50000"),
    (["run", MODEL, "-d", DATA, "-m", "kll"], "unknown"),
    (["run", MODEL, "-d", DATA, "--options", "int4/uint99"], "unknown number format 'uint99'"),
    (["run", MODEL, "-d", DATA, "--fix", "conv"], "error: rule 'conv' is not of the form layer=options, for example first=int8/uint8"),
    (["run", MODEL, "-d", DATA, "--fix", "convx=int8/uint8", "--options", "int8/uint8"], "convx"),
    (["run", MODEL, "-d", DATA, "-b", "bytes=3", "--options", "int8/uint8", "-m", "mse"], "smallest"),
    (["run", "tests.small:nan_net", "-d", DATA], "mix.weight"),
    (["run", "tests.small:odd", "-d", DATA], "cumsum"),
    (["run", "tests.small:no_model", "-d", DATA], "no_model"),
    (["show", "none.json"], "error: none.json: no such file"),
    (["plan", "none.table.json"], "error: none.table.json: no such file; expected a qsearch table"),
    (["list", "dreams"], "error: cannot list 'dreams'; there are formats, metrics, costs, targets, observers, searchers, ties, engines, ops"),
    (["compile", "none", "-t", "cpu"], "no such file"),
])
def test_one_line_and_exit_code_1(qsearch, args, line, tmp_path):
    if args[0] == "run":
        args = [*args, "-o", tmp_path]
    code, out, err = qsearch(*args)
    assert code == 1 and err.startswith("error: ") and line in err and len(err.splitlines()) == 1, err


@pytest.mark.parametrize("args", [["run"], ["sense", MODEL], ["frobnicate"], ["run", MODEL, "-d", DATA, "--samples", "many"]])
def test_wrong_usage_is_2(qsearch, args):
    assert qsearch(*args)[0] == 2


def test_unwritable_folder(qsearch, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = qsearch("run", MODEL, "-d", DATA, "-o", tmp_path / "file" / "run")
    assert code == 1 and "cannot write" in err and "choose a folder that can be written" in err


def test_wrong_input_shape(qsearch, tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((8, 3, 8, 8)), y=np.zeros(8, int))
    code, _, err = qsearch("run", MODEL, "-d", tmp_path / "d.npz", "-o", tmp_path / "r")
    assert code == 1 and len(err.splitlines()) == 1 and "3" in err


def test_debug_shows_the_traceback(qsearch, monkeypatch):
    from ir import UserError
    monkeypatch.setattr(sys, "argv", ["qsearch", "--debug", "show", "none.json"])
    monkeypatch.setenv("QSEARCH_DEBUG", "1")
    with pytest.raises(UserError):
        cli.main()


def test_the_small_model_learned_something():
    import torch
    d = small.data()
    with torch.no_grad():
        assert (small.net()(torch.from_numpy(d["x"])).argmax(1).numpy() == d["y"]).mean() > .8


@pytest.mark.slow
def test_the_search_from_the_command_line(qsearch, folder):
    tables, out = folder / "deep", folder / "deep.plan.json"
    code, _, err = qsearch("sense", MODEL, "-d", DATA, "-o", tables, "--options", "int2,int4,int8/uint8,uint4", "--samples", 32, "--apart",
                           "-m", "kl", "-m", "task", "-m", "information", "--pairs", "predicted", "--workers", 2)
    assert code == 0, err
    assert qsearch("cost", MODEL, "-d", DATA, "-o", tables, "--options", "int2,int4,int8/uint8,uint4")[0] == 0
    budget = ["-b", "wbits=4", "-b", "abits=6", "-o", out]
    for more in (["-m", "kl=0.7", "-m", "task=0.3"], ["-m", "kl", "-m", "task", "--order", "lexicographic"], ["-m", "kl", "--searcher", "greedy"],
                 ["-m", "kl", "--pairs", tables / "pairs.kl.json"], ["-m", "kl", "--tie", "residual", "--forbid", "first=int2/*"],
                 ["-m", "kl", "--floor", "information=20"],
                 ["--group", "front=conv|mix:kl", "--group", "rest=*:task", "--ratio", 0.8, "--ratio", 1.2, "--model", MODEL, "-d", DATA],
                 ["-m", "kl", "--searcher", "evolve", "--evaluations", 60, "--model", MODEL, "-d", DATA],
                 ["-m", "kl", "--searcher", "fliqs", "--evaluations", 40, "--model", MODEL, "-d", DATA]):
        code, printed, err = qsearch("plan", tables, *budget, *more)
        assert code == 0 and "total" in printed and "budget wbits" in printed, (more, err)
    for more, line in ((["--searcher", "evolve"], "error: --searcher evolve measures whole plans on the model; give --model and --data"),
                       (["--group", "a=nosuch:kl", "--group", "b=*:kl", "--model", MODEL, "-d", DATA], "nosuch"),
                       (["--tie", "qkv"], "error: tie 'qkv': this model has no such layers (it has ties residual); name layers, for example a,b"),
                       (["-m", "hawq"], "error: no damage table 'hawq' was given (there are information, kl, task)"),
                       (["--floor", "information"], "error: floor 'information' is not of the form metric=damage, for example information=0.05"),
                       (["-b", "wbits=4MB"], "MB"), (["--searcher", "luck"], "error: unknown searcher 'luck'"),
                       (["--forbid", "conv"], "error: --forbid 'conv' is not of the form layer=options")):
        code, _, err = qsearch("plan", tables, *budget, *more)
        assert code == 1 and line in err and len(err.splitlines()) == 1, (more, err)


def test_quantize_takes_an_option_changes_and_a_recipe(qsearch, folder):
    out = folder / "tuned"
    code, text, err = qsearch("quantize", MODEL, "int4t/uint8", "-d", DATA, "-o", out, "--prepare", "equalize", "--rounding", "nearest",
                              "--tune", 1, "--train", "mode=lsq+", "--train", "accumulator_bits=14", "--prune", "0.5", "--distill")
    assert code == 0, err
    assert "fake-quant" in text and "| weights: " in text and "weights + metadata" in text and "compressed" in text
    assert "s14" in qsearch("show", out / "graph")[1]
    zeros = [float(np.mean(n.op.weight == 0)) for n in load_graph(out / "graph").nodes.values() if isinstance(n.op, (Conv, Dense))]
    assert min(zeros) >= 0.5
    code, text, err = qsearch("size", out / "graph")
    assert code == 0 and "container: graph.json" in text, err


def test_quantized_onnx_goes_out_and_comes_back(qsearch, folder):
    assert qsearch("quantize", MODEL, "int8/uint8", "-d", DATA, "-o", folder / "q8", "--rounding", "nearest")[0] == 0
    here = qsearch("eval", folder / "q8" / "graph", "-d", DATA)[1]
    for form in ("qdq", "qonnx"):
        code, text, err = qsearch("compile", folder / "q8" / "graph", "-t", "onnx", "--form", form, "-o", folder / form)
        assert code == 0, err
    code, text, err = qsearch("eval", folder / "qdq" / "model.onnx", "-d", DATA)
    assert code == 0 and abs(float(text.split()[0]) - float(here.split()[0])) <= 1, err
    code, text, err = qsearch("import", folder / "qdq" / "model.onnx", "-o", folder / "back")
    assert code == 0 and "requant" in text and (folder / "back" / "graph" / "graph.json").exists(), err


@pytest.mark.parametrize("args,line", [
    (["quantize", MODEL, "int8", "-d", DATA], "'int8' is neither a plan file that exists nor an option such as int8/uint8"),
    (["quantize", MODEL, "int8/uint8", "-d", DATA, "--train", "mode=lsq"], "--train is about training, and there is none; add --tune EPOCHS"),
    (["quantize", MODEL, "int8/uint8", "-d", DATA, "--tune", 1, "--train", "modes"], "--train 'modes': give NAME=VALUE, with a name among mode"),
    (["quantize", MODEL, "int8/uint8", "-d", DATA, "--tune", 1, "--train", "ema=much"], "--train ema=much: a number is needed"),
    (["quantize", MODEL, "int8/uint8", "-d", DATA, "--tune", 1, "--augment", "blur"], "unknown augmentation 'blur' (known: none, flip, flip+crop)"),
    (["quantize", MODEL, "int8/uint8", "-d", DATA, "--prepare", "smoth"], "unknown preparation 'smoth'; did you mean 'smooth'?"),
    (["quantize", MODEL, "int8/uint8", "-d", DATA, "--prepare", "smooth"], "no layer norm or RMS norm that feeds layers alone"),
    (["compile", "nowhere.onnx", "-t", "onnx"], "nowhere.onnx"),
    (["compile", "tests", "-t", "cpu", "--form", "qdq"], "form 'qdq' of target cpu: give integer, qdq, qonnx, the last two with --target onnx"),
])
def test_refusals_of_quantization(qsearch, args, line):
    code, _, err = qsearch(*args)
    assert code == 1 and line in err and len(err.strip().splitlines()) == 1
