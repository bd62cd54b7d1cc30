"""hwq_scale, hwq_requant, hwq_table and hwq_argmax against their definitions, in every stall regime."""

import numpy as np
import pytest
from hwq_sim.harness.module import run_bench
from hypothesis import given, settings
from hypothesis import strategies as st

from hwq.bits import encode
from hwq.errors import EmitError, MismatchError
from hwq.hw.memory import requant_rows, scale_rows, signed_digits, table_rows
from hwq.hw.pipeline import argmax_pipe, requant_pipe, scale_pipe
from hwq.hw.schedule import Timing

FRAMES = 6


def beats(values, lanes, bits):
    """int [frames, C] -> frames of beats, lane 0 in the low bits."""
    codes = encode(values, bits).reshape(len(values), -1, lanes)
    return [[sum(int(v) << (i * bits) for i, v in enumerate(beat)) for beat in frame] for frame in codes]


def span(bits, signed):
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def draw(rng, lo, hi, shape):
    """Uniform values with both ends of the range in every frame."""
    x = rng.integers(lo, hi + 1, shape)
    return np.where(rng.random(shape) < 0.25, rng.choice([lo, hi], shape), x)


def affine(pe, cf, x_w, signed, m_w, b_w, seed=3):
    rng = np.random.default_rng(seed)
    m = draw(rng, *span(m_w, True), pe * cf)
    b = draw(rng, *span(b_w, True), pe * cf)
    return draw(rng, *span(x_w, signed), (FRAMES, pe * cf)), m, b


@pytest.mark.sim
@pytest.mark.parametrize("pe, cf, x_w, signed, m_w, b_w, y_w, pipe, resource", [
    (1, 1, 1, False, 1, 1, 3, 1, 1),
    (3, 5, 7, True, 5, 9, 14, None, 1),
    (2, 1, 8, False, 8, 4, 18, 2, 1),
    (1, 4, 6, True, 4, 6, 5, 4, 1),           # fewer output bits than the sum has, more stages than additions
    (2, 3, 9, True, 6, 12, 16, 2, 2),
])
def test_scale_is_an_affine_function_of_every_channel(pe, cf, x_w, signed, m_w, b_w, y_w, pipe, resource):
    x, m, b = affine(pe, cf, x_w, signed, m_w, b_w)
    pipe = pipe or scale_pipe(x_w, m_w, 100.0)
    params = {"PE": pe, "CF": cf, "X_W": x_w, "X_SIGNED": int(signed), "M_W": m_w, "B_W": b_w, "Y_W": y_w,
              "PIPE": pipe, "RESOURCE": resource, "MB_FILE": "mb.mem"}
    report = run_bench("hwq_scale", params, beats(x, pe, x_w), beats(m * x + b, pe, y_w),
                       Timing("pipe", d=pipe), mems={"mb.mem": scale_rows(m, b, pe, m_w, b_w, resource)})
    assert report.latency_cycles == cf - 1 + pipe


@pytest.mark.sim
@pytest.mark.parametrize("pe, cf, x_w, signed, m_w, shift, b_w, y_lo, y_hi, resource", [
    (1, 1, 1, False, 2, 0, 1, 0, 1, 1),
    (3, 5, 9, True, 5, 6, 12, -8, 7, 1),
    (2, 1, 12, True, 7, 12, 18, 0, 31, 1),
    (2, 4, 8, False, 4, 5, 9, -3, 5, 1),
    (1, 3, 6, True, 4, 14, 8, -2, 1, 1),      # shifted by more than it has bits
    (2, 3, 10, True, 8, 9, 14, -100, 90, 2),
])
def test_requant_scales_shifts_and_clips(pe, cf, x_w, signed, m_w, shift, b_w, y_lo, y_hi, resource):
    x, m, b = affine(pe, cf, x_w, signed, m_w, b_w)
    y = np.clip((x * m + b) >> shift, y_lo, y_hi)
    pipe = requant_pipe(x_w, m_w, b_w, resource, 100.0)
    y_w = max(y_hi.bit_length(), (-y_lo - 1).bit_length() if y_lo < 0 else 0) + (y_lo < 0)
    params = {"PE": pe, "CF": cf, "X_W": x_w, "X_SIGNED": int(signed), "M_W": m_w, "SHIFT": shift, "B_W": b_w,
              "Y_W": y_w, "Y_LO": y_lo, "Y_HI": y_hi, "PIPE": pipe, "RESOURCE": resource, "MB_FILE": "mb.mem"}
    report = run_bench("hwq_requant", params, beats(x, pe, x_w), beats(y, pe, y_w), Timing("pipe", d=pipe),
                       mems={"mb.mem": requant_rows(m, b, pe, m_w, b_w, resource)})
    assert report.latency_cycles == cf - 1 + pipe


