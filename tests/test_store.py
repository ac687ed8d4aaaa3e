"""Files: whole or not at all, and a clear line for whatever is wrong with one."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from strategies import graphs, samples

from ir import Conv, Dense, Encoding, Graph, Input, Ints, Lut, Option, Plan, Requant, Table, UserError, run
from ir.store import digest, graph_hash, load_graph, load_json, save_graph, save_json, save_text, whole

ROOT = Path(__file__).parents[1]


def small() -> Graph:
    g = Graph()
    g.add("x", Input(Ints((2,), -8, 7)))
    g.add("a/b:c", Dense([[3, -4], [500, 6]], [2**40, 0]), "x")
    g.add("out", Requant([5], 3, 0, -9, 9), "a/b:c")
    g.encodings = {"x": Encoding(0.1), "out": Encoding(1 / 3, -2)}
    return g


def refuses(load, line: str) -> None:
    with pytest.raises(UserError) as e:
        load()
    assert str(e.value) == line


# ---- graphs

@given(graphs())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_graph_round_trip(tmp_path, g):
    h = save_graph(g, tmp_path)
    back = load_graph(tmp_path)
    assert str(back) == str(g) and h == graph_hash(g) == graph_hash(back)
    assert [n.type for n in back.nodes.values()] == [n.type for n in g.nodes.values()]
    x = samples(g, 4)
    assert np.array_equal(run(back, x), run(g, x))


def test_graph_comes_back_in_full(tmp_path):
    g = small()
    g.result = "a/b:c"
    save_graph(g, tmp_path / "new" / "folder")
    back = load_graph(tmp_path / "new" / "folder" / "graph.json")
    assert back.output.name == "a/b:c" and back.encodings == g.encodings
    assert back.nodes["a/b:c"].op.bias.tolist() == [2**40, 0] and back.nodes["a/b:c"].op.weight.dtype == np.int64


def test_the_same_graph_is_the_same_bytes(tmp_path):
    for folder in "ab":
        save_graph(small(), tmp_path / folder)
    for name in ("graph.json", "weights.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_graph_hash_sees_everything_but_the_order():
    def made(weight=((1, 2),), kernel=(1, 2), scale=.5, names="ab", result=None):
        g = Graph()
        g.add("x", Input(Ints((1, 5, 5), 0, 9)))
        for n in names:
            g.add(n, Conv(np.reshape(weight, (1, 1, *kernel)), [0]), "x")
        g.result, g.encodings = result or "b", {"x": Encoding(scale)}
        return graph_hash(g)
    assert made() == made() == made(names="ba")
    assert len({made(), made(weight=((1, 3),)), made(kernel=(2, 1)), made(scale=.25), made(names="abc"), made(result="a")}) == 6


def test_weights_of_another_graph(tmp_path):
    save_graph(small(), tmp_path)
    other = small()
    other.add("more", Lut([1] * 19, -9), "out")
    save_graph(other, tmp_path / "other")
    shutil.copy(tmp_path / "other" / "weights.npz", tmp_path)
    refuses(lambda: load_graph(tmp_path), f"{tmp_path}/weights.npz: not the weights that graph.json was written with; make the graph again")
    (tmp_path / "weights.npz").unlink()
    refuses(lambda: load_graph(tmp_path), f"{tmp_path}/weights.npz: no such file; it belongs to {tmp_path}/graph.json")


def test_cut_off_at_every_length(tmp_path):
    save_graph(small(), tmp_path)
    for name, sorts in (("graph.json", "not JSON, or cut off"), ("weights.npz", "damaged or cut off")):
        data = (tmp_path / name).read_bytes()
        for n in sorted({0, 1, len(data) - 2, *range(0, len(data) - 1, 23)}):
            (tmp_path / name).write_bytes(data[:n])
            with pytest.raises(UserError, match=sorts):
                load_graph(tmp_path)
        (tmp_path / name).write_bytes(data)
    assert str(load_graph(tmp_path)) == str(small())


def test_a_flipped_bit_is_seen(tmp_path):
    """In the JSON anywhere; in the archive either seen or of no effect on what is loaded."""
    save_graph(small(), tmp_path)
    for name in ("graph.json", "weights.npz"):
        data = (tmp_path / name).read_bytes()
        for at in range(0, len(data) - 1, 17):
            (tmp_path / name).write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
            try:
                assert graph_hash(load_graph(tmp_path)) == graph_hash(small())
            except UserError:
                pass
        (tmp_path / name).write_bytes(data)


# ---- json

def test_json_round_trip(tmp_path):
    data = {"a": [1, 2.5, None, True], "b": {"c": "text ä"}, "t": (1, (2, 3)), "n": np.float64(0.1), "i": np.int32(7),
            "s": {"y", "x"}, "p": Path("some/where"), "deep": {"1": {"2": [3]}}}
    h = save_json(tmp_path / "f.json", "plan", data)
    back = load_json(tmp_path / "f.json", "plan")
    assert back == {**data, "t": [1, [2, 3]], "s": ["x", "y"], "p": "some/where"} and len(h) == 16
    with pytest.raises(TypeError, match="^ndarray does not go into a JSON file$"):
        save_json(tmp_path / "f.json", "plan", {"a": np.zeros(3)})
    with pytest.raises(ValueError, match=r"^a plan with fields \['hash'\]: these names belong to the file's own header$"):
        save_json(tmp_path / "f.json", "plan", {"hash": 1})
    assert load_json(tmp_path / "f.json", "plan") == back


def test_bad_json(tmp_path):
    f = tmp_path / "f.json"
    refuses(lambda: load_json(f, "plan"), f"{f}: no such file; expected a qsearch plan")
    refuses(lambda: load_json(tmp_path, "plan"), f"cannot read {tmp_path}: Is a directory")
    for text in ("{}", "[1]", '"qsearch"', '{"a": 1}'):
        f.write_text(text)
        refuses(lambda: load_json(f, "plan"), f"{f}: not a qsearch file; expected a qsearch plan")
    for raw in (b"\xff\xfe\x00", b"", b"{", b"[" * 100_000):
        f.write_bytes(raw)
        with pytest.raises(UserError, match=r"^.*f\.json: not JSON, or cut off \(.*\); expected a qsearch plan, make it again$"):
            load_json(f, "plan")
    save_json(f, "table", {"a": 1})
    refuses(lambda: load_json(f, "plan"), f"{f}: a qsearch table, where a plan is needed")
    data = json.loads(f.read_text())
    f.write_text(json.dumps(data | {"version": 2}))
    refuses(lambda: load_json(f, "table"), f"{f}: written in version 2 of the file format, this program reads version 1; "
                                           "make it again, or use the program that wrote it")
    f.write_text(json.dumps(data | {"a": 2}))
    refuses(lambda: load_json(f, "table"), f"{f}: the hash inside does not match the content; the file was damaged or edited, "
                                           "make it again")
    f.write_text(json.dumps(data, indent=7))  # another layout of the same content is fine
    assert load_json(f, "table") == {"a": 1}
    with open(f, "wb") as big:
        big.truncate(1 << 29)
    refuses(lambda: load_json(f, "table"), f"{f}: 536870912 bytes is too large for a qsearch table")


def test_digest_parts_cannot_run_together():
    assert len({digest("ab", "c"), digest("a", "bc"), digest("abc"), digest("ab", "c", "")}) == 4 and digest("a") == digest(b"a")


# ---- plans and tables

def test_plan_and_table_round_trip(tmp_path):
    options = {"conv": "int4/uint8", "fc": Option.parse("ternary/int8")}
    plan = Plan(options, {"kl": 0.5}, {"lut": 12.0}, {"lut": 20.0}, "ecp5", "abc", {"gap": 0})
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan and str(plan["conv"]) == "int4/uint8"
    refuses(lambda: plan["fd"], "the plan has no layer 'fd' (it has conv, fc)")
    table = Table("kl", "damage", {"conv": {"int4/uint8": 0.25}}, "nats", {"seed": 1}, 2.0)
    table.save(tmp_path / "kl.table.json")
    assert Table.load(tmp_path / "kl.table.json") == table
    refuses(lambda: Plan.load(tmp_path / "kl.table.json"), f"{tmp_path}/kl.table.json: a qsearch table, where a plan is needed")
    refuses(lambda: Table("kl", "harm", {}), "table 'kl': kind is 'damage' or 'cost', not 'harm'")
    refuses(lambda: Table("kl", "cost", {"a": {"b": float("nan")}}), "table 'kl': layer 'a', option 'b' is nan; a finite number is needed")


@pytest.mark.parametrize("text, parts", [("int4/uint8", ("int4", "uint8", "")), ("int4t/uint8", ("int4", "uint8", "t")),
                                         ("int4g64/int8", ("int4", "int8", "g64")), ("ternary/int8", ("ternary", "int8", "")),
                                         ("ternaryt/int8", ("ternary", "int8", "t")), ("e2m1g32/uint16", ("e2m1", "uint16", "g32"))])
def test_options(text, parts):
    o = Option.parse(text)
    assert (o.weights, o.acts, o.granularity) == parts and str(o) == text
    assert (o.weight_format.name, o.act_format.name) == parts[:2]


def test_bad_options():
    for text in ("", "int4", "int4/", "/int8"):
        with pytest.raises(UserError, match=f"^option {text!r} is not of the form weights/activations, for example int4/uint8$"):
            Option.parse(text)
    for text in ("int4g0/int8", "int44/int8", "int4/int44", "int4g64t/int8"):
        with pytest.raises(UserError, match="^unknown number format"):
            Option.parse(text)


# ---- whole or not at all

def test_a_failed_save_leaves_the_old_file(tmp_path):
    f = tmp_path / "f.txt"
    save_text(f, "old")
    with pytest.raises(RuntimeError), whole(f) as tmp:
        tmp.write_text("half")
        raise RuntimeError
    assert f.read_text() == "old" and os.listdir(tmp_path) == ["f.txt"]
    umask = os.umask(0o027)
    save_text(f, "new")
    os.umask(umask)
    assert f.read_text() == "new" and f.stat().st_mode & 0o777 == 0o640


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "dir").mkdir()
    long, folder = tmp_path / ("x" * 300), "choose a folder that can be written"
    refuses(lambda: save_text(tmp_path / "file" / "x", ""), f"cannot write {tmp_path}/file/x: File exists; {folder}")
    refuses(lambda: save_graph(small(), tmp_path / "file" / "x"), f"cannot write {tmp_path}/file/x/weights.npz: Not a directory; {folder}")
    refuses(lambda: save_text(tmp_path / "dir", ""), f"cannot write {tmp_path}/dir: it is a folder or a device; name a file")
    refuses(lambda: save_text("/dev/null", ""), "cannot write /dev/null: it is a folder or a device; name a file")
    refuses(lambda: save_text(long, ""), f"cannot write {long}: File name too long; {folder}")
    assert sorted(os.listdir(tmp_path)) == ["dir", "file"]


def test_the_bodys_own_trouble_is_not_ours(tmp_path):
    with pytest.raises(FileNotFoundError), whole(tmp_path / "f"):
        open(tmp_path / "missing")
    with pytest.raises(UserError, match="^cannot write .*/f: No space left on device$"), whole(tmp_path / "f"):
        raise OSError(28, "No space left on device")
    assert os.listdir(tmp_path) == []


def test_what_a_killed_save_left_is_cleared_later(tmp_path):
    old, young = tmp_path / ".f.txt.00000000.part", tmp_path / ".f.txt.11111111.part"
    for p in (old, young):
        p.touch()
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    save_text(tmp_path / "f.txt", "")
    assert sorted(os.listdir(tmp_path)) == [young.name, "f.txt"]


KILLED = """
import numpy as np, os, signal, sys
from ir import store
from ir.graph import Graph
from ir.opset import Dense, Input, Ints
at = sys.argv[2]
g = Graph()
g.add("y", Dense(np.full((300, 300), 7), np.zeros(300)), g.add("x", Input(Ints((300,), 0, 1))))
die = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
if at == "array":
    store.narrowest = die
if at == "fsync":
    os.fsync = die
if at == "replace":
    os.replace = die
if at == "between":
    real = os.replace
    os.replace = lambda a, b: die() if str(b).endswith("npz") else real(a, b)
store.save_graph(g, sys.argv[1])
"""


@pytest.mark.parametrize("moment", ["array", "fsync", "replace"])
def test_killed_in_the_middle_of_a_save(tmp_path, moment):
    """Whatever it was doing, the old graph is still there."""
    save_graph(small(), tmp_path)
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path, moment], cwd=ROOT, capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert str(load_graph(tmp_path)) == str(small())
    save_graph(small(), tmp_path)
    assert str(load_graph(tmp_path)) == str(small())


def test_killed_between_the_two_files(tmp_path):
    """The one moment that costs the old graph is told, and a new save mends it."""
    save_graph(small(), tmp_path)
    subprocess.run([sys.executable, "-c", KILLED, tmp_path, "between"], cwd=ROOT, capture_output=True)
    refuses(lambda: load_graph(tmp_path), f"{tmp_path}/weights.npz: not the weights that graph.json was written with; make the graph again")
    save_graph(small(), tmp_path)
    assert str(load_graph(tmp_path)) == str(small())
