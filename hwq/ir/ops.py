"""The operators, in two tables: REAL as read from QONNX, INT after lowering. One frozen dataclass each."""

from __future__ import annotations

from dataclasses import dataclass, fields

BlobKey = str


def blob_field() -> dict[str, bool]:
    """Marks a field as a blob key: `field(metadata=blob_field())`."""
    return {"blob": True}


@dataclass(frozen=True, slots=True)
class Op:
    """Base of all operators; knows which of its fields are blob keys."""

    def blob_keys(self) -> tuple[BlobKey, ...]:
        found: list[BlobKey] = []
        for f in fields(self):
            value = getattr(self, f.name)
            if f.type in ("BlobKey", "BlobKey | None") and value is not None:
                found.append(value)
            elif f.type == "tuple[BlobKey, ...]":
                found.extend(value)
        return tuple(found)


# ---- weight codes: how hardware may store or multiply the plain integer weights
# --------------------------------------


@dataclass(frozen=True, slots=True)
class Uniform:
    """Two's complement of `bits`; `narrow` if the most negative value never occurs."""

    bits: int
    narrow: bool = True


@dataclass(frozen=True, slots=True)
class Bipolar:
    """-1 or +1, one bit."""

    bits: int = 1


@dataclass(frozen=True, slots=True)
class Ternary:
    """-1, 0 or +1, two bits."""

    bits: int = 2


Code = Uniform | Bipolar | Ternary


# ---- INT: after lowering. x, y are integer tensors, channel last
# -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class MatVec(Op):
    """y[m] = sum_k W[m, k] * x[k] over the last axis, at every position; W int64 [MH, MW].

    With `xnor` (weights -1/+1, x in {0, 1}): y[m] = count_k(x[k] == (W[m, k] > 0)), the popcount of XNOR.
    With `groups` G > 1 x is [K, G, C/G] with K = `taps` (the positions of the Window before, or 1), W is
    [MH, K*C/G], and rows g*MH/G .. see x[:, g, :] flattened.
    """

    weight: BlobKey
    code: Code
    xnor: bool = False
    groups: int = 1
    taps: int = 1


@dataclass(frozen=True, slots=True)
class Step(Op):
    """y[c] = offset + count_i(T[c, i] <= x[c]), or offset + N - count where falling[c].

    T: int64 [C, N] ascending (N >= 1). A threshold that always counts is lo[c], one that never counts is
    hi[c] + 1. falling: bool [C] or None.
    """

    thresholds: BlobKey
    offset: int
    falling: BlobKey | None = None


@dataclass(frozen=True, slots=True)
class Table(Op):
    """y[c] = entries[c or 0, x[c] - base]; entries int64 [C or 1, hi - lo + 1]. For non-monotone functions.
    """

    entries: BlobKey
    base: int


@dataclass(frozen=True, slots=True)
class Combine(Op):
    """y[c] = sum_i mul[i][c] * x_i[c] + bias[c]; mul: one int64 [C or 1] per input, bias int64 [C or 1].

    Brings tensors (or channels) of different scales onto one.
    """

    mul: tuple[BlobKey, ...]
    bias: BlobKey


@dataclass(frozen=True, slots=True)
class ArgMax(Op):
    """y = index of the largest channel, the lowest index on ties; [..., C] -> [..., 1]."""


Pair = tuple[int, int]
Sides = tuple[int, int, int, int]  # top, left, bottom, right


