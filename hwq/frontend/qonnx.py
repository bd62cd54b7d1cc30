"""Read a QONNX file (or bytes) into a Graph of stage `real`; all its problems are reported at once."""

from __future__ import annotations

import hashlib
import lzma
import math
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from hwq import dtype
from hwq.errors import ConfigError, ModelError, UnsupportedOp
from hwq.frontend.constant import Const, as_const, quantize
from hwq.frontend.images import HANDLERS as IMAGE_HANDLERS
from hwq.frontend.site import ONE, ZERO, Problem, Reader, Shape, Site
from hwq.frontend.weights import code_of, quantized
from hwq.ir import ops
from hwq.ir.graph import Graph, Node, Tensor
from hwq.ir.rational import ObjectArray, to_text

MAX_ACTIVATION_BITS = 16


# ---- handlers: one per ONNX operator
# ---------------------------------------------------------------------------------


def _quant_op(s: Site) -> tuple[ops.Quant, ObjectArray, ObjectArray]:
    scale = s.const(1, "scale").values()
    zero = s.const(2, "zero point").values()
    bits_all = set(s.const(3, "bit width").values().ravel())
    if len(bits_all) != 1:
        raise Problem(f"bit widths {sorted(map(float, bits_all))} differ within one quantizer")
    bits = bits_all.pop()
    if bits.denominator != 1 or not 1 <= bits <= 32:
        raise Problem(f"bit width {float(bits):g} is off the grid: an integer from 1 to 32 is needed", False)
    _check_scale(scale)
    for i, z in enumerate(zero.ravel()):
        if z.denominator != 1:
            raise Problem(
                f"zero point {float(z):g} (index {i}) is off the integer grid of the quantizer; round it to an integer",
                False,
            )
    signed, narrow = s.attr("signed"), s.attr("narrow")
    if signed is None or narrow is None:
        raise Problem("the attributes 'signed' and 'narrow' are required", False)
    rounding = str(s.attr("rounding_mode", "ROUND")).upper()
    if rounding not in ops.ROUNDINGS:
        raise Problem(f"rounding_mode '{rounding}' is not one of {', '.join(ops.ROUNDINGS)}")
    if bits == 1 and not signed and narrow:
        raise Problem("1 bit, unsigned and narrow leaves the single level 0; set narrow=0", False)
    return ops.Quant("", "", int(bits), bool(signed), bool(narrow), rounding), scale, zero


def _check_scale(scale: ObjectArray) -> None:
    for i, v in enumerate(scale.ravel()):
        if v <= 0:
            raise Problem(f"scale {float(v):g} (index {i}) must be positive", False)


def _quant(s: Site) -> None:
    op, scale, zero = _quant_op(s)
    if s.is_const(0):
        s.r.consts[s.node.output[0]] = quantize(s.const(0, "input"), op, scale, zero)
        return
    x, frame = s.frame()
    if op.bits > MAX_ACTIVATION_BITS:
        raise Problem(f"{op.bits}-bit activations; at most {MAX_ACTIVATION_BITS} bits are supported")
    s.emit(
        ops.Quant(s.param(scale, frame), s.param(zero, frame), op.bits, op.signed, op.narrow, op.rounding),
        [x],
        frame,
    )


def _bipolar(s: Site) -> None:
    scale = s.const(1, "scale").values()
    _check_scale(scale)
    if s.is_const(0):
        op = ops.Quant("", "", 1, True, True)
        s.r.consts[s.node.output[0]] = quantize(s.const(0, "input"), op, scale, ZERO)
        return
    x, frame = s.frame()
    s.emit(ops.BipolarQuant(s.param(scale, frame)), [x], frame)


