"""One operator at a time: a random QONNX network and, beside it, what torch computes for its frames in float64.

Scales of activations are any float32, scales of weights powers of two and sums short, so that float64 holds every value
exactly and the nearest level of a quantizer is found without rounding: there are no ties to set aside.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.conv_nets import ImageNet

FRAMES = 4


class Both:
    """A network under construction (`net`), its frames (`x`), and what torch has at its end (`t`, [N, *frame]) and at
    the output of every quantizer (`levels`, by tensor name).
    """

    def __init__(self, r: Random, frame: tuple[int, ...]) -> None:
        self.r, self.rng = r, np.random.default_rng(r.getrandbits(32))
        self.net = ImageNet(frame)
        self.levels: dict[str, Tensor] = {}
        bits, signed, scale = r.randint(1, 8), r.random() < 0.5, self.scale()
        zero = 0 if signed else r.choice([0, 0, 1])
        bipolar = bits == 1 and signed
        lo, hi = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        levels = (
            self.rng.choice([-1, 1], (FRAMES, *frame)) if bipolar else self.rng.integers(lo, hi + 1, (FRAMES, *frame))
        )
        levels[0], levels[1] = (-1, 1) if bipolar else (lo, hi)
        levels -= zero
        self.x = ((levels + self.rng.uniform(-0.4, 0.4, levels.shape)) * scale).astype(np.float32)
        self.t = torch.from_numpy(levels).double() * scale
        net = self.net
        self.keep(net.bipolar(net.x, scale) if bipolar else net.quant(net.x, scale, zero, bits, int(signed)))

    def scale(self) -> float:
        """Learned (any float32) or a power of two."""
        return self.r.choice([float(np.float32(self.r.uniform(0.02, 0.9))), 0.25, 1.0])

    def keep(self, name: str) -> None:
        self.net.x, self.levels[name] = name, self.t
        self.net.frame, self.net.n = tuple(self.t.shape[1:]), self.t.shape[1]

    def then(self, op: str, *consts: str, t: Tensor, **attrs: object) -> None:
        """Append an ONNX node whose result torch says is t."""
        self.net.then(op, *consts, **attrs)
        self.t = t
        self.net.frame, self.net.n = tuple(t.shape[1:]), t.shape[1]

    def quantize(self, divisor: int = 1, channels: bool = False) -> None:
        """A quantizer of any width, sign, zero point and learned scale, or of a scale per channel; t comes `divisor`
        times too large.
        """
        r, net = self.r, self.net
        if r.random() < 0.3:
            self.then("Relu", t=self.t.relu())
        bits, signed = r.randint(1, 6), r.random() < 0.6
        zero, narrow = 0 if signed else r.choice([0, 0, 1]), r.choice([0, 1]) if bits > 1 else 0
        side = (net.n, *(1,) * (self.t.ndim - 2)) if channels else (1,) * (self.t.ndim - 1)
        top = (float(self.t.abs().max()) or 1) / divisor / (1 << bits - 1)
        scale = (self.rng.uniform(0.5, 1.5, side) * top).astype(np.float32)
        step = torch.from_numpy(scale).double() * divisor
        scale = scale if channels else scale.ravel()[0]
        if bits == 1 and signed and not channels:
            self.t = torch.where(self.t >= 0, step, -step) / divisor
            return self.keep(net.bipolar(net.x, scale))
        bits = bits + (bits == 1 and signed)
        lo, hi = (-(1 << bits - 1) + narrow, (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1 - narrow)
        self.t = (nearest(self.t + zero * step, step).clamp(lo, hi) - zero) * step / divisor
        self.keep(net.quant(net.x, scale, zero, bits, int(signed), narrow))

    def weights(self, *shape: int) -> tuple[str, Tensor]:
        """Quantized weights: (ONNX tensor, float64 tensor)."""
        bits, scale = self.r.choice([1, 2, 3, 5]), self.r.choice([0.25, 1.0])
        top = 1 << bits - 1
        w = self.rng.choice([-1, 1], shape) if bits == 1 else self.rng.integers(1 - top, top, shape)
        name = self.net.const(w * scale)
        made = self.net.bipolar(name, scale) if bits == 1 else self.net.quant(name, scale, bits=bits, narrow=1)
        return made, torch.from_numpy(w * scale).double()

    def bias(self, n: int) -> tuple[list[str], Tensor | None]:
        if self.r.random() < 0.5:
            return [], None
        b = self.rng.integers(-64, 65, n) / 16
        return [self.net.const(b)], torch.from_numpy(b).double()

    def dense(self, m: int) -> None:
        """A dense layer on the flattened frame."""
        flat = self.t.flatten(1)
        self.then("Flatten", t=flat)
        w, wt = self.weights(m, flat.shape[1])
        self.then("Gemm", w, t=F.linear(flat, wt), transB=1)

    def conv(self, m: int, kernel: tuple[int, ...], groups: int = 1, same: bool = False, plain: bool = False) -> None:
        """A convolution; same: it keeps the size. plain: no stride, dilation or padding."""
        r, sides, size = self.r, len(kernel), self.t.shape[2:]
        stride = [1 if same or plain else r.randint(1, 3) for _ in kernel]
        dilation = [1 if plain else r.randint(1, 2) for _ in kernel]
        before, after = [], []
        for i in range(sides):
            reach = (kernel[i] - 1) * dilation[i]
            first = reach // 2 if same else 0 if plain else r.randint(0, reach)
            last = reach - first if same else 0 if plain else r.randint(0, reach)
            last = min(reach, max(last, reach + 1 - size[i] - first))
            before.append(first), after.append(last)
        w, wt = self.weights(m, self.net.n // groups, *kernel)
        names, b = self.bias(m)
        padded = F.pad(self.t, [v for i in reversed(range(sides)) for v in (before[i], after[i])])
        run = F.conv1d if sides == 1 else F.conv2d
        t = run(padded, wt, b, stride, 0, dilation, groups)
        self.then("Conv", w, *names, t=t, group=groups, strides=stride, dilations=dilation, pads=[*before, *after])


def nearest(t: Tensor, step: Tensor) -> Tensor:
    """The multiple of step nearest to t, ties to the even one: decided on exact differences."""
    near = torch.round(t / step)
    around = torch.stack([near, near - 1, near + 1])
    off = (t - around * step).abs()
    best = off.amin(0)
    tied = torch.where(off == best, around, torch.inf)
    even = torch.where((off == best) & (around % 2 == 0), around, torch.inf)
    return torch.where(even.amin(0).isfinite(), even.amin(0), tied.amin(0))


def frame_of(r: Random, channels: int, least: int = 1) -> tuple[int, ...]:
    return channels, r.randint(max(least, 2), 6), r.randint(max(least, 2), 6)


def conv2d(r: Random) -> Both:
    groups = r.choice([1, 1, 2, 3])
    both = Both(r, frame_of(r, groups * r.randint(1, 3), 3))
    both.conv(groups * r.randint(1, 3), (r.randint(1, 3), r.randint(1, 3)), groups)
    return both


def grouped(r: Random) -> Both:
    """Groups of two channels and more, in and out; half of them 1 x 1, which take no window."""
    groups = r.choice([2, 3])
    both = Both(r, frame_of(r, groups * r.randint(2, 4), 3))
    kernel = (1, 1) if r.random() < 0.5 else (r.randint(1, 3), r.randint(2, 3))
    both.conv(groups * r.randint(2, 4), kernel, groups, plain=kernel == (1, 1))
    return both


def conv1d(r: Random) -> Both:
    groups = r.choice([1, 2])
    both = Both(r, (groups * r.randint(1, 3), r.randint(5, 12)))
    both.conv(groups * r.randint(1, 3), (r.randint(1, 5),), groups)
    return both


def depthwise(r: Random) -> Both:
    c = r.randint(2, 6)
    both = Both(r, (c, r.randint(5, 9)) if r.random() < 0.3 else frame_of(r, c, 3))
    both.conv(c * r.choice([1, 1, 2]), tuple(r.randint(1, 3) for _ in both.t.shape[2:]), c)
    return both


def pointwise(r: Random) -> Both:
    both = Both(r, frame_of(r, r.randint(1, 6)))
    both.conv(r.randint(1, 6), (1, 1))
    return both


def max_pool(r: Random) -> Both:
    both = Both(r, (r.randint(1, 4), r.randint(4, 9)) if r.random() < 0.3 else frame_of(r, r.randint(1, 4), 4))
    if r.random() < 0.5:  # of sums, before the quantizer
        both.conv(r.randint(1, 4), (1,) * (both.t.ndim - 2), plain=True)
    axes = range(both.t.ndim - 2)
    kernel, stride = [r.randint(1, 3) for _ in axes], [r.randint(1, 3) for _ in axes]
    dilation = [r.choice([1, 1, 2]) if k < 3 else 1 for k in kernel]
    pad, ceil = [r.randint(0, k // 2) for k in kernel], r.choice([0, 1])
    run = F.max_pool1d if len(axes) == 1 else F.max_pool2d
    t = run(both.t, kernel, stride, pad, dilation, bool(ceil))
    attrs = {"strides": stride, "dilations": dilation, "pads": [*pad, *pad], "ceil_mode": ceil}
    both.then("MaxPool", t=t, kernel_shape=kernel, **attrs)
    return both


def average_pool(r: Random) -> Both:
    both = Both(r, frame_of(r, r.randint(1, 4), 3))
    kernel, stride = [r.randint(1, 3) for _ in "yx"], [r.randint(1, 3) for _ in "yx"]
    pad = [r.randint(0, k // 2) for k in kernel]
    t = F.avg_pool2d(both.t, kernel, stride, pad, count_include_pad=True, divisor_override=1)
    both.then("AveragePool", t=t, kernel_shape=kernel, strides=stride, pads=[*pad, *pad], count_include_pad=1)
    both.quantize(kernel[0] * kernel[1])
    return both


def global_average_pool(r: Random) -> Both:
    both = Both(r, (r.randint(1, 5), r.randint(2, 9)) if r.random() < 0.3 else frame_of(r, r.randint(1, 5)))
    axes = list(range(2, both.t.ndim))
    if r.random() < 0.5:
        both.then("GlobalAveragePool", t=both.t.sum(axes, keepdim=True))
    else:
        keep = r.choice([0, 1])
        both.then("ReduceMean", t=both.t.sum(axes, keepdim=bool(keep)), axes=axes, keepdims=keep)
    both.quantize(int(np.prod(both.x.shape[2:])))
    return both


def branches(r: Random, join: str, channels: bool) -> Both:
    """Two or three convolutions of one tensor, each quantized at learned scales of its own, that meet."""
    both = Both(r, frame_of(r, r.randint(1, 3), 3))
    start, t, m = both.net.x, both.t, r.randint(1, 3)
    ends: list[tuple[str, Tensor]] = []
    for _ in range(r.choice([2, 2, 3])):
        both.t = t
        both.keep(start)
        both.conv(m if join == "Add" else r.randint(1, 3), (r.choice([1, 3]),) * 2, same=True)
        both.quantize(channels=channels)
        ends.append((both.net.x, both.t))
    (both.net.x, both.t), *rest = ends
    if join == "Concat":
        both.then("Concat", *(n for n, _ in rest), t=torch.cat([v for _, v in ends], 1), axis=1)
        return both
    for name, value in rest:
        both.then("Add", name, t=both.t + value)
    return both


def residual(r: Random) -> Both:
    both = branches(r, "Add", r.random() < 0.3)
    both.quantize()
    return both


def concat(r: Random) -> Both:
    """Branches side by side, and what may come between them and the next quantizer."""
    both = branches(r, "Concat", r.random() < 0.3)
    c, (h, w), divisor = both.net.n, both.t.shape[2:], 1
    match r.choice(["nothing", "conv", "pooled", "mean", "flat", "grouped", "larger", "transposed"]):
        case "conv":
            both.conv(r.randint(1, 3), (r.choice([1, 2]),) * 2)
        case "pooled":
            both.then("MaxPool", t=F.max_pool2d(both.t, 2, 1), kernel_shape=[2, 2], strides=[1, 1])
            both.conv(r.randint(1, 3), (1, 1))
        case "mean":
            both.then("GlobalAveragePool", t=both.t.sum((2, 3), keepdim=True))
            both.dense(r.randint(1, 4))
            divisor = h * w
        case "flat":
            both.dense(r.randint(1, 4))
        case "grouped":
            both.conv(c, (r.choice([1, 2]),) * 2, groups=c)
        case "larger":
            both.then("Resize", "", both.net.const([1, 1, 2, 2]), t=F.interpolate(both.t, scale_factor=2.0))
            both.conv(r.randint(1, 3), (1, 1), plain=True)
        case "transposed":
            weights, wt = both.weights(c, r.randint(1, 3), 2, 2)
            t = F.conv_transpose2d(both.t, wt, stride=2)
            both.then("ConvTranspose", weights, t=t, strides=[2, 2])
    both.quantize(divisor)
    return both


def fork(r: Random) -> Both:
    """One tensor with three consumers: a convolution, a pooling, and the sum that both meet in."""
    both = Both(r, frame_of(r, r.randint(1, 3), 3))
    start, t = both.net.x, both.t
    both.conv(both.net.n, (3, 3), same=True)
    both.quantize()
    left, lt = both.net.x, both.t
    both.net.x, both.t = start, t
    both.then("MaxPool", t=F.max_pool2d(t, 3, 1, 1), kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    both.then("Add", left, t=both.t + lt)
    both.quantize()
    both.then("Add", start, t=both.t + t)
    both.quantize()
    return both


def flatten_dense(r: Random) -> Both:
    """A dense layer behind a convolution: the frame flattened in any order of its axes."""
    both = Both(r, (r.randint(1, 3), r.randint(3, 6)) if r.random() < 0.3 else frame_of(r, r.randint(1, 3), 3))
    both.conv(r.randint(1, 4), (r.randint(1, 2),) * (both.t.ndim - 2))
    both.quantize()
    if r.random() < 0.6:
        perm = [0, *r.sample(range(1, both.t.ndim), both.t.ndim - 1)]
        both.then("Transpose", t=both.t.permute(perm), perm=perm)
    flat = both.t.flatten(1)
    if r.random() < 0.5:
        both.then("Flatten", t=flat)
    else:
        both.then("Reshape", both.net.const([1, -1], np.int64), t=flat)
    across = r.random() < 0.5
    m, n = r.randint(1, 4), flat.shape[1]
    w, wt = both.weights(*((m, n) if across else (n, m)))
    names, b = both.bias(m)
    t = F.linear(flat, wt if across else wt.T, b)
    both.then("Gemm", w, *names, t=t, transB=int(across))
    return both


def upsample(r: Random) -> Both:
    both = Both(r, (r.randint(1, 3), r.randint(2, 5)) if r.random() < 0.3 else frame_of(r, r.randint(1, 3)))
    f = [r.randint(1, 3) for _ in both.t.shape[2:]]
    t = F.interpolate(both.t, scale_factor=[float(v) for v in f], mode="nearest")
    scales = both.net.const([1, 1, *f])
    attrs = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    both.then("Resize", "", scales, t=t, **attrs)
    both.conv(r.randint(1, 3), (r.randint(1, 2),) * len(f))
    return both


def depth_to_space(r: Random) -> Both:
    block, c = r.choice([2, 3]), r.randint(1, 2)
    both = Both(r, frame_of(r, r.randint(1, 2)))
    both.conv(c * block * block, (1, 1))
    both.quantize()
    mode, t = r.choice(["CRD", "DCR"]), both.t
    if mode == "DCR":  # torch knows the other order of channels
        n, _, h, w = t.shape
        t = t.reshape(n, block * block, c, h, w).transpose(1, 2).reshape(n, -1, h, w)
    both.then("DepthToSpace", t=F.pixel_shuffle(t, block), blocksize=block, mode=mode)
    both.conv(r.randint(1, 2), (2, 2))
    return both


def transposed(r: Random) -> Both:
    groups, sides = r.choice([1, 1, 2]), r.choice([1, 2, 2])
    c, per = groups * r.randint(1, 2), r.randint(1, 2)
    both = Both(r, (c, *(r.randint(2, 5) for _ in range(sides))))
    kernel, stride = [r.randint(1, 3) for _ in range(sides)], [r.randint(1, 3) for _ in range(sides)]
    dilation = [r.choice([1, 1, 2]) for _ in range(sides)]
    extra = [r.randint(0, max(s, d) - 1) for s, d in zip(stride, dilation, strict=True)]
    pad = [r.randint(0, min((k - 1) * d, k // 2)) for k, d in zip(kernel, dilation, strict=True)]
    pad = [min(p, (n - 1) * s // 2) for p, n, s in zip(pad, both.t.shape[2:], stride, strict=True)]  # leave a pixel
    w, wt = both.weights(c, per, *kernel)
    names, b = both.bias(groups * per)
    run = F.conv_transpose1d if sides == 1 else F.conv_transpose2d
    t = run(both.t, wt, b, stride, pad, extra, groups, dilation)
    attrs = {"strides": stride, "dilations": dilation, "pads": [*pad, *pad], "output_padding": extra}
    both.then("ConvTranspose", w, *names, t=t, group=groups, **attrs)
    return both


OPERATORS: dict[str, Callable[[Random], Both]] = {
    f.__name__: f
    for f in (
        conv2d,
        conv1d,
        grouped,
        depthwise,
        pointwise,
        max_pool,
        average_pool,
        global_average_pool,
        residual,
        concat,
        fork,
        flatten_dense,
        upsample,
        depth_to_space,
        transposed,
    )
}


def network(name: str, r: Random) -> Both:
    """A random network around one operator; half of them end in its own integers, half in a quantizer."""
    both = OPERATORS[name](r)
    if both.net.x not in both.levels and r.random() < 0.5:
        both.quantize()
    return both
