"""RTL stream modules against their definition and the token model, to the cycle."""

import random

import pytest
from hwq_sim.harness.module import run_bench

from hwq.hw.schedule import Timing

pytestmark = pytest.mark.sim


def words(beats, width, frames=4, seed=7):
    rng = random.Random(seed)
    return [[rng.getrandbits(width) for _ in range(beats)] for _ in range(frames)]


def regroup(frames, lane_w, lanes_in, lanes_out):
    """The definition of a width converter: the same lanes in the same order, in beats of another size."""
    def convert(frame):
        lanes = [(beat >> (i * lane_w)) & ((1 << lane_w) - 1) for beat in frame for i in range(lanes_in)]
        return [sum(v << (i * lane_w) for i, v in enumerate(lanes[k:k + lanes_out]))
                for k in range(0, len(lanes), lanes_out)]
    return [convert(f) for f in frames]


@pytest.mark.parametrize("width", [1, 13, 200])
def test_relay_is_a_two_entry_fifo(width):
    x = words(9, width)
    report = run_bench("hwq_relay", {"DATA_W": width}, x, x, Timing("fifo", depth=2))
    assert (report.latency_cycles, report.ii_cycles) == (9, 9)


@pytest.mark.parametrize("lane_w, lanes_in, lanes_out", [(1, 1, 2), (4, 4, 16), (3, 5, 15), (8, 2, 128)])
def test_dwc_up_collects_lanes_in_order(lane_w, lanes_in, lanes_out):
    ratio = lanes_out // lanes_in
    x = words(3 * ratio, lane_w * lanes_in)
    report = run_bench("hwq_dwc", {"LANE_W": lane_w, "IN_LANES": lanes_in, "OUT_LANES": lanes_out},
                       x, regroup(x, lane_w, lanes_in, lanes_out), Timing("up", n=ratio))
    assert (report.latency_cycles, report.ii_cycles) == (3 * ratio, 3 * ratio)


@pytest.mark.parametrize("lane_w, lanes_in, lanes_out", [(1, 2, 1), (4, 16, 4), (3, 15, 3), (8, 128, 2)])
def test_dwc_down_splits_lanes_in_order(lane_w, lanes_in, lanes_out):
    ratio = lanes_in // lanes_out
    x = words(3, lane_w * lanes_in)
    report = run_bench("hwq_dwc", {"LANE_W": lane_w, "IN_LANES": lanes_in, "OUT_LANES": lanes_out},
                       x, regroup(x, lane_w, lanes_in, lanes_out), Timing("down", n=ratio))
    assert (report.latency_cycles, report.ii_cycles) == (3 * ratio, 3 * ratio)