def _multithreshold(s: Site) -> None:
    x, frame = s.frame()
    t = s.const(1, "thresholds").values()
    if t.ndim != 2 or t.shape[1] < 1:
        raise Problem(f"thresholds of shape {t.shape}; [channels, steps] is needed", False)
    layout = s.attr("data_layout", "") or {1: "NC", 2: "NWC", 3: "NCHW"}.get(len(frame), "")
    axis = layout.index("C") - 1 if "C" in layout else 0
    if len(t) not in (1, frame[axis] if frame else 1):
        raise Problem(f"{len(t)} rows of thresholds for {frame[axis]} channels", False)
    if len(t) > 1 and len(frame) > 1:
        side = [1] * len(frame)
        side[axis] = len(t)
        t = t.reshape(*side, -1)
    scale = Fraction(float(s.attr("out_scale", 1.0)))
    offset = Fraction(float(s.attr("out_bias", 0.0)))
    if scale == 0:
        raise Problem("out_scale is 0: every output is the same", False)
    s.emit(
        ops.MultiThreshold(s.r.blob(to_text(t)), s.r.blob(to_text([scale])), s.r.blob(to_text([offset]))),
        [x],
        frame,
    )


def _weights(s: Site, i: int, transpose: bool) -> tuple[Const, str]:
    w, name = quantized(s, i, 2)
    return (w if transpose else w.transposed((1, 0))), name


def _matmul(s: Site) -> None:
    if s.is_const(0) and not s.is_const(1):
        raise Problem("a constant left operand (weights @ x); only x @ weights is supported")
    if not s.is_const(1):
        raise Problem("both operands are computed at run time; one must be a constant weight")
    _dense(s, *_weights(s, 1, transpose=False), s.node.output[0])


def _dense(s: Site, w: Const, wname: str, output: str) -> None:
    """Emit x @ w.T for w [MH, MW]; a scale per column is put on the input."""
    x, frame = s.frame()
    assert w.ints is not None and w.scale is not None
    mh, mw = w.shape
    if len(frame) != 1:
        raise Problem(f"a matrix product of frames of shape {frame}; flatten them first")
    if frame[0] != mw:
        raise Problem(f"weight '{wname}' has {mw} inputs, the frame has {frame[0]}", False)
    ints, scale = w.ints, w.scale
    if scale.shape[1] > 1 and any(row[0] != v for row in scale for v in row):
        first = scale[:, :1]
        columns = scale[:1] / first[0, 0]
        if any(scale[m, k] != first[m, 0] * columns[0, k] for m in range(len(scale)) for k in range(mw)):
            raise Problem(f"weight '{wname}' has a scale per element; use one per tensor, row or column")
        s.affine(x, columns[0], ZERO, frame, output=f"{output}.columns")
        x, scale = f"{output}.columns", first
    scale = scale[:, 0]
    flip = np.array([-1 if v < 0 else 1 for v in scale], dtype=np.int64)
    op = ops.MatMul(s.r.blob(ints * flip[:, None]), s.param(abs(scale), (mh,)), code_of(ints, w.bits, w.signed))
    s.emit(op, [x], (mh,), output)


def _gemm(s: Site) -> None:
    if s.attr("transA", 0):
        raise Problem("transA=1")
    alpha, beta = (Fraction(float(s.attr(k, 1.0))) for k in ("alpha", "beta"))
    w, wname = _weights(s, 1, transpose=bool(s.attr("transB", 0)))
    bias = s.optional(2, "bias")
    add = np.asarray(bias.values() * beta, dtype=object) if bias is not None else ZERO
    plain = alpha == 1 and all(v == 0 for v in add.ravel())
    out = s.node.output[0]
    _dense(s, w, wname, out if plain else f"{out}.product")
    if not plain:
        s.affine(f"{out}.product", ONE * alpha, add, (w.shape[0],))


