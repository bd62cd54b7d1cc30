"""The oracle of the lowering: the int graph, run by the golden executor, against the exact reference, value
by value.
"""

from __future__ import annotations

import numpy as np

from hwq.frontend import read_qonnx
from hwq.golden import as_decided, decisions, execute, host_quantize, reference
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
        channel = as_decided(real, lowered, name, tensor, channels(lowered, tensor))
        expected = want[name].integers(meaning, channel[0])
        np.testing.assert_array_equal(as_decided(real, lowered, name, tensor, got[tensor]), expected, err_msg=name)
    for name, tensor in zip(real.outputs, lowered.outputs, strict=True):
        meaning = lowered.tensor(tensor).real
        assert meaning is not None
        expected = want[name].integers(meaning, lowered.as_onnx(tensor, channels(lowered, tensor))[0])
        np.testing.assert_array_equal(lowered.as_onnx(tensor, got[tensor]), expected, err_msg=name)
    return lowered


def channels(graph: Graph, tensor: str) -> np.ndarray:
    """The channel of every value, [1, *shape]."""
    t = graph.tensor(tensor)
    return np.broadcast_to(np.arange(t.channels), (1, *t.shape))
