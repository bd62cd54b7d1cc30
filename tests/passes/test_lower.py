"""The integer graph equals the exact reference on random networks."""

from __future__ import annotations

import hypothesis
import numpy as np
from hypothesis import HealthCheck, given, settings

from hwq.errors import UnsupportedOp
from tests.agreement import assert_int_graph_is_exact
from tests.qonnx_nets import Net, dense_nets

EXPECTED = ("smallest common integer multipliers", "irrational", "feeds a second")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(dense_nets())
def test_random_networks_lower_to_exactly_the_reference(case: tuple[Net, np.ndarray]) -> None:
    net, x = case
    try:
        assert_int_graph_is_exact(net.bytes(), x)
    except UnsupportedOp as e:
        hypothesis.event(f"refused: {str(e).splitlines()[-1][:60]}")
        assert any(word in str(e) for word in EXPECTED), e
