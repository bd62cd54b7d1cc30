"""The oracle of the lowering: the int graph, run by the golden executor, against the exact reference, value
by value.
"""

from __future__ import annotations

import numpy as np

from hwq.frontend import read_qonnx
from hwq.golden import Cells, decisions, execute, host_quantize, reference
from hwq.ir.graph import Graph
from hwq.passes import lower


def assert_int_graph_is_exact(model: bytes, x: np.ndarray) -> Graph:
    """Every quantizer and output of the int graph equals the reference, integer for integer; returns the int
    graph.
    """
    real = read_qonnx(model)
    lowered = lower(real)
    want = reference(real, [x])
    got = execute(lowered, host_quantize(lowered, [x]), keep="all")
    for name, tensor in decisions(real, lowered).items():
        meaning = lowered.tensor(tensor).real
        if tensor in lowered.outputs or meaning is None:
            continue  # checked below, with the annotation of the output
        same(lowered, tensor, got[tensor], want[name])
    for name, tensor in zip(real.outputs, lowered.outputs, strict=True):
        assert lowered.tensor(tensor).real is not None
        same(lowered, tensor, got[tensor], want[name])
    return lowered


def same(lowered: Graph, tensor: str, got: np.ndarray, want: Cells) -> None:
    """The integers of one tensor, in the order of ONNX."""
    t = lowered.tensor(tensor)
    channel = np.broadcast_to(np.arange(t.channels), (1, *t.shape))
    assert t.real is not None
    expected = want.integers(t.real, lowered.as_onnx(tensor, channel)[0])
    np.testing.assert_array_equal(lowered.as_onnx(tensor, got), expected, err_msg=tensor)
