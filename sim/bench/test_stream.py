"""cocotb test for every module with one input and one output stream: runs a plan, records what it sees.

All runs of a plan share one simulator start. The process that made the plan checks (hwq_sim.harness.module).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from hwq_sim.harness.plan import Run, Seen, load, save
from hwq_sim.stream.axis import Monitor, Sink, Source

QUIET_CYCLES = 4  # watched after the last beat for beats nobody asked for


@cocotb.test()
async def stream(dut: Any) -> None:
    plan = Path(cocotb.plusargs["plan"])
    dut.s_axis_tvalid.value = 0
    dut.m_axis_tready.value = 0
    Clock(dut.clk, 2, "step").start()
    edge = RisingEdge(dut.clk)
    await reset(dut, edge)
    save(plan.with_suffix(".seen"), [await play(dut, edge, run) for run in load(plan)])


async def reset(dut: Any, edge: RisingEdge) -> None:
    """Two cycles of reset; returns right after the edge that starts cycle 0."""
    dut.rst_n.value = 0
    dut.s_axis_tvalid.value = 0
    for _ in range(2):
        await edge
    dut.rst_n.value = 1


async def play(dut: Any, edge: RisingEdge, run: Run) -> Seen:
    """One run, from the start of its cycle 0."""
    source, sink = Source(dut, "s_axis", run.beats, run.lasts, run.src), Sink(dut, "m_axis", run.snk)
    inp, out = Monitor(dut, "s_axis"), Monitor(dut, "m_axis")
    hang, quiet, cycle = "", 0, 0
    while quiet < QUIET_CYCLES and cycle != run.reset_at:
        source.drive(cycle)
        sink.drive(cycle)
        await edge
        inp.sample(cycle)
        out.sample(cycle)
        source.sample(cycle)
        cycle += 1
        quiet += len(out.cycles) >= run.beats_out and source.sent == len(run.beats)
        if cycle > run.limit_cycles:
            hang = f"no end after {cycle} cycles; {inp.state()}; {out.state()}"
            break
    flags = {n: int(getattr(dut, n).value) for n in ("tlast_error",) if hasattr(dut, n)}
    if run.reset_at is not None or hang:
        await reset(dut, edge)
    return Seen(inp.cycles, out.cycles, out.beats, out.lasts, flags, hang)
