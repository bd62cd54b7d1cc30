"""Every operator end to end (QONNX, reader, lowering, integer execution) against torch in float64: equal, no ties."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwq.frontend import read_qonnx
from hwq.golden import as_decided, decisions, execute, host_quantize
from hwq.ir.graph import Graph
from hwq.passes import lower
from tests.operators import OPERATORS, Both, network


def reals(graph: Graph, tensor: str, y: np.ndarray) -> np.ndarray:
    """Integers [N, *shape] as the real numbers they mean."""
    meaning = graph.tensor(tensor).real
    assert meaning is not None
    scale, offset = (np.array([float(v) for v in p]) for p in (meaning.scale, meaning.offset))
    return y * scale + offset


def assert_equals_torch(both: Both) -> Graph:
    real = read_qonnx(both.net.bytes())
    graph = lower(real)
    got = execute(graph, host_quantize(graph, [both.x]), keep="all")
    found = decisions(real, graph)
    assert set(found) <= set(both.levels)
    for name, tensor in found.items():
        values = as_decided(real, graph, name, tensor, reals(graph, tensor, got[tensor]))
        np.testing.assert_array_equal(values, both.levels[name].flatten(1).numpy(), err_msg=name)
    end = graph.outputs[0]
    values = graph.as_onnx(end, reals(graph, end, got[end]))
    np.testing.assert_array_equal(values, both.t.flatten(1).numpy(), err_msg="output")
    return graph


@pytest.mark.parametrize("operator", OPERATORS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(r=st.randoms(use_true_random=False))
def test_an_operator_equals_torch(operator: str, r: Random) -> None:
    assert_equals_torch(network(operator, r))
