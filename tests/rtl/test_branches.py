"""hwq_fork, hwq_join, hwq_concat and hwq_add: beats, order, sums and cycles."""

import random

import numpy as np
import pytest
from hwq_sim.harness.module import run_bench
from hwq_sim.harness.ports import run_ports
from hypothesis import given
from hypothesis import strategies as st

from hwq.bits import encode
from hwq.dtype import smallest
from hwq.errors import EmitError, MismatchError
from hwq.hw.add import AddForm, add_form, add_pipe, add_rows
from hwq.hw.schedule import Timing

FRAMES = 6


def words(count, width, seed=3):
    rng = random.Random(seed)
    return [rng.getrandbits(width) for _ in range(count)]


@pytest.mark.sim
@pytest.mark.parametrize("width", [1, 13])
def test_fork_moves_all_three_streams_in_one_cycle(width):
    x = words(40, width)
    run_ports("hwq_fork", {"DATA_W": width}, {"s_axis": x}, {"m0_axis": x, "m1_axis": x}, Timing("wire"), hold=True)


@pytest.mark.sim
def test_fork_needs_consumers_that_keep_tready():
    x = words(40, 5)
    with pytest.raises(MismatchError, match="valid_holds"):
        run_ports("hwq_fork", {"DATA_W": 5}, {"s_axis": x}, {"m0_axis": x, "m1_axis": x}, Timing("wire"))


@pytest.mark.sim
@pytest.mark.parametrize("w0, w1", [(1, 1), (5, 12)])
def test_join_moves_all_three_streams_in_one_cycle(w0, w1):
    x0, x1 = words(40, w0), words(40, w1, seed=4)
    y = [a | b << w0 for a, b in zip(x0, x1, strict=True)]
    run_ports("hwq_join", {"S0_W": w0, "S1_W": w1}, {"s0_axis": x0, "s1_axis": x1}, {"m_axis": y}, Timing("wire"))


@pytest.mark.sim
@pytest.mark.parametrize("a, b", [(1, 1), (2, 3), (12, 1)])
def test_concat_takes_the_beats_of_each_pixel_in_turn(a, b):
    pixels = 9
    x0, x1 = words(a * pixels, 6), words(b * pixels, 6, seed=4)
    y = [v for p in range(pixels) for v in (*x0[a * p:a * p + a], *x1[b * p:b * p + b])]
    seen = run_ports("hwq_concat", {"DATA_W": 6, "A": a, "B": b}, {"s0_axis": x0, "s1_axis": x1}, {"m_axis": y},
                     Timing("concat", n=a, m=b))
    assert seen["none"].cycles["m_axis"] == list(range(1, 1 + (a + b) * pixels))


def beats(values, lanes, bits):
    codes = encode(values, bits).reshape(len(values), -1, lanes)
    return [[sum(int(v) << (i * bits) for i, v in enumerate(beat)) for beat in frame] for frame in codes]


def span(bits, signed):
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


@pytest.mark.sim
@pytest.mark.parametrize("pe, cf, x0, x1, m0, m1, b, pipe", [
    (2, 3, (4, True), (4, True), "unit", "unit", "none", None),        # a plain residual addition
    (3, 2, (4, False), (6, True), "unit", "unit", "some", 2),
    (2, 4, (4, True), (5, False), "random", "random", "some", None),
    (1, 5, (3, False), (8, True), "unit", "random", "none", 3),
    (2, 1, (5, True), (5, True), "same", "same", "some", 1),
    (2, 2, (4, True), (4, True), "four", "zero", "none", 4),
])
def test_add_is_a_weighted_sum_of_every_channel(pe, cf, x0, x1, m0, m1, b, pipe):
    rng = np.random.default_rng(5)
    c = pe * cf
    draw = {"unit": lambda: np.ones(c, int), "random": lambda: rng.integers(-40, 100, c), "four": lambda: np.full(c, 4),
            "same": lambda: np.full(c, 23), "zero": lambda: np.zeros(c, int)}
    m = draw[m0](), draw[m1]()
    bias = np.zeros(c, int) if b == "none" else rng.integers(-200, 200, c)
    x = [rng.integers(span(*k)[0], span(*k)[1] + 1, (FRAMES, c)) for k in (x0, x1)]
    for i, k in enumerate((x0, x1)):
        x[i][0], x[i][1] = span(*k)
    y = m[0] * x[0] + m[1] * x[1] + bias
    form = add_form(m, bias)
    low, high = (sum(np.minimum(mi * lo, mi * hi) if f is min else np.maximum(mi * lo, mi * hi)
                     for mi, (lo, hi) in zip(m, (span(*x0), span(*x1)), strict=True)) + bias for f in (min, max))
    y_w = smallest(int(low.min()), int(high.max())).bits
    pipe = pipe or add_pipe(form, y_w, 100.0)
    joined = [[lo | hi << (pe * x0[0]) for lo, hi in zip(f0, f1, strict=True)]
              for f0, f1 in zip(beats(x[0], pe, x0[0]), beats(x[1], pe, x1[0]), strict=True)]
    params = {"PE": pe, "CF": cf, "X0_W": x0[0], "X0_SIGNED": int(x0[1]), "X1_W": x1[0], "X1_SIGNED": int(x1[1]),
              "USE0": form.use[0], "USE1": form.use[1], "B_W": form.b_bits, "Y_W": y_w, "PIPE": pipe,
              "MB_FILE": "mb.mem"}
    report = run_bench("hwq_add", params, joined, beats(y, pe, y_w), Timing("pipe", d=pipe),
                       mems={"mb.mem": add_rows(form, m, bias, pe)})
    assert report.latency_cycles == cf - 1 + pipe


def test_multipliers_of_one_and_no_bias_store_nothing():
    ones = np.ones(8, dtype=np.int64)
    form = add_form((ones, ones), 0 * ones)
    assert (form, form.terms) == (AddForm((0, 0), 0), 2)
    assert add_rows(form, (ones, ones), 0 * ones, 4) == ""


def test_digits_that_no_channel_needs_are_not_stored():
    ones = np.ones(4, dtype=np.int64)
    assert add_form((16 * ones, ones), 0 * ones) == AddForm((4, 0), 0)


def test_a_form_of_other_numbers_is_refused():
    ones = np.ones(4, dtype=np.int64)
    with pytest.raises(EmitError, match="is not that of its multipliers"):
        add_rows(AddForm((0, 0), 0), (3 * ones, ones), ones, 2)


CHANNELS = st.tuples(st.integers(-300, 300), st.integers(-300, 300), st.integers(-999, 999))


@given(st.lists(CHANNELS, min_size=1, max_size=6))
def test_a_form_holds_any_multipliers(channels):
    m0, m1, b = np.array(channels).T
    form = add_form((m0, m1), b)
    assert len(add_rows(form, (m0, m1), b, 1).split()) in (0, len(channels))
