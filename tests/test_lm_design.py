"""A language model as a design: layout of weights, microprogram, cycles, folder, refusals."""
import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from hw.lm import micro
from hw.lm.cycles import cycles, product
from hw.lm.design import is_lm_design, lm_design, load_lm_design
from hw.lm.images import params
from hw.lm.layout import Machine, runs, stream
from hw.lm.pace import token
from hw.lm.shape import Shape
from hw.lm.taps import taps
from hw.targets import fpga
from ir import UserError
from ir.lm import Stepper, load_lm, save_lm, unpack
from lm_programs import random_lm
from qsearch.cli import app


def decoded(m: Machine, beats: np.ndarray) -> np.ndarray:
    """(beats, trits) of packed beats."""
    if m.encoding == "base3":
        return unpack(beats, m.trits)
    codes = (beats[:, :, None] >> np.arange(0, 8, 2) & 3).reshape(len(beats), -1)
    assert not (codes == 2).any()
    return np.where(codes == 3, -1, codes).astype(np.int8)


@pytest.mark.parametrize("m", [Machine(1, 10, 1), Machine(3, 20, 2), Machine(2, 16, 4, "two_bit")], ids=str)
def test_streams_hold_the_matrices(m):
    """Row r of a matrix is row r // E of engine r mod E; what fills rows and groups is zero."""
    p = random_lm(23, 37, 2, 13)
    all_runs = runs(p, m)
    streams = [decoded(m, stream(all_runs, m, e)) for e in range(m.engines)]
    for r in all_runs:
        rows, columns = r.codes.shape
        parts = [s[r.at:r.at + r.length(m)].reshape(m.rows(rows), -1) for s in streams]
        whole = np.stack(parts, 1).reshape(-1, parts[0].shape[1])
        assert (whole[:rows, :columns] == r.codes).all() and not whole[rows:].any() and not whole[:, columns:].any()
    assert [r.name.split(".")[-1] for r in all_runs[:7]] == ["g_proj", "f_proj", "i_proj", "o_proj", "gate_proj", "gate_proj", "down_proj"]
    assert (all_runs[4].codes == p.layers[0].mlp.gate.codes[37:]).all() and all_runs[-1].at + all_runs[-1].length(m) == len(streams[0])


def test_taps_are_values_of_the_graph():
    p = random_lm()
    values = Stepper(p).step(1)
    shown = taps(p, 4)
    assert all(t.start + t.count <= len(values[t.node]) for t in shown)
    assert len({(t.node, t.start) for t in shown}) == len(shown)
    whole = {n: sum(t.count for t in shown if t.node == n) for n in {t.node for t in shown}}
    assert all(len(values[n]) == c for n, c in whole.items())
    assert {n for n in values if n.endswith((".codes", ".factor", ".root", ".state", ".forget", "residual")) and n != "norm.root"} <= whole.keys() | {
        f"layers.{k}.attn.g_proj.root" for k in range(2)}


def test_words_of_the_program_decode_to_its_fields():
    p, m = random_lm(23, 37, 2, 13), Machine(3, 20, 2)
    program = micro.steps(p, m)
    q = params(p, m, runs(p, m), program)
    words, bits = micro.words(program, q)
    width = micro.widths(q)
    for s, word in zip(program, words):
        assert word >> bits - 3 == s.op and [u for u in range(6) if word >> bits - 9 + u & 1] == sorted(s.waits)
        for f in reversed(micro.PAYLOADS[s.op]):
            assert word & (1 << width[f]) - 1 == s.fields.get(f, 0), (s, f)
            word >>= width[f]
    assert program[-1].op == micro.Op.END and len(micro.listing(program).splitlines()) == len(program)
    assert "matrix input layers.1.attn.i_proj after codes2, scalar" in micro.listing(program)


