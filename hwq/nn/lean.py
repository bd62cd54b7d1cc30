"""Brevitas quantizers with the same values and fewer passes over memory.

Brevitas composes a quantizer of a dozen elementwise ops, each with a gradient of its own; on a CPU that costs a small
convolutional net more time than its convolutions. Here forward is the same arithmetic (x / scale, round half to even,
clamp, * scale: the same bits), and backward is one formula. Parameters, state and export are Brevitas's.
"""

from __future__ import annotations

from typing import Any

import torch
from brevitas.core.quant import BinaryQuant, ClampedBinaryQuant, IntQuant
from torch import Tensor


class _Quantize(torch.autograd.Function):
    """y = clamp(round(x / scale), lo, hi) * scale; straight-through inside the range (its ends half a step beyond lo
    and hi), no gradient outside.

    dy/dscale = clamp(round(x / scale)) - x / scale inside, the end level outside (LSQ, Esser et al. 2020).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, lo: float, hi: float) -> Tensor:
        ratio = x / scale
        y = ratio.round().clamp_(lo, hi).mul_(scale)
        ctx.save_for_backward(ratio, scale, y if ctx.needs_input_grad[1] else None)
        ctx.ends = lo, hi
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        ratio, scale, y = ctx.saved_tensors
        lo, hi = ctx.ends
        inside = torch.ops.aten.hardtanh_backward(grad, ratio, lo - 0.5, hi + 0.5)
        if y is None:
            return inside, None, None, None
        below = torch.ops.aten.hardtanh_backward(ratio, ratio, lo - 0.5, hi + 0.5)  # the ratio inside, 0 outside
        error = torch.sub(below, y, alpha=1 / float(scale)) if scale.numel() == 1 else below.sub_(y / scale)
        return inside, _sum_like(error, grad, scale).neg_(), None, None


def _sum_like(a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
    """Sum of a * b over everything that one element of `scale` covers."""
    if scale.numel() == 1 and a.dtype == torch.float32:
        flat = [v.permute(0, 2, 3, 1).reshape(-1) if v.ndim == 4 else v.reshape(-1) for v in (a, b)]
        return torch.dot(*flat).reshape(scale.shape)
    dims = [i for i in range(a.ndim) if scale.ndim < a.ndim or scale.shape[i] == 1]
    return (a * b).sum(dims, dtype=scale.dtype).reshape(scale.shape)


class _Sign(torch.autograd.Function):
    """y = +scale from 0 up, -scale below; straight-through, with `clamped` only where |x| < scale."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, clamped: bool) -> Tensor:
        y = torch.copysign(scale.to(x.dtype), x + 0.0)  # -0.0 counts as zero
        ctx.save_for_backward(x if clamped or ctx.needs_input_grad[1] else None, scale)
        ctx.clamped = clamped
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, scale = ctx.saved_tensors
        inside = grad
        if ctx.clamped and scale.numel() == 1:
            inside = torch.ops.aten.hardtanh_backward(grad, x, -float(scale), float(scale))
        elif ctx.clamped:
            inside = grad * (x.abs() < scale)
        if not ctx.needs_input_grad[1]:
            return inside, None, None
        slope = 1 + scale * (x.abs() > scale) if ctx.clamped else torch.ones_like(x)  # the clamp's ends move as well
        return inside, _sum_like(torch.copysign(slope.to(x.dtype), x + 0.0), grad, scale), None


class LeanInt(IntQuant):  # type: ignore[misc]
    """IntQuant for a zero point of 0, rounding to nearest, and a constant bit width."""

    def forward(self, scale: Tensor, zero_point: Tensor, bit_width: Tensor, x: Tensor) -> Tensor:
        """x on the grid of `scale`, as a real number."""
        if not hasattr(self, "ends"):
            self.ends = float(self.min_int(bit_width)), float(self.max_int(bit_width))
        y: Tensor = _Quantize.apply(x, scale, *self.ends)
        return y


class LeanBinary(BinaryQuant):  # type: ignore[misc]
    """Weights -scale, +scale."""

    clamped = False

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(quantized x, scale, zero point, bit width)."""
        scale = self.scaling_impl(x)
        return _Sign.apply(x, scale, self.clamped), scale, self.zero_point(), self.bit_width()


class LeanClampedBinary(ClampedBinaryQuant):  # type: ignore[misc]
    """Activations -scale, +scale: no gradient where |x| >= scale."""

    clamped = True
    forward = LeanBinary.forward
