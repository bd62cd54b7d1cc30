"""What the reader accepts and refuses, and how it says so."""

from __future__ import annotations

import lzma
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from hwq.errors import ModelError, UnsupportedOp
from hwq.frontend import read_qonnx
from hwq.ir import ops
from hwq.ir.rational import fractions
from hwq.passes import lower
from tests.agreement import assert_int_graph_is_exact
from tests.qonnx_nets import DOMAIN, Net


def small(rows: int = 3, cols: int = 4) -> Net:
    """x -> Quant -> MatMul, to build on."""
    net = Net((cols,))
    net.x = net.quant(net.x, 0.5)
    rng = np.random.default_rng(0)
    w = net.quant(net.const(rng.normal(size=(cols, rows))), 0.25, narrow=1)
    net.then("MatMul", w)
    net.n = rows
    return net


def frames(n: int, count: int = 30) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 2, (count, n)).astype(np.float32)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ModelError, match=r"nowhere\.onnx: no such file"):
        read_qonnx("nowhere.onnx")


@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x08\x07\x12" + b"\xff" * 40])
def test_a_corrupt_file_is_not_an_onnx_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"bad\.onnx: not an ONNX file"):
        read_qonnx(path)


def test_a_truncated_xz_file_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx.xz"
    path.write_bytes(lzma.compress(small().bytes())[:-20])
    with pytest.raises(ModelError, match=r"the \.xz data is corrupt"):
        read_qonnx(path)


def test_an_xz_file_reads_like_the_plain_one(tmp_path: Path) -> None:
    raw = small().bytes()
    path = tmp_path / "tiny.onnx.xz"
    path.write_bytes(lzma.compress(raw))
    assert read_qonnx(path).name == "tiny"
    assert read_qonnx(path).nodes == read_qonnx(raw).nodes


def test_every_unsupported_operator_is_named_at_once_with_the_supported_list() -> None:
    net = small()
    net.then("Erf")
    net.x = net.quant(net.x, 1.0)
    net.then("Gelu")
    with pytest.raises(UnsupportedOp) as e:
        read_qonnx(net.bytes())
    text = str(e.value)
    assert "2 problems" in text and "(Erf): operator is not supported" in text and "(Gelu)" in text
    assert "supported operators: Abs, Add" in text and "MultiThreshold" in text


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_non_finite_weight_is_named_with_its_index(value: float) -> None:
    net = small()
    w = np.ones((3, 2), dtype=np.float32)
    w[1, 0] = value
    net.then("MatMul", net.quant(net.const(w), 0.5))
    with pytest.raises(ModelError, match=rf"tensor 'c\d+' holds {value} at index \(1, 0\)"):
        read_qonnx(net.bytes())


@pytest.mark.parametrize(
    ("kw", "message"),
    [
        ({"zero": 0.5}, "zero point 0.5 .* is off the integer grid"),
        ({"bits": 2.5}, "bit width 2.5 is off the grid"),
        ({"bits": 0}, "bit width 0 is off the grid"),
        ({"scale": 0.0}, "scale 0 .* must be positive"),
        ({"scale": [0.5, -1.0, 0.5]}, r"scale -1 \(index 1\) must be positive"),
        ({"rounding": "NEAREST"}, "rounding_mode 'NEAREST' is not one of ROUND"),
        ({"bits": 17}, "17-bit activations; at most 16"),
        ({"bits": 1, "signed": 0, "narrow": 1}, "leaves the single level 0"),
    ],
)
def test_a_quantizer_off_its_grid_is_refused(kw: dict, message: str) -> None:
    net = small()
    net.x = net.quant(net.x, **({"scale": 0.5} | kw))
    with pytest.raises(ModelError, match=message):
        read_qonnx(net.bytes())


def test_a_dynamic_axis_other_than_the_batch_is_refused() -> None:
    model = small().model()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "features"
    with pytest.raises(ModelError, match=r"axis 1 \('features'\) has no fixed size"):
        read_qonnx(model.SerializeToString())


def test_a_batch_fixed_in_the_graph_is_refused_with_input_shape_and_way_out() -> None:
    net = Net((2, 2))
    net.then("Reshape", net.const([32, 4], np.int64))
    net.x = net.quant(net.x, 0.5)
    model = net.model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 32
    with pytest.raises(ModelError) as e:
        read_qonnx(model.SerializeToString())
    assert str(e.value).splitlines() == [
        "model: 1 problem:",
        "  - input 'x' [32, 2, 2] holds 32 frames at once; export it with one (in Brevitas: export_qonnx with args of "
        "batch 1) or with a dynamic batch axis",
    ]


