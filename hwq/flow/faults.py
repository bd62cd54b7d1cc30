"""From a fault the harness saw to a sentence a person can act on: layer, frame, expected, got."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hwq import bits
from hwq.dtype import IntArray
from hwq.flow.builddir import Build
from hwq.flow.expect import Chunk, in_order
from hwq.flow.harness import Fault, Report, RunOptions
from hwq.hw.design import Stream


def _position(shape: Sequence[int], index: int) -> str:
    """Where a flat index lies in a frame: 'channel 3', or 'row 1, col 2, channel 3'."""
    at = [int(i) for i in np.unravel_index(index, tuple(shape))]
    names = {1: ("channel",), 2: ("position", "channel"), 3: ("row", "col", "channel")}.get(len(at))
    names = names or tuple(f"axis {i}" for i in range(len(at)))
    return ", ".join(f"{n} {i}" for n, i in zip(names, at, strict=True))


def _hex(value: int, width: int) -> str:
    return f"0x{value & ((1 << width) - 1):X}"


def describe_fault(build: Build, fault: Fault, found: Mapping[str, IntArray], start: int) -> str:
    """One sentence: layer, frame, position, expected and got. `start`: number of frame 0 of `found`."""
    frame = start + fault.frame
    if fault.stream not in build.layers:
        return (f"layer 'edge' instance {fault.stream} (frame {frame}, cycle {fault.cycle}): "
                "expected s_axis_tlast with the last beat of each frame, got it elsewhere")
    s = build.stream(fault.stream)
    lane, what = _lane_and_values(s, fault, found)
    shape = build.graph.tensor(s.tensor).shape
    order = in_order(s, np.arange(np.prod(shape))[None])[0]
    where = _position(shape, int(order[fault.beat * s.lanes + lane]))
    again = f" repetition {fault.repetition}" if s.repeat > 1 else ""
    return (f"layer '{build.layers[s.name]}' stream {s.name} beat {fault.beat}{again} lane {lane} "
            f"(frame {frame}, {where}, cycle {fault.cycle}): {what}")


def _lane_and_values(s: Stream, fault: Fault, found: Mapping[str, IntArray]) -> tuple[int, str]:
    """The first lane that is wrong, and 'expected .., got ..'."""
    last = fault.beat + 1 == s.beats and fault.repetition + 1 == s.repeat
    law = {"dropped": "expected TVALID to hold until the beat is taken, got TVALID low",
           "extra": "expected no further beat, got one",
           "tlast": f"expected TLAST = {int(last)}, got {int(not last)}"}
    if fault.kind in law:
        return 0, law[fault.kind]
    values = in_order(s, found[s.tensor][fault.frame][None])[0][fault.beat * s.lanes : (fault.beat + 1) * s.lanes]
    codes = bits.unpack_beats(np.array([fault.got], dtype=np.uint32), s.lanes, s.bits)
    got = bits.decode(codes, s.bits, s.signed)
    wrong = np.flatnonzero(got != values)
    if not len(wrong):
        return 0, f"expected pad bits 0, got words {' '.join(f'0x{w:08X}' for w in fault.got)}"
    lane = int(wrong[0])
    want, have = int(values[lane]), int(got[lane])
    more = f"; {len(wrong) - 1} more lanes of this beat differ" if len(wrong) > 1 else ""
    kind = ", changed while it waited for TREADY" if fault.kind == "unstable" else ""
    return lane, f"expected {want} ({_hex(want, s.bits)}), got {have} ({_hex(have, s.bits)}){kind}{more}"


def describe_hang(build: Build, report: Report, options: RunOptions, start: int) -> str:
    """Why a run was given up, with the state of each handshake."""
    limit = (
        f"no beat moved for {options.idle_cycles} cycles"
        if report.end == "hang"
        else f"not done after {options.max_cycles} cycles"
    )
    lines = [f"the design hangs: {limit}; handshakes in cycle {report.cycles - 1}:"]
    stuck = next((s for s in reversed(report.streams) if not s.done), None)
    for s in report.streams:
        place = "all frames done" if s.done else f"frame {start + s.frame} beat {s.beat}"
        mark = " <- the last stream with frames missing" if s is stuck else ""
        lines.append(
            f"  {build.layers[s.name]:<12} {s.name:<24} TVALID={int(s.tvalid)} TREADY={int(s.tready)}"
            f"  {place}{mark}"
        )
    if stuck is not None:
        expected = build.stream(stuck.name)
        lines.append(
            f"layer '{build.layers[stuck.name]}' frame {start + stuck.frame} channel "
            f"{stuck.beat * expected.lanes}: expected a beat, got none"
        )
    return "\n".join(lines)


def first_failure(reports: Sequence[Report]) -> int | None:
    """Index of the failed shard with the earliest frame."""
    failed = [
        (min((f.frame for f in r.faults), default=min(s.frame for s in r.streams)), i)
        for i, r in enumerate(reports)
        if not r.ok
    ]
    return min(failed)[1] if failed else None


def describe(build: Build, report: Report, options: RunOptions, chunk: Chunk) -> str:
    if report.faults:
        return describe_fault(build, report.faults[0], chunk.found, chunk.start)
    return describe_hang(build, report, options, chunk.start)
