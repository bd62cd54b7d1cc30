"""Quantizer specification -> Brevitas quantizer, and calibration of learned scales.

A `QuantSpec` says everything about one quantizer; a *method* turns it into a Brevitas injector. The
built-in method is `uniform`: evenly spaced levels, a constant or learned scale, round half to even,
straight-through gradient. Other methods (learned grids, learned bitwidths) provide the same two functions;
what they add to the loss or do after a step is declared on their modules (see `hwq.nn.hooks`), so the
training loop does not change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from brevitas.core.bit_width import BitWidthImplType
from brevitas.core.function_wrapper import RoundSte, TensorClamp
from brevitas.core.quant import QuantType
from brevitas.core.restrict_val import FloatToIntImplType, RestrictValueType
from brevitas.core.scaling import ScalingImplType
from brevitas.core.zero_point import ZeroZeroPoint
from brevitas.inject import ExtendedInjector
from brevitas.inject.enum import ScalingPerOutputType
from brevitas.quant.solver import ActQuantSolver, WeightQuantSolver
from torch import Tensor, nn

from hwq.data.plugin import resolve
from hwq.nn.layers import NORMS
from hwq.nn.lean import LeanBinary, LeanClampedBinary, LeanInt


@dataclass(frozen=True, slots=True)
class QuantSpec:
    """One quantizer. bits 1 and signed is bipolar {-1, +1}; 2 and narrow is ternary {-1, 0, +1}.

    scale "const" keeps the largest level at `limit` for ever; "float" and "po2" learn it, from calibration
    on.
    """

    bits: int
    signed: bool = True
    narrow: bool = True
    scale: str = "const"
    granularity: str = "per_tensor"
    limit: float = 1.0

    @property
    def bipolar(self) -> bool:
        return self.bits == 1 and self.signed

    @property
    def int_max(self) -> int:
        """The largest level."""
        return 1 if self.bipolar else (1 << (self.bits - self.signed)) - 1

    @property
    def int_min(self) -> int:
        """The smallest level."""
        if not self.signed:
            return 0
        return -self.int_max - (0 if self.narrow or self.bipolar else 1)


class Method(Protocol):
    """What a quantization method provides: one injector for weights, one for activations."""

    def weight(self, spec: QuantSpec) -> type[ExtendedInjector]: ...

    def act(self, spec: QuantSpec) -> type[ExtendedInjector]: ...


class _Base(ExtendedInjector):  # type: ignore[misc]
    bit_width_impl_type = BitWidthImplType.CONST
    zero_point_impl = ZeroZeroPoint
    float_to_int_impl_type = FloatToIntImplType.ROUND
    tensor_clamp_impl = TensorClamp  # no gradient outside the range
    scaling_min_val = 1e-6


def _fields(spec: QuantSpec) -> dict[str, Any]:
    per_channel = spec.granularity == "per_channel"
    fields: dict[str, Any] = {
        "int_quant": LeanInt,
        "bit_width": spec.bits,
        "signed": spec.signed,
        "narrow_range": spec.narrow and spec.signed,
        "quant_type": QuantType.BINARY if spec.bipolar else QuantType.INT,
        "scaling_per_output_type": ScalingPerOutputType.CHANNEL if per_channel else ScalingPerOutputType.TENSOR,
        "restrict_scaling_type": RestrictValueType.FP,
        "scaling_impl_type": ScalingImplType.CONST if spec.scale == "const" else ScalingImplType.PARAMETER,
    }
    if spec.scale == "po2":
        fields["restrict_scaling_type"] = RestrictValueType.POWER_OF_TWO
        fields["restrict_value_float_to_int_impl"] = RoundSte
    return fields


class Uniform:
    """Evenly spaced levels. See the module docstring."""

    def weight(self, spec: QuantSpec) -> type[ExtendedInjector]:
        """Injector for `weight_quant=` of a Brevitas layer."""
        extra = {"scaling_const": spec.limit} if spec.scale == "const" else {"scaling_init": spec.limit}
        binary = {"tensor_quant": LeanBinary} if spec.bipolar else {}
        return type("UniformWeight", (_Base, WeightQuantSolver), {**_fields(spec), **extra, **binary})

    def act(self, spec: QuantSpec) -> type[ExtendedInjector]:
        """Injector for `act_quant=` of a Brevitas activation."""
        extra = {"max_val": spec.limit, "min_val": -spec.limit if spec.signed else 0.0}
        binary = {"tensor_quant": LeanClampedBinary} if spec.bipolar else {}
        return type("UniformAct", (_Base, ActQuantSolver), {**_fields(spec), **extra, **binary})


def mse_limit(x: Tensor, spec: QuantSpec, candidates: int = 60) -> Tensor:
    """The largest level (as a real number) that quantizes `x` with the least squared error.

    x: [channels, n], one search per row; returns [channels]. A grid search over fractions of the row's
    largest |x| (cf. the LSQ and MSE calibrations in the literature: the optimum lies well below the
    maximum for few bits).
    """
    top = x.abs().amax(dim=1).clamp_min(1e-6)
    if spec.bipolar:
        return x.abs().mean(dim=1).clamp_min(1e-6)
    best, best_err = top.clone(), torch.full_like(top, float("inf"))
    for fraction in torch.linspace(0.05, 1.0, candidates).tolist():
        step = (top * fraction / spec.int_max)[:, None]
        q = (x / step).round().clamp(spec.int_min, spec.int_max) * step
        err = (q - x).square().mean(dim=1)
        better = err < best_err
        best, best_err = torch.where(better, top * fraction, best), torch.where(better, err, best_err)
    return best


def set_limit(quantizer: nn.Module, limit: Tensor, spec: QuantSpec) -> None:
    """Write the largest level into the learned scale of a Brevitas quantizer (nothing to do for a constant
    scale).
    """
    if spec.scale == "const":
        return
    value = next(p for n, p in quantizer.named_parameters() if n.endswith("scaling_impl.value"))
    # Brevitas divides by int_max, or by -int_min where the range is not narrow
    steps = max(spec.int_max, -spec.int_min)
    real = limit * steps / spec.int_max
    with torch.no_grad():
        value.copy_((real.log2() if spec.scale == "po2" else real).reshape(value.shape))


def _sample(x: Tensor, most: int = 1 << 21) -> Tensor:
    """At most `most` values of x, evenly taken, as one row."""
    flat = x.reshape(1, -1)
    step = -(-flat.shape[1] // most)
    return flat[:, :: step | 1] if step > 1 else flat  # an odd step meets every row and column


@torch.no_grad()
def calibrate(net: nn.Module, x: Tensor) -> None:
    """Set every learned scale by least squared quantization error: weights from themselves, activations
    from `x`.

    x: encoded training frames [N, ...]. Modules carry their `quant_spec`; activations are set in
    forward order, each seeing the quantized output of those before it. Leaves the net in evaluation mode,
    statistics untouched.
    """
    net.eval()
    for layer in net.modules():
        spec, weight = getattr(layer, "quant_spec", None), getattr(layer, "weight", None)
        if isinstance(spec, QuantSpec) and isinstance(weight, Tensor):
            if isinstance(layer, nn.ConvTranspose2d):
                weight = weight.transpose(0, 1)  # outputs first
            rows = weight.flatten(1) if spec.granularity == "per_channel" else weight.reshape(1, -1)
            set_limit(layer.weight_quant, mse_limit(rows, spec), spec)

    def before(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        spec, value = module.quant_spec, getattr(args[0], "value", args[0])
        if spec.scale == "const":
            return
        limit = mse_limit(_sample(value), spec)
        if module in seen:  # shared by several layers: the widest range counts
            limit = torch.maximum(limit, seen[module])
        seen[module] = limit
        set_limit(module.act_quant, limit, spec)

    seen: dict[nn.Module, Tensor] = {}

    acts = [
        m for m in net.modules() if isinstance(getattr(m, "quant_spec", None), QuantSpec) and hasattr(m, "act_quant")
    ]
    handles = [m.register_forward_pre_hook(before) for m in acts]
    # batch statistics in place of running ones: an untrained BatchNorm has seen nothing yet
    norms = [m for m in net.modules() if isinstance(m, NORMS)]
    fresh = [m for m in norms if int(m.num_batches_tracked) == 0]
    for m in fresh:
        m.train()
    net(x)
    for m in fresh:
        m.eval()
        m.reset_running_stats()
    for h in handles:
        h.remove()


def method(name: str | None) -> Method:
    """A quantization method by name: built in, or a user's `package.module:Class`."""
    if name is None or name in METHODS:
        return METHODS[name or "uniform"]
    made: Method = resolve(name, "method")()
    return made


METHODS: dict[str, Method] = {"uniform": Uniform()}
