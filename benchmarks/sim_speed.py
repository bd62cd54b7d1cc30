"""Cycles per CPU second of a build: bare Verilated model, harness with all checks, cocotb bench; with ratios.

    python benchmarks/sim_speed.py BUILD [--cycles N] [--repeat K] [--no-cocotb]

The bare model is the same RTL without taps, clocked at full rate by sim/raw.cpp, which checks nothing.
Bare model and harness take turns, one process at a time; the best of K runs counts. Exit 1 below --floor.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

from hwq.errors import HwqError
from hwq.flow import expect, harness
from hwq.flow.bench import run_bench
from hwq.flow.builddir import Build, load_build
from hwq.flow.harness import RunOptions, Shard
from hwq.flow.simulate import default_cache_dir
from hwq.tools.run import run

PERIOD_NS = 10


def bare_and_checked(build: Build, cache: Path, cycles: int, repeat: int) -> tuple[float, float]:
    """(bare, checked) cycles/s, best of `repeat` interleaved runs."""
    name = build.manifest["name"]
    bare = harness.compile_model(build.path, cache, bare=name)
    checked = harness.compile_model(build.path, cache)
    frames = max(2, min(2048, cycles // build.ii_cycles))
    work = Path(tempfile.mkdtemp(prefix="hwq-speed-"))
    try:
        inputs = expect.random_inputs(build.graph, frames, 0)
        plan = expect.write_plan(work, build.streams, expect.tensors(build.graph, build.streams, inputs))
        best = [0.0, 0.0]
        for _ in range(repeat):
            argv = [bare, "--plan", plan, "--first", "0", "--last", str(frames), "--cycles", str(cycles)]
            best[0] = max(best[0], float(run(argv, build.path).stdout))
            shard = Shard(0, frames, work / "report.json")
            report = harness.run_model(checked, build.path, plan, [shard], RunOptions())[0]
            if not report.ok:
                raise SystemExit(f"the harness found a fault: {report.faults or report.end}")
            best[1] = max(best[1], report.cycles / report.cpu_seconds)
        return best[0], best[1]
    finally:
        shutil.rmtree(work, ignore_errors=True)


def cocotb_speed(build: Build) -> float:
    """Cycles/s of the build's cocotb bench over all its tests, checks included."""
    run_bench(build.path)
    cases = list(ET.parse(build.path / "sim" / "results.xml").getroot().iter("testcase"))
    found = (p for c in cases for p in c.iter("property") if p.get("name") == "sim_time_duration")
    lasted = [float(p.get("value", 0)) for p in found]
    return sum(lasted) / PERIOD_NS / sum(float(c.get("time", 0)) for c in cases)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("build", type=Path)
    parser.add_argument("--cycles", type=int, default=400_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--floor", type=float, default=0.5, help="least harness speed, of the bare model's")
    parser.add_argument("--no-cocotb", action="store_true")
    parser.add_argument("--cache", type=Path, default=default_cache_dir())
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    try:
        build = load_build(args.build)
        bare, checked = bare_and_checked(build, args.cache, args.cycles, args.repeat)
        cocotb = None if args.no_cocotb else cocotb_speed(build)
    except HwqError as e:
        print(e, file=sys.stderr)
        return e.exit_code
    if args.json:
        print(json.dumps({"build": str(build.path), "streams": len(build.streams), "bare": bare,
                          "harness": checked, "cocotb": cocotb}))
    else:
        print(f"{build.manifest['name']}: {len(build.streams)} streams, II {build.ii_cycles} cycles")
        print(f"{'engine':<44}{'cycles/s':>14}{'of bare':>10}")
        rows = [("bare model, no taps, no checks", bare),
                ("harness, every beat of every stream checked", checked),
                ("cocotb bench, every beat checked", cocotb)]
        for label, speed in rows:
            if speed is not None:
                print(f"{label:<44}{speed:>14,.0f}{speed / bare:>10.4f}")
    return 0 if checked >= args.floor * bare else 1


if __name__ == "__main__":
    raise SystemExit(main())
