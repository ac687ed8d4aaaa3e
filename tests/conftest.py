"""Shared by all tests: one thread a process, no skipping in CI, the folder of real data if it is there."""
import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest  # noqa: E402


ABSENT = ("QSEARCH_DATA", "no GPU here", "no nvcc", "this machine", "no emulator of aarch64", "no C compiler to link for aarch64")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """In CI a missing tool fails instead of skipping; what may be ABSENT (by the words of the reason) is data and other machines' tools."""
    report = (yield).get_result()
    if os.environ.get("CI") and report.skipped and not any(word in str(report.longrepr) for word in ABSENT):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data and models that QSEARCH_DATA names; tests that need it skip without it."""
    folder = os.environ.get("QSEARCH_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("QSEARCH_DATA names no folder of real data")
    return Path(folder)


@pytest.fixture
def arm_compiler() -> None:
    """Skips without a C compiler for a 64-bit Arm."""
    from codegen.deploy.toolchain import compilers
    from ir import UserError
    try:
        compilers("aarch64")
    except UserError as e:
        pytest.skip(str(e))


@pytest.fixture
def arm(arm_compiler) -> str:
    """The command that runs programs of a 64-bit Arm; skips without."""
    found = next(filter(None, map(shutil.which, ("qemu-aarch64-static", "qemu-aarch64"))), None)
    return found or pytest.skip("no emulator of aarch64: apt install qemu-user-static")


@pytest.fixture
def typed(capsys, monkeypatch):
    """Runs `qsearch ARGS`; gives (exit code, stdout, stderr)."""
    from qsearch import cli

    def call(*args) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["qsearch", *map(str, args)])
        code = 0
        try:
            cli.main()
        except SystemExit as e:
            code = e.code or 0
        out = capsys.readouterr()
        return code, out.out, out.err
    return call
