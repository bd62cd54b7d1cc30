"""cocotb test for modules with several input or output streams: runs a plan, records what it sees.

All runs of a plan share one simulator start. The process that made the plan checks (hwq_sim.harness.ports).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from hwq_sim.harness.plan import PortRun, PortSeen, load, save
from hwq_sim.stream.axis import Monitor, Sink, Source

QUIET_CYCLES = 4  # watched after the last beat for beats nobody asked for


@cocotb.test()
async def ports(dut: Any) -> None:
    plan = Path(cocotb.plusargs["plan"])
    runs: list[PortRun] = load(plan)
    for port in runs[0].snk:
        getattr(dut, f"{port}_tready").value = 0
    Clock(dut.clk, 2, "step").start()
    edge = RisingEdge(dut.clk)
    await reset(dut, edge, runs[0])
    save(plan.with_suffix(".seen"), [await play(dut, edge, run) for run in runs])


async def reset(dut: Any, edge: RisingEdge, run: PortRun) -> None:
    """Two cycles of reset; returns right after the edge that starts cycle 0."""
    dut.rst_n.value = 0
    for port in run.src:
        getattr(dut, f"{port}_tvalid").value = 0
    for _ in range(2):
        await edge
    dut.rst_n.value = 1


async def play(dut: Any, edge: RisingEdge, run: PortRun) -> PortSeen:
    """One run, from the start of its cycle 0."""
    sources = [Source(dut, port, run.beats[port], [], pattern) for port, pattern in run.src.items()]
    sinks = [Sink(dut, port, pattern, run.hold) for port, pattern in run.snk.items()]
    monitors = {port: Monitor(dut, port) for port in (*run.src, *run.snk)}
    hang, quiet, cycle = "", 0, 0
    while quiet < QUIET_CYCLES and cycle != run.reset_at:
        for part in (*sources, *sinks):
            part.drive(cycle)
        await edge
        for probe in (*monitors.values(), *sources, *sinks):
            probe.sample(cycle)
        cycle += 1
        quiet += all(len(monitors[port].cycles) >= len(run.beats[port]) for port in monitors)
        if cycle > run.limit_cycles:
            hang = f"no end after {cycle} cycles; " + "; ".join(m.state() for m in monitors.values())
            break
    if run.reset_at is not None or hang:
        await reset(dut, edge, run)
    return PortSeen({p: m.cycles for p, m in monitors.items()}, {p: m.beats for p, m in monitors.items()}, hang)