def _binary(s: Site) -> None:
    kind = s.node.op_type
    left, right = s.is_const(0), s.is_const(1)
    if not left and not right:
        (a, fa), (b, fb) = s.frame(0), s.frame(1)
        if fa != fb or kind not in ("Add", "Sub"):
            raise Problem(f"{kind} of two computed tensors of shapes {fa} and {fb}; only Add and Sub of equal shapes")
        if kind == "Sub":
            s.affine(b, -ONE, ZERO, fb, output=f"{s.node.output[0]}.minus")
            b = f"{s.node.output[0]}.minus"
        s.emit(ops.Sum(), [a, b], fa)
        return
    x, frame = s.frame(1 if left else 0)
    c = s.const(0 if left else 1, "operand").values()
    match kind, left:
        case "Add", _:
            s.affine(x, ONE, c, frame)
        case "Mul", _:
            s.affine(x, c, ZERO, frame)
        case "Sub", False:
            s.affine(x, ONE, -c, frame)
        case "Sub", True:
            s.affine(x, -ONE, c, frame)
        case "Div", False:
            if any(v == 0 for v in c.ravel()):
                raise Problem("division by zero", False)
            s.affine(x, 1 / c, ZERO, frame)
        case _:
            raise Problem("a constant divided by a computed tensor")


def _batchnorm(s: Site) -> None:
    if s.attr("training_mode", 0):
        raise Problem("training_mode=1; export the model in eval mode")
    x, frame = s.frame()
    gamma, beta, mean, var = (s.const(i, w).values() for i, w in ((1, "scale"), (2, "bias"), (3, "mean"), (4, "var")))
    var = np.asarray(var + Fraction(float(s.attr("epsilon", 1e-5))), dtype=object)
    for i, v in enumerate(var.ravel()):
        if v <= 0:
            raise Problem(f"variance plus epsilon is {float(v):g} (channel {i}); it must be positive", False)
    s.emit(ops.BatchNorm(*(s.param(p, frame, axis=0) for p in (gamma, beta, mean, var))), [x], frame)


def _unary(op: ops.Op) -> Callable[[Site], None]:
    def handler(s: Site) -> None:
        x, frame = s.frame()
        s.emit(op, [x], frame)

    return handler


def _clip(s: Site) -> None:
    x, frame = s.frame()
    bounds: list[str | None] = []
    for i, key in ((1, "min"), (2, "max")):
        c = s.optional(i, key)
        value = c.values().ravel()[0] if c is not None else s.attr(key)
        bounds.append(None if value is None else str(Fraction(value)))
    s.emit(ops.Clip(bounds[0], bounds[1]), [x], frame)


def _hard_sigmoid(s: Site) -> None:
    x, frame = s.frame()
    mid = f"{s.node.output[0]}.line"
    alpha, beta = (ONE * Fraction(float(s.attr(k, d))) for k, d in (("alpha", 0.2), ("beta", 0.5)))
    s.affine(x, alpha, beta, frame, output=mid)
    s.emit(ops.Clip("0", "1"), [mid], frame)


def _leaky(s: Site) -> None:
    x, frame = s.frame()
    s.emit(ops.LeakyRelu(str(Fraction(float(s.attr("alpha", 0.01))))), [x], frame)


def _neg(s: Site) -> None:
    x, frame = s.frame()
    s.affine(x, -ONE, ZERO, frame)


def _identity(s: Site) -> None:
    if s.node.op_type == "Cast" and not s.is_const(0) and s.attr("to") not in _FLOATS:
        raise Problem("a cast of activations to a type that is not float")
    if s.node.op_type == "Dropout" and len(s.node.input) > 2 and s.node.input[2]:
        mode = s.const(2, "training_mode")
        if any(mode.numbers()):
            raise Problem("training_mode is true; export the model in eval mode")
    s.r.alias[s.node.output[0]] = s.node.input[0]


_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.UNDEFINED)


