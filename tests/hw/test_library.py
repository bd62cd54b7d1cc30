"""Designs with branches in the token model: wires merge, and figures follow from the modules' parameters."""

from __future__ import annotations

import pytest

from hwq.errors import CheckFailed
from hwq.hw.design import Design, Instance, Stream
from hwq.hw.library import figures

WINDOW = {"LANES": 1, "BITS": 4, "CHUNKS": 1, "IN_H": 4, "IN_W": 4, "KH": 3, "KW": 3, "SH": 1, "SW": 1, "DH": 1,
          "DW": 1, "PAD_T": 1, "PAD_L": 1, "OUT_H": 4, "OUT_W": 4, "PASSES": 1, "GROUPS": 1, "PAD_VALUE": 0,
          "DEPTH": 11, "STYLE": 0}


def residual(skip_depth: int) -> Design:
    """x -> fork -> (window, pool; FIFO) -> join -> add."""
    def part(name: str, module: str, **params: int | str) -> Instance:
        return Instance(name, module, tuple(params.items()), "layer")

    parts = [part("in", "hwq_edge_in", DATA_W=4, BEATS=16), part("fork", "hwq_fork", DATA_W=4),
             part("relay", "hwq_relay", DATA_W=4), part("window", "hwq_window", **WINDOW),
             part("pool", "hwq_pool", LANES=1, TAPS=1, N=9, X_W=4, X_SIGNED=0, KIND=0, Y_W=4, PIPE=1),
             part("relay2", "hwq_relay", DATA_W=4), part("skip", "hwq_fifo", DATA_W=4, DEPTH=skip_depth, STYLE=0),
             part("join", "hwq_join", S0_W=4, S1_W=4),
             part("add", "hwq_add", PE=1, CF=1, X0_W=4, X0_SIGNED=0, X1_W=4, X1_SIGNED=0, USE0=0, USE1=0, B_W=0, Y_W=5,
                  PIPE=1, MB_FILE="mb.hex"),
             part("out", "hwq_edge_out", DATA_W=5, BEATS=16)]
    wires = [("", "in.s", 16), ("in.m", "fork.s", 16), ("fork.m0", "relay.s", 16), ("relay.m", "window.s", 16),
             ("window.m", "pool.s", 144), ("pool.m", "relay2.s", 16), ("relay2.m", "join.s0", 16),
             ("fork.m1", "skip.s", 16), ("skip.m", "join.s1", 16), ("join.m", "add.s", 16), ("add.m", "out.s", 16),
             ("out.m", "", 16)]

    def end(text: str) -> tuple[str, str]:
        name, _, port = text.partition(".")
        return name, f"{port}_axis" if port else ""

    streams = tuple(Stream(f"s{i}", end(a), end(b), "t", 1, 4, False, n) for i, (a, b, n) in enumerate(wires))
    return Design("d", "pynq-z2", 100.0, tuple(parts), streams, ("s0",), ("s11",), {})


def test_streams_of_a_fork_move_together() -> None:
    times = figures(residual(16)).times
    assert list(times["s0"]) == list(times["s1"]) == list(times["s2"]) == list(times["s7"])
    assert list(times["s6"]) == list(times["s8"]) == list(times["s9"])


def test_a_residual_block_runs_at_the_rate_of_its_window() -> None:
    assert figures(residual(32)).ii_cycles == 144


def test_a_skip_fifo_that_is_too_small_names_the_streams_that_wait() -> None:
    with pytest.raises(CheckFailed, match=r"deadlocks.*s0 .*-> s6 .*-> .* -> s0"):
        figures(residual(2))
