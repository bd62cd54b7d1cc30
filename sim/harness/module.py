"""The module bench: one library module against its expected beats and timing class, in one simulator start.

    report = run_bench("hwq_dwc", {"LANE_W": 4, ...}, frames_in, frames_out, Timing("up", n=2))

It runs the four stall regimes back to back without a reset between them, then runs that end in a reset at any point of
a frame, and the unstalled run again. Every run must give the expected beats and the token model's very cycles.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwq_sim.check.meters import ii_cycles, latency_cycles
from hwq_sim.check.scoreboard import first_difference
from hwq_sim.harness.build import build_model
from hwq_sim.harness.cocotb_run import run_cocotb
from hwq_sim.harness.plan import Run, Seen, load, reset_cycle, reset_runs, save
from hwq_sim.stream.stall import REGIMES, Pattern, stalls

from hwq.errors import MismatchError
from hwq.hw.schedule import Node, Timing, run_net
from hwq.tools.verilator import Param

Frames = Sequence[Sequence[int]]
TEST_MODULE = "hwq_sim.bench.test_stream"
SLACK_CYCLES = 64  # a run may take this much longer than the token model says before it counts as hung


@dataclass(frozen=True, slots=True)
class Report:
    """Measured without stalls: first beat in to last beat out, frame interval (0: one frame); all runs."""

    latency_cycles: int
    ii_cycles: int
    seen: Mapping[str, Seen]


def run_bench(module: str, params: Mapping[str, Param], frames_in: Frames, frames_out: Frames,
              timing: Timing, *, mems: Mapping[str, str] | None = None, seed: int = 1,
              cache: Path | None = None, lasts_in: Sequence[int] | None = None,
              sources: Mapping[str, str] | None = None) -> Report:
    """Simulate one module and check values, order, protocol and timing; use at least two frames.

    frames_in, frames_out: per frame, the TDATA of every beat as an unsigned integer (lane 0 in the low bits),
    replays included. timing: its class, or Timing("wire"). mems: memory files by the path its string
    parameters name. lasts_in: TLAST of every beat, where the module has one (default: right). sources: file
    name -> text replacing library files. Raises MismatchError with every run that differs, its seed, and the
    model's folder.
    """
    home = build_model(module, params, cache=cache, sources=sources)
    runs, times = _plan(frames_in, frames_out, timing, seed, lasts_in)
    with tempfile.TemporaryDirectory(prefix="hwq-bench-") as tmp:
        for path, text in (mems or {}).items():
            (Path(tmp) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(tmp) / path).write_text(text, encoding="ascii")
        plan = Path(tmp) / "plan"
        save(plan, runs)
        failure, log = run_cocotb(home, module, TEST_MODULE, Path(tmp), [f"+plan={plan}"])
        seen: list[Seen] = []
        with contextlib.suppress(FileNotFoundError):
            seen = load(plan.with_suffix(".seen"))
    faults = [f"protocol or simulator failure: {failure}\n{log}"] if failure else []
    for run, result, expect in zip(runs, seen, times, strict=False):
        faults += [f"run '{run.name}' (seed {seed}): {f}" for f in _faults(run, result, expect, frames_out)]
    if faults:
        shown = ", ".join(f"{k}={v}" for k, v in params.items())
        raise MismatchError(f"{module} ({shown}), model {home}:\n  " + "\n  ".join(faults))
    first, n_in, n_out = seen[0], len(frames_in[0]), len(frames_out[0])
    return Report(latency_cycles(first.t_in, first.t_out, n_in, n_out),
                  ii_cycles(first.t_out, n_out) if len(frames_out) > 1 else 0,
                  {r.name: s for r, s in zip(runs, seen, strict=True)})


def model_times(timing: Timing, beats: int, src: Pattern, snk: Pattern) -> tuple[list[int], list[int]]:
    """(t_in, t_out) of the token model for one module; a wire is a single stream."""
    if timing.kind == "wire":
        t = run_net([], 1, {0: beats}, {0: src}, {0: snk})
        return list(t[0]), list(t[0])
    t = run_net([Node("dut", timing, 0, 1)], 2, {0: beats}, {0: src}, {1: snk})
    return list(t[0]), list(t[1])


def _plan(frames_in: Frames, frames_out: Frames, timing: Timing, seed: int, lasts_in: Sequence[int] | None
          ) -> tuple[list[Run], list[tuple[list[int], list[int]]]]:
    """The runs, and (t_in, t_out) the token model says for each."""
    beats = [b for f in frames_in for b in f]
    lasts = _lasts(frames_in) if lasts_in is None else list(lasts_in)
    total_out = sum(map(len, frames_out))
    runs, times = [], []

    def add(name: str, regime: str, reset: int = 0) -> None:
        src, snk = stalls(regime, 2 * (len(beats) + total_out), seed)
        t_in, t_out = model_times(timing, len(beats), src, snk)
        end = max(t_out[-1], t_in[-1])
        reset_at = reset_cycle(reset, t_in[0], end, seed) if reset else None
        times.append((t_in, t_out))
        limit = end + SLACK_CYCLES
        runs.append(Run(name, beats, lasts, src, snk, total_out, limit, reset_at))

    for regime in REGIMES:
        add(regime, regime)
    for name, regime, number in reset_runs():
        add(name, regime, number)
    add("after reset", "none")
    return runs, times


def _lasts(frames: Frames) -> list[int]:
    return [int(i == len(f) - 1) for f in frames for i in range(len(f))]


def _faults(run: Run, seen: Seen, expect: tuple[list[int], list[int]], frames_out: Frames) -> list[str]:
    values = [b for f in frames_out for b in f]
    lasts = _lasts(frames_out)
    t_in, t_out = expect
    if run.reset_at is not None:
        t_in, t_out = ([t for t in ts if t < run.reset_at] for ts in expect)
        values, lasts = values[:len(t_out)], lasts[:len(t_out)]
    per_frame = len(frames_out[0])
    found = [seen.hang, first_difference(values, seen.beats, per_frame)]
    if seen.lasts:
        found.append(first_difference(lasts, seen.lasts, per_frame, "TLAST"))
    if not any(found):  # cycles mean nothing while the values differ
        found += [first_difference(t_in, seen.t_in, len(run.beats) // len(frames_out), "input cycle"),
                  first_difference(t_out, seen.t_out, per_frame, "output cycle")]
    return [f for f in found if f]
