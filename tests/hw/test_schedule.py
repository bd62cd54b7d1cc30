"""The token model against a cycle-by-cycle simulation of the same modules, written independently as state machines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwq.errors import CheckFailed
from hwq.hw.schedule import Node, Timing, merge, run_chain, run_net
from hwq.hw.window import Window


class Machine:
    """A module as registers: `ready(out_ready)` and `valid` in a cycle, then `clock(took, gave)`."""

    def __init__(self, tm: Timing) -> None:
        self.tm = tm
        self.stages: list[int | None] = [None] * tm.d  # pipe, reduce: beat index in each stage
        self.count = 0  # beats held (fifo, up, down)
        self.seen = 0  # beats taken
        self.sent = 0
        self.freed = 0

    def valid(self) -> bool:
        tm = self.tm
        match tm.kind:
            case "pipe" | "reduce":
                return self.stages[-1] is not None
            case "fifo" | "down":
                return self.count > 0
            case "up":
                return self.count == tm.n
            case "replay":
                frame = tm.n * tm.passes
                return self.sent // frame * tm.n + self.sent % tm.n < self.seen
        raise AssertionError

    def enables(self, out_ready: bool) -> list[bool]:
        """Stage i may load in this cycle: it is empty or is being emptied."""
        en = [False] * self.tm.d
        last = len(en) - 1
        for i in range(last, -1, -1):
            if self.tm.kind == "reduce" and last == 0 and self.seen % self.tm.n != self.tm.n - 1:
                en[0] = True  # accumulates without touching the output register
                continue
            if i == last:
                moves = out_ready
            elif self.tm.kind == "reduce" and i == last - 1:
                beat = self.stages[i]
                moves = beat is None or beat % self.tm.n != self.tm.n - 1 or en[last]
            else:
                moves = en[i + 1]
            en[i] = self.stages[i] is None or moves
        return en

    def ready(self, out_ready: bool) -> bool:
        tm = self.tm
        match tm.kind:
            case "pipe" | "reduce":
                return self.enables(out_ready)[0]
            case "fifo":
                return self.count < tm.depth
            case "up":
                return self.count < tm.n or out_ready
            case "down":
                return self.count == 0 or (self.count == 1 and out_ready)
            case "replay":
                return self.seen - self.freed < tm.depth
        raise AssertionError

    def clock(self, took: bool, gave: bool, out_ready: bool) -> None:
        tm = self.tm
        match tm.kind:
            case "pipe" | "reduce":
                en = self.enables(out_ready)
                new = list(self.stages)
                for i in range(tm.d - 1, -1, -1):
                    if tm.kind == "reduce" and tm.d == 1 and self.seen % tm.n != tm.n - 1:
                        new[i] = None if gave else self.stages[i]
                        continue
                    if en[i]:
                        new[i] = self.stages[i - 1] if i else (self.seen if took else None)
                        if tm.kind == "reduce" and i == tm.d - 1 and new[i] is not None and new[i] % tm.n != tm.n - 1:
                            new[i] = None
                if tm.kind == "reduce" and not en[-1]:  # a blocked output register still lets the accumulator take
                    pass
                self.stages = new
            case "fifo":
                self.count += took - gave
            case "up":
                self.count = (0 if gave else self.count) + took
            case "down":
                self.count = self.count - gave + (tm.n if took else 0)
            case "replay":
                if gave:
                    frame = tm.n * tm.passes
                    if self.sent % frame >= frame - tm.n:
                        self.freed += 1
                    self.sent += 1
        self.seen += took


def cycle_model(timings: list[Timing], beats: int, src: np.ndarray, snk: np.ndarray) -> list[list[int]]:
    machines = [Machine(t) for t in timings]
    times: list[list[int]] = [[] for _ in range(len(timings) + 1)]
    total = beats
    for t in timings:
        total = t.beats_out(total)
    offered = False
    cycle = 0
    while len(times[-1]) < total:
        assert cycle < 20000
        sink = bool(snk[cycle]) if cycle < len(snk) else True
        offered = offered or (len(times[0]) < beats and (cycle >= len(src) or bool(src[cycle])))
        ready = [False] * len(machines) + [sink]
        for i in range(len(machines) - 1, -1, -1):
            ready[i] = machines[i].ready(ready[i + 1])
        valid = [offered, *(m.valid() for m in machines)]
        moves = [v and r for v, r in zip(valid, ready, strict=True)]
        for e, moved in enumerate(moves):
            if moved:
                times[e].append(cycle)
        for i, m in enumerate(machines):
            m.clock(moves[i], moves[i + 1], ready[i + 1])
        if moves[0]:
            offered = False
        cycle += 1
    return times


def timings() -> st.SearchStrategy[Timing]:
    return st.one_of(
        st.builds(lambda d: Timing("pipe", d=d), st.integers(1, 4)),
        st.builds(lambda k: Timing("fifo", depth=k), st.integers(1, 5)),
        st.builds(lambda d, n: Timing("reduce", d=d, n=n), st.integers(1, 4), st.integers(1, 3)),
        st.builds(lambda n, p, extra: Timing("replay", n=n, passes=p, depth=n + extra), st.integers(1, 3),
                  st.integers(1, 3), st.integers(0, 3)),
        st.builds(lambda n: Timing("up", n=n), st.integers(2, 3)),
        st.builds(lambda n: Timing("down", n=n), st.integers(2, 3)),
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(timings(), min_size=1, max_size=5), st.integers(1, 3), st.randoms(use_true_random=False))
def test_beat_times_equal_a_cycle_by_cycle_simulation(chain: list[Timing], frames: int, rnd) -> None:
    group = int(np.prod([t.n for t in chain]))
    beats = group * frames
    src = np.array([rnd.random() < 0.6 for _ in range(3 * beats)])
    snk = np.array([rnd.random() < 0.5 for _ in range(6 * beats)])
    for s, k in ((np.array([True]), np.array([True])), (src, np.array([True])), (np.array([True]), snk), (src, snk)):
        expected = cycle_model(chain, beats, s, k)
        assert [list(e) for e in run_chain(chain, beats, s, k)] == expected
        assert [list(e) for e in run_chain(chain, beats, s, k, compiled=False)] == expected


def test_a_replay_buffer_of_two_sequences_keeps_full_rate() -> None:
    chain = [Timing("replay", n=8, passes=4, depth=16), Timing("reduce", d=3, n=8)]
    t = run_chain(chain, 8 * 6)
    frames = [t[-1][4 * f + 3] for f in range(6)]
    assert np.diff(frames).tolist() == [32] * 5


def test_a_network_that_can_never_move_names_its_blocked_streams() -> None:
    with pytest.raises(CheckFailed, match=r"deadlocks.*(in \(beat|out \(beat)"):
        run_net([Node("tiny", Timing("replay", n=4, passes=1, depth=0), 0, 1)], 2, {0: 4}, names=["in", "out"])


def windows() -> st.SearchStrategy[Timing]:
    def build(chunks: int, size: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int],
              pad: tuple[int, int], passes: int, extra: int) -> Timing:
        pad = (min(pad[0], kernel[0] - 1), min(pad[1], kernel[1] - 1))
        size = (max(size[0], kernel[0]), max(size[1], kernel[1]))
        out = tuple((size[i] + 2 * pad[i] - kernel[i]) // stride[i] + 1 for i in range(2))
        w = Window(chunks, size, kernel, stride, (1, 1), pad, (out[0], out[1]), passes)
        return Timing("window", depth=w.least_depth + extra, window=w)

    def pair(lo: int, hi: int) -> st.SearchStrategy[tuple[int, int]]:
        return st.tuples(st.integers(lo, hi), st.integers(lo, hi))

    return st.builds(build, st.integers(1, 3), pair(1, 6), pair(1, 4), pair(1, 3), pair(0, 3), st.integers(1, 3),
                     st.integers(0, 20))


@settings(max_examples=100, deadline=None)
@given(windows(), st.integers(1, 3), st.lists(timings(), max_size=1), st.randoms(use_true_random=False))
def test_windows_time_alike_compiled_and_not_and_never_deadlock_at_the_least_depth(tm, frames, more, rnd) -> None:
    w = tm.geometry
    w.check()
    n = more[0].n if more else 1
    beats = w.frame_beats * frames * n
    snk = np.array([rnd.random() < 0.5 for _ in range(300)])
    fast = run_chain([tm, *more], beats, None, snk)
    assert fast == run_chain([tm, *more], beats, None, snk, compiled=False)
    assert len(fast[0]) == beats
    assert np.all(np.diff(fast[1]) >= 1)


def diamond(depth: int) -> tuple[list[Node], list[str]]:
    """A fork whose branches meet again: one through a window that holds a frame back, one through a FIFO."""
    w = Window(1, (4, 4), (3, 3), pad=(1, 1), out=(4, 4))
    nodes = [Node("window", Timing("window", depth=w.least_depth, window=w), 0, 1),
             Node("pool", Timing("reduce", d=1, n=9), 1, 2), Node("skip", Timing("fifo", depth=depth), 0, 2)]
    return nodes, ["x", "windows", "y"]


def test_a_join_that_can_never_meet_names_the_cycle_of_streams() -> None:
    nodes, names = diamond(2)
    with pytest.raises(CheckFailed, match=r"x \(beat 2 of 16\) -> y \(beat 0 of 16\) -> .*windows.* -> x \(beat 2"):
        run_net(nodes, 3, {0: 16}, names=names)


def test_the_least_fifo_that_lets_a_join_meet_is_found_by_trying() -> None:
    def meets(depth: int) -> bool:
        nodes, names = diamond(depth)
        try:
            run_net(nodes, 3, {0: 48}, names=names)
        except CheckFailed:
            return False
        return True

    assert [d for d in range(1, 12) if meets(d)] == list(range(6, 12))


def test_several_sources_and_sinks_of_one_stream_all_have_to_agree() -> None:
    a, b = np.array([1, 0, 0, 1, 1], dtype=bool), np.array([0, 1, 1, 0, 1], dtype=bool)
    for compiled in (True, False):
        assert list(run_net([], 1, {0: 3}, {0: [a, b]}, compiled=compiled)[0]) == [1, 3, 4]
        assert list(run_net([], 1, {0: 3}, None, {0: [a, b]}, compiled=compiled)[0]) == [4, 5, 6]


def test_concat_takes_turns() -> None:
    tm = Timing("concat", n=2, m=1)
    for compiled in (True, False):
        t = run_net([Node("c", tm, (0, 1), 2)], 3, {0: 4, 1: 2}, compiled=compiled)
        assert [list(e) for e in t] == [[0, 1, 3, 4], [2, 5], [1, 2, 3, 4, 5, 6]]


def test_streams_that_wires_connect_are_one() -> None:
    assert merge(6, [(0, 1, 2), (3, 4), (4, 5)]) == [0, 0, 0, 1, 1, 1]
    assert merge(5, [(1, 4), (4, 2)]) == [0, 1, 1, 2, 1]
