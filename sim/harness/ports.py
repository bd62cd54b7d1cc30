"""The bench of modules with several input or output streams (fork, join, concat); as hwq_sim.harness.module else.

    run_ports("hwq_concat", {"DATA_W": 4, ...}, {"s0_axis": x0, "s1_axis": x1}, {"m_axis": y}, Timing("concat", ...))
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from hwq_sim.check.scoreboard import first_difference
from hwq_sim.harness.build import build_model
from hwq_sim.harness.cocotb_run import run_cocotb
from hwq_sim.harness.plan import PortRun, PortSeen, load, reset_cycle, reset_runs, save
from hwq_sim.stream.stall import REGIMES, Pattern, stalls

from hwq.errors import MismatchError
from hwq.hw.schedule import Node, Timing, run_net
from hwq.tools.verilator import Param

TEST_MODULE = "hwq_sim.bench.test_ports"
SLACK_CYCLES = 64
Beats = Mapping[str, Sequence[int]]


def run_ports(module: str, params: Mapping[str, Param], inputs: Beats, outputs: Beats, timing: Timing, *,
              hold: bool = False, seed: int = 1, cache: Path | None = None) -> Mapping[str, PortSeen]:
    """Simulate one module in the four stall regimes, with resets at any point and unstalled again.

    inputs, outputs: by port, the TDATA of all beats. timing: Timing("wire") (all ports move together) or a class of
    several inputs and one output. hold: sinks keep TREADY up until a beat moves, as a FIFO does. Returns what was
    seen, by run. Raises MismatchError with every run that differs from the expected beats and the model's cycles.
    """
    home = build_model(module, params, cache=cache)
    beats = {p: list(b) for p, b in (*inputs.items(), *outputs.items())}
    runs: list[PortRun] = []
    times: list[dict[str, list[int]]] = []
    for name, regime, reset in (*((r, r, 0) for r in REGIMES), *reset_runs(), ("after reset", "none", 0)):
        cycles = 2 * sum(map(len, beats.values()))
        src = {p: stalls(regime, cycles, seed + i)[0] for i, p in enumerate(inputs)}
        snk = {p: stalls(regime, cycles, seed + i)[1] for i, p in enumerate(outputs)}
        t = model_times(timing, beats, src, snk, hold)
        first, end = min(ts[0] for ts in t.values()), max(ts[-1] for ts in t.values())
        reset_at = reset_cycle(reset, first, end, seed) if reset else None
        limit = end + SLACK_CYCLES
        runs.append(PortRun(name, beats, src, snk, limit, hold, reset_at))
        times.append(t)
    with tempfile.TemporaryDirectory(prefix="hwq-bench-") as tmp:
        plan = Path(tmp) / "plan"
        save(plan, runs)
        failure, log = run_cocotb(home, module, TEST_MODULE, Path(tmp), [f"+plan={plan}"])
        seen: list[PortSeen] = []
        with contextlib.suppress(FileNotFoundError):
            seen = load(plan.with_suffix(".seen"))
    faults = [f"protocol or simulator failure: {failure}\n{log}"] if failure else []
    for run, result, expect in zip(runs, seen, times, strict=False):
        faults += [f"run '{run.name}' (seed {seed}): {f}" for f in _faults(run, result, expect)]
    if faults:
        shown = ", ".join(f"{k}={v}" for k, v in params.items())
        raise MismatchError(f"{module} ({shown}), model {home}:\n  " + "\n  ".join(faults))
    return {r.name: s for r, s in zip(runs, seen, strict=True)}


def model_times(timing: Timing, beats: Beats, src: Mapping[str, Pattern], snk: Mapping[str, Pattern], hold: bool
                ) -> dict[str, list[int]]:
    """Cycle of every beat on every port, as the token model says."""
    if timing.kind == "wire":
        patterns = [*src.values(), *(snk.values() if hold else ())]
        gates = {} if hold else {0: list(snk.values())}
        count = len(next(iter(beats.values())))
        together = list(run_net([], 1, {0: count}, {0: patterns}, gates)[0])
        return {port: together for port in beats}
    n = len(src)
    t = run_net([Node("dut", timing, tuple(range(n)), n)], n + 1, {i: len(beats[p]) for i, p in enumerate(src)},
                dict(enumerate(src.values())), {n: list(snk.values())})
    return {p: list(ts) for p, ts in zip(beats, t, strict=True)}


def _faults(run: PortRun, seen: PortSeen, expect: Mapping[str, Sequence[int]]) -> list[str]:
    found = [seen.hang]
    for port, times in expect.items():
        cycles = [t for t in times if run.reset_at is None or t < run.reset_at]
        beats = run.beats[port][:len(cycles)] if run.reset_at is not None else run.beats[port]
        per = max(1, len(run.beats[port]))
        wrong = first_difference(beats, seen.beats[port], per)
        wrong = wrong or first_difference(cycles, seen.cycles[port], per, "cycle")
        found.append(f"{port} {wrong}" if wrong else "")
    return [f for f in found if f]
