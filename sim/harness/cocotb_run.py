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
ERROR_LIMIT = "+verilator+error+limit+50"  # a failed property is counted, and the run goes on to its values


def run_cocotb(home: Path, toplevel: str, test_module: str, cwd: Path,
               plusargs: Sequence[str]) -> tuple[str, str]:
    """Run the tests of `test_module` on the model in `home`; memory files are read relative to `cwd`.

    Returns ("", "") if all passed, else (what failed, the errors in the log or its end).
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
                    build_dir=home, test_dir=cwd, results_xml=str(results), plusargs=[*plusargs, ERROR_LIMIT],
                    log_file=log)
    except (SystemExit, RuntimeError) as e:
        failure = f"the simulator ended early ({e})"
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
    lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if "%Error" in line]
    return "\n".join(errors[:LOG_LINES] or lines[-LOG_LINES:])
