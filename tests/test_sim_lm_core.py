"""A small language-model core as a whole: faults raise their status bits, a reset leaves nothing behind, stalls change no value."""
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from hw.lm.design import LmDesign, lm_design
from hw.lm.layout import Machine
from hw.lm.taps import GROUPS
from ir import UserError
from ir.lm import Sampler
from lm_programs import random_lm
from sim.lm.core import CALM, Surroundings, begin, bench, run, simulate, trouble
from sim.lm.reference import reference
from sim.lm.ship import add_test
from sim.lm.script import BUSY, DONE, Reg
from sim.lm.taps import compare

pytestmark = pytest.mark.slow
PROMPT, COUNT, PATIENCE = [3, 1, 4], 3, 60_000
ROUGH = Surroundings(stalls=0.3, latency=60, share=0.4, seed=5, power_up=9)


@pytest.fixture(scope="module")
def far(tmp_path_factory) -> LmDesign:
    """One design, one build: two engines, weights in outer memories, top-k, taps."""
    return lm_design(random_lm(20, 30), tmp_path_factory.mktemp("lm") / "d", Machine(2, 10, 2, "base3", top_k=4, far=True, taps=True))


@pytest.mark.parametrize("around", [CALM, ROUGH, replace(ROUGH, stalls=0.9, seed=8, power_up=2)], ids=["calm", "rough", "worst"])
@pytest.mark.parametrize("sampler", [Sampler(), Sampler(4, 60, 99)], ids=["greedy", "drawn"])
def test_every_token_and_value(far, around, sampler):
    r = simulate(far, PROMPT, COUNT, sampler, around)
    assert r.right, (r.tokens, r.want, str(r.wrong[0]) if r.wrong else "")
    assert r.log.registers[Reg.PROMPT] == 3 and r.log.registers[Reg.MADE] == COUNT and r.log.status == DONE
    assert r.log.tokens[-1].last and not any(t.last for t in r.log.tokens[:-1])


def test_faults_raise_their_bits(far, tmp_path):
    """Each ends the run; nothing but a reset starts another, and then all is right again."""
    want = reference(random_lm(20, 30), PROMPT, COUNT, Sampler(), set()).tokens

    def log_of(script, design=far): return run(design, script).log
    stopped = log_of(begin(far, CALM).set(mute=500).run(PROMPT, COUNT, 100_000))
    assert trouble(stopped) == "watchdog: the memory does not answer" and not stopped.tokens and not stopped.status & (BUSY | DONE)
    assert trouble(log_of(begin(far, CALM).set(bad=500).run(PROMPT, COUNT, PATIENCE))) == "the memory answered with an error"
    assert trouble(log_of(begin(far, CALM).run([3, 11, 4], COUNT, 9000))) == "token out of the vocabulary"
    shutil.copytree(far.folder, tmp_path / "d")
    bad = replace(far, folder=tmp_path / "d")
    lines = bad.weights[1].read_text().splitlines()
    lines[7] = "f3" + lines[7][2:]     # 243 stands for no five trits
    bad.weights[1].write_text("\n".join(lines) + "\n")
    assert trouble(log_of(begin(bad, CALM).run(PROMPT, COUNT, PATIENCE), bad)) == "illegal code among the weights"
    script = begin(far, CALM).run([3, 11, 4], COUNT, 9000).drop().run(PROMPT, COUNT, 500).drop().write(Reg.CONTROL, 2).wait(20)
    log = log_of(script.run(PROMPT, COUNT, PATIENCE))
    assert log.values == want and log.status == DONE


def test_reset_in_the_middle_of_a_token(far):
    """At any cycle; by the pin and by the register."""
    p = random_lm(20, 30)
    want = reference(p, PROMPT, COUNT, Sampler(), {t.node for t in far.taps})
    for cycles in np.random.default_rng(1).integers(30, 7000, 6).tolist():
        script = begin(far, ROUGH).start(PROMPT, COUNT).wait(cycles)
        script.lines += begin(far, CALM).run(PROMPT, COUNT, PATIENCE).lines
        played = run(far, script)
        assert len(played.logs) == 2 and len(played.logs[0].tokens) < COUNT, cycles
        wrong = compare(played.rows, far.taps, want.steps, want.answered)
        assert played.log.values == want.tokens and not wrong, (cycles, played.log.values, str(wrong[0]) if wrong else "")
    log = run(far, begin(far, CALM).start(PROMPT, COUNT).wait(700).drop().write(Reg.CONTROL, 2).wait(20).run(PROMPT, COUNT, PATIENCE)).log
    assert log.values[-COUNT:] == want.tokens


def test_a_text_goes_on(far):
    """With the states kept, a second run begins with the token that the first one made last."""
    p = random_lm(20, 30)
    whole = reference(p, PROMPT, 6, Sampler(), set()).tokens
    log = run(far, begin(far, CALM).run(PROMPT, 3, PATIENCE).run(whole[2:3], 3, PATIENCE, keep=True)).log
    assert log.values == whole


