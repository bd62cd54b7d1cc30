"""What the reader makes of operators on images, against onnxruntime on numbers that floats hold exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from hwq.errors import ModelError, UnsupportedOp
from hwq.frontend import read_qonnx
from hwq.golden import reference
from tests.conv_nets import ImageNet, conv, deconv, pool
from tests.qonnx_nets import Dice, Net


def runtime(net: Net, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(net.bytes(), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"x": frame[None]})[0] for frame in x])


def assert_read_right(net: Net, seed: int = 0) -> None:
    x = np.random.default_rng(seed).integers(-8, 9, (4, *net.shape)).astype(np.float32)
    want = runtime(net, x)
    graph = read_qonnx(net.bytes())
    got = reference(graph, [x])[graph.outputs[0]].floats()
    assert (len(x), *graph.tensor(graph.outputs[0]).shape) == want.shape
    np.testing.assert_array_equal(got.astype(np.float32), want.reshape(len(x), -1))


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_convolutions_and_pooling_mean_what_onnx_says(data: st.DataObject) -> None:
    dice = Dice(data.draw)
    c, h, w = data.draw(st.integers(1, 4)), data.draw(st.integers(2, 6)), data.draw(st.integers(2, 6))
    net = ImageNet(dice.pick((c, h, w), (c, h, w), (c, w)))
    net.plain = True
    made: Callable[[ImageNet, Dice], Any] = dice.pick(conv, conv, deconv, pool)
    made(net, dice)
    if net.nodes:
        assert_read_right(net)


RESIZES = [("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil")]


@pytest.mark.parametrize(("how", "rounding"), RESIZES)
@pytest.mark.parametrize("by_size", [False, True])
def test_nearest_resizing_means_what_onnx_says(how: str, rounding: str, by_size: bool) -> None:
    net = Net((2, 3, 4))
    consts = ("", "", net.const([1, 2, 6, 12], np.int64)) if by_size else ("", net.const([1, 1, 2, 3]))
    net.then("Resize", *consts, mode="nearest", coordinate_transformation_mode=how, nearest_mode=rounding)
    assert_read_right(net)


@pytest.mark.parametrize(
    "build",
    [
        lambda n: n.then("DepthToSpace", blocksize=2, mode="DCR"),
        lambda n: n.then("DepthToSpace", blocksize=2, mode="CRD"),
        lambda n: n.then("GlobalAveragePool"),
        lambda n: n.then("GlobalMaxPool"),
        lambda n: n.then("ReduceMean", axes=[2, 3], keepdims=0),
        lambda n: n.then("ReduceMean", axes=[-1, -2], keepdims=1),
        lambda n: n.then("ReduceSum", n.const([2, 3], np.int64), keepdims=0),
        lambda n: n.then("Pad", n.const([0, 0, 1, 2, 0, 0, 0, 3], np.int64)),
        lambda n: n.then("Pad", n.const([0, 0, 1, 2, 0, 0, 0, 3], np.int64), n.const(2.0)),
        lambda n: n.then("Transpose", perm=[0, 2, 3, 1]),
        lambda n: n.then("Flatten"),
        lambda n: setattr(n, "x", n.add("Concat", n.x, n.add("Neg", n.x), axis=1)),
        lambda n: setattr(n, "x", n.add("Concat", n.x, n.add("Neg", n.x), axis=-1)),
        lambda n: (n.then("ArgMax", axis=1, keepdims=0), setattr(n, "output_type", TensorProto.INT64)),
        lambda n: n.then("Mul", n.const(np.arange(1, 9).reshape(1, 8, 1, 1))),
        lambda n: n.then("Add", n.const(np.arange(1, 5))),
        lambda n: n.then("Add", n.const(np.arange(8 * 16).reshape(8, 4, 4))),
    ],
)
def test_what_moves_pixels_means_what_onnx_says(build: Callable[[Net], Any]) -> None:
    net = Net((8, 4, 4))
    build(net)
    assert_read_right(net)


def conv_with(**attrs: Any) -> Net:
    net = ImageNet((4, 5, 5))
    net.plain = True
    net.then("Conv", net.const(np.ones((4, 4, 3, 3))), **attrs)
    return net


def ops(*steps: tuple[str, dict[str, Any]], shape: tuple[int, ...] = (4, 5, 5)) -> Net:
    net = Net(shape)
    for op, attrs in steps:
        net.then(op, **attrs)
    return net


def resized(mode: str, scales: list[float], how: str = "asymmetric") -> Net:
    net = Net((4, 5, 5))
    net.then("Resize", "", net.const(scales), mode=mode, coordinate_transformation_mode=how)
    return net


def padded(mode: str, pads: list[int]) -> Net:
    net = Net((4, 5, 5))
    net.then("Pad", net.const(pads, np.int64), mode=mode)
    return net


REFUSED = [
    (conv_with(group=3), "in 3 groups on 4 channels"),
    (conv_with(pads=[1, 1]), "two numbers an axis"),
    (conv_with(dilations=[4, 4]), "leave no pixel"),
    (conv_with(auto_pad="SAME"), "auto_pad=SAME is not one of"),
    (ops(("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1})), "divisor of its own"),
    (ops(("AveragePool", {"kernel_shape": [2, 2], "pads": [1, 1, 1, 1]})), "use count_include_pad=1 or no padding"),
    (ops(("MaxPool", {"kernel_shape": [2, 2], "pads": [2, 2, 2, 2]})), "a window without a pixel"),
    (ops(("ReduceMean", {"axes": [1]})), "only all spatial axes"),
    (ops(("GlobalAveragePool", {}), shape=(4, 2, 2, 2)), "volumes are not supported"),
    (ops(("Transpose", {"perm": [1, 0, 2, 3]})), "the leading batch axis must stay where it is"),
    (ops(("DepthToSpace", {"blocksize": 3})), "blocks of 3x3"),
    (resized("linear", [1, 1, 2, 2]), "mode=linear; only nearest"),
    (resized("nearest", [1, 1, 1.5, 2]), "only whole factors"),
    (resized("nearest", [1, 1, 3, 3]), "use asymmetric and floor"),
    *((padded(m, [0, 0, 1, 1, 0, 0, 1, 1]), f"mode={m}; only constant padding") for m in ("reflect", "edge", "wrap")),
    (padded("constant", [0, 1, 0, 0, 0, 0, 0, 0]), "only the spatial axes"),
]


@pytest.mark.parametrize(("net", "fact"), REFUSED, ids=[fact for _, fact in REFUSED])
def test_what_is_not_supported_is_refused_with_node_fact_and_way_out(net: Net, fact: str) -> None:
    with pytest.raises((UnsupportedOp, ModelError)) as e:
        read_qonnx(net.bytes())
    assert fact in str(e.value) and net.nodes[-1].name in str(e.value)


def test_a_weight_scale_per_input_channel_of_a_convolution_is_refused() -> None:
    net = ImageNet((2, 4, 4))
    scale = np.array([0.5, 0.25]).reshape(1, 2, 1, 1)
    net.then("Conv", net.quant(net.const(np.ones((3, 2, 2, 2))), scale, bits=3))
    with pytest.raises(UnsupportedOp, match="use one per tensor or per output channel"):
        read_qonnx(net.bytes())


def test_weights_of_a_convolution_that_share_no_grid_are_refused() -> None:
    net = ImageNet((2, 4, 4))
    net.then("Conv", net.const(np.random.default_rng(0).normal(size=(3, 2, 2, 2))))
    with pytest.raises(ModelError, match="put a Quant or BipolarQuant on it"):
        read_qonnx(net.bytes())


def test_one_scale_per_output_channel_of_a_transposed_convolution_goes_along_its_groups() -> None:
    net = ImageNet((4, 3, 3))
    dice_scale = np.array([0.5, 0.25]).reshape(1, 2, 1, 1)
    w = np.random.default_rng(0).integers(-3, 4, (4, 2, 2, 2))
    net.then("ConvTranspose", net.quant(net.const(w * dice_scale), dice_scale, bits=3), group=2, strides=[2, 2])
    plain = ImageNet((4, 3, 3))
    plain.then("ConvTranspose", plain.const(w * dice_scale), group=2, strides=[2, 2])
    x = np.random.default_rng(1).integers(-8, 9, (3, 4, 3, 3)).astype(np.float32)
    graph = read_qonnx(net.bytes())
    got = reference(graph, [x])[graph.outputs[0]].floats()
    np.testing.assert_array_equal(got, runtime(plain, x).reshape(3, -1))
