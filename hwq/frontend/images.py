"""Handlers of the operators that see an image: convolutions, pooling, resizing, and what moves channels."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hwq.frontend.constant import Const
from hwq.frontend.site import ONE, ZERO, Problem, Shape, Site
from hwq.frontend.weights import code_of, quantized
from hwq.ir import ops
from hwq.ir.rational import ObjectArray

SAME = ("SAME_UPPER", "SAME_LOWER")


def _picture(s: Site, frame: Shape) -> tuple[int, int, int]:
    try:
        return ops.picture(frame)
    except ValueError:
        raise Problem(
            f"frames of shape {frame}; images [C, H, W] or [C, L] are needed (volumes are not supported)"
        ) from None


def _frame(frame: Shape, c: int, h: int, w: int) -> Shape:
    """The output frame, of the rank of the input frame."""
    if min(c, h, w) < 1:
        raise Problem(f"frames of shape {frame} leave no pixel: the output would be {c}x{h}x{w}", False)
    return (c, w) if len(frame) == 2 else (c, h, w)


def _pair(s: Site, name: str, frame: Shape, default: int | None = 1) -> ops.Pair:
    """A spatial attribute as (rows, columns)."""
    values = s.attr(name)
    if values is None:
        if default is None:
            raise Problem(f"the attribute '{name}' is required", False)
        values = [default] * (len(frame) - 1)
    if len(values) != len(frame) - 1:
        raise Problem(f"{name}={list(values)} for frames of shape {frame}", False)
    return (1 if default is None else default, int(values[0])) if len(values) == 1 else (int(values[0]), int(values[1]))


def _sides(values: list[int]) -> ops.Sides:
    """ONNX pads (all begins, then all ends) as (top, left, bottom, right)."""
    top, left, bottom, right = (0, values[0], 0, values[1]) if len(values) == 2 else values
    return int(top), int(left), int(bottom), int(right)


def _pads(s: Site, frame: Shape, kernel: ops.Pair, stride: ops.Pair, dilation: ops.Pair) -> ops.Sides:
    auto = str(s.attr("auto_pad", "NOTSET"))
    if auto in SAME:
        _, h, w = ops.picture(frame)
        ends = []
        for size, k, st, d in zip((h, w), kernel, stride, dilation, strict=True):
            total = max((-(-size // st) - 1) * st + (k - 1) * d + 1 - size, 0)
            ends.append((total // 2, total - total // 2) if auto == "SAME_UPPER" else (total - total // 2, total // 2))
        return ends[0][0], ends[1][0], ends[0][1], ends[1][1]
    if auto not in ("NOTSET", "VALID"):
        raise Problem(f"auto_pad={auto} is not one of NOTSET, VALID, {', '.join(SAME)}", False)
    pads = list(s.attr("pads", [])) if auto == "NOTSET" else []
    pads = pads or [0] * (2 * len(frame) - 2)
    if len(pads) != 2 * len(frame) - 2 or min(pads) < 0:
        raise Problem(f"pads={pads} for frames of shape {frame}; two numbers an axis, none negative")
    return _sides(pads)


def _spatial(w: Const) -> Const:
    """Weights [.., .., K] of a one-dimensional convolution as [.., .., 1, K]."""
    return w if len(w.shape) == 4 else w.reshaped((*w.shape[:2], 1, w.shape[2]))


def _scales(w: Const, name: str, axis: int, groups: int) -> tuple[NDArray[np.int64], ObjectArray]:
    """(integers, positive scale [1] or [M]) of weights whose scale goes along `axis` alone."""
    assert w.ints is not None and w.scale is not None
    scale = w.scale
    if scale.size > 1:
        first = scale[tuple(slice(None) if a == axis else slice(0, 1) for a in range(4))]
        if not np.all(scale == first):
            raise Problem(
                f"weight '{name}' has scales of shape {scale.shape}; use one per tensor or per output channel"
            )
        scale = np.broadcast_to(first, [w.shape[axis] if a == axis else 1 for a in range(4)])
    flip = np.where(np.array(scale < 0, dtype=bool), -1, 1).astype(np.int64)
    ints, flat = w.ints * flip, abs(scale).ravel()
    return ints, np.tile(flat, groups) if axis == 1 and flat.size > 1 else flat


def _conv(s: Site) -> None:
    x, frame = s.frame()
    c, h, w = _picture(s, frame)
    weight, name = quantized(s, 1, len(frame) + 1)
    weight = _spatial(weight)
    groups = int(s.attr("group", 1))
    m, per, kh, kw = weight.shape
    if per * groups != c or m % groups:
        raise Problem(f"weight '{name}' {list(weight.shape)} in {groups} groups on {c} channels", False)
    stride, dilation = _pair(s, "strides", frame), _pair(s, "dilations", frame)
    pad = _pads(s, frame, (kh, kw), stride, dilation)
    oh, ow = ops.Window((kh, kw), stride, pad, dilation, 0).positions((h, w, c))
    ints, scale = _scales(weight, name, 0, 1)
    code = code_of(ints, weight.bits, weight.signed)
    op = ops.Conv(s.r.blob(ints), s.param(scale, (m,)), code, stride, pad, dilation, groups)
    _with_bias(s, op, x, _frame(frame, m, oh, ow))


def _with_bias(s: Site, op: ops.Op, x: str, shape: Shape) -> None:
    bias = s.optional(2, "bias")
    out = s.node.output[0]
    plain = bias is None or all(v == 0 for v in bias.values().ravel())
    s.emit(op, [x], shape, out if plain else f"{out}.product")
    if bias is not None and not plain:
        s.affine(f"{out}.product", ONE, bias.values(), shape, axis=0)


def _conv_transpose(s: Site) -> None:
    x, frame = s.frame()
    c, h, w = _picture(s, frame)
    weight, name = quantized(s, 1, len(frame) + 1)
    weight = _spatial(weight)
    groups = int(s.attr("group", 1))
    channels, per, kh, kw = weight.shape
    if channels != c or c % groups:
        raise Problem(f"weight '{name}' {list(weight.shape)} in {groups} groups on {c} channels", False)
    stride, dilation = _pair(s, "strides", frame), _pair(s, "dilations", frame)
    extra = _pair(s, "output_padding", frame, 0) if s.attr("output_padding") else (0, 0)
    sizes = zip((h, w), stride, (kh, kw), dilation, strict=True)
    whole = [(n - 1) * st + (k - 1) * d + 1 for n, st, k, d in sizes]
    if s.attr("output_shape") or s.attr("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise Problem("output_shape or auto_pad of a transposed convolution; give pads and output_padding")
    pad = _pads(s, frame, (kh, kw), stride, dilation)
    oh, ow = whole[0] - pad[0] - pad[2] + extra[0], whole[1] - pad[1] - pad[3] + extra[1]
    reach = ((kh - 1) * dilation[0], (kw - 1) * dilation[1])
    if max(pad[0], pad[2] - extra[0]) > reach[0] or max(pad[1], pad[3] - extra[1]) > reach[1]:
        raise Problem(f"pads {pad} of a transposed convolution are wider than its kernel reaches ({reach})")
    ints, scale = _scales(weight, name, 1, groups)
    code = code_of(ints, weight.bits, weight.signed)
    m = per * groups
    op = ops.ConvTranspose(s.r.blob(ints), s.param(scale, (m,)), code, stride, pad, dilation, groups, extra)
    _with_bias(s, op, x, _frame(frame, m, oh, ow))


def _pool(s: Site) -> None:
    x, frame = s.frame()
    c, h, w = _picture(s, frame)
    kernel, stride = _pair(s, "kernel_shape", frame, None), _pair(s, "strides", frame)
    dilation = _pair(s, "dilations", frame)
    largest = s.node.op_type == "MaxPool"
    pad = _pads(s, frame, kernel, stride, dilation)
    if s.attr("ceil_mode", 0):
        wider = _ceiled((h, w), kernel, stride, pad, dilation)
        if wider != pad and not largest:
            raise Problem(
                f"ceil_mode=1 on {h}x{w} pixels: the last windows hold fewer of them, so each would have a divisor of "
                "its own; use ceil_mode=0 or an image size that the stride divides"
            )
        pad = wider
    if not largest and any(pad) and not s.attr("count_include_pad", 0):
        raise Problem(
            f"count_include_pad=0 with pads {pad}: windows at the border have a divisor of their own; "
            "use count_include_pad=1 or no padding"
        )
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    if largest and (max(pad[0], pad[2]) >= reach[0] or max(pad[1], pad[3]) >= reach[1]):
        raise Problem(f"pads {pad} around a window of {reach[0]}x{reach[1]}: a window without a pixel has no maximum")
    if len(s.node.output) > 1 and s.node.output[1]:
        s.r.unknown.add(s.node.output[1])
    oh, ow = ops.Window(kernel, stride, pad, dilation, 0).positions((h, w, c))
    kind = ops.MaxPool if largest else ops.AvgPool
    s.emit(kind(kernel, stride, pad, dilation), [x], _frame(frame, c, oh, ow))


def _ceiled(size: ops.Pair, kernel: ops.Pair, stride: ops.Pair, pad: ops.Sides, dilation: ops.Pair) -> ops.Sides:
    """The padding with which counting whole windows gives what ceil_mode does: every window that starts on a pixel or
    in the padding before it.
    """
    ends = []
    for axis in range(2):
        before, after = pad[axis], pad[axis + 2]
        reach = (kernel[axis] - 1) * dilation[axis] + 1
        n = -(-(size[axis] + before + after - reach) // stride[axis]) + 1
        while n > 1 and (n - 1) * stride[axis] >= size[axis] + before:
            n -= 1
        ends.append(max(after, (n - 1) * stride[axis] + reach - size[axis] - before))
    return pad[0], pad[1], ends[0], ends[1]


def _global(s: Site) -> None:
    x, frame = s.frame()
    c, h, w = _picture(s, frame)
    shape = (c,) + (1,) * (len(frame) - 1)
    if s.node.op_type == "GlobalAveragePool":
        s.emit(ops.Mean(), [x], shape)
    else:
        s.emit(ops.MaxPool((h, w), (1, 1), (0, 0, 0, 0), (1, 1)), [x], shape)


def _reduce(s: Site) -> None:
    x, frame = s.frame()
    const = s.optional(1, "axes")
    axes = const.numbers() if const is not None else list(s.attr("axes", []))
    rank = len(frame) + 1
    if len(frame) not in (2, 3) or sorted(a % rank for a in axes) != list(range(2, rank)):
        raise Problem(f"axes {axes} of frames of shape {frame}; only all spatial axes (2 and up) together")
    shape = (frame[0],) + ((1,) * (rank - 2) if s.attr("keepdims", 1) else ())
    if s.node.op_type == "ReduceMean":
        s.emit(ops.Mean(), [x], shape)
        return
    mid = f"{s.node.output[0]}.mean"
    s.emit(ops.Mean(), [x], shape, mid)
    s.affine(mid, ONE * Fraction(math.prod(frame[1:])), ZERO, shape)


def _concat(s: Site) -> None:
    if any(s.is_const(i) for i in range(len(s.node.input))):
        raise Problem("a constant among the inputs; only computed tensors are joined")
    names, frames = zip(*(s.frame(i) for i in range(len(s.node.input))), strict=True)
    axis = int(s.attr("axis", 1)) % (len(frames[0]) + 1) - 1
    rest = {f[:axis] + f[axis + 1 :] for f in frames}
    if axis < 0 or len({len(f) for f in frames}) > 1 or len(rest) > 1:
        raise Problem(f"frames of shapes {', '.join(map(str, frames))} along axis {axis + 1}", False)
    first = frames[0]
    if len(names) == 1:
        s.r.alias[s.node.output[0]] = s.node.input[0]
        return
    s.emit(ops.Join(axis), names, (*first[:axis], sum(f[axis] for f in frames), *first[axis + 1 :]))


def _resize(s: Site) -> None:
    x, frame = s.frame()
    c, h, w = _picture(s, frame)
    upsample = s.node.op_type == "Upsample"
    mode = str(s.attr("mode", "nearest"))
    if mode != "nearest":
        raise Problem(f"mode={mode}; only nearest")
    last = len(s.node.input) - 1
    i = 1 if upsample else 3 if last >= 3 and s.node.input[3] else 2
    values = s.const(i, "scales or sizes").values().ravel()
    if s.attr("axes") is not None:
        raise Problem("the attribute 'axes'; give one scale for every axis")
    whole = (1, *frame)
    if len(values) != len(whole):
        raise Problem(f"{len(values)} scales for {len(whole)} axes", False)
    factors = [v / n for v, n in zip(values, whole, strict=True)] if i == 3 else list(values)
    if i == 3:
        factors[0] = Fraction(1)
    if factors[:2] != [1, 1] or any(f.denominator != 1 or f < 1 for f in factors):
        raise Problem(f"factors {[float(f) for f in factors]}; only whole factors of the spatial axes")
    pair = (1, int(factors[2])) if len(frame) == 2 else (int(factors[2]), int(factors[3]))
    how = "asymmetric" if upsample else str(s.attr("coordinate_transformation_mode", "half_pixel"))
    rounding = "floor" if upsample else str(s.attr("nearest_mode", "round_prefer_floor"))
    for n, f in zip((h, w), pair, strict=True):
        if [_source(y, n, f, how, rounding) for y in range(n * f)] != [y // f for y in range(n * f)]:
            raise Problem(
                f"coordinate_transformation_mode={how}, nearest_mode={rounding} on {n} pixels times {f} picks other "
                "pixels than y // factor; use asymmetric and floor"
            )
    s.emit(ops.Resize(pair), [x], _frame(frame, c, h * pair[0], w * pair[1]))


def _source(y: int, n: int, f: int, how: str, rounding: str) -> int:
    """The pixel that ONNX's nearest resize takes for output pixel y."""
    half = Fraction(1, 2)
    match how:
        case "asymmetric":
            at = Fraction(y, f)
        case "half_pixel" | "half_pixel_symmetric":
            at = (y + half) / f - half
        case "pytorch_half_pixel":
            at = (y + half) / f - half if n * f > 1 else Fraction(0)
        case "align_corners":
            at = Fraction(y * (n - 1), n * f - 1) if n * f > 1 else Fraction(0)
        case _:
            raise Problem(f"coordinate_transformation_mode={how}")
    match rounding:
        case "floor":
            pixel = math.floor(at)
        case "ceil":
            pixel = math.ceil(at)
        case "round_prefer_ceil":
            pixel = math.floor(at + half)
        case "round_prefer_floor":
            pixel = math.ceil(at - half)
        case _:
            raise Problem(f"nearest_mode={rounding}")
    return min(max(pixel, 0), n - 1)