@pytest.mark.parametrize("size", [0, -1, 1])
def test_a_batch_axis_of_one_or_of_no_size_is_one_frame(size: int) -> None:
    model = small().model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = size
    assert read_qonnx(model.SerializeToString()).tensor("x").shape == (4,)


def test_a_dynamic_batch_axis_is_fine_even_through_shape_arithmetic() -> None:
    net = Net((2, 2))
    shape = net.add("Shape", "x")
    batch = net.add("Gather", shape, net.const(0, np.int64), axis=0)
    batch = net.add("Unsqueeze", batch, net.const([0], np.int64))
    target = net.add("Concat", batch, net.const([-1], np.int64), axis=0)
    net.then("Reshape", target)
    net.x = net.quant(net.x, 0.5)
    net.then("MatMul", net.quant(net.const(np.eye(4)), 1.0))
    model = net.model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    assert lower(read_qonnx(model.SerializeToString())).tensor("x").shape == (4,)


def test_a_weight_without_a_quantizer_or_grid_is_refused() -> None:
    net = small()
    net.x = net.quant(net.x, 0.5)
    net.then("MatMul", net.const(np.random.default_rng(0).normal(size=(3, 2))))
    with pytest.raises(ModelError, match="is not quantized: its values share no grid"):
        read_qonnx(net.bytes())


def test_plain_weights_on_a_grid_need_no_quantizer() -> None:
    net = small()
    net.x = net.quant(net.x, 0.5)
    net.then("MatMul", net.const(np.array([[1, -1], [0.5, 0], [-1.5, 1]])))
    graph = assert_int_graph_is_exact(net.bytes(), frames(4))
    last = [n for n in graph.nodes if isinstance(n.op, ops.MatVec)][-1]
    assert graph.array(last.op.weight).tolist() == [[2, 1, -3], [-2, 0, 2]]


def test_a_float_input_into_a_matrix_is_refused_with_the_way_out() -> None:
    net = Net((4,))
    net.then("MatMul", net.quant(net.const(np.ones((4, 2))), 1.0))
    with pytest.raises(UnsupportedOp, match="put a Quant after the input, or annotate"):
        lower(read_qonnx(net.bytes()))


def test_an_activation_without_a_quantizer_before_a_matrix_is_refused() -> None:
    net = small()
    net.then("Relu")
    net.then("MatMul", net.quant(net.const(np.ones((3, 2))), 1.0))
    with pytest.raises(UnsupportedOp, match="not followed by a quantizer; put a quantizer right before this node"):
        lower(read_qonnx(net.bytes()))


def test_an_integer_input_is_quantized_in_hardware() -> None:
    net = small()
    net.annotations["x"] = "INT8"
    x = np.random.default_rng(2).integers(-128, 128, (50, 4))
    graph = assert_int_graph_is_exact(net.bytes(), x)
    assert graph.host == (None,) and isinstance(graph.nodes[0].op, ops.Step)
    assert (graph.tensor("x").lo, graph.tensor("x").hi) == ((-128,), (127,))


def test_a_bipolar_input_is_one_bit() -> None:
    net = Net((4,))
    net.then("MatMul", net.const(np.array([[1, -1], [-1, -1], [1, 1], [1, -1]])))
    net.annotations["x"] = "BIPOLAR"
    x = np.random.default_rng(2).choice([-1.0, 1.0], (20, 4))
    graph = assert_int_graph_is_exact(net.bytes(), x)
    assert graph.nodes[0].op.xnor and graph.tensor("x").hi == (1,)


def test_annotated_integer_weights_keep_their_type() -> None:
    net = small()
    net.x = net.bipolar(net.x)
    name = net.const(np.array([[1, -1], [1, 1], [-1, 1]]))
    net.annotations[name] = "BIPOLAR"
    net.then("MatMul", name)
    graph = assert_int_graph_is_exact(net.bytes(), frames(4))
    assert graph.nodes[-1].op.code == ops.Bipolar() and graph.nodes[-1].op.xnor


def test_weights_off_their_annotated_grid_are_refused() -> None:
    net = small()
    net.x = net.bipolar(net.x)
    name = net.const(np.array([[1, -1], [1, 3], [-1, 1]]))
    net.annotations[name] = "INT2"
    net.then("MatMul", name)
    with pytest.raises(ModelError, match=r"annotated INT2 but holds values off that grid"):
        read_qonnx(net.bytes())


def test_weight_scales_per_column_move_to_the_input() -> None:
    net = small()
    net.x = net.quant(net.x, 0.5)
    net.then("MatMul", net.quant(net.const(np.random.default_rng(0).normal(size=(3, 2))), [[0.25], [0.5], [0.75]]))
    graph = assert_int_graph_is_exact(net.bytes(), frames(4))
    assert any("integer multipliers 1..3" in note for note in graph.notes)


