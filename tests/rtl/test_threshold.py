"""hwq_threshold against the definition of a Step: values, order and cycles, in every stall regime."""

import numpy as np
import pytest
from hwq_sim.harness.module import run_bench

from hwq.bits import encode
from hwq.errors import EmitError, MismatchError
from hwq.hw.memory import threshold_rows
from hwq.hw.pipeline import threshold_pipe
from hwq.hw.schedule import Timing


def step(x, thresholds, falling, offset):
    """The definition: y = offset + count(T <= x), or offset + N - count. x: int [frames, C]."""
    count = (thresholds[None] <= x[:, :, None]).sum(axis=2)
    return offset + np.where(falling, thresholds.shape[1] - count, count)


def beats(values, lanes, bits):
    """int [frames, C] -> frames of beats, lane 0 in the low bits."""
    codes = encode(values, bits).reshape(len(values), -1, lanes)
    return [[sum(int(v) << (i * bits) for i, v in enumerate(beat)) for beat in frame] for frame in codes]


def bench(pe, cf, x_w, signed, n, offset, falling, y_w, pipe=None, seed=1, thresholds=None):
    rng = np.random.default_rng(seed)
    channels = pe * cf
    lo, hi = (-(1 << (x_w - 1)), (1 << (x_w - 1)) - 1) if signed else (0, (1 << x_w) - 1)
    t = np.sort(rng.integers(lo, hi + 2, (channels, n)), axis=1) if thresholds is None else thresholds
    down = rng.random(channels) < 0.5 if falling else np.zeros(channels, dtype=bool)
    near = t[np.arange(channels), rng.integers(0, n, (4, channels))] + rng.integers(-1, 2, (4, channels))
    x = np.clip(np.concatenate([rng.integers(lo, hi + 1, (4, channels)), near]), lo, hi)
    pipe = pipe or threshold_pipe(n, x_w, pe, cf, 100.0)
    params = {"PE": pe, "CF": cf, "X_W": x_w, "X_SIGNED": int(signed), "N": n, "Y_W": y_w, "OFFSET": offset,
              "FALLING": int(falling), "PIPE": pipe, "T_FILE": "mem/t.mem"}
    report = run_bench("hwq_threshold", params, beats(x, pe, x_w), beats(step(x, t, down, offset), pe, y_w),
                       Timing("pipe", d=pipe), mems={"mem/t.mem": threshold_rows(t, down, pe, x_w, signed)})
    return report, pipe


@pytest.mark.sim
@pytest.mark.parametrize("pe, cf, x_w, signed, n, offset, falling, y_w, pipe", [
    (1, 1, 1, False, 1, 0, False, 1, None),     # smallest
    (1, 4, 3, False, 1, 0, True, 1, 2),         # more stages than levels
    (2, 3, 5, True, 2, -1, True, 2, 1),         # N + 1 no power of two, odd CF, one stage
    (3, 1, 6, True, 5, -3, True, 3, None),      # constants
    (4, 8, 12, True, 15, 0, False, 4, None),    # every form of comparison
    (1, 32, 12, True, 15, -8, False, 4, 3),
    (2, 2, 4, False, 15, 7, True, 6, 4),        # more thresholds than inputs, y wider than the count
    (1, 5, 9, False, 100, -50, True, 8, None),
    (2, 1, 10, True, 255, -128, False, 8, 5),
])
def test_threshold_counts_thresholds_below_or_at_x(pe, cf, x_w, signed, n, offset, falling, y_w, pipe):
    report, stages = bench(pe, cf, x_w, signed, n, offset, falling, y_w, pipe)
    assert report.ii_cycles == cf
    assert report.latency_cycles == cf - 1 + stages


@pytest.mark.sim
@pytest.mark.parametrize("falling", [False, True])
def test_threshold_that_always_or_never_counts_makes_a_constant_channel(falling):
    t = np.array([[-8, -8, -8], [8, 8, 8], [-8, 0, 8]])
    bench(3, 1, 4, True, 3, 0, falling, 2, thresholds=t)


@pytest.mark.sim
def test_threshold_off_by_one_in_memory_is_seen():
    t = np.array([[0, 3, 5]])
    x = np.array([[2], [3], [4], [5]])
    params = {"PE": 1, "CF": 1, "X_W": 4, "X_SIGNED": 1, "N": 3, "Y_W": 2, "OFFSET": 0, "FALLING": 0,
              "PIPE": 2, "T_FILE": "mem/t.mem"}
    wrong = threshold_rows(t + np.array([0, 1, 0]), None, 1, 4, True)
    with pytest.raises(MismatchError, match="expected"):
        run_bench("hwq_threshold", params, beats(x, 1, 4), beats(step(x, t, False, 0), 1, 2),
                  Timing("pipe", d=2), mems={"mem/t.mem": wrong})


def test_thresholds_that_do_not_ascend_are_refused():
    with pytest.raises(EmitError, match="channel 1 do not ascend"):
        threshold_rows(np.array([[0, 1], [2, 1]]), None, 1, 4, True)


def test_lanes_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(EmitError, match="3 channels do not fill beats of 2 lanes"):
        threshold_rows(np.zeros((3, 1), dtype=np.int64), None, 2, 4, True)
