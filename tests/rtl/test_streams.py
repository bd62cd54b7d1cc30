"""RTL stream modules against their definition and the token model, to the cycle."""

import random

import numpy as np
import pytest
import torch
from hwq_sim.harness.module import run_bench
from torch.nn import functional as F

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


@pytest.mark.parametrize("width, depth, style", [
    (3, 2, 0), (6, 3, 0), (8, 5, 1), (9, 16, 1), (32, 32, 1), (5, 3, 3), (70, 6, 2), (4, 64, 2), (3, 100, 1)])
def test_fifo_holds_exactly_depth_beats(width, depth, style):
    x = words(2 * depth + 3, width)
    params = {"DATA_W": width, "DEPTH": depth, "STYLE": style}
    run_bench("hwq_fifo", params, x, x, Timing("fifo", depth=depth))


@pytest.mark.parametrize("beats, passes, depth, style", [
    (1, 2, 1, 0), (1, 5, 3, 1), (4, 3, 4, 1), (5, 2, 7, 3), (6, 4, 12, 2), (7, 3, 7, 2), (3, 2, 7, 1)])
def test_replay_sends_every_sequence_passes_times(beats, passes, depth, style):
    x = words(beats, 11, frames=6)
    run_bench("hwq_replay", {"DATA_W": 11, "BEATS": beats, "PASSES": passes, "DEPTH": depth, "STYLE": style},
              x, [f * passes for f in x], Timing("replay", n=beats, passes=passes, depth=depth))


@pytest.mark.parametrize("size, chunks, factors", [((2, 3), 2, (2, 3)), ((3, 2), 1, (3, 1)), ((1, 4), 3, (1, 2))])
def test_nearest_upsampling_is_a_replay_of_rows_and_one_of_pixels(size, chunks, factors):
    """At each replay the beats that torch's interpolation along that axis gives."""
    x = np.array(words(size[0] * size[1] * chunks, 9)).reshape(4, *size, chunks)
    for axis, beats in ((1, size[1] * chunks), (2, chunks)):
        if factors[axis - 1] == 1:
            continue
        scale = [float(f) if axis == i else 1.0 for i, f in enumerate(factors, 1)]
        y = F.interpolate(torch.from_numpy(x).double().permute(0, 3, 1, 2), scale_factor=scale, mode="nearest")
        y = y.permute(0, 2, 3, 1).numpy().astype(int)
        params = {"DATA_W": 9, "BEATS": beats, "PASSES": factors[axis - 1], "DEPTH": 2 * beats, "STYLE": 0}
        run_bench("hwq_replay", params, x.reshape(4, -1).tolist(), y.reshape(4, -1).tolist(),
                  Timing("replay", n=beats, passes=factors[axis - 1], depth=2 * beats))
        x = y


@pytest.mark.parametrize("width, beats", [(1, 1), (13, 7), (16, 4)])
def test_edge_in_drops_pad_bits_without_a_cycle(width, beats):
    x = words(beats, -(-width // 8) * 8)
    y = [[v & ((1 << width) - 1) for v in f] for f in x]
    report = run_bench("hwq_edge_in", {"DATA_W": width, "BEATS": beats}, x, y, Timing("wire"))
    assert {s.flags["tlast_error"] for s in report.seen.values()} == {0}


@pytest.mark.parametrize("wrong", ["early", "missing"])
def test_edge_in_reports_a_wrong_tlast_until_reset(wrong):
    x = words(5, 16)
    lasts = [int(i % 5 == 4) for i in range(20)]
    at = 7 if wrong == "early" else 9
    lasts[at] ^= 1
    report = run_bench("hwq_edge_in", {"DATA_W": 16, "BEATS": 5}, x, x, Timing("wire"), lasts_in=lasts)
    for name, seen in report.seen.items():  # clean: behind a reset, and cut off by the next one before that beat
        clean = name.startswith("reset") and name != "reset 1" and len(seen.t_in) <= at
        assert seen.flags["tlast_error"] == (not clean), name


@pytest.mark.parametrize("width, beats", [(1, 1), (13, 7), (16, 4)])
def test_edge_out_pads_with_zeros_and_marks_the_last_beat(width, beats):
    x = words(beats, width)
    report = run_bench("hwq_edge_out", {"DATA_W": width, "BEATS": beats}, x, x, Timing("wire"))
    assert report.seen["none"].lasts == [int(i % beats == beats - 1) for i in range(4 * beats)]