def test_the_weight_code_follows_the_qonnx_type() -> None:
    net = small(rows=3)
    rng = np.random.default_rng(3)
    codes = []
    for w in (
        net.quant(net.const(rng.normal(size=(3, 3))), 0.1, bits=4, narrow=1),
        net.quant(net.const(rng.normal(size=(3, 3))), 0.4, bits=2, narrow=1),
        net.bipolar(net.const(rng.normal(size=(3, 3)))),
        net.quant(net.const(abs(rng.normal(size=(3, 3)))), 0.1, bits=3, signed=0),
    ):
        net.x = net.quant(net.x, 0.5)
        net.then("MatMul", w)
    codes = [n.op.code for n in read_qonnx(net.bytes()).nodes if isinstance(n.op, ops.MatMul)][1:]
    assert codes == [ops.Uniform(4, True), ops.Ternary(), ops.Bipolar(), ops.Uniform(4, True)]


def test_weights_are_rounded_exactly_where_float_division_is_wrong() -> None:
    """w / s is 0.5 - 2^-26 exactly, but 0.5 in float32: a half-even tie that isn't one."""
    scale = np.float32(1 + 2**-23)
    w = np.nextafter(scale / np.float32(2), np.float32(0))
    net = small(cols=2, rows=2)
    net.x = net.quant(net.x, 1.0)
    net.then("MatMul", net.quant(net.const([[w, -w], [3 * scale / 2, scale]]), scale, rounding="HALF_UP"))
    graph = read_qonnx(net.bytes())
    got = graph.array(next(n for n in reversed(graph.nodes) if isinstance(n.op, ops.MatMul)).op.weight)
    ratio = [[Fraction(float(v)) / Fraction(float(scale)) for v in row] for row in ([w, -w], [3 * scale / 2, scale])]
    want = [[(1 if v > 0 else -1) * (abs(v) + Fraction(1, 2)).__floor__() for v in row] for row in ratio]
    assert got.T.tolist() == want and want[0] == [0, 0]


def test_constants_computed_in_the_graph_are_folded_exactly() -> None:
    net = small()
    third = net.add("Div", net.const(1.0), net.const(3.0))
    net.x = net.add("Mul", net.x, third)
    graph = read_qonnx(net.bytes())
    assert fractions(graph.array(graph.nodes[-1].op.mul))[0] == Fraction(1, 3)


def test_a_matrix_of_the_wrong_width_is_refused() -> None:
    net = small()
    net.then("MatMul", net.quant(net.const(np.ones((5, 2))), 1.0))
    with pytest.raises(ModelError, match="has 5 inputs, the frame has 3"):
        read_qonnx(net.bytes())


def test_a_reshape_that_moves_the_batch_is_refused() -> None:
    net = Net((2, 2))
    net.then("Reshape", net.const([4], np.int64))
    with pytest.raises(UnsupportedOp, match="leading batch axis must stay"):
        read_qonnx(net.bytes())


def test_the_values_of_topk_are_refused_as_an_output() -> None:
    net = small()
    net.then("TopK", net.const([1], np.int64), outs=2, axis=-1)
    with pytest.raises(UnsupportedOp, match="use its indices"):
        read_qonnx(net.bytes())


def test_training_mode_batch_norm_is_refused() -> None:
    net = small()
    one = [net.const(np.ones(3)) for _ in range(4)]
    net.then("BatchNormalization", *one, training_mode=1)
    with pytest.raises(UnsupportedOp, match="export the model in eval mode"):
        read_qonnx(net.bytes())


def test_an_identity_and_a_dropout_leave_no_trace() -> None:
    net = small()
    net.then("Identity")
    net.then("Dropout")
    net.x = net.quant(net.x, 0.5)
    assert [type(n.op).__name__ for n in read_qonnx(net.bytes()).nodes] == ["Quant", "MatMul", "Quant"]


def test_a_missing_attribute_is_named() -> None:
    net = small()
    c = [net.const(v) for v in (1.0, 0.0, 4.0)]
    net.nodes.append(helper.make_node("Quant", [net.x, *c], ["q"], name="q", domain=DOMAIN, signed=1))
    net.x = "q"
    with pytest.raises(ModelError, match="'signed' and 'narrow' are required"):
        read_qonnx(net.bytes())


def test_a_computed_value_as_an_integer_input_type_is_kept_out() -> None:
    net = small()
    net.then("Cast", to=TensorProto.INT8)
    with pytest.raises(UnsupportedOp, match="not float"):
        read_qonnx(net.bytes())