@pytest.mark.parametrize("group", ["sums", "state", "residual"])
def test_the_stream_of_a_tap(far, group):
    """Every beat of the vector path comes out of m_axis_tap, however slowly it is taken."""
    g = GROUPS.index(group)
    script = begin(far, ROUGH).write(Reg.TAP, 1 << 31 | g)
    played = run(far, script.run(PROMPT, 2, PATIENCE))
    assert not trouble(played.log) and len(played.rows[g])
    digits = bench(far).digits
    assert played.stream.split() == [f"{int(v) & (1 << 4 * digits) - 1:0{digits + 1}x}".encode() for v in played.rows[g].ravel()]


def test_ships_with_its_test(tmp_path):
    """One command in the folder builds the core and checks it; a wrong value is told, and where."""
    p = random_lm(20, 30, 1)
    machine = Machine(2, 10, 2, far=True, taps=True, top_k=4)
    d = lm_design(p, tmp_path / "d", machine, extra=lambda folder, d: add_test(folder, d, p, [3, 1], 2, Sampler(3, 99, 5)))
    env = {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
    done = subprocess.run([sys.executable, "run.py"], cwd=d.folder, capture_output=True, text=True, env=env)
    assert done.returncode == 0 and "2 tokens, each token and every value right in all of 6 runs" in done.stdout, done.stdout + done.stderr
    rows = [line.split() for line in (d.folder / "values.txt").read_text().splitlines()]
    rows[3][7] = str(int(rows[3][7]) + 1)
    (d.folder / "values.txt").write_text("\n".join(map(" ".join, rows)) + "\n")
    done = subprocess.run([sys.executable, "run.py"], cwd=d.folder, capture_output=True, text=True, env=env)
    assert done.returncode == 1 and "Failed 3 of 3 tests" in done.stderr
    assert "token 0, layers.0.attn.g_proj.in[7]: " in done.stdout + done.stderr, done.stdout


def test_the_command(far, typed):
    """What a user sees: the text, what was compared, cycles beside the model's."""
    code, out, err = typed("sim", far.folder, "--prompt", "3 1 4", "-n", 4, "--taps", "--top-k", 3, "--clock", 100)
    text = reference(random_lm(20, 30), PROMPT, 4, Sampler(3), set()).tokens
    assert code == 0 and f"3 1 4 | {' '.join(map(str, text))}\n4 tokens: all as the model's graph has them, and all " in out, err
    assert "by the sizes alone" in out and "tokens/s at 100 MHz" in out and "; engines waited " in out and " %" in out
    code, out, err = typed("sim", far.folder, "--prompt", "3 1 4", "-n", 2, "--stalls", 0.4, "--latency", 30, "--share", 0.5)
    assert code == 0 and "2 tokens: all as the model's graph has them; --taps compares the values within, too\n" in out and " %" not in out, err


@pytest.mark.parametrize("args, said", [
    ((), "a language model goes on with a text; give it with --prompt"),
    (("--prompt", "to be"), "prompt 'to be': the model has no vocabulary; give tokens as numbers, from 0 to 10"),
    (("--prompt", "3 11"), "token 11 is out of the vocabulary of 11"),
    (("--prompt", "3", "-n", 0), "0 tokens after a prompt of 1; give at least one of each"),
    (("--prompt", "3", "--top-k", 5), "top-k of 5: the core draws from at most 4; compile it with --top-k 5"),
    (("--prompt", "3", "--temperature", 0), "temperature 0.0: give a positive one, or top-k 1 for the likeliest token"),
    (("--prompt", "3", "--waves", "w.vcd"),
     "--waves is not for language models' cores; give --prompt, --tokens, --taps, --stalls, --latency, --share"),
    (("--prompt", "3", "--share", 2), "a memory with a beat in 2 of the cycles: give a number above 0, up to 1")])
def test_mistakes_of_the_command(far, typed, args, said):
    code, _, err = typed("sim", far.folder, *args)
    assert code == 1 and err.splitlines()[-1] == f"error: {said}"


def test_a_damaged_core_is_told(far, typed, tmp_path):
    """Weights that are not the model's: the first wrong value by name."""
    shutil.copytree(far.folder, tmp_path / "d")
    weights = tmp_path / "d" / "weights00.mem"
    lines = weights.read_text().splitlines()
    lines[0] = "7979"      # ten zeros
    weights.write_text("\n".join(lines) + "\n")
    code, out, err = typed("sim", tmp_path / "d", "--prompt", "3 1", "-n", 1, "--taps")
    assert code == 1 and "vectors differ; the first: token 0, layers.0.attn.g_proj[0]: " in err and "this is a defect" in err


def test_mistakes(far):
    with pytest.raises(UserError) as e:
        simulate(far, [], 1)
    assert str(e.value) == "1 tokens after a prompt of 0; give at least one of each"
    with pytest.raises(UserError) as e:
        simulate(far, [11], 1)
    assert str(e.value) == "token 11 is out of the vocabulary of 11"
