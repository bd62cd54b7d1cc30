"""The parts of the benches that need no simulator."""

import hwq_hls
import numpy as np
import pytest
from hwq_sim.check.meters import ii_cycles, latency_cycles
from hwq_sim.check.scoreboard import first_difference
from hwq_sim.harness.build import bind_text
from hwq_sim.harness.module import model_times
from hwq_sim.stream.stall import REGIMES, stalls

from hwq.hw.schedule import Timing


def test_equal_sequences_have_no_difference():
    assert first_difference([1, 2, 3], [1, 2, 3], 3) is None


def test_a_difference_names_beat_frame_and_values_in_decimal_and_hex():
    text = first_difference([1, 2, 30, 4], [1, 2, 31, 5], 2)
    assert text == "beat 2 (frame 1, beat 0): value expected 30 (0x1e), got 31 (0x1f)"


@pytest.mark.parametrize("expected, got, text", [
    ([1, 2], [1], "1 beats, 2 expected"),
    ([1], [1, 9], "2 beats, 1 expected; the first one too many is 9 (0x9)")])
def test_missing_and_extra_beats_are_told_apart(expected, got, text):
    assert first_difference(expected, got, 1) == text


def test_meters_of_two_frames():
    assert latency_cycles([3, 4, 9, 10], [8, 9, 14, 17], 2, 2) == 6
    assert ii_cycles([8, 9, 14, 17], 2) == 8


@pytest.mark.parametrize("regime", REGIMES)
def test_stalls_are_replayable_and_hit_the_side_they_name(regime):
    src, snk = stalls(regime, 400, seed=5)
    again = stalls(regime, 400, seed=5)
    assert np.array_equal(src, again[0]) and np.array_equal(snk, again[1])
    assert src.all() == (regime in ("none", "sink"))
    assert snk.all() == (regime in ("none", "source"))


def test_a_wire_moves_a_beat_when_both_sides_agree():
    src, snk = np.array([0, 1, 1, 1], dtype=bool), np.array([1, 0, 0, 1], dtype=bool)
    assert model_times(Timing("wire"), 2, src, snk) == ([3, 4], [3, 4])


def test_every_stream_port_of_the_hierarchy_gets_its_protocol_checker():
    text = bind_text("hwq_fifo")
    assert text.count("bind hwq_fifo hwq_axis_props") == 2
    assert "hwq_ram" not in text
    assert len(hwq_hls.stream_modules()) >= 5
