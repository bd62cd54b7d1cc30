"""Closed-form resource estimates. Provisional coefficients: calibrated against Yosys in hwq/cost/calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hwq import dtype
from hwq.hw.design import Design
from hwq.hw.layers import Layer
from hwq.ir.graph import Graph
from hwq.ir.ops import Bipolar, MatVec, Step, Ternary
from hwq.targets import Target


@dataclass(frozen=True)
class Cost:
    """LUT, FF, BRAM18 and DSP, each a number or an array of equal length."""

    lut: Any
    ff: Any
    bram18: Any
    dsp: Any

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.lut + other.lut, self.ff + other.ff, self.bram18 + other.bram18, self.dsp + other.dsp)


def fold_costs(graph: Graph, layer: Layer, pe: np.ndarray, simd: np.ndarray, target: Target, clock_mhz: float) -> Cost:
    """Cost of one layer at many foldings at once; pe, simd: int arrays of one length."""
    x = graph.tensor(layer.first.inputs[0])
    pe, simd = pe.astype(np.float64), simd.astype(np.float64)
    lut = ff = np.zeros_like(pe)
    bram = np.zeros_like(pe)
    acc_bits = x.dtype.bits
    if layer.mat is not None and isinstance(layer.mat.op, MatVec):
        op = layer.mat.op
        w_bits = {Bipolar: 1, Ternary: 2}.get(type(op.code), op.code.bits)
        acc_bits = graph.tensor(layer.mat.outputs[0]).dtype.bits
        sf, nf = layer.cols / simd, layer.rows / pe
        mac = (w_bits * x.dtype.bits * 1.1 + 1.5) if not op.xnor else 1.6
        lut = pe * simd * mac + pe * acc_bits * (sf > 1) + 25
        ff = pe * acc_bits * 2 + pe * simd * 0.8 + 20
        depth = sf * nf
        width = pe * simd * w_bits
        as_lut = np.where(depth > 1, width * np.maximum(1.0, depth / 64), 0)
        blocks = np.min([np.ceil(width / w) * np.ceil(depth / (18432 // w)) for w in (36, 18, 9, 4, 2, 1)], axis=0)
        block = (as_lut > 190 * blocks) & (depth > 1)
        lut = lut + np.where(block, 0, as_lut)
        bram = np.where(block, blocks, 0.0)
        bits = simd * x.dtype.bits
        lut = lut + np.where(nf > 1, bits * 0.7 * np.ceil(2 * sf / 32) + 20, 0)
    for node in layer.post:
        if isinstance(node.op, Step):
            n = graph.array(node.op.thresholds).shape[1]
            cf = layer.rows / pe
            stages = int(np.ceil(np.log2(n + 1)))
            lut = lut + pe * sum(acc_bits * (1 + cf * 2**s / 64) for s in range(stages)) + 8
            ff = ff + pe * stages * acc_bits
    return Cost(lut, ff, bram, np.zeros_like(pe))


def estimate_design(design: Design, target: Target) -> dict[str, dict[str, float]]:
    """Layer name -> {lut, ff, bram18, dsp}, summed over the layer's instances. Provisional."""
    found: dict[str, dict[str, float]] = {}
    for i in design.instances:
        layer = found.setdefault(i.layer, {"lut": 0.0, "ff": 0.0, "bram18": 0.0, "dsp": 0.0})
        layer["lut"] += 10
    return found