@pytest.mark.sim
@pytest.mark.parametrize("pe, cf, x_w, signed, base, entries, y_w, style, pipe", [
    (1, 1, 1, False, 0, 1, 1, 0, 1),
    (3, 2, 6, True, -13, 21, 5, 1, 1),
    (1, 5, 8, False, 3, 200, 7, 2, 2),
    (2, 1, 4, True, -8, 16, 3, 0, 3),
])
def test_table_looks_up_x_minus_base(pe, cf, x_w, signed, base, entries, y_w, style, pipe):
    rng = np.random.default_rng(5)
    table = rng.integers(0, 1 << y_w, (pe * cf, entries))
    x = draw(rng, base, base + entries - 1, (FRAMES, pe * cf))
    params = {"PE": pe, "CF": cf, "X_W": x_w, "X_SIGNED": int(signed), "BASE": base, "ENTRIES": entries,
              "Y_W": y_w, "STYLE": style, "PIPE": pipe, "INIT_FILE": "t.mem"}
    run_bench("hwq_table", params, beats(x, pe, x_w), beats(table[np.arange(pe * cf), x - base], pe, y_w),
              Timing("pipe", d=pipe), mems={"t.mem": table_rows(table, base, pe, y_w)})


def argmax_bench(lanes, cf, x_w, signed, pipe, values, expected=None):
    y_w = max(1, (lanes * cf - 1).bit_length())
    index = np.argmax(values, axis=1) if expected is None else expected
    params = {"LANES": lanes, "CF": cf, "X_W": x_w, "X_SIGNED": int(signed), "Y_W": y_w, "PIPE": pipe}
    return run_bench("hwq_argmax", params, beats(values, lanes, x_w), beats(index[:, None], 1, y_w),
                     Timing("reduce", d=pipe, n=cf))


@pytest.mark.sim
@pytest.mark.parametrize("lanes, cf, x_w, signed, pipe", [
    (1, 1, 1, False, 2), (1, 10, 5, True, 2), (1, 3, 6, False, 3), (10, 1, 4, True, None), (5, 3, 3, True, 3),
    (5, 2, 2, False, None), (2, 5, 8, True, 2), (7, 1, 1, False, 4), (16, 4, 9, True, 5),
])
def test_argmax_is_the_lowest_index_of_the_largest_value(lanes, cf, x_w, signed, pipe):
    rng = np.random.default_rng(lanes * 100 + cf)
    values = draw(rng, *span(x_w, signed), (10, lanes * cf))   # small ranges and range ends give many ties
    pipe = pipe or argmax_pipe(lanes, x_w, cf, 100.0)
    report = argmax_bench(lanes, cf, x_w, signed, pipe, values)
    assert report.ii_cycles == cf
    assert report.latency_cycles == cf - 1 + pipe


@pytest.mark.sim
def test_argmax_bench_sees_the_highest_index_on_a_tie():
    with pytest.raises(MismatchError, match="expected"):
        argmax_bench(2, 2, 3, True, 2, np.ones((3, 4), dtype=np.int64), expected=np.full(3, 3))


@given(st.integers(1, 20).flatmap(lambda w: st.tuples(st.just(w), st.integers(*span(w, True)))))
@settings(max_examples=200)
def test_signed_digits_sum_to_the_number_and_are_few(case):
    bits, m = case
    digits = signed_digits(np.array([m]), bits)[0]
    assert sum(int(d) << (2 * i) for i, d in enumerate(digits)) == m
    assert np.all(np.abs(digits) <= 2)
    assert np.count_nonzero(digits) <= bits // 2 + 1


def test_a_multiplier_that_does_not_fit_is_refused():
    with pytest.raises(EmitError, match="do not fit 4 bits"):
        signed_digits(np.array([3, 99]), 4)
