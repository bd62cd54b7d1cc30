"""The ops of the real graph that see an image, from their definitions, on arrays [N, *frame] of any number type."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.ir import ops

Array = NDArray[Any]
Frame = tuple[int, ...]


def expanded(array: Array, frame: Frame, trailing: int = 0) -> Array:
    """A parameter along a frame (and `trailing` axes of its own) as [1 or n, ...] rows, one for each value of the flat
    frame.
    """
    rest = array.shape[array.ndim - trailing :]
    if int(np.prod(array.shape[: array.ndim - trailing])) == 1:
        return array.reshape(1, *rest)
    return np.broadcast_to(array, (*frame, *rest)).reshape(-1, *rest)


def _padded(x: Array, pad: ops.Sides, value: Any) -> Array:
    """x [N, C, H, W] with `value` around it."""
    top, left, bottom, right = pad
    n, c, h, w = x.shape
    y = np.full((n, c, h + top + bottom, w + left + right), value, dtype=x.dtype)
    y[:, :, top : top + h, left : left + w] = x
    return y


def taps(x: Array, kernel: ops.Pair, op: Any, value: Any) -> Iterator[tuple[int, int, Array]]:
    """(ky, kx, x at that position of every window [N, C, OH, OW]); `value` outside the image [N, C, H, W]."""
    window = ops.Window(kernel, op.stride, op.pad, op.dilation, 0)
    oh, ow = window.positions((x.shape[2], x.shape[3], 0))
    (sh, sw), (dh, dw), y = op.stride, op.dilation, _padded(x, op.pad, value)
    for ky in range(kernel[0]):
        for kx in range(kernel[1]):
            at, on = ky * dh, kx * dw
            yield ky, kx, y[:, :, at : at + (oh - 1) * sh + 1 : sh, on : on + (ow - 1) * sw + 1 : sw]


def convolve(x: Array, w: Array, op: ops.Conv) -> Array:
    """sum W x over every window: x [N, C, H, W], w [M, C/G, KH, KW] -> [N, M, OH, OW]."""
    m, per, kh, kw = w.shape
    rows = m // op.groups
    y: Array | None = None
    for ky, kx, piece in taps(x, (kh, kw), op, 0):
        parts = [
            np.tensordot(piece[:, g * per : (g + 1) * per], w[g * rows : (g + 1) * rows, :, ky, kx], axes=((1,), (1,)))
            for g in range(op.groups)
        ]
        one = np.moveaxis(np.concatenate(parts, axis=-1), -1, 1)
        y = one if y is None else y + one
    assert y is not None
    return y


def transposed(x: Array, w: Array, op: ops.ConvTranspose) -> Array:
    """Every pixel adds W times itself to its neighbourhood: x [N, C, H, W], w [C, M/G, KH, KW] -> [N, M, OH, OW]."""
    c, per, kh, kw = w.shape
    n, _, h, wide = x.shape
    (sh, sw), (dh, dw), (top, left, bottom, right) = op.stride, op.dilation, op.pad
    rows = c // op.groups
    size = (h - 1) * sh + (kh - 1) * dh + 1 + op.extra[0], (wide - 1) * sw + (kw - 1) * dw + 1 + op.extra[1]
    y = np.zeros((n, per * op.groups, *size), dtype=np.result_type(x.dtype, w.dtype))
    for g in range(op.groups):
        group = slice(g * rows, (g + 1) * rows)
        for ky in range(kh):
            for kx in range(kw):
                part = np.moveaxis(np.tensordot(x[:, group], w[group, :, ky, kx], axes=((1,), (0,))), -1, 1)
                at, on = ky * dh, kx * dw
                y[
                    :,
                    g * per : (g + 1) * per,
                    at : at + (h - 1) * sh + 1 : sh,
                    on : on + (wide - 1) * sw + 1 : sw,
                ] += part
    return y[:, :, top : size[0] - bottom, left : size[1] - right]


def pooled(x: Array, op: ops.MaxPool | ops.AvgPool, lowest: Any) -> Array:
    """Largest value, or sum, of every window of x [N, C, H, W]; `lowest` never wins."""
    y: Array | None = None
    for _, _, piece in taps(x, op.kernel, op, lowest if isinstance(op, ops.MaxPool) else 0):
        y = piece if y is None else np.maximum(y, piece) if isinstance(op, ops.MaxPool) else y + piece
    assert y is not None
    return y


def places(op: ops.Op, frame: Frame) -> Array:
    """Flat source of every value (-1: the padding) of an op that only moves them, of the output's shape."""
    index = np.arange(int(np.prod(frame)))
    if isinstance(op, ops.Transpose):
        return index.reshape(frame).transpose(op.axes)
    c, h, w = ops.picture(frame)
    x = index.reshape(1, c, h, w)
    match op:
        case ops.Resize(factors=(fh, fw)):
            wide: Array = x.repeat(fh, axis=2).repeat(fw, axis=3)[0]
            return wide
        case ops.Pad(pad=pad):
            return np.asarray(_padded(x, pad, -1)[0])
        case ops.PixelShuffle(block=b, mode="DCR"):
            return x.reshape(b, b, c // b**2, h, w).transpose(2, 3, 0, 4, 1).reshape(c // b**2, h * b, w * b)
        case ops.PixelShuffle(block=b):
            return x.reshape(c // b**2, b, b, h, w).transpose(0, 3, 1, 4, 2).reshape(c // b**2, h * b, w * b)
    raise TypeError(type(op).__name__)


MOVING = (ops.Transpose, ops.Resize, ops.Pad, ops.PixelShuffle)
