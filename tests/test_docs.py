"""The documentation runs: each page's python blocks in order, as one script, and what they print is what the page says."""
import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def blocks(page: Path) -> list[tuple[str, str, int]]:
    """(language, text, line number) of each fenced block."""
    text = page.read_text()
    return [(m[1], m[2], text[:m.start()].count("\n") + 2) for m in BLOCK.finditer(text)]


def execute(page: Path) -> None:
    """Run the python blocks in one namespace; a text block right after one is what it prints."""
    space, printed = {"__name__": page.stem}, ""
    for language, text, line in blocks(page):
        if language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile("\n" * (line - 1) + text, str(page), "exec"), space)
            printed = out.getvalue()
        elif language == "text":
            assert printed == text, f"{page.name}:{line}: the page says\n{text}\nit prints\n{printed}"
            printed = ""


RUN = [pytest.param(p, id=p.name, marks=pytest.mark.slow if "import torch" in p.read_text() else ())
       for p in PAGES if any(b[0] == "python" for b in blocks(p))]


@pytest.mark.parametrize("page", RUN)
def test_page_runs(page, tmp_path):
    """In a process and a folder of its own: pages register things, and write files."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    code = "import sys, test_docs; test_docs.execute(test_docs.Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, page], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def test_ops_page_is_what_the_code_says():
    made = subprocess.run([sys.executable, ROOT / "docs" / "make_ops.py"], capture_output=True, text=True, check=True).stdout
    assert (ROOT / "docs" / "ops.md").read_text() == made, "docs/ops.md is old; run: python docs/make_ops.py > docs/ops.md"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    text = BLOCK.sub("", page.read_text())
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = page if not path else page.parent / path
        assert target.exists(), f"{page.name}: {link} leads nowhere"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", BLOCK.sub("", target.read_text()), re.M)
            assert anchor in [re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles], f"{page.name}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_files_that_pages_name_exist(page):
    """`ir/ops.py` and the like, in prose."""
    named = re.findall(r"`((?:ir|quant|search|codegen|hw|sim|qsearch|tests|docs|examples)/[\w./]*\w)`", BLOCK.sub("", page.read_text()))
    missing = [n for n in named if not (ROOT / n).exists()]
    assert not missing, f"{page.name} names {missing}"
