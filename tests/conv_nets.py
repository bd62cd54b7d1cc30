"""Random QONNX networks on images: convolutions of every kind, pooling, branches and what moves pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx import TensorProto

from hwq.hw.design import Fold
from hwq.hw.layers import Layer
from tests.qonnx_nets import DOMAIN, ROUNDINGS, Dice, Net, dense


class ImageNet(Net):
    """A Net whose frame at the end is `frame` = (C, H, W) or (C, L)."""

    frame: tuple[int, ...]
    plain: bool = False  # no quantizers: ONNX alone

    def __post_init__(self) -> None:
        super().__post_init__()
        self.frame = self.shape
        self.n = self.shape[0]

    @property
    def flat(self) -> bool:
        return len(self.frame) == 2

    def spatial(self, rows: int, columns: int) -> list[int]:
        """A spatial attribute, of as many axes as there are."""
        return [columns] if self.flat else [rows, columns]

    def reframe(self, c: int, h: int, w: int) -> None:
        self.frame, self.n = ((c, w) if self.flat else (c, h, w)), c

    @property
    def chw(self) -> tuple[int, int, int]:
        return (self.frame[0], 1, self.frame[1]) if self.flat else self.frame


def along(net: ImageNet, dice: Dice, values: Any) -> np.ndarray:
    """A vector over the channels, in one of the shapes that broadcast along them."""
    side = (len(values), *(1,) * (len(net.frame) - 1))
    return np.asarray(values, dtype=np.float32).reshape(dice.pick(side, (1, *side)))


def quantizer(net: ImageNet, dice: Dice, zero: bool = False, channels: bool = False) -> None:
    """A Quant, BipolarQuant or MultiThreshold; zero: real zero is on its grid."""
    kind = dice.pick("quant", "quant", "quant", "relu", "bipolar", "thresholds")
    if kind == "bipolar" and not zero:
        net.x = net.bipolar(net.x, dice.scale(1, False))
    elif kind == "thresholds":
        rows, steps = dice.pick(1, net.n), dice.pick(1, 3, 5)
        t = np.sort(np.resize(dice.values(net.n * steps + 1), (rows, steps)), axis=1)
        attrs: dict[str, Any] = {"data_layout": "NCW" if net.flat else "NCHW", "out_scale": dice.pick(1.0, 0.3)}
        attrs["out_bias"] = 0.0 if zero else dice.pick(0.0, -1.0)
        net.then("MultiThreshold", net.const(t), domain=DOMAIN, out_dtype="INT8", **attrs)
    else:
        if kind == "relu":
            net.then("Relu")
        bits, signed = dice.pick(2, 3, 4), 0 if kind == "relu" else dice.pick(0, 1)
        point = 0.0 if zero and not signed else float(dice.pick(0, 0, 1))
        scale = along(net, dice, dice.rng.uniform(0.1, 0.9, net.n)) if channels else dice.scale(1, False)
        net.x = net.quant(net.x, scale, point, bits, signed, dice.pick(0, 1), dice.pick(*ROUNDINGS))


def weights(net: Net, dice: Dice, shape: tuple[int, ...], axis: int) -> str:
    w = dice.rng.normal(0, 0.5, shape).astype(np.float32)
    side = [n if a == axis else 1 for a, n in enumerate(shape)]
    match "grid" if getattr(net, "plain", False) else dice.pick("bipolar", "ternary", "int", "channels", "grid"):
        case "bipolar":
            return net.bipolar(net.const(w), dice.scale(1, False))
        case "ternary":
            return net.quant(net.const(w), dice.scale(1, False), bits=2, narrow=1)
        case "int":
            return net.quant(net.const(w), dice.scale(1, False), bits=dice.pick(2, 3, 4), narrow=dice.pick(0, 1))
        case "channels":
            return net.quant(net.const(w), dice.rng.uniform(0.02, 0.3, side), bits=3, narrow=1)
    return net.const(dice.rng.integers(-3, 4, shape) * np.float32(dice.pick(1.0, 0.25)))


def conv(net: ImageNet, dice: Dice, m: int | None = None, same: bool = False) -> None:
    """A convolution of any kind that leaves at least one pixel; same: that leaves all of them."""
    c, h, w = net.chw
    groups = dice.pick(*[g for g in range(1, c + 1) if c % g == 0])
    m = m or groups * dice.pick(1, 2, 3)
    groups = groups if m % groups == 0 else 1
    kh, kw = (1, dice.pick(1, 2, 3)) if net.flat else dice.pick((1, 1), (3, 3), (2, 3), (3, 1))
    dilation, stride = dice.pick((1, 1), (1, 1), (1, 2), (2, 1)), dice.pick((1, 1), (1, 1), (2, 1), (2, 2))
    if same:
        stride = (1, 1)
    rows, columns = (kh - 1) * dilation[0], (kw - 1) * dilation[1]
    top, left = dice.draw(st.integers(0, rows)), dice.draw(st.integers(0, columns))
    bottom = max(rows - top if same else dice.draw(st.integers(0, rows)), rows + 1 - h - top)
    right = max(columns - left if same else dice.draw(st.integers(0, columns)), columns + 1 - w - left)
    pads = [left, right] if net.flat else [top, left, bottom, right]
    attrs: dict[str, Any] = {"pads": pads}
    if not same and dice.pick(False, False, False, True) and max(dilation) == 1:
        attrs = {"auto_pad": dice.pick("SAME_UPPER", "SAME_LOWER")}
        top, left, bottom, right = 0, 0, 0, 0
        oh, ow = -(-h // stride[0]), -(-w // stride[1])
    else:
        oh = (h + top + bottom - rows - 1) // stride[0] + 1
        ow = (w + left + right - columns - 1) // stride[1] + 1
    shape = (m, c // groups, kw) if net.flat else (m, c // groups, kh, kw)
    consts = [weights(net, dice, shape, 0)]
    if dice.pick(False, True):
        consts.append(net.const(dice.values(m)))
    net.then(
        "Conv",
        *consts,
        group=groups,
        strides=net.spatial(*stride),
        dilations=net.spatial(*dilation),
        **attrs,
    )
    net.reframe(m, 1 if net.flat else oh, ow)


def deconv(net: ImageNet, dice: Dice) -> None:
    c, h, w = net.chw
    groups = dice.pick(*[g for g in range(1, c + 1) if c % g == 0])
    per = dice.pick(1, 2)
    kh, kw = (1, dice.pick(2, 3)) if net.flat else dice.pick((2, 2), (3, 3), (1, 2))
    stride = (1, dice.pick(1, 2)) if net.flat else dice.pick((1, 1), (2, 2), (2, 1))
    top, left = dice.draw(st.integers(0, kh - 1)), dice.draw(st.integers(0, kw - 1))
    bottom, right = dice.draw(st.integers(0, kh - 1)), dice.draw(st.integers(0, kw - 1))
    extra = (dice.draw(st.integers(0, stride[0] - 1)), dice.draw(st.integers(0, stride[1] - 1)))
    oh, ow = (h - 1) * stride[0] + kh - top - bottom + extra[0], (w - 1) * stride[1] + kw - left - right + extra[1]
    if min(oh, ow) < 1:
        return
    shape = (c, per, kw) if net.flat else (c, per, kh, kw)
    net.then(
        "ConvTranspose",
        weights(net, dice, shape, 1),
        group=groups,
        strides=net.spatial(*stride),
        pads=[left, right] if net.flat else [top, left, bottom, right],
        output_padding=net.spatial(*extra),
    )
    net.reframe(per * groups, oh, ow)


def pool(net: ImageNet, dice: Dice) -> None:
    c, h, w = net.chw
    kh, kw = (1, min(w, dice.pick(2, 3))) if net.flat else (min(h, dice.pick(1, 2, 3)), min(w, dice.pick(2, 3)))
    stride = dice.pick((1, 1), (2, 2))
    kind = dice.pick("MaxPool", "MaxPool", "AveragePool")
    top, left, bottom, right = (dice.draw(st.integers(0, k - 1)) for k in (kh, kw, kh, kw))
    ceil = dice.pick(0, 1) if kind == "MaxPool" else 0
    attrs = {"ceil_mode": ceil} if kind == "MaxPool" else {"count_include_pad": 1}
    net.then(
        kind,
        kernel_shape=net.spatial(kh, kw),
        strides=net.spatial(*stride),
        pads=[left, right] if net.flat else [top, left, bottom, right],
        **attrs,
    )
    sizes = []
    for size, k, s, before, after in ((h, kh, stride[0], top, bottom), (w, kw, stride[1], left, right)):
        room = size + before + after - k
        n = (-(-room // s) if ceil else room // s) + 1
        sizes.append(n - 1 if ceil and (n - 1) * s >= size + before else n)
    net.reframe(c, 1 if net.flat else sizes[0], sizes[1])


def elementwise(net: ImageNet, dice: Dice, bends: bool = True) -> None:
    n = net.n
    signed = np.where(dice.rng.random(n) < 0.3, -1, 1)
    kinds = ("bn", "bn", "add", "mul", "scalar") + (("relu", "clip", "leaky", "tanh") if bends else ())
    match dice.pick(*kinds):
        case "bn":
            var = dice.pick(np.full(n, 4.0), dice.rng.uniform(0.1, 9, n)).astype(np.float32)
            parts = (signed * dice.rng.uniform(0.1, 2, n), dice.values(n), dice.values(n), var)
            net.then("BatchNormalization", *map(net.const, parts), epsilon=dice.pick(0.0, 1e-5))
        case "add":
            net.then("Add", net.const(along(net, dice, dice.values(n))))
        case "mul":
            net.then("Mul", net.const(along(net, dice, signed * dice.rng.uniform(0.1, 2, n))))
        case "scalar":
            net.then("Mul", net.const(float(dice.rng.uniform(0.1, 2))))
        case "relu":
            net.then("Relu")
        case "clip":
            net.then("Clip", net.const(-1.0), net.const(1.0))
        case "leaky":
            net.then("LeakyRelu", alpha=0.25)
        case "tanh":
            net.then("Tanh")


def branches(net: ImageNet, dice: Dice) -> None:
    """Two convolutions of one input that meet in a sum or side by side, quantized alike or each in its own way."""
    start, frame, kind = net.x, net.frame, dice.pick("Add", "Concat", "skip", "raw")
    m = frame[0] if kind == "skip" else dice.pick(1, 2, 3)
    ends, widths = [], []
    for i in range(2):
        net.x, net.frame, net.n = start, frame, frame[0]
        if not (kind == "skip" and i):
            conv(net, dice, m + (i if kind == "Concat" else 0), same=True)
            if kind != "raw":
                elementwise(net, dice)
                quantizer(net, dice, channels=dice.pick(False, False, True))
        ends.append(net.x)
        widths.append(net.n)
    if kind == "Concat":
        net.x = net.add("Concat", *ends, axis=1)
        net.reframe(sum(widths), *net.chw[1:])
    else:
        net.x = net.add("Add", *ends)


def step(net: ImageNet, dice: Dice) -> None:
    """One layer between quantizers."""
    c, h, w = net.chw
    match dice.pick("conv", "conv", "conv", "deconv", "pool", "upsample", "shuffle", "pad", "branches", "branches"):
        case "conv":
            conv(net, dice)
        case "deconv":
            deconv(net, dice)
        case "pool":
            if dice.pick(False, True):
                elementwise(net, dice)
            pool(net, dice)
        case "upsample":
            f = (1, 2) if net.flat else dice.pick((2, 2), (1, 3))
            scales = np.array([1, 1, *net.spatial(*f)], dtype=np.float32)
            mode = dice.pick(("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"))
            attrs = {"coordinate_transformation_mode": mode[0], "nearest_mode": mode[1], "mode": "nearest"}
            net.then("Resize", "", net.const(scales), **attrs)
            net.reframe(c, h * f[0], w * f[1])
        case "shuffle":
            if not net.flat:
                conv(net, dice, 4 * dice.pick(1, 2, 3))
                net.then("DepthToSpace", blocksize=2, mode=dice.pick("DCR", "CRD"))
                c, h, w = net.chw
                net.reframe(c // 4, h * 2, w * 2)
        case "pad":
            pads = [0, 0, *net.spatial(1, 0), 0, 0, *net.spatial(0, 2)]
            net.then("Pad", net.const(pads, np.int64))
            net.reframe(c, h if net.flat else h + 1, w + 2)
            if dice.pick(False, True):
                conv(net, dice)
        case "branches":
            branches(net, dice)


def head(net: ImageNet, dice: Dice) -> None:
    kind = dice.pick("dense", "dense", "global", "image", "argmax", "pixels", "reduce", "tail")
    if kind == "global":
        net.then("GlobalAveragePool")
    if kind == "reduce":
        net.then("ReduceMean", axes=list(range(2, 1 + len(net.frame))), keepdims=dice.pick(0, 1))
    if kind == "pixels":
        if net.n > 1:
            net.then("ArgMax", axis=1, keepdims=dice.pick(0, 1))
            net.output_type = TensorProto.INT64
        return
    if kind == "image":
        return
    size = net.n if kind in ("global", "reduce") else int(np.prod(net.frame))
    if dice.pick(False, True) and kind in ("dense", "argmax") and not net.flat:
        net.then("Transpose", perm=[0, 2, 3, 1])
    net.then(*dice.pick(("Flatten",), ("Reshape", net.const([1, -1], np.int64))))
    net.n = size
    if kind == "tail":
        net.then("Add", net.const(dice.values(size)))
        if dice.pick(False, True):
            net.x = net.quant(net.x, 0.5, bits=3)
        return
    if kind == "argmax" and size > 1:
        net.then("ArgMax", axis=1, keepdims=1)
        net.output_type = TensorProto.INT64
        return
    dense(net, dice, dice.pick(2, 3))
    if dice.pick(False, True):
        net.then("ArgMax", axis=1, keepdims=1)
        net.output_type = TensorProto.INT64


def conv_net(draw: st.DrawFn) -> tuple[Net, np.ndarray]:
    """(network, float32 frames): an input stage, one to three layers with quantizers after them, and a head."""
    dice = Dice(draw)
    c, h, w = draw(st.integers(1, 4)), draw(st.integers(2, 5)), draw(st.integers(2, 5))
    last = dice.pick(False, False, False, True)
    shape = (h, w, c) if last else dice.pick((c, h, w), (c, h, w), (c, w))
    net = ImageNet(shape)
    if last:
        if dice.pick(False, True):
            net.x = net.quant(net.x, 0.25, bits=4)
        net.then("Transpose", perm=[0, 3, 1, 2])
        net.frame, net.n = (c, h, w), c
    for _ in range(dice.pick(0, 1)):
        elementwise(net, dice)
    quantizer(net, dice, zero=dice.pick(True, True, False), channels=dice.pick(False, False, True))
    for _ in range(dice.pick(1, 1, 2, 3)):
        step(net, dice)
        for _ in range(dice.pick(0, 1, 2)):
            elementwise(net, dice)
        quantizer(net, dice, zero=dice.pick(True, True, False), channels=dice.pick(False, False, False, True))
    head(net, dice)
    if dice.pick(False, False, True) and net.x != "x":
        net.outputs = [net.x]
    frames = dice.pick(4, 10)
    x = dice.rng.normal(0, 1.5, (frames, *shape)).astype(np.float32)
    x[: frames // 2] = (dice.rng.integers(-8, 9, x[: frames // 2].shape) / 4).astype(np.float32)
    return net, x


conv_nets = st.composite(conv_net)


def some_foldings(layer: Layer) -> list[Fold]:
    """Every legal folding up to a pixel a cycle, and those of several pixels that are at most 256 products: the C++
    compiler takes minutes for more.
    """
    pairs = [(pe, simd) for pe in layer.pes for simd in layer.simds_at(pe)]
    return [Fold(pe, simd) for pe, simd in pairs if pe <= layer.rows or pe * simd <= 256]
