"""Encodings: fitted on training data alone, exact in JSON, and never out of their range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hwq.data.encoding import Encoding, fit
from hwq.errors import DataError

CHAINS = (
    [{"kind": "minmax"}],
    [{"kind": "standard", "clip": 3.0}],
    [{"kind": "thermometer", "levels": 5}],
    [{"kind": "thermometer", "levels": 4, "mode": "uniform"}, {"kind": "bipolar"}],
    [{"kind": "onehot"}, {"kind": "bipolar"}],
    [{"kind": "minmax", "symmetric": True}, {"kind": "thermometer", "levels": 3}],
)

frames = arrays(
    np.float64,
    st.tuples(st.integers(2, 30), st.integers(1, 4)),
    elements=st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda v: round(v, 2)),
)


@settings(max_examples=40, deadline=None)
@given(x=frames, chain=st.sampled_from(CHAINS))
def test_an_encoding_read_back_from_json_is_equal_and_encodes_the_same(x, chain):
    e = fit(chain, x)
    again = Encoding.from_json(e.to_json())
    assert again == e
    out = e.apply(x)
    assert out.dtype == np.float32
    assert out.shape == (len(x), e.outputs)
    assert np.array_equal(again.apply(x), out)


@settings(max_examples=40, deadline=None)
@given(x=frames, other=frames, chain=st.sampled_from(CHAINS))
def test_frames_encode_the_same_whatever_they_are_encoded_with(x, other, chain):
    e = fit(chain, x)
    if other.shape[1] == x.shape[1]:
        together = e.apply(np.concatenate([x, other]))
        assert np.array_equal(together[: len(x)], e.apply(x))
        assert np.array_equal(together[len(x) :], e.apply(other))


@settings(max_examples=40, deadline=None)
@given(x=frames, levels=st.integers(1, 9), mode=st.sampled_from(["quantile", "uniform"]))
def test_a_thermometer_never_has_a_one_above_a_zero(x, levels, mode):
    bits = fit([{"kind": "thermometer", "levels": levels, "mode": mode}], x).apply(x)
    rows = bits.reshape(len(x), x.shape[1], levels)
    assert set(np.unique(rows)) <= {0.0, 1.0}
    assert (np.diff(rows, axis=2) <= 0).all()


def test_scale_maps_grey_levels_exactly_as_the_float_formula():
    x = np.arange(256, dtype=np.uint8).reshape(16, 4, 4)
    out = fit([{"kind": "scale", "hi": 255, "symmetric": True}], x).apply(x)
    assert np.array_equal(out.ravel(), (np.arange(256) / 255 * 2 - 1).astype(np.float32))


def test_binarize_has_exactly_the_asked_width_and_no_constant_bit():
    rng = np.random.default_rng(0)
    x = np.stack([rng.exponential(size=300), rng.integers(0, 4, 300), rng.integers(0, 2, 300)], axis=1)
    x[::2, 0] = 0.0  # half of the values equal: quantiles alone would leave bits unused
    e = fit([{"kind": "binarize", "width": 30}], x, categorical=(1,))
    out = e.apply(x)
    assert out.shape == (300, 30)
    assert (out.std(axis=0) > 0).all()
    assert (out[:, :4].sum(axis=1) == 1).all()


def test_a_code_the_training_data_lacks_sets_no_bit():
    e = fit([{"kind": "onehot", "min_count": 2}], np.array([[0.0], [0.0], [1.0], [1.0], [7.0]]))
    assert e.apply(np.array([[1.0], [7.0], [5.0]])).tolist() == [[0, 1], [0, 0], [0, 0]]


def test_values_beyond_the_training_range_are_clipped():
    e = fit([{"kind": "minmax"}], np.array([[0.0], [2.0]]))
    assert e.apply(np.array([[-5.0], [1.0], [9.0]])).ravel().tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("chain", "says"),
    [
        ([{"kind": "thermometr", "levels": 3}], "did you mean 'thermometer'?"),
        ([{"kind": "thermometer", "level": 3}], "did you mean 'levels'?"),
        ([{"kind": "thermometer"}], "'thermometer' needs 'levels'"),
        ([{"kind": "thermometer", "levels": 0}], "not a positive integer"),
        ([{"kind": "scale", "lo": 3, "hi": 1}], "hi = 1 is not above lo = 3"),
        ([{"kind": "binarize", "width": 100}], "at most 3"),
        ([{"kind": "bipolar"}], "needs 0/1 features"),
        ([{"kind": "scale", "hi": 1}], "outside lo..hi"),
    ],
)
def test_a_spec_that_makes_no_sense_says_what_is_wrong(chain, says):
    with pytest.raises(DataError, match=says.replace("?", r"\?").replace(".", r"\.")):
        fit(chain, np.array([[0.0], [1.0], [2.0], [5.0]]))


def test_frames_of_another_width_and_values_that_are_not_finite_are_refused():
    e = fit([{"kind": "minmax"}], np.eye(3))
    with pytest.raises(DataError, match=r"4 features .* fitted on 3"):
        e.apply(np.zeros((2, 4)))
    with pytest.raises(DataError, match="1 training values are NaN"):
        fit([{"kind": "minmax"}], np.array([[np.nan], [1.0]]))
    with pytest.raises(DataError, match="not an encoding file"):
        Encoding.from_json("{}")