def _target_shape(s: Site) -> list[int]:
    """The whole target shape, batch first, with -1 and 0 as ONNX writes them."""
    kind, frame = s.node.op_type, s.frame()[1]
    whole = [s.r.batch, *frame]
    if kind == "Reshape":
        target = s.const(1, "shape").numbers()
        return target if s.attr("allowzero", 0) else [whole[i] if t == 0 else t for i, t in enumerate(target)]
    if kind == "Flatten":
        axis = int(s.attr("axis", 1)) % len(whole)
        return [math.prod(whole[:axis]), math.prod(whole[axis:])]
    axes_const = s.optional(1, "axes")
    axes = axes_const.numbers() if axes_const is not None else list(s.attr("axes", []))
    if kind == "Squeeze":
        axes = [a % len(whole) for a in axes] or [i for i, d in enumerate(whole) if d == 1 and i]
        return [d for i, d in enumerate(whole) if i not in axes or (i == 0 and whole[0] != 1)]
    full = len(whole) + len(axes)
    axes = [a % full for a in axes]
    rest = iter(whole)
    return [1 if i in axes else next(rest) for i in range(full)]


def _reshape(s: Site) -> None:
    x, frame = s.frame()
    target = _target_shape(s)
    size = math.prod(frame)
    tail = target[1:]
    if target and target[0] in (-1, s.r.batch, 1):
        if -1 in tail and target[0] != -1:
            known = math.prod(t for t in tail if t != -1)
            tail = [size // known if t == -1 else t for t in tail]
        if math.prod(tail) == size and -1 not in tail:
            s.emit(ops.Reshape(), [x], tuple(tail))
            return
    raise Problem(f"frames of shape {frame} to {target}; the leading batch axis must stay as it is")


def _softmax(s: Site) -> None:
    x, frame = s.frame()
    _last_axis(s, frame, -1)
    s.emit(ops.Softmax(), [x], frame)


def _last_axis(s: Site, frame: Shape, default: int) -> None:
    axis = int(s.attr("axis", default))
    if len(frame) != 1 or axis % 2 != 1:
        raise Problem(f"axis {axis} of frames of shape {frame}; only the class axis of a flat frame")


def _argmax(s: Site) -> None:
    x, frame = s.frame()
    axis = int(s.attr("axis", 0))
    if axis % (len(frame) + 1) != 1:
        raise Problem(f"axis {axis} of frames of shape {frame}; only the class axis (1)")
    if s.attr("select_last_index", 0):
        raise Problem("select_last_index=1; ties go to the lowest index")
    s.emit(ops.ArgMax(), [x], (*((1,) if s.attr("keepdims", 1) else ()), *frame[1:]))


def _topk(s: Site) -> None:
    x, frame = s.frame()
    _last_axis(s, frame, -1)
    k = s.const(1, "k").numbers() if len(s.node.input) > 1 else [int(s.attr("k", 1))]
    if k != [1] or not s.attr("largest", 1):
        raise Problem(f"k={k[0]}, largest={s.attr('largest', 1)}; only the largest one")
    s.emit(ops.ArgMax(), [x], (1,), output=s.node.output[1])
    s.r.unknown.add(s.node.output[0])


_HANDLERS: dict[str, Callable[[Site], None]] = {
    "Quant": _quant,
    "IntQuant": _quant,
    "BipolarQuant": _bipolar,
    "MultiThreshold": _multithreshold,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Add": _binary,
    "Sub": _binary,
    "Mul": _binary,
    "Div": _binary,
    "BatchNormalization": _batchnorm,
    "Relu": _unary(ops.Relu()),
    "Sigmoid": _unary(ops.Sigmoid()),
    "Tanh": _unary(ops.Tanh()),
    "Abs": _unary(ops.Abs()),
    "LeakyRelu": _leaky,
    "Clip": _clip,
    "HardTanh": _clip,
    "HardSigmoid": _hard_sigmoid,
    "Neg": _neg,
    "Identity": _identity,
    "Dropout": _identity,
    "Cast": _identity,
    "Reshape": _reshape,
    "Flatten": _reshape,
    "Squeeze": _reshape,
    "Unsqueeze": _reshape,
    "Softmax": _softmax,
    "ArgMax": _argmax,
    "TopK": _topk,
    **IMAGE_HANDLERS,
}


# ---- constants computed in the graph
# ---------------------------------------------------------------------------------


def _fold_constant(s: Site) -> Const | None:
    """Evaluate a node whose inputs are all constants; None if this op isn't one that can be."""
    kind = s.node.op_type
    if kind == "Constant":
        return _constant_node(s)
    c = [s.const(i, "input") for i in range(len(s.node.input)) if s.node.input[i]]
    match kind:
        case "Transpose":
            return c[0].transposed(tuple(s.attr("perm", range(len(c[0].shape))[::-1])))
        case "Reshape":
            target = c[1].numbers()
            return c[0].reshaped(tuple(c[0].shape[i] if t == 0 else t for i, t in enumerate(target)))
        case "Unsqueeze" | "Squeeze":
            axes = c[1].numbers() if len(c) > 1 else list(s.attr("axes", []))
            return _axes(c[0], axes, kind == "Unsqueeze")
        case "Flatten":
            return c[0].reshaped((math.prod(c[0].shape[: s.attr("axis", 1)]), -1))
        case "Concat":
            return Const(raw=np.concatenate([v.values() for v in c], axis=s.attr("axis", 0)))
        case "Gather":
            index = np.array(c[1].numbers()).reshape(c[1].shape)
            return Const(raw=np.asarray(np.take(c[0].values(), index, axis=s.attr("axis", 0)), dtype=object))
        case "Add" | "Sub" | "Mul" | "Div":
            return Const(raw=np.asarray(_arith(kind, c[0].values(), c[1].values()), dtype=object))
        case "Neg":
            return Const(raw=np.asarray(-c[0].values(), dtype=object))
    return None


def _arith(kind: str, a: ObjectArray, b: ObjectArray) -> Any:
    match kind:
        case "Add":
            return a + b
        case "Sub":
            return a - b
        case "Mul":
            return a * b
    if any(v == 0 for v in b.ravel()):
        raise Problem("division by zero", False)
    return a / b


def _axes(c: Const, axes: list[int], insert: bool) -> Const:
    shape = list(c.shape)
    if insert:
        full = len(shape) + len(axes)
        rest = iter(shape)
        return c.reshaped(tuple(1 if i in {a % full for a in axes} else next(rest) for i in range(full)))
    drop = {a % len(shape) for a in axes} or {i for i, d in enumerate(shape) if d == 1}
    return c.reshaped(tuple(d for i, d in enumerate(shape) if i not in drop))


def _constant_node(s: Site) -> Const:
    for a in s.node.attribute:
        if a.name == "value":
            return as_const(numpy_helper.to_array(a.t))
        if a.name in ("value_float", "value_int", "value_floats", "value_ints"):
            return as_const(np.asarray(onnx.helper.get_attribute_value(a)))
    raise Problem("a Constant without a numeric value")


# ---- the file
# --------------------------------------------------------------------------------------------------------


SUPPORTED = tuple(sorted({*_HANDLERS, "Constant"}))


def load_bytes(source: str | Path | bytes) -> tuple[bytes, str]:
    """(ONNX bytes, where they came from) of a path (.onnx or .onnx.xz) or of bytes. Raises ModelError."""
    where = "model" if isinstance(source, bytes) else str(source)
    try:
        raw = source if isinstance(source, bytes) else Path(source).read_bytes()
        return (lzma.decompress(raw) if raw[:6] == b"\xfd7zXZ\x00" else raw), where
    except FileNotFoundError:
        raise ModelError(f"{where}: no such file") from None
    except OSError as e:
        raise ModelError(f"{where}: can't be read ({e.strerror})") from None
    except (lzma.LZMAError, EOFError) as e:
        raise ModelError(f"{where}: the .xz data is corrupt ({e}); copy or export the file again") from None


def read_qonnx(source: str | Path | bytes, name: str | None = None, where: str | None = None) -> Graph:
    """QONNX file (.onnx, .onnx.xz) or bytes -> Graph of stage `real`.

    Shapes are frames: the leading batch axis of every tensor is dropped. Floating-point constants are taken
    as the exact numbers they are. Raises ModelError (missing or corrupt file, values that make no sense) or
    UnsupportedOp, with every problem in one message that begins with `where` (default: the path).
    """
    raw, origin = load_bytes(source)
    where = where or origin
    try:
        model = onnx.load_model_from_string(raw)
    except (DecodeError, ValueError, TypeError) as e:
        raise ModelError(f"{where}: not an ONNX file, or a damaged one ({e}); export the model again") from None
    if not model.graph.node and not model.graph.input:
        raise ModelError(f"{where}: not an ONNX file, or an empty one; export the model again")
    if name is None:
        stem = "model" if isinstance(source, bytes) else Path(source).name.removesuffix(".xz").removesuffix(".onnx")
        name = stem
    return _read(model, where, re.sub(r"\W+", "_", name).strip("_") or "model")


def _read(model: Any, where: str, name: str) -> Graph:
    r = Reader(where)
    g = model.graph
    for init in g.initializer:
        r.consts[init.name] = _initializer(r, init)
    annotated = _annotations(g)
    _unannotate_weights(r, annotated)
    inputs = tuple(_input(r, i, annotated) for i in g.input if i.name not in r.consts)
    for index, node in enumerate(g.node):
        _read_node(r, node, node.name or f"{node.op_type}_{index}")
    outputs = tuple(_output(r, o.name) for o in g.output)
    if not inputs or not outputs:
        r.fail("the graph has no input" if not inputs else "the graph has no output", False)
    if r.problems:
        lines = "\n".join(f"  - {p}" for p in r.problems)
        tail = f"\nsupported operators: {', '.join(SUPPORTED)}" if r.unsupported else ""
        kind = UnsupportedOp if r.unsupported else ModelError
        raise kind(f"{where}: {len(r.problems)} problem{'s' * (len(r.problems) > 1)}:\n{lines}{tail}")
    live = _live(r.nodes, outputs)
    keep = {t for n in live for t in (*n.inputs, *n.outputs)} | set(inputs)
    return Graph(name, "real", inputs, outputs, live, {k: t for k, t in r.tensors.items() if k in keep}, r.blobs)


def _live(nodes: list[Node], outputs: tuple[str, ...]) -> tuple[Node, ...]:
    """The nodes that some output depends on, in order."""
    needed, kept = set(outputs), []
    for n in reversed(nodes):
        if needed & set(n.outputs):
            needed |= set(n.inputs)
            kept.append(n)
    return tuple(reversed(kept))


def _initializer(r: Reader, init: Any) -> Const:
    a = numpy_helper.to_array(init)
    if a.dtype.kind not in "fiub":
        if a.dtype.kind == "V" or a.dtype.kind not in "USO":  # bfloat16 and the like come as extension types
            a = a.astype(np.float64)
        else:
            return Const(raw=np.zeros(a.shape))
    if a.dtype.kind == "f" and not np.isfinite(a).all():
        where = np.argwhere(~np.isfinite(a))
        first = tuple(int(v) for v in where[0])
        r.fail(
            f"tensor '{init.name}' holds {a[first]} at index {first}"
            + (f" and {len(where) - 1} more non-finite values" if len(where) > 1 else "")
            + "; train or export the model again",
            False,
        )
        a = np.where(np.isfinite(a), a, 1)
    return as_const(a)


def _annotations(g: Any) -> dict[str, str]:
    return {
        q.tensor_name: p.value
        for q in g.quantization_annotation
        for p in q.quant_parameter_tensor_names
        if p.key == "finn_datatype"
    }


def _int_type(text: str) -> dtype.IntType | None:
    try:
        return dtype.parse(text)
    except ConfigError:
        return None


def _unannotate_weights(r: Reader, annotated: dict[str, str]) -> None:
    """Integer initializers with a QONNX datatype are quantized weights already."""
    one = np.array(Fraction(1), dtype=object)
    for name, text in annotated.items():
        kind, c = _int_type(text), r.consts.get(name)
        if kind is None or c is None or c.raw is None or c.raw.dtype.kind != "f":
            continue
        ints = c.raw.astype(np.int64)
        if not np.array_equal(ints, c.raw) or (ints.size and (ints.min() < kind.lo or ints.max() > kind.hi)):
            r.fail(f"tensor '{name}' is annotated {text} but holds values off that grid", False)
            continue
        bits = 1 if kind.kind == "bipolar" else kind.bits
        r.consts[name] = Const(ints=ints, scale=one.reshape((1,) * ints.ndim), bits=bits, signed=kind.signed)


def _input(r: Reader, value: Any, annotated: dict[str, str]) -> str:
    dims = value.type.tensor_type.shape.dim
    frame = []
    for i, d in enumerate(dims):
        if i == 0:
            r.batch = max(int(d.dim_value), 1)
            if r.batch != 1:
                shape = ", ".join(str(n.dim_value or n.dim_param or "?") for n in dims)
                r.fail(
                    f"input '{value.name}' [{shape}] holds {r.batch} frames at once; export it with one (in Brevitas: "
                    "export_qonnx with args of batch 1) or with a dynamic batch axis",
                    False,
                )
        elif d.dim_value <= 0:
            r.fail(
                f"input '{value.name}': axis {i} ('{d.dim_param or '?'}') has no fixed size; "
                "only the leading batch axis may be dynamic (export the model with frames of one size)",
                False,
            )
            frame.append(1)
        else:
            frame.append(int(d.dim_value))
    if len(dims) < 2:
        r.fail(
            f"input '{value.name}' has {len(dims)} axes; a batch axis and at least one more are needed",
            False,
        )
        frame = frame or [1]
    kind = _int_type(annotated.get(value.name, ""))
    if kind is None:
        r.tensors[value.name] = Tensor(value.name, tuple(frame))
    elif kind.kind == "bipolar":
        r.tensors[value.name] = Tensor(value.name, tuple(frame))
        r.emit(
            f"{value.name}_bipolar",
            ops.BipolarQuant(r.blob(to_text([1]))),
            [value.name],
            f"{value.name}.bipolar",
            tuple(frame),
        )
        r.alias[value.name] = f"{value.name}.bipolar"
    else:
        r.tensors[value.name] = Tensor(value.name, tuple(frame), (kind.lo,), (kind.hi,))
    return str(value.name)


def _output(r: Reader, name: str) -> str:
    name = r.resolve(name)
    if name in r.unknown and not r.problems:
        r.fail(f"graph output '{name}' is not supported (the values of a TopK; use its indices)", True)
    elif name not in r.tensors and name not in r.unknown:
        r.fail(f"graph output '{name}' is computed by no node, or is a constant", False)
    return name


def _read_node(r: Reader, node: Any, name: str) -> None:
    site = Site(r, node, name)
    place = f"node '{name}' ({node.op_type})"
    sources = [r.resolve(i) for i in node.input if i]
    try:
        if any(i in r.unknown for i in sources):
            if node.op_type not in _HANDLERS:
                raise Problem("operator is not supported")
            r.unknown |= set(node.output)
            return
        missing = [i for i in sources if i not in r.consts and i not in r.tensors]
        if missing:
            raise Problem(f"input '{missing[0]}' comes from no node, input or initializer", False)
        if node.op_type == "Shape":
            whole = r.consts[sources[0]].shape if sources[0] in r.consts else (r.batch, *r.tensors[sources[0]].shape)
            r.consts[node.output[0]] = as_const(np.array(whole, dtype=np.int64))
            return
        if node.op_type == "Constant" or (sources and all(i in r.consts for i in sources)):
            folded = _fold_constant(site)
            if folded is not None:
                r.consts[node.output[0]] = folded
                return
        if node.op_type not in _HANDLERS:
            raise Problem("operator is not supported")
        _HANDLERS[node.op_type](site)
    except Problem as p:
        r.fail(f"{place}: {p}", p.unsupported)
        r.unknown |= set(node.output)


def fingerprint(raw: bytes) -> str:
    """sha256 of a model file's content."""
    return hashlib.sha256(raw).hexdigest()