def _depth_to_space(s: Site) -> None:
    x, frame = s.frame()
    block, mode = int(s.attr("blocksize", 1)), str(s.attr("mode", "DCR"))
    if len(frame) != 3 or block < 1 or frame[0] % block**2:
        raise Problem(f"blocks of {block}x{block} from frames of shape {frame}", False)
    if mode not in ("DCR", "CRD"):
        raise Problem(f"mode={mode} is neither DCR nor CRD", False)
    c, h, w = frame
    s.emit(ops.PixelShuffle(block, mode), [x], (c // block**2, h * block, w * block))


def _pad(s: Site) -> None:
    x, frame = s.frame()
    c, h, w = _picture(s, frame)
    mode = str(s.attr("mode", "constant"))
    if mode != "constant":
        raise Problem(f"mode={mode}; only constant padding")
    given = s.optional(1, "pads")
    pads = given.numbers() if given is not None else list(s.attr("pads", s.attr("paddings", [])))
    fill = s.optional(2, "value")
    value = Fraction(float(s.attr("value", 0.0)))
    if fill is not None and fill.values().size:
        value = fill.values().ravel()[0]
    axes = s.optional(3, "axes")
    rank = len(frame) + 1
    if axes is not None:
        where = [a % rank for a in axes.numbers()]
        whole = [0] * (2 * rank)
        for i, a in enumerate(where):
            whole[a], whole[a + rank] = pads[i], pads[i + len(where)]
        pads = whole
    if len(pads) != 2 * rank or min(pads) < 0 or any(pads[i] or pads[rank + i] for i in (0, 1)):
        raise Problem(f"pads={pads}; only the spatial axes, and no negative ones")
    sides = _sides([*pads[2:rank], *pads[rank + 2 :]])
    if not any(sides):
        s.r.alias[s.node.output[0]] = s.node.input[0]
        return
    op = ops.Pad(sides, str(value))
    s.emit(op, [x], _frame(frame, c, h + sides[0] + sides[2], w + sides[1] + sides[3]))


def _transpose(s: Site) -> None:
    x, frame = s.frame()
    rank = len(frame) + 1
    perm = [int(a) % rank for a in s.attr("perm", range(rank)[::-1])]
    if sorted(perm) != list(range(rank)) or perm[0] != 0:
        raise Problem(f"perm={perm} of frames of shape {frame}; the leading batch axis must stay where it is")
    axes = tuple(a - 1 for a in perm[1:])
    s.emit(ops.Transpose(axes), [x], tuple(frame[a] for a in axes))


HANDLERS: dict[str, Callable[[Site], None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": _global,
    "GlobalMaxPool": _global,
    "ReduceMean": _reduce,
    "ReduceSum": _reduce,
    "Concat": _concat,
    "Resize": _resize,
    "Upsample": _resize,
    "DepthToSpace": _depth_to_space,
    "Pad": _pad,
    "Transpose": _transpose,
}
