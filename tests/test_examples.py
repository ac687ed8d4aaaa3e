"""The examples run and print what they should."""
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.slow
def test_own_model(tmp_path, capsys):
    result = runpy.run_path(str(EXAMPLES / "own_model.py"))["main"](tmp_path / "r")
    out = capsys.readouterr().out
    assert result.mismatches == 0 and "ONNX Runtime" in out
    assert float(result.rows[2]["score"].split()[0]) > 85
