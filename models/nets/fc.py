"""FC: a dense net with its own weight, input and output bits in every layer: CNN without an image.

    input quantizer -> [dropout] -> (linear -> norm -> activation quantizer -> [dropout]) * n -> linear ->
    norm

With constant scales and signed activations this is the topology of the TFC, SFC and LFC examples of Brevitas.
"""

from __future__ import annotations

from hwq_models.nets.cnn import CNN
from torch import nn

from hwq.nn.quant import QuantSpec


class FC(CNN):
    """A CNN whose layers are all dense; signed activations of the float baseline are clipped to [-1, 1]."""

    @staticmethod
    def float_act(spec: QuantSpec) -> nn.Module:
        """What the float baseline has in place of a quantizer."""
        return nn.Hardtanh() if spec.signed else nn.ReLU()
