"""hwq_mvu against numpy: values, order and cycles, over kinds, widths, foldings and resources."""

import numpy as np
import pytest
from hwq_sim.harness.module import run_bench

from hwq import dtype
from hwq.bits import encode
from hwq.hw.memory import mvu_rows
from hwq.hw.pipeline import mvu_pipe
from hwq.hw.schedule import Timing

pytestmark = pytest.mark.sim

INT, BIPOLAR, TERNARY, XNOR = range(4)


def draw_weights(rng, kind, bits, shape, density):
    """int [MH, MW] over the whole range of the kind."""
    if kind in (BIPOLAR, XNOR):
        return rng.integers(0, 2, shape) * 2 - 1
    half = 1 << (bits - 1)
    w = rng.integers(-1, 2, shape) if kind == TERNARY else rng.integers(-half, half, shape)
    return np.where(rng.random(shape) < density, w, 0)


def beats(values, lanes, bits):
    """int [frames, C] -> frames of beats, lane 0 in the low bits."""
    codes = encode(values, bits).reshape(len(values), -1, lanes)
    return [[sum(int(v) << (i * bits) for i, v in enumerate(beat)) for beat in frame] for frame in codes]


def bench(kind, w_bits, x_bits, x_signed, pe, simd, nf, sf,
          resource=1, style=0, pipe=None, density=1.0, dsp_w=25, seed=1):
    """Run one MVU on frames that hold both extremes of x and random ones; returns (report, PIPE)."""
    rng = np.random.default_rng(seed)
    w = draw_weights(rng, kind, w_bits, (pe * nf, simd * sf), density)
    lo, hi = (-(1 << (x_bits - 1)), (1 << (x_bits - 1)) - 1) if x_signed else (0, (1 << x_bits) - 1)
    x = rng.integers(lo, hi + 1, (5, simd * sf))
    x[0], x[1] = hi, lo
    if kind == XNOR:
        y, low, high = ((2 * x - 1) @ w.T + w.shape[1]) // 2, 0, w.shape[1]
    else:
        y = x @ w.T
        low = min(0, int(np.minimum(w * lo, w * hi).sum(axis=1).min()))
        high = max(0, int(np.maximum(w * lo, w * hi).sum(axis=1).max()))
    acc = dtype.smallest(low, high)
    pipe = pipe or mvu_pipe(simd, w_bits, kind, x_bits, sf, resource, 100.0)
    params = {"PE": pe, "SIMD": simd, "SF": sf, "NF": nf, "W_BITS": w_bits, "W_KIND": kind,
              "X_BITS": x_bits, "X_SIGNED": int(x_signed), "ACC_W": acc.bits, "ACC_SIGNED": int(acc.signed),
              "RESOURCE": resource, "STYLE": style, "PIPE": pipe, "W_FILE": "mem/w.hex", "DSP_W": dsp_w}
    frames_in = [frame * nf for frame in beats(x, simd, x_bits)]
    report = run_bench("hwq_mvu", params, frames_in, beats(y, pe, acc.bits), Timing("reduce", d=pipe, n=sf),
                       mems={"mem/w.hex": mvu_rows(w, pe, simd, w_bits, kind)})
    return report, pipe


@pytest.mark.parametrize("kind, w_bits, x_bits, x_signed, pe, simd, nf, sf", [
    (XNOR, 1, 1, False, 1, 1, 2, 3),       # one weight a cycle
    (XNOR, 1, 1, False, 3, 23, 2, 2),
    (BIPOLAR, 1, 1, False, 2, 14, 2, 2),
    (BIPOLAR, 1, 2, True, 2, 7, 2, 3),
    (BIPOLAR, 1, 8, False, 2, 3, 2, 2),
    (TERNARY, 2, 1, False, 2, 9, 2, 2),
    (TERNARY, 2, 4, True, 2, 9, 2, 2),
    (INT, 1, 3, False, 2, 5, 2, 2),        # weights 0 and -1
    (INT, 2, 2, False, 3, 13, 2, 1),       # SF = 1: no accumulator
    (INT, 3, 2, True, 3, 7, 2, 1),
    (INT, 4, 4, False, 4, 16, 2, 2),
    (INT, 5, 6, False, 1, 6, 2, 2),
    (INT, 8, 8, True, 2, 5, 2, 2),
    (INT, 6, 10, False, 2, 3, 2, 3),       # sums of pixels
    (INT, 3, 16, True, 2, 4, 2, 2),
    (BIPOLAR, 1, 11, True, 2, 3, 2, 2),
    (TERNARY, 2, 16, False, 2, 3, 2, 2),
    (INT, 8, 16, True, 1, 256, 1, 2),      # sums of terms of which 32 bits hold few
])
def test_mvu_equals_numpy_and_keeps_its_cycles(kind, w_bits, x_bits, x_signed, pe, simd, nf, sf):
    report, pipe = bench(kind, w_bits, x_bits, x_signed, pe, simd, nf, sf)
    assert report.ii_cycles == nf * sf
    assert report.latency_cycles == nf * sf + pipe - 1


@pytest.mark.parametrize("kind, w_bits, x_bits, x_signed, pe, simd, density", [
    (XNOR, 1, 1, False, 4, 49, 1.0),
    (BIPOLAR, 1, 4, True, 2, 4, 1.0),
    (TERNARY, 2, 2, False, 4, 16, 0.3),
    (INT, 4, 4, False, 2, 5, 1.0),
    (INT, 4, 8, True, 4, 6, 0.5),          # x in two slices
    (INT, 8, 1, False, 2, 11, 0.2),
    (INT, 5, 13, True, 3, 4, 0.7),         # in four
    (TERNARY, 2, 16, False, 2, 5, 0.8),
])
def test_unrolled_layer_of_constants_equals_numpy(kind, w_bits, x_bits, x_signed, pe, simd, density):
    report, pipe = bench(kind, w_bits, x_bits, x_signed, pe, simd, nf=1, sf=1, density=density, pipe=4)
    assert (report.latency_cycles, report.ii_cycles) == (pipe, 1)


