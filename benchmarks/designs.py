"""The designs behind hwq's resource estimate: those it was calibrated on, and others it is scored on.

Calibration sees random networks and modules only; scored designs have other shapes, bits and seeds, constant layers of
several densities, and every trained model that is shipped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwq import targets
from hwq.hw import memory, pipeline
from hwq.hw.design import Design, Fold, Instance, MemFile
from hwq.hw.layers import divisors, layers
from hwq.hw.map import build
from hwq.ir.graph import Graph, Node, Tensor, blob
from hwq.ir.ops import ArgMax, Bipolar, Code, MatVec, Step, Ternary, Uniform

TARGET = targets.load("pynq-z2")


@dataclass(frozen=True)
class Case:
    """A random dense network and how to fold it. ii 0: fully unrolled. density: share of weights that are not zero."""

    name: str
    widths: tuple[int, ...]
    w_bits: tuple[int, ...]
    x_bits: tuple[int, ...]
    ii: int
    seed: int
    density: float = 1.0
    memory: str = "auto"
    resource: str = "auto"


def _weights(rng: np.random.Generator, rows: int, cols: int, bits: int, density: float) -> tuple[np.ndarray, Code]:
    if bits == 1:
        return rng.choice([-1, 1], (rows, cols)), Bipolar()
    if bits == 2:
        w, code = rng.integers(-1, 2, (rows, cols)), Ternary()
    else:
        top = (1 << (bits - 1)) - 1
        w, code = np.clip(np.rint(rng.normal(0, top / 2.5, (rows, cols))), -top, top).astype(int), Uniform(bits)
    return np.where(rng.random((rows, cols)) < density, w, 0), code


def network(case: Case) -> Graph:
    """The int Graph of a case: dense layers with thresholds spread like those of a trained net, then ArgMax."""
    rng = np.random.default_rng(case.seed)
    blobs, tensors, nodes = {}, {}, []

    def keep(a: np.ndarray) -> str:
        key, frozen = blob(np.asarray(a))
        blobs[key] = frozen
        return key

    def levels(bits: int) -> tuple[int, int]:
        return (0, 1) if bits == 1 else (-1, 1) if bits == 2 else (0, (1 << bits) - 1)

    lo, hi = levels(case.x_bits[0])
    x = tensors["x"] = Tensor("x", (case.widths[0],), (lo,), (hi,))
    for k, (cols, rows) in enumerate(zip(case.widths, case.widths[1:], strict=False)):
        w, code = _weights(rng, rows, cols, case.w_bits[k], case.density)
        xnor = case.w_bits[k] == 1 and case.x_bits[k] == 1
        lo, hi = x.lo[0], x.hi[0]
        alo = np.zeros(rows, int) if xnor else np.where(w > 0, w * lo, w * hi).sum(axis=1)
        ahi = np.full(rows, cols) if xnor else np.where(w > 0, w * hi, w * lo).sum(axis=1)
        acc = tensors[f"acc{k}"] = Tensor(f"acc{k}", (rows,), tuple(map(int, alo)), tuple(map(int, ahi)))
        nodes.append(Node(f"fc{k}", MatVec(keep(w.astype(np.int64)), code, xnor), (x.name,), (acc.name,)))
        x = acc
        if k + 2 < len(case.widths):
            ylo, yhi = levels(case.x_bits[k + 1])
            mid, half = (alo + ahi)[:, None] / 2, (ahi - alo + 1)[:, None] / 2
            n = yhi - ylo
            spread = rng.uniform(0.2, 0.5, (rows, 1)) * np.linspace(-1, 1, n + 2)[None, 1:-1] + rng.uniform(
                -0.15, 0.15, (rows, 1)
            )
            t = np.clip(np.sort(np.rint(mid + half * spread).astype(np.int64), axis=1), alo[:, None], ahi[:, None] + 1)
            x = tensors[f"act{k}"] = Tensor(f"act{k}", (rows,), (ylo,), (yhi,))
            nodes.append(Node(f"step{k}", Step(keep(t), ylo), (acc.name,), (x.name,)))
    label = tensors["label"] = Tensor("label", (1,), (0,), (case.widths[-1] - 1,))
    nodes.append(Node("argmax", ArgMax(), (x.name,), (label.name,)))
    return Graph(case.name, "int", ("x",), ("label",), tuple(nodes), tensors, blobs, (None,))


def foldings(graph: Graph, ii: int, memory: str = "auto", resource: str = "auto") -> dict[str, Fold]:
    """The fewest multipliers that reach `ii`, SIMD as near 4 PE as it goes; asks no estimate, as it feeds it."""
    folds = {}
    for layer in layers(graph):
        legal = [
            (pe * simd, abs(simd - 4 * pe), pe, simd)
            for pe in divisors(layer.rows)
            for simd in divisors(layer.cols)
            if (layer.rows // pe) * (layer.cols // simd) <= max(ii, 1)
        ]
        _, _, pe, simd = min(legal)
        folds[layer.name] = Fold(pe, simd, resource, memory)
    return folds


def design(case: Case) -> tuple[Graph, Design]:
    """The mapped case."""
    graph = network(case)
    return graph, build(graph, foldings(graph, case.ii, case.memory, case.resource), TARGET, 100)


def _signed(rng: np.random.Generator, bits: int, n: int) -> np.ndarray:
    return rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), n)


def scale(name: str, lanes: int, cf: int, x_w: int, m_w: int, b_w: int, y_w: int, requant: bool = False) -> Instance:
    """hwq_scale or hwq_requant with random multipliers and biases."""
    rng = np.random.default_rng(7)
    m, b = _signed(rng, m_w, lanes * cf), _signed(rng, b_w, lanes * cf)
    params = {"PE": lanes, "CF": cf, "X_W": x_w, "X_SIGNED": 1, "M_W": m_w, "B_W": b_w, "Y_W": y_w, "MB_FILE": "mb.mem"}
    if requant:
        top = (1 << (y_w - 1)) - 1
        params |= {"SHIFT": x_w + m_w - y_w, "Y_LO": -top, "Y_HI": top}
        params["PIPE"] = pipeline.requant_pipe(x_w, m_w, b_w, 1, 100)
    else:
        params["PIPE"] = pipeline.scale_pipe(x_w, m_w, 100)
    rows = memory.scale_rows(m, b, lanes, m_w, b_w)
    module = "hwq_requant" if requant else "hwq_scale"
    return Instance(name, module, tuple(params.items()), name, (MemFile("mb.mem", rows),))


def table(name: str, lanes: int, cf: int, entries: int, y_w: int) -> Instance:
    """hwq_table in LUTs with random entries."""
    rng = np.random.default_rng(8)
    e = rng.integers(0, 1 << y_w, (lanes * cf, entries))
    params = {"PE": lanes, "CF": cf, "X_W": (entries - 1).bit_length(), "X_SIGNED": 0, "BASE": 0, "ENTRIES": entries,
              "Y_W": y_w, "STYLE": 1, "PIPE": 1, "INIT_FILE": "t.mem"}  # fmt: skip
    rows = memory.table_rows(e, 0, lanes, y_w)
    return Instance(name, "hwq_table", tuple(params.items()), name, (MemFile("t.mem", rows),))


def fifo(name: str, width: int, depth: int) -> Instance:
    return Instance(name, "hwq_fifo", (("DATA_W", width), ("DEPTH", depth), ("STYLE", 0)), name)


def window(name: str, lanes: int, bits: int, c: int, size: int, k: int, stride: int, pad: int, passes: int) -> Instance:
    """hwq_window on a square image of c channels; passes 0: channels first, as before a pooling."""
    out = (size + 2 * pad - k) // stride + 1
    chunks = c // lanes
    params = {
        "LANES": lanes, "BITS": bits, "CHUNKS": chunks, "IN_H": size, "IN_W": size, "KH": k, "KW": k, "SH": stride,
        "SW": stride, "DH": 1, "DW": 1, "PAD_T": pad, "PAD_L": pad, "OUT_H": out, "OUT_W": out,
        "PASSES": max(passes, 1), "ORDER": int(passes == 0), "PAD_VALUE": 0,
        "DEPTH": ((k - 1) * size + k) * chunks + size * chunks, "STYLE": 0,
    }  # fmt: skip
    return Instance(name, "hwq_window", tuple(params.items()), name)


def pool(name: str, lanes: int, n: int, bits: int, total: int = 0, chunks: int = 1) -> Instance:
    """hwq_pool: the maximum, or (total > 0 bits) the sum, of n; with chunks > 1 hwq_total over n positions."""
    base = {"LANES": lanes, "X_W": bits, "X_SIGNED": 0, "Y_W": total or bits}
    own = {"N": n, "KIND": int(total > 0)} if chunks == 1 else {"CHUNKS": chunks, "POSITIONS": n, "STYLE": 1}
    params = base | own
    return Instance(name, "hwq_total" if chunks > 1 else "hwq_pool", tuple(params.items()), name)


MODULES = (  # those that few networks need, one by one
    *(
        scale(f"scale{k}", *p)
        for k, p in enumerate([
            (1, 16, 12, 8, 16, 21), (4, 8, 10, 6, 12, 17), (8, 4, 14, 10, 20, 26), (2, 32, 8, 4, 10, 13),
            (6, 1, 12, 8, 16, 21), (16, 1, 9, 5, 10, 15), (3, 64, 16, 12, 20, 30), (10, 2, 11, 7, 14, 19),
        ])
    ),
    *(
        scale(f"requant{k}", *p, requant=True)
        for k, p in enumerate([
            (1, 16, 14, 10, 20, 5), (4, 8, 12, 12, 22, 6), (8, 2, 16, 9, 24, 8), (2, 32, 18, 14, 30, 8),
            (6, 1, 12, 8, 18, 5), (16, 1, 13, 11, 22, 4), (3, 64, 20, 12, 30, 7), (10, 4, 11, 7, 16, 8),
        ])
    ),
    *(
        table(f"table{k}", *p)
        for k, p in enumerate([
            (1, 16, 16, 4), (4, 8, 32, 3), (2, 4, 200, 8), (8, 1, 64, 5), (3, 1, 500, 6), (1, 1, 12, 2),
        ])
    ),
    *(
        fifo(f"fifo{k}", *p)
        for k, p in enumerate([(4, 8), (12, 32), (40, 16), (3, 64), (64, 48), (8, 200), (16, 600), (72, 3), (128, 4)])
    ),
    *(
        window(f"window{k}", *p)
        for k, p in enumerate([
            (3, 8, 3, 32, 3, 1, 0, 4), (16, 1, 64, 30, 3, 1, 0, 2), (4, 4, 16, 14, 3, 1, 1, 8),
            (8, 2, 32, 16, 3, 2, 1, 1), (1, 4, 8, 8, 5, 1, 2, 1), (32, 2, 64, 14, 3, 1, 0, 16),
            (2, 4, 16, 28, 2, 2, 0, 0), (16, 1, 16, 10, 2, 2, 0, 0), (8, 4, 64, 8, 3, 1, 1, 1),
            (4, 2, 4, 28, 5, 1, 2, 3),
        ])
    ),
    *(
        pool(f"pool{k}", *p)
        for k, p in enumerate([
            (1, 4, 4), (16, 4, 1), (8, 4, 2), (4, 9, 8), (2, 4, 4, 6), (8, 9, 8, 12), (16, 16, 4, 8),
            (4, 64, 4, 10, 16),
            (8, 49, 2, 8, 4), (1, 64, 8, 14, 64), (16, 25, 4, 9, 2),
        ])
    ),
)  # fmt: skip

CALIBRATION = tuple(
    Case(f"cal{i}", widths, w, x, ii, 1000 + i, density, *build)
    for i, (widths, w, x, ii, density, *build) in enumerate(
        [
            ((48, 24, 24, 6), (4, 4, 4), (4, 4, 4), 1152, 1.0, "auto"),
            ((48, 24, 24, 6), (4, 4, 4), (4, 4, 4), 96, 1.0, "lut"),
            ((48, 24, 24, 6), (4, 4, 4), (4, 4, 4), 24, 1.0, "lut"),
            ((96, 40, 40, 8), (2, 2, 2), (2, 2, 2), 320, 0.7, "lut"),
            ((96, 40, 40, 8), (2, 2, 2), (2, 2, 2), 40, 0.7, "lut"),
            ((256, 48, 48, 12), (1, 1, 1), (1, 1, 1), 256, 1.0, "lut"),
            ((256, 48, 48, 12), (1, 1, 1), (1, 1, 1), 48, 1.0, "lut"),
            ((120, 36, 36, 9), (1, 1, 1), (2, 2, 2), 135, 1.0, "lut"),
            ((80, 30, 30, 10), (3, 3, 3), (3, 3, 3), 200, 1.0, "lut"),
            ((80, 30, 30, 10), (5, 6, 8), (5, 4, 3), 150, 1.0, "lut"),
            ((60, 20, 20, 5), (8, 8, 8), (8, 4, 4), 60, 1.0, "lut"),
            ((200, 32, 32, 4), (2, 2, 2), (1, 1, 1), 100, 0.6, "lut"),
            ((40, 16, 16, 8), (4, 3, 4), (2, 4, 1), 40, 1.0, "lut"),
            ((24, 12, 12, 6), (4, 4, 4), (4, 4, 4), 0, 1.0, "auto"),
            ((24, 12, 12, 6), (4, 4, 4), (4, 4, 4), 0, 0.4, "auto"),
            ((32, 16, 16, 6), (2, 2, 2), (2, 2, 2), 0, 0.8, "auto"),
            ((32, 16, 16, 6), (2, 2, 2), (2, 2, 2), 0, 0.3, "auto"),
            ((64, 16, 16, 8), (1, 1, 1), (1, 1, 1), 0, 1.0, "auto"),
            ((24, 12, 12, 6), (3, 5, 4), (3, 2, 3), 0, 0.8, "auto"),
            ((24, 12, 12, 6), (6, 6, 6), (6, 3, 4), 0, 0.7, "auto"),
            ((48, 20, 20, 5), (2, 3, 2), (1, 1, 2), 0, 0.9, "auto"),
            ((128, 64, 64, 16), (4, 2, 3), (3, 2, 3), 512, 1.0, "auto"),
            ((100, 24, 32, 8), (1, 1, 1), (1, 1, 1), 0, 1.0, "auto"),
            ((32, 16, 16, 8), (4, 4, 4), (4, 4, 4), 0, 0.15, "auto"),
            ((64, 32, 32, 8), (4, 4, 4), (4, 4, 4), 64, 1.0, "block", "dsp"),
            ((60, 20, 20, 5), (8, 6, 8), (8, 4, 4), 60, 1.0, "block", "dsp"),
            ((48, 24, 24, 6), (3, 5, 4), (3, 2, 4), 36, 1.0, "block", "dsp"),
        ]
    )
)
