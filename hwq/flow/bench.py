"""The cocotb bench of a build, run as a user would: `make` in its sim folder."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from hwq.errors import MismatchError, ToolFailed
from hwq.tools import verilator
from hwq.tools.run import run


def run_bench(build: Path, timeout_s: float = 1800) -> str:
    """`make` in sim/ of a build: its cocotb bench. Returns a line with the tests that passed.

    Raises MismatchError with what the failed tests said, ToolFailed if it did not run at all.
    """
    install = verilator.find()
    folder = build / "sim"
    log = folder / "bench.log"
    results = folder / "results.xml"
    results.unlink(missing_ok=True)
    argv = ["make", f"PYTHON={sys.executable}"]
    done = run(argv, folder, install.env, timeout_s=timeout_s, log=log, check=False)
    if not results.is_file():
        raise ToolFailed(argv, done.code, "\n".join(done.stdout.splitlines()[-40:]), f"full log: {log}")
    cases = list(ET.parse(results).getroot().iter("testcase"))
    failed = [c for c in cases if c.find("failure") is not None or c.find("error") is not None]
    if failed or done.code or not cases:
        said = [f"{c.get('name')}: {_reason(c)}" for c in failed]
        raise MismatchError(
            "the cocotb bench failed: " + "; ".join(said or ["no test ran"]) + f"; log: {log}"
        )
    return f"{len(cases)} cocotb tests passed"


def _reason(case: ET.Element) -> str:
    node = case.find("failure") if case.find("failure") is not None else case.find("error")
    text = "" if node is None else (node.get("error_msg") or node.get("message") or node.text or "")
    return " ".join(text.split())[:400]
