"""Networks on images: the integer graph equals the exact reference, integer for integer."""

from __future__ import annotations

from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from onnx import TensorProto

from hwq.errors import ModelError, UnsupportedOp
from hwq.frontend import read_qonnx
from hwq.ir import ops
from hwq.ir.graph import Graph
from hwq.passes import lower
from hwq.passes.sums import narrowed
from tests.agreement import assert_int_graph_is_exact
from tests.conv_nets import ImageNet, conv_nets
from tests.qonnx_nets import Net

EXPECTED = (
    "smallest common integer",
    "an irrational factor",
    "it pads with",
    "rises and falls",
    "flattens values",
    "not followed by a quantizer",
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(conv_nets())
def test_random_networks_on_images_lower_to_exactly_the_reference(case: tuple[Net, np.ndarray]) -> None:
    net, x = case
    try:
        assert_int_graph_is_exact(net.bytes(), x)
    except UnsupportedOp as e:
        hypothesis.event(f"refused: {str(e).splitlines()[-1][-60:]}")
        assert any(word in str(e) for word in EXPECTED), e
    else:
        hypothesis.event("exact")


def quantized(net: ImageNet, bits: int = 4, scale: float = 0.25, **kw: Any) -> None:
    net.x = net.quant(net.x, scale, bits=bits, **kw)


def convolve(net: ImageNet, m: int, k: int = 3, scale: float = 0.5, **attrs: Any) -> None:
    rng = np.random.default_rng(m * 10 + k)
    w = net.quant(net.const(rng.normal(0, 1, (m, net.n, k, k))), scale, bits=3, narrow=1)
    net.then("Conv", w, **attrs)
    net.n = m


def frames(net: Net, n: int = 6) -> np.ndarray:
    return np.random.default_rng(7).normal(0, 1.5, (n, *net.shape)).astype(np.float32)


def kinds(graph: Graph) -> list[str]:
    return [type(n.op).__name__ for n in graph.nodes]


def test_a_network_becomes_windows_matrix_products_and_pools() -> None:
    net = ImageNet((2, 8, 8))
    quantized(net)
    convolve(net, 4, pads=[1, 1, 1, 1])
    quantized(net, 3)
    net.then("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    convolve(net, 3, 1)
    quantized(net, 3)
    net.then("GlobalAveragePool")
    net.then("Flatten")
    net.then("Gemm", net.const(np.arange(6).reshape(2, 3) - 2), transB=1)
    graph = assert_int_graph_is_exact(net.bytes(), frames(net))
    assert kinds(graph) == ["Window", "MatVec", "Step", "Window", "Pool", "MatVec", "Step", "Total", "MatVec"]
    assert [graph.tensor(n.outputs[0]).shape for n in graph.nodes[:5]] == [
        (8, 8, 18),
        (8, 8, 4),
        (8, 8, 4),
        (4, 4, 16),
        (4, 4, 4),
    ]
    assert graph.nodes[0].op == ops.Window((3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 0)
    assert graph.layouts[graph.inputs[0]].shape == (2, 8, 8)


def test_padding_before_a_convolution_is_taken_over_by_its_window() -> None:
    net = ImageNet((2, 5, 5))
    quantized(net)
    net.then("Pad", net.const([0, 0, 1, 0, 0, 0, 0, 2], np.int64))
    convolve(net, 3, pads=[0, 1, 1, 0])
    graph = assert_int_graph_is_exact(net.bytes(), frames(net))
    assert kinds(graph) == ["Window", "MatVec"]
    assert graph.nodes[0].op.pad == (1, 1, 1, 2)


def test_zero_between_the_integers_of_a_bipolar_input_is_put_on_a_grid_and_said() -> None:
    net = ImageNet((2, 5, 5))
    net.x = net.bipolar(net.x)
    convolve(net, 3, pads=[1, 1, 1, 1])
    graph = assert_int_graph_is_exact(net.bytes(), frames(net))
    assert kinds(graph) == ["Combine", "Window", "MatVec"]
    assert (min(graph.tensor("conv0_win").lo), max(graph.tensor("conv0_win").hi)) == (-1, 1)
    assert any("lies between the integers" in note and "2 bits" in note for note in graph.notes)


def test_an_offset_that_padding_cannot_represent_is_refused_with_layer_offset_and_way_out() -> None:
    net = ImageNet((2, 5, 5))
    quantized(net, scale=0.37)
    net.then("Add", net.const(0.1))
    convolve(net, 3, pads=[1, 1, 1, 1])
    with pytest.raises(UnsupportedOp) as e:
        lower(read_qonnx(net.bytes()))
    for part in ("layer 'conv0'", "offset 0.1 on a scale of 0.37", "use a quantizer", "or no padding"):
        assert part in str(e.value)


def residual(scales: tuple[float, float], after: float | None = 0.5) -> Graph:
    net = ImageNet((2, 4, 4))
    quantized(net)
    start = net.x
    ends = []
    for scale in scales:
        net.x, net.n = start, 2
        convolve(net, 3, 1)
        quantized(net, 4, scale)
        ends.append(net.x)
    net.x = net.add("Add", *ends)
    if after:
        quantized(net, 4, after, signed=0)
    return assert_int_graph_is_exact(net.bytes(), frames(net, 20))


def multipliers(graph: Graph) -> list[int]:
    node = next(n for n in graph.nodes if isinstance(n.op, ops.Combine))
    return [int(graph.array(k)[0]) for k in node.op.mul]


def test_branches_of_one_scale_are_added_as_they_are() -> None:
    assert multipliers(residual((0.3, 0.3))) == [1, 1]


@pytest.mark.parametrize("scales", [(0.3, 0.41), (0.37, 0.1), (0.123, 0.456)])
def test_branches_of_learned_scales_meet_with_small_multipliers_proven_exact(scales: tuple[float, float]) -> None:
    graph = residual(scales)
    small, exact = multipliers(graph), multipliers(residual(scales, None))
    assert max(small) < 1 << 8 < 1 << 16 < max(exact)
    assert any("multipliers of up to" in note for note in graph.notes)


@pytest.mark.parametrize("seed", range(30))
def test_narrowed_multipliers_decide_as_the_exact_ones_for_every_value(seed: int) -> None:
    rng = np.random.default_rng(seed)
    terms = int(rng.integers(2, 4))
    m = [int(v) for v in rng.integers(1, 1 << 20, terms) * rng.choice([-1, 1], terms)]
    ranges = [(-int(rng.integers(0, 5)), int(rng.integers(1, 12))) for _ in range(terms)]
    axes = np.meshgrid(*(np.arange(lo, hi + 1) for lo, hi in ranges), indexing="ij")
    exact = sum(v * a for v, a in zip(m, axes, strict=True)).ravel()
    t = np.sort(rng.integers(exact.min() - 5, exact.max() + 5, 4)).astype(object)[None, :]
    one = [np.array([v], dtype=object) for v in m]
    found = narrowed(one, [tuple(np.array([v]) for v in r) for r in ranges], t)
    assert found is not None
    small, new = found
    assert max(abs(int(v[0])) for v in small) <= max(map(abs, m))
    acc = sum(int(v[0]) * a for v, a in zip(small, axes, strict=True)).ravel()
    np.testing.assert_array_equal(acc[:, None] >= new.astype(np.int64), exact[:, None] >= t.astype(np.int64))


def test_joined_inputs_of_learned_scales_are_convolved_apart_and_summed() -> None:
    net = ImageNet((2, 4, 4))
    quantized(net)
    start, ends = net.x, []
    for scale in (0.31, 0.077):
        net.x, net.n = start, 2
        convolve(net, 2, 1)
        quantized(net, 3, scale)
        ends.append(net.x)
    net.x, net.n = net.add("Concat", *ends, axis=1), 4
    convolve(net, 3, pads=[1, 1, 1, 1])
    quantized(net, 3, 0.5)
    graph = assert_int_graph_is_exact(net.bytes(), frames(net))
    assert "Concat" not in kinds(graph) and kinds(graph).count("MatVec") == 4
    assert max(n.op.code.bits for n in graph.nodes if isinstance(n.op, ops.MatVec)) == 3
    assert max(multipliers(graph)) < 1 << 12


def test_a_flattened_image_keeps_the_class_numbers_of_onnx() -> None:
    net = ImageNet((3, 2, 2))
    quantized(net)
    net.then("Flatten")
    net.then("ArgMax", axis=1)
    net.output_type = TensorProto.INT64
    assert_int_graph_is_exact(net.bytes(), frames(net, 40))


@pytest.mark.parametrize("between", [False, True])
def test_the_channel_order_of_a_pixel_shuffle_moves_into_the_weights_before_it(between: bool) -> None:
    net = ImageNet((2, 3, 3))
    quantized(net)
    convolve(net, 12, pads=[1, 1, 1, 1])
    if between:
        net.then("BatchNormalization", *(net.const(np.arange(12) % 5 + v) for v in (1, 0, 2, 1)))
        quantized(net, 3)
    net.then("DepthToSpace", blocksize=2, mode="CRD")
    quantized(net, 3)
    graph = assert_int_graph_is_exact(net.bytes(), frames(net))
    assert kinds(graph) == ["Window", "MatVec", *["Step"] * between, "DepthToSpace", "Step"]


def test_an_input_of_integers_stays_integers_and_comes_in_as_the_model_has_it() -> None:
    net = ImageNet((3, 5, 4))
    net.annotations["x"] = "UINT8"
    net.then("Mul", net.const(1 / 256))
    convolve(net, 2, pads=[0, 1, 1, 0])
    quantized(net, 4)
    x = np.random.default_rng(0).integers(0, 256, (5, 3, 5, 4))
    graph = assert_int_graph_is_exact(net.bytes(), x)
    assert graph.host == (None,) and graph.tensor("x").shape == (5, 4, 3) and kinds(graph)[0] == "Window"


def test_an_image_of_no_fixed_size_is_refused() -> None:
    net = ImageNet((3, 5, 4))
    convolve(net, 2)
    model = net.model()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    with pytest.raises(ModelError, match=r"axis 2 \('height'\) has no fixed size"):
        read_qonnx(model.SerializeToString())


def test_sums_of_sums_are_one_combine_of_all_their_terms() -> None:
    net = ImageNet((2, 3, 3))
    quantized(net)
    start, ends = net.x, []
    for scale in (0.3, 0.41, 0.27):
        net.x, net.n = start, 2
        convolve(net, 2, 1)
        quantized(net, 3, scale)
        ends.append(net.x)
    net.x = net.add("Add", net.add("Add", ends[0], ends[1]), ends[2])
    quantized(net, 4, 0.5)
    graph = assert_int_graph_is_exact(net.bytes(), frames(net, 20))
    assert [len(n.inputs) for n in graph.nodes if isinstance(n.op, ops.Combine)] == [3]


def test_two_outputs_one_of_them_an_image_come_with_their_layouts() -> None:
    net = ImageNet((2, 4, 4))
    quantized(net)
    convolve(net, 3)
    quantized(net, 3)
    image = net.x
    net.then("Flatten")
    net.then("Gemm", net.const(np.ones((2, 12))), transB=1)
    net.outputs = [image, net.x]
    graph = assert_int_graph_is_exact(net.bytes(), frames(net))
    assert graph.tensor(graph.outputs[0]).shape == (2, 2, 3)
    assert graph.layouts[graph.outputs[0]].shape == (3, 2, 2) and graph.outputs[1] not in graph.layouts


@pytest.mark.parametrize("after", ["Transpose", "Reshape"])
def test_images_cut_from_other_axes_are_refused(after: str) -> None:
    net = ImageNet((2, 4, 4))
    quantized(net)
    convolve(net, 2)
    quantized(net, 3)
    net.then("Transpose", perm=[0, 3, 1, 2]) if after == "Transpose" else net.then(
        "Reshape", net.const([1, 4, 2, 1], np.int64)
    )
    net.n = 2 if after == "Transpose" else 4
    convolve(net, 2, 1)
    with pytest.raises(UnsupportedOp, match="axes in another order"):
        lower(read_qonnx(net.bytes()))


def test_parameters_that_differ_from_pixel_to_pixel_are_refused_before_a_convolution() -> None:
    net = ImageNet((1, 4, 4))
    net.then("Sub", net.const(np.arange(16).reshape(1, 1, 4, 4)))
    quantized(net)
    convolve(net, 2)
    with pytest.raises(UnsupportedOp, match="differ from pixel to pixel; use one per channel"):
        lower(read_qonnx(net.bytes()))


def test_pooling_of_a_falling_function_turns_its_sign() -> None:
    net = ImageNet((2, 4, 4))
    quantized(net)
    convolve(net, 3)
    net.then("Mul", net.const(np.array([1.5, -0.5, -2]).reshape(3, 1, 1)))
    net.then("MaxPool", kernel_shape=[2, 2], pads=[1, 0, 0, 1])
    quantized(net, 4)
    graph = assert_int_graph_is_exact(net.bytes(), frames(net))
    assert kinds(graph) == ["Window", "MatVec", "Combine", "Window", "Pool", "Step"]