def extent(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    """Number of windows along one axis."""
    return (size + before + after - (kernel - 1) * dilation - 1) // stride + 1


@dataclass(frozen=True, slots=True)
class Window(Op):
    """The neighbourhood of every output pixel as channels: [H, W, C] -> [OH, OW, KH*KW*C].

    y[oy, ox, (ky*KW + kx)*C + c] = x[oy*SH + ky*DH - top, ox*SW + kx*DW - left, c], or `value` outside the
    image; pad = (top, left, bottom, right).
    """

    kernel: Pair
    stride: Pair
    pad: Sides
    dilation: Pair
    value: int

    def positions(self, shape: tuple[int, ...]) -> Pair:
        """(OH, OW) of an image [H, W, C]."""
        (kh, kw), (sh, sw), (t, left, b, r), (dh, dw) = self.kernel, self.stride, self.pad, self.dilation
        return extent(shape[0], kh, sh, dh, t, b), extent(shape[1], kw, sw, dw, left, r)


@dataclass(frozen=True, slots=True)
class Pool(Op):
    """kind "max" or "sum" over the K = `size` entries of each channel: [..., K*C] -> [..., C], after a Window."""

    kind: str
    size: int


@dataclass(frozen=True, slots=True)
class Total(Op):
    """Sum over all positions of each channel: [H, W, C] -> [C]."""


@dataclass(frozen=True, slots=True)
class Concat(Op):
    """Inputs one after the other along the channels: N x [..., C_i] -> [..., sum C_i]."""


@dataclass(frozen=True, slots=True)
class Reshape(Op):
    """Same values in the same (row-major) order under another shape, which the output tensor holds."""


@dataclass(frozen=True, slots=True)
class Upsample(Op):
    """Every pixel `factors` (FH, FW) times: [H, W, C] -> [H*FH, W*FW, C]."""

    factors: Pair


@dataclass(frozen=True, slots=True)
class Spread(Op):
    """`value` between the pixels: [H, W, C] -> [(H-1)*FH + 1, (W-1)*FW + 1, C]; y[h*FH, w*FW] = x[h, w]."""

    factors: Pair
    value: int


@dataclass(frozen=True, slots=True)
class DepthToSpace(Op):
    """[H, W, B*B*C] -> [H*B, W*B, C]; y[h*B + i, w*B + j, c] = x[h, w, (i*B + j)*C + c]."""

    block: int


INT_OPS: tuple[type[Op], ...] = (
    MatVec,
    Step,
    Table,
    Combine,
    ArgMax,
    Window,
    Pool,
    Total,
    Concat,
    Reshape,
    Upsample,
    Spread,
    DepthToSpace,
)


# ---- REAL: as read from QONNX. Every constant is an exact rational
# ---------------------------------------------------
# Parameter blobs are arrays of rationals (hwq.ir.rational): [1], or of the frame's rank and broadcast along it as
# in ONNX ([n] on vectors, [C, 1, 1] on images). Images are frames [C, H, W], one-dimensional ones [C, L].


@dataclass(frozen=True, slots=True)
class Quant(Op):
    """QONNX Quant: y = scale * (round(clip(x / scale + zero, qmin, qmax)) - zero); 1 bit signed gives -1/+1
    instead.

    scale > 0 and integer zero: rationals. `rounding` is one of hwq.ir.ops.ROUNDINGS.
    """

    scale: BlobKey
    zero: BlobKey
    bits: int
    signed: bool
    narrow: bool
    rounding: str = "ROUND"

    @property
    def bipolar(self) -> bool:
        return self.bits == 1 and self.signed

    @property
    def qmin(self) -> int:
        return (-(1 << (self.bits - 1)) + int(self.narrow)) if self.signed else 0

    @property
    def qmax(self) -> int:
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1 - int(self.narrow)


ROUNDINGS = ("ROUND", "HALF_EVEN", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN")


@dataclass(frozen=True, slots=True)
class BipolarQuant(Op):
    """y = scale where x >= 0, else -scale. scale > 0: rationals."""

    scale: BlobKey


@dataclass(frozen=True, slots=True)
class MultiThreshold(Op):
    """y = scale * count(x >= T) + offset; T rationals [1, N] or [frame's rank, N], any order; scale
    and offset rationals [1].
    """

    thresholds: BlobKey
    scale: BlobKey
    offset: BlobKey


@dataclass(frozen=True, slots=True)
class MatMul(Op):
    """y[m] = scale[m or 0] * sum_k W[m, k] * x[k]; W int64 [MH, MW], scale > 0: rationals [1 or MH]."""

    weight: BlobKey
    scale: BlobKey
    code: Code


@dataclass(frozen=True, slots=True)
class Affine(Op):
    """y = mul * x + add; rationals each."""

    mul: BlobKey
    add: BlobKey


@dataclass(frozen=True, slots=True)
class BatchNorm(Op):
    """y = gamma * (x - mean) / sqrt(var) + beta; rationals each; `var` has epsilon added, and is positive.
    """

    gamma: BlobKey
    beta: BlobKey
    mean: BlobKey
    var: BlobKey


@dataclass(frozen=True, slots=True)
class Relu(Op):
    """y = max(x, 0)."""


@dataclass(frozen=True, slots=True)
class LeakyRelu(Op):
    """y = x where x >= 0, else alpha * x; alpha a rational, written as text."""

    alpha: str


@dataclass(frozen=True, slots=True)
class Clip(Op):
    """y = min(max(x, lo), hi); bounds are rationals, written as text, or None. HardTanh is Clip(-1, 1)."""

    lo: str | None
    hi: str | None


@dataclass(frozen=True, slots=True)
class Sigmoid(Op):
    """y = 1 / (1 + exp(-x))."""


@dataclass(frozen=True, slots=True)
class Tanh(Op):
    """y = tanh(x)."""


@dataclass(frozen=True, slots=True)
class Abs(Op):
    """y = |x|."""


@dataclass(frozen=True, slots=True)
class Softmax(Op):
    """y[c] = exp(x[c]) / sum_k exp(x[k]) over the frame."""


@dataclass(frozen=True, slots=True)
class Sum(Op):
    """y = x0 + x1 of two tensors of one shape (a residual)."""


@dataclass(frozen=True, slots=True)
class Conv(Op):
    """y[m] = scale[m or 0] * sum W[m, c, ky, kx] * x[g*C/G + c, oy*SH + ky*DH - top, ox*SW + kx*DW - left], 0 outside
    the image; [C, H, W] -> [M, OH, OW], group g = m // (M/G).

    W int64 [M, C/G, KH, KW], scale > 0: rationals [1 or M]. On frames [C, L] KH = 1.
    """

    weight: BlobKey
    scale: BlobKey
    code: Code
    stride: Pair
    pad: Sides
    dilation: Pair
    groups: int


@dataclass(frozen=True, slots=True)
class ConvTranspose(Op):
    """The transpose of a convolution: x[c, h, w] adds scale[m] * W[c, m', ky, kx] * x to pixel (h*SH + ky*DH - top,
    w*SW + kx*DW - left) of channel m = g*M/G + m' for c of group g; pixels outside [OH, OW] are dropped.

    W int64 [C, M/G, KH, KW], scale > 0: rationals [1 or M]. `extra` rows and columns follow at the end.
    """

    weight: BlobKey
    scale: BlobKey
    code: Code
    stride: Pair
    pad: Sides
    dilation: Pair
    groups: int
    extra: Pair


@dataclass(frozen=True, slots=True)
class MaxPool(Op):
    """Largest value of each channel in every window; pixels outside the image don't count."""

    kernel: Pair
    stride: Pair
    pad: Sides
    dilation: Pair


@dataclass(frozen=True, slots=True)
class AvgPool(Op):
    """Mean of each channel over every window of KH*KW pixels, 0 outside the image."""

    kernel: Pair
    stride: Pair
    pad: Sides
    dilation: Pair


@dataclass(frozen=True, slots=True)
class Mean(Op):
    """Mean of each channel over the whole image: [C, H, W] -> [C, 1, 1] or [C], as the output tensor says."""


@dataclass(frozen=True, slots=True)
class Join(Op):
    """Inputs one after the other along `axis` of the frame."""

    axis: int


@dataclass(frozen=True, slots=True)
class Resize(Op):
    """Nearest neighbour: y[c, h, w] = x[c, h // FH, w // FW]."""

    factors: Pair


@dataclass(frozen=True, slots=True)
class PixelShuffle(Op):
    """Depth to space: y[c, h*B + i, w*B + j] = x[(i*B + j)*C + c, h, w] ("DCR") or x[(c*B + i)*B + j, h, w] ("CRD").
    """

    block: int
    mode: str


@dataclass(frozen=True, slots=True)
class Pad(Op):
    """`value` (a rational, as text) around the image."""

    pad: Sides
    value: str


@dataclass(frozen=True, slots=True)
class Transpose(Op):
    """The axes of the frame in another order, as numpy.transpose."""

    axes: tuple[int, ...]


def picture(frame: tuple[int, ...]) -> tuple[int, int, int]:
    """(C, H, W) of an image frame; [C, L] has H = 1. Raises ValueError on any other rank."""
    if len(frame) == 2:
        return frame[0], 1, frame[1]
    if len(frame) == 3:
        return frame[0], frame[1], frame[2]
    raise ValueError(f"a frame of shape {frame} is no image")


ELEMENTWISE: tuple[type[Op], ...] = (Affine, BatchNorm, Relu, LeakyRelu, Clip, Sigmoid, Tanh, Abs)
QUANTIZERS: tuple[type[Op], ...] = (Quant, BipolarQuant, MultiThreshold)
IMAGE_OPS: tuple[type[Op], ...] = (Conv, ConvTranspose, MaxPool, AvgPool, Mean, Resize, PixelShuffle, Pad)
MOVES: tuple[type[Op], ...] = (Reshape, Transpose)  # no arithmetic: values go elsewhere
REAL_OPS: tuple[type[Op], ...] = (
    *QUANTIZERS,
    MatMul,
    *ELEMENTWISE,
    *MOVES,
    Softmax,
    Sum,
    ArgMax,
    *IMAGE_OPS,
    Join,
)