def test_a_product_takes_its_beats_or_its_rows():
    """Bound by the beats of an engine where a row has more of them than there are engines, else by the one row a cycle that leaves."""
    assert product(64, 5, 2, 8)[1:] == (64 // 2 * 5 + 8 + 1 + 1 + 1, 64 // 2 * 5 + 1)
    assert product(640, 1, 4, 8)[1] == 1 + 8 + 2 + 639
    assert product(640, 1, 4, 8)[2] < 640


def test_cycles_beside_the_formula_of_streaming_cores():
    """More beats than anything else: the overheads that the formula guesses and those of this core part by less than a tenth."""
    p = random_lm(160, 400, 2, 65)
    m = Machine(1, 80, 4)
    program = micro.steps(p, m)
    got = cycles(program, params(p, m, runs(p, m), program))
    assert got.passed < got.token and abs(got.token / token(Shape("", 160, 400, 2, 65), 1, 80, 4).cycles - 1) < 0.1


def test_a_folder_is_written_whole_read_back_and_replaced(tmp_path):
    p, m = random_lm(), Machine(2, 10, 2, taps=True)
    d = lm_design(p, tmp_path / "core", m)
    assert load_lm_design(d.folder) == d and is_lm_design(d.folder) and load_lm(d.folder).dim == 20
    assert {f.name for f in d.weights} <= {f.name for f in d.folder.iterdir()} and all(f.exists() for f in d.sources)
    assert {"qs_lm_core.sv", "qs_lm_vector.sv", "qs_fifo.sv"} <= {f.name for f in d.sources}
    lines = [len(f.read_text().split()) for f in d.weights]
    assert lines == [d.params["WeightWords"]] * 2 and "matrix glu" in (d.folder / "program.txt").read_text()
    assert f"{d.cycles.token:,} cycles" in (d.folder / "README.md").read_text()
    lm_design(p, tmp_path / "core", replace(m, engines=1))
    assert not (d.folder / "weights01.mem").exists() and load_lm_design(d.folder).machine.engines == 1


def test_refusals(tmp_path):
    for wrong, text in ((dict(encoding="base4"), "unknown encoding 'base4' of weights; give base3, two_bit, fields"),
                        (dict(trits=72), "72 trits a beat: give a multiple of 5 with weights in base3"),
                        (dict(trits=10, encoding="two_bit"), "10 trits a beat: give a multiple of 4 with weights in two_bit"),
                        (dict(engines=0), "0 engines: give 1 to 24"), (dict(top_k=65), "65 top-k: give 1 to 64"),
                        (dict(lanes=3), "3 lanes: give a power of two that divides the 80 trits of a beat"),
                        (dict(trits=10, lanes=4), "4 lanes: give a power of two that divides the 10 trits of a beat"),
                        (dict(trits=60, far=True), "a beat of 96 bits from an outer memory: give trits that make a power of two, such as 80 in "
                                                   "base3 or fields, 64 in two_bit")):
        with pytest.raises(UserError) as e:
            Machine(**wrong)
        assert str(e.value) == text
    with pytest.raises(UserError, match=r"^a model of width 7 and hidden width 30: the core's pipelines need at least 8 of each$"):
        lm_design(random_lm(dim=7), tmp_path / "small", Machine(1, 10, 1))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(UserError, match="notes exists and is no generated design; name a new or empty folder"):
        lm_design(random_lm(), tmp_path / "notes", Machine(1, 10, 1))
    d = lm_design(random_lm(), tmp_path / "core", Machine(1, 10, 1))
    manifest = d.folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"kind": "dataflow"}))
    with pytest.raises(UserError, match="manifest.json"):
        load_lm_design(d.folder)


def test_the_command_makes_a_core(tmp_path):
    save_lm(random_lm(), tmp_path / "lm")
    model, out = str(tmp_path / "lm"), str(tmp_path / "core")

    def said(*options: str) -> str:
        r = CliRunner().invoke(app, ["compile", model, "-t", "ecp5-85k", "-o", out, *options])
        return str(r.exception) if r.exception and not isinstance(r.exception, SystemExit) else r.output
    text = said("--engines", "3", "--trits", "16", "--lanes", "4", "--top-k", "5", "--form", "two_bit", "--far", "--taps")
    d = load_lm_design(out)
    assert d.machine == Machine(3, 16, 4, "two_bit", 5, True, True) and f"{d.cycles.token:,} cycles a token" in text
    assert "as two_bit, 3 files for the outer memory; " in text and (d.folder / "run.py").exists()
    assert said("--trits", "7") == "7 trits a beat: give a multiple of 5 with weights in fields"
    r = CliRunner().invoke(app, ["compile", model, "-t", "cpu", "-o", out, "--engines", "2"])
    assert str(r.exception) == "--engines is for a language model on an FPGA (a folder of `qsearch train`)"


def test_a_model_without_room(tmp_path):
    with pytest.raises(UserError, match=r"^the core does not fit ecp5-25k: it needs \d+ block RAMs, \d+ more than there are, \d+ of them for weights "
                                        r"\(\d+ KB\); weights may stay in an outer memory: --far$"):
        lm_design(random_lm(128, 256, 3, 65), tmp_path / "core", Machine(2, 80, 2), fpga("ecp5-25k"))
    assert not (tmp_path / "core").exists()
