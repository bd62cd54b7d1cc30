"""Starts a verilated model with a cocotb test module: the one file that knows cocotb's runner."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path

from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner
from hwq_sim.harness.build import EXE

LOG_LINES = 30


def run_cocotb(home: Path, toplevel: str, test_module: str, cwd: Path,
               plusargs: Sequence[str]) -> tuple[str, str]:
    """Run the tests of `test_module` on the model in `home`; memory files are read relative to `cwd`.

    Returns ("", "") if all passed, else (what failed, end of the log).
    """
    link = home / toplevel  # cocotb names the executable after the top module
    if not link.exists():
        with contextlib.suppress(FileExistsError):
            link.symlink_to(EXE)
    runner = get_runner("verilator")
    runner.log.setLevel(logging.CRITICAL)
    log, results = cwd / "sim.log", cwd / "results.xml"
    failure = ""
    try:
        runner.test(test_module=test_module, hdl_toplevel=toplevel, hdl_toplevel_lang="verilog",
                    build_dir=home, test_dir=cwd, results_xml=str(results), plusargs=list(plusargs),
                    log_file=log)
    except SystemExit as e:
        failure = f"exit code {e.code}"
    try:
        ran, failed = get_results(results)
    except RuntimeError:
        return failure or "no results file", _tail(log)
    if failed or not ran:
        failure = f"{failed} of {ran} cocotb tests failed"
    return (failure, _tail(log)) if failure else ("", "")


def _tail(log: Path) -> str:
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
