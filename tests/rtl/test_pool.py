"""hwq_pool and hwq_total against their definitions, in every stall regime."""

import numpy as np
import pytest
from hwq_sim.harness.module import run_bench

from hwq.bits import encode
from hwq.dtype import smallest
from hwq.hw.design import Instance
from hwq.hw.library import timing

pytestmark = pytest.mark.sim
FRAMES = 4


def beats(values, bits):
    """int [frames, beats, lanes] -> frames of beats, lane 0 in the low bits."""
    return [[sum(int(v) << (i * bits) for i, v in enumerate(beat)) for beat in frame]
            for frame in encode(values, bits)]


def draw(bits, signed, shape, seed=5):
    rng = np.random.default_rng(seed)
    lo, hi = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    x = rng.integers(lo, hi + 1, shape)
    x[0], x[1] = lo, hi
    return x, lo, hi


def run(module, params, x, y, x_w, y_w):
    tm = timing(Instance("dut", module, tuple(params.items()), ""))
    return run_bench(module, params, beats(x, x_w), beats(y, y_w), tm)


@pytest.mark.parametrize("lanes, n, groups, x_w, signed, taps, pipe", [
    (1, 4, 3, 1, False, 1, 1), (3, 9, 2, 4, True, 1, 1), (2, 1, 5, 3, True, 1, 1), (2, 25, 1, 6, False, 1, 2),
    (4, 2, 3, 8, True, 1, 1), (3, 1, 6, 4, True, 4, 1), (2, 1, 5, 3, False, 9, 3), (2, 3, 4, 5, True, 3, 2),
    (1, 5, 2, 1, False, 5, 4), (2, 2, 3, 2, True, 7, 6)])
def test_pool_is_the_maximum_of_every_lane(lanes, n, groups, x_w, signed, taps, pipe):
    x, _, _ = draw(x_w, signed, (FRAMES, groups * n, taps * lanes))
    params = {"LANES": lanes, "TAPS": taps, "N": n, "X_W": x_w, "X_SIGNED": int(signed), "KIND": 0, "Y_W": x_w,
              "PIPE": pipe}
    report = run("hwq_pool", params, x, x.reshape(FRAMES, groups, n * taps, lanes).max(axis=2), x_w, x_w)
    assert (report.latency_cycles, report.ii_cycles) == (groups * n + pipe - 1, groups * n)


@pytest.mark.parametrize("lanes, n, groups, x_w, signed, taps, pipe", [
    (1, 4, 3, 1, False, 1, 1), (3, 9, 2, 4, True, 1, 1), (2, 1, 5, 3, False, 1, 1), (2, 10, 2, 5, False, 1, 3),
    (2, 1, 5, 4, True, 4, 1), (3, 1, 4, 3, False, 9, 3), (1, 3, 3, 5, True, 3, 2), (2, 2, 2, 2, False, 7, 5)])
def test_pool_is_the_sum_of_every_lane(lanes, n, groups, x_w, signed, taps, pipe):
    x, lo, hi = draw(x_w, signed, (FRAMES, groups * n, taps * lanes))
    y_w = smallest(n * taps * lo, n * taps * hi).bits
    params = {"LANES": lanes, "TAPS": taps, "N": n, "X_W": x_w, "X_SIGNED": int(signed), "KIND": 1, "Y_W": y_w,
              "PIPE": pipe}
    run("hwq_pool", params, x, x.reshape(FRAMES, groups, n * taps, lanes).sum(axis=2), x_w, y_w)


@pytest.mark.parametrize("lanes, chunks, positions, x_w, signed, style", [
    (1, 1, 6, 3, False, 1), (2, 3, 4, 4, True, 1), (3, 2, 9, 2, True, 3), (1, 5, 1, 4, False, 1),
    (2, 4, 12, 1, False, 1)])
def test_total_is_the_sum_over_all_positions(lanes, chunks, positions, x_w, signed, style):
    x, lo, hi = draw(x_w, signed, (FRAMES, positions * chunks, lanes))
    y_w = smallest(positions * lo, positions * hi).bits
    params = {"LANES": lanes, "CHUNKS": chunks, "POSITIONS": positions, "X_W": x_w, "X_SIGNED": int(signed),
              "Y_W": y_w, "STYLE": style}
    y = x.reshape(FRAMES, positions, chunks, lanes).sum(axis=1)
    report = run("hwq_total", params, x, y, x_w, y_w)
    assert (report.latency_cycles, report.ii_cycles) == (positions * chunks, positions * chunks)
