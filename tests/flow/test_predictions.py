"""Classes and accuracy from the integers that come out: of frames and of pixels."""

from __future__ import annotations

import numpy as np
import pytest

from hwq.flow.frames import accuracy, predictions
from hwq.frontend import read_qonnx
from hwq.ir.graph import Graph
from hwq.passes import lower
from tests.conv_nets import ImageNet


def pixels(head: str) -> Graph:
    net = ImageNet((3, 2, 4))
    net.x = net.quant(net.x, 0.5, bits=4)
    net.then("Conv", net.quant(net.const(np.eye(3)[:, :, None, None]), 0.5, bits=3, narrow=1))
    if head == "argmax":
        net.then("ArgMax", axis=1, keepdims=1)
        net.output_type = 7
    return lower(read_qonnx(net.bytes()))


@pytest.mark.parametrize("head", ["argmax", "logits"])
def test_a_class_for_every_pixel(head: str) -> None:
    graph = pixels(head)
    rng = np.random.default_rng(1)
    t = graph.tensor(graph.outputs[0])
    outputs = rng.integers(min(t.lo), max(t.hi) + 1, (5, *t.shape))
    classes = outputs[..., 0] if head == "argmax" else np.argmax(outputs, axis=-1)
    found = predictions(graph, outputs.reshape(5, -1))
    assert found is not None and found.shape == (5, 2, 4)
    assert np.array_equal(found, classes)
    labels = classes.copy()
    labels[0] = (labels[0] + 1) % 3
    assert accuracy(graph, outputs, labels) == 80.0
    assert accuracy(graph, outputs, labels[:, 0, 0]) is None
    assert accuracy(graph, outputs, None) is None
