"""What a bench tells the simulator process to do, and what comes back: plain data in a pickle file."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from hwq_sim.stream.stall import Pattern


@dataclass(frozen=True, slots=True)
class Run:
    """One stimulus: beats in (with TLAST), stall patterns, how many beats to wait for, and when to give up.

    With `reset_at`, reset is asserted in that cycle for two cycles and the run ends there.
    """

    name: str
    beats: list[int]
    lasts: list[int]
    src: Pattern
    snk: Pattern
    beats_out: int
    limit_cycles: int
    reset_at: int | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What the monitors recorded in one run. `hang` describes the handshakes if the run hit its limit."""

    t_in: list[int]
    t_out: list[int]
    beats: list[int]
    lasts: list[int]
    flags: dict[str, int] = field(default_factory=dict)
    hang: str = ""


@dataclass(frozen=True, slots=True)
class PortRun:
    """Stimulus of a module with several ports: by port name the beats (expected ones for outputs), and stall patterns.

    `hold`: a sink's TREADY, once up, stays up until a beat moves, as that of a FIFO does.
    """

    name: str
    beats: dict[str, list[int]]
    src: dict[str, Pattern]
    snk: dict[str, Pattern]
    limit_cycles: int
    hold: bool = False
    reset_at: int | None = None


@dataclass(frozen=True, slots=True)
class PortSeen:
    """What the monitors recorded in one run, by port name."""

    cycles: dict[str, list[int]]
    beats: dict[str, list[int]]
    hang: str = ""


RESETS = 8  # in one run each: one reset finds a register that keeps its value only where that is not the initial one


def reset_runs() -> list[tuple[str, str, int]]:
    """(name, stall regime, number) of the runs that end in a reset; each also shows what the reset before it left."""
    return [(f"reset {k}", "sink" if k % 2 else "random", k) for k in range(1, RESETS + 1)]


def reset_cycle(number: int, first: int, last: int, seed: int) -> int:
    """A cycle of the run, from the one after its first beat on."""
    return int(np.random.default_rng([seed, number]).integers(first + 1, last + 1, endpoint=True))


def save(path: Path, value: Any) -> None:
    path.write_bytes(pickle.dumps(value))


def load(path: Path) -> Any:
    return pickle.loads(path.read_bytes())