@pytest.mark.parametrize("acc_w", [1, 3, 4, 7])
@pytest.mark.parametrize("nf", [1, 2])
def test_terms_above_the_accumulator_are_left_out(acc_w, nf):
    rng = np.random.default_rng(5)
    pe, simd, w_bits, x_bits = 2, 5, 8, 6
    w = rng.integers(-128, 128, (pe * nf, simd))
    x = rng.integers(0, 1 << x_bits, (5, simd))
    params = {"PE": pe, "SIMD": simd, "SF": 1, "NF": nf, "W_BITS": w_bits, "W_KIND": INT, "X_BITS": x_bits,
              "ACC_W": acc_w, "PIPE": 4, "W_FILE": "mem/w.hex"}
    run_bench("hwq_mvu", params, [f * nf for f in beats(x, simd, x_bits)], beats(x @ w.T % (1 << acc_w), pe, acc_w),
              Timing("reduce", d=4, n=1), mems={"mem/w.hex": mvu_rows(w, pe, simd, w_bits, INT)})


@pytest.mark.parametrize("kind, w_bits, x_bits, pe, taps, channels, pixels", [
    (XNOR, 1, 1, 3, 9, 2, 2),
    (TERNARY, 2, 3, 4, 1, 5, 4),
    (INT, 4, 4, 2, 3, 2, 3),
])
def test_several_pixels_a_beat_equal_numpy(kind, w_bits, x_bits, pe, taps, channels, pixels):
    rng = np.random.default_rng(4)
    w = draw_weights(rng, kind, w_bits, (pe, taps * channels), 0.8)
    x = rng.integers(0, 1 << x_bits, (5, pixels, taps * channels))
    y = ((2 * x - 1) @ w.T + w.shape[1]) // 2 if kind == XNOR else x @ w.T
    acc = dtype.smallest(min(0, int(y.min())), int(y.max()))
    params = {"PE": pe, "SIMD": taps * channels, "SF": 1, "NF": 1, "PIXELS": pixels, "TAPS": taps, "W_BITS": w_bits,
              "W_KIND": kind, "X_BITS": x_bits, "ACC_W": acc.bits, "PIPE": 4, "W_FILE": "mem/w.hex"}
    given = x.reshape(5, pixels, taps, channels).swapaxes(1, 2).reshape(5, -1)
    report = run_bench("hwq_mvu", params, beats(given, given.shape[1], x_bits),
                       beats(y.reshape(5, -1), pixels * pe, acc.bits), Timing("reduce", d=4, n=1),
                       mems={"mem/w.hex": mvu_rows(w, pe, taps * channels, w_bits, kind)})
    assert (report.latency_cycles, report.ii_cycles) == (4, 1)


@pytest.mark.parametrize("kind, w_bits, x_bits, x_signed, pe, simd, sf, pipe, dsp_w", [
    (INT, 4, 4, False, 4, 16, 2, None, 25),    # three rows in DSP blocks, one in LUTs
    (INT, 4, 4, False, 4, 16, 2, None, 18),    # two and two
    (INT, 4, 4, False, 5, 6, 3, 6, 25),        # last cascade is not full
    (INT, 4, 4, True, 3, 4, 2, 3, 25),         # one stage for the product: rows stay in LUTs
    (INT, 8, 8, True, 2, 5, 2, 5, 25),
    (TERNARY, 2, 3, False, 4, 8, 2, None, 25),
])
def test_dsp_rows_equal_numpy(kind, w_bits, x_bits, x_signed, pe, simd, sf, pipe, dsp_w):
    bench(kind, w_bits, x_bits, x_signed, pe, simd, 2, sf, resource=2, pipe=pipe, dsp_w=dsp_w)


@pytest.mark.parametrize("pipe", [3, 5, 16])
def test_every_number_of_stages_gives_the_same_values(pipe):
    report, _ = bench(INT, 4, 3, False, 2, 10, 2, 2, pipe=pipe)
    assert report.latency_cycles == 4 + pipe - 1


@pytest.mark.parametrize("style", [1, 2])
def test_weights_come_from_either_memory(style):
    bench(INT, 4, 4, False, 2, 4, 3, 3, style=style)


def test_lowest_weights_on_lowest_inputs_do_not_overflow_a_dsp_lane():
    pe, simd, bits = 3, 4, 4
    w = np.full((2 * pe, 2 * simd), -8, dtype=np.int64)
    x = np.full((3, 2 * simd), -8, dtype=np.int64)
    params = {"PE": pe, "SIMD": simd, "SF": 2, "NF": 2, "W_BITS": bits, "W_KIND": INT, "X_BITS": bits,
              "X_SIGNED": 1, "ACC_W": 11, "ACC_SIGNED": 1, "RESOURCE": 2, "STYLE": 0, "PIPE": 8,
              "W_FILE": "mem/w.hex"}
    run_bench("hwq_mvu", params, [f * 2 for f in beats(x, simd, bits)], beats(x @ w.T, pe, 11),
              Timing("reduce", d=8, n=2), mems={"mem/w.hex": mvu_rows(w, pe, simd, bits, INT)})
