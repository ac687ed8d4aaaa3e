"""Every module of the library passes Verilator -Wall with its default parameters, without a waiver."""
import pytest

from sim.build import LIBRARY, lint, sources


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("*.sv")), ids=lambda p: p.stem)
def test_lint(path):
    assert lint(sources(path.stem, [LIBRARY]), path.stem) == ""


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("*.sv")), ids=lambda p: p.stem)
def test_one_module_a_file(path):
    text = path.read_text()
    assert [w.split()[1] for w in text.splitlines() if w.startswith("module ")] == [path.stem]
    assert "lint_off" not in text and text.startswith("// "), "no waivers; a header comment says what the module does"
