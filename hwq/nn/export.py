"""A trained net -> QONNX model.onnx: weights on their grid, readable names, head appended, the same bytes
every time.

Input "x" float32 [1, features], or an image [1, channels, height, width]; output "logits" float32
[1, outputs(, height, width)], or with head "argmax" "class" int64 [1, 1(, height, width)] (ArgMax over axis 1,
lowest index of equal maxima), with head "threshold" "class" float32 [1, 1] in {-1, +1} (BipolarQuant: +1 from 0
up).
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.general.quant import quant
from qonnx.util.cleanup import cleanup_model
from torch import nn

from hwq.errors import ModelError
from hwq.record import write_atomic

IR_VERSION = 9  # the newest that every tested onnxruntime reads
MATRIX_OPS = ("MatMul", "Gemm", "Conv", "ConvTranspose")
QUANT_OPS = ("Quant", "BipolarQuant")


def save_model(net: nn.Module, path: Path, frame: tuple[int, ...], head: str, layer_names: Sequence[str] = ()) -> None:
    """Export a net (any device; ends in evaluation mode) and write it atomically. See the module
    docstring.
    """
    write_atomic(path, to_onnx(net, frame, head, layer_names).SerializeToString(deterministic=True))


def to_onnx(net: nn.Module, frame: tuple[int, ...], head: str, layer_names: Sequence[str] = ()) -> onnx.ModelProto:
    """The QONNX model of a net. layer_names: modules of the net (last part of their path) to name nodes by; where
    there are none, nodes keep qonnx's names.

    Raises ModelError if a weight is NaN, infinite or off its grid after quantization.
    """
    device = next(net.parameters()).device
    net.cpu().eval()
    try:
        traced = _trace(net, frame)
    finally:
        net.to(device)
    for node in traced.graph.node:  # "/conv1/linear/Conv": the cleanup renames nodes, and keeps this
        node.doc_string = node.name.split("/")[1] if node.name.startswith("/") else ""
    model = ModelWrapper(traced)
    _weights_on_grid(model)
    model = cleanup_model(model)
    _append_head(model, head)
    _rename(model, layer_names)
    _in_layer_order(model, layer_names)
    proto = model.model
    proto.ir_version = IR_VERSION
    proto.producer_name, proto.producer_version, proto.doc_string = "hwq", "", ""
    for node in proto.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    return proto


def _trace(net: nn.Module, frame: tuple[int, ...]) -> onnx.ModelProto:
    from brevitas.export import export_qonnx

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # notes of the tracing exporter on constants
        path = Path(folder) / "model.onnx"
        logging.disable(logging.WARNING)
        try:
            export_qonnx(net, args=torch.zeros(1, *frame), export_path=str(path), dynamo=False)
        finally:
            logging.disable(logging.NOTSET)
        return onnx.load(str(path))


def _weights_on_grid(model: ModelWrapper) -> None:
    """Replace every constant that feeds a quantizer by its quantized value, which quantizes to itself."""
    for node in model.graph.node:
        weight = model.get_initializer(node.input[0]) if node.op_type in QUANT_OPS else None
        if weight is None:
            continue
        if not np.isfinite(weight).all():
            raise ModelError(f"'{node.input[0]}' holds NaN or infinite weights; training diverged, lower train.lr")
        once = _quantize(model, node, weight)
        if not np.array_equal(_quantize(model, node, once), once):
            raise ModelError(f"'{node.input[0]}': quantized weights leave their grid when quantized again")
        model.set_initializer(node.input[0], once + np.float32(0))  # no -0.0


def _quantize(model: ModelWrapper, node: NodeProto, x: np.ndarray) -> np.ndarray:
    scale = model.get_initializer(node.input[1])
    if node.op_type == "BipolarQuant":
        return np.where(x >= 0, scale, -scale).astype(np.float32)
    zero, bits = model.get_initializer(node.input[2]), model.get_initializer(node.input[3])
    a = {f.name: helper.get_attribute_value(f) for f in node.attribute}
    return quant(x, scale, zero, bits, a["signed"], a["narrow"], a["rounding_mode"].decode()).astype(np.float32)


def _append_head(model: ModelWrapper, head: str) -> None:
    graph = model.graph
    logits = graph.output[0]
    if head == "logits":
        return
    if head == "argmax":
        node = helper.make_node("ArgMax", [logits.name], ["class"], "head", axis=1, keepdims=1, select_last_index=0)
        kind = TensorProto.INT64
    else:
        graph.initializer.append(numpy_helper.from_array(np.float32(1.0), "class_scale"))
        node = helper.make_node(
            "BipolarQuant", [logits.name, "class_scale"], ["class"], "head", domain="qonnx.custom_op.general"
        )
        kind = TensorProto.FLOAT
    graph.node.append(node)
    graph.value_info.append(logits)
    del graph.output[:]
    sides = [d.dim_value for d in logits.type.tensor_type.shape.dim][2:]
    graph.output.append(helper.make_tensor_value_info("class", kind, [1, 1, *sides]))


def _rename(model: ModelWrapper, layer_names: Sequence[str]) -> None:
    """fc1 for the matrix op of layer fc1, fc1_<op> for its other nodes, fc1_weight_<op> for what makes its weights."""
    nodes = list(model.graph.node)
    known = {id(n): n.doc_string for n in nodes if n.doc_string in layer_names}
    matrix = {id(n): known[id(n)] for n in nodes if n.op_type in MATRIX_OPS and id(n) in known}
    current, used = "input", set(layer_names)
    for node in nodes if matrix else []:
        if id(node) in matrix:
            current = node.name = matrix[id(node)]
            continue
        weight = _weight_consumer(model, node, matrix)
        current = known.get(id(node), "input" if node.doc_string == "input" else current)
        base = f"{weight}_weight_{node.op_type.lower()}" if weight else f"{current}_{node.op_type.lower()}"
        free = (f"{base}{i}" for i in range(2, 999) if f"{base}{i}" not in used)
        node.name = base if base not in used else next(free)
        used.add(node.name)
    model.rename_tensor(model.graph.input[0].name, "x")
    if model.graph.output[0].name != "class":
        model.rename_tensor(model.graph.output[0].name, "logits")


def _in_layer_order(model: ModelWrapper, layer_names: Sequence[str]) -> None:
    """Put the nodes of branches back into the order the net computes them in, nodes on constants in front."""
    rank = {name: i for i, name in enumerate(layer_names)}
    made: dict[str, int] = {t.name: 0 for t in model.graph.input}
    nodes = list(model.graph.node)
    at = []
    for node in nodes:
        before = [made[t] for t in node.input if t in made]
        at.append(max([rank.get(node.doc_string, 0), *before]) if before else -1)
        made |= dict.fromkeys(node.output, at[-1]) if before else {}
    path = [r for r in at if r >= 0]
    if path != sorted(path):
        order = sorted(range(len(nodes)), key=lambda i: at[i])  # stable
        del model.graph.node[:]
        model.graph.node.extend(nodes[i] for i in order)


def _weight_consumer(model: ModelWrapper, node: NodeProto, names: dict[int, str]) -> str | None:
    """The layer whose weight or bias `node` makes out of constants; None for a node on the data path."""
    if not node.input or (model.get_initializer(node.input[0]) is None and node.op_type in QUANT_OPS):
        return None
    at = node
    while at is not None and id(at) not in names:
        if at.op_type not in (*QUANT_OPS, "Transpose", "Reshape"):
            return None
        at = model.find_consumer(at.output[0])
    return names.get(id(at)) if at is not None else None
