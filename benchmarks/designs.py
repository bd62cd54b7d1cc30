"""The designs behind hwq's resource estimate: those it was calibrated on, and others it is scored on.

Calibration sees random networks and modules only; scored designs have other shapes, bits and seeds, constant layers of
several densities, and every trained model that is shipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hwq import targets
from hwq.dtype import IntArray
from hwq.hw import memory, pipeline
from hwq.hw.add import add_form, add_pipe, add_rows
from hwq.hw.design import Design, Fold, Instance, MemFile, Param
from hwq.hw.layers import divisors, layers
from hwq.hw.map import build
from hwq.hw.window import Window as Geometry
from hwq.ir.graph import Graph, Node, Tensor, blob
from hwq.ir.ops import (
    ArgMax,
    Bipolar,
    Code,
    Combine,
    MatVec,
    Op,
    Pool,
    Step,
    Ternary,
    Total,
    Uniform,
    Window,
)

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


class _Net:
    """An int Graph under construction; every operator has random contents like those of a trained net."""

    def __init__(self, seed: int, shape: tuple[int, ...], bits: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.blobs: dict[str, np.ndarray] = {}
        self.nodes: list[Node] = []
        lo, hi = _levels(bits)
        self.tensors = {"x": Tensor("x", shape, (lo,), (hi,))}

    def keep(self, a: np.ndarray) -> str:
        key, frozen = blob(np.asarray(a))
        self.blobs[key] = frozen
        return key

    def add(self, name: str, op: Op, x: Sequence[Tensor], shape: tuple[int, ...], lo: IntArray, hi: IntArray) -> Tensor:
        y = Tensor(f"{name}_y", shape, tuple(map(int, lo)), tuple(map(int, hi)))
        self.tensors[y.name] = y
        self.nodes.append(Node(name, op, tuple(t.name for t in x), (y.name,)))
        return y

    def matvec(
        self, name: str, x: Tensor, rows: int, bits: int, xnor: bool = False, density: float = 1.0, taps: int = 1,
        groups: int = 1,
    ) -> Tensor:  # fmt: skip
        w, code = _weights(self.rng, rows, x.channels // groups, bits, density)
        lo, hi = x.lo[0], x.hi[0]
        alo = np.zeros(rows, int) if xnor else np.where(w > 0, w * lo, w * hi).sum(axis=1)
        ahi = np.full(rows, x.channels) if xnor else np.where(w > 0, w * hi, w * lo).sum(axis=1)
        op = MatVec(self.keep(w.astype(np.int64)), code, xnor, groups, taps)
        return self.add(name, op, (x,), (*x.shape[:-1], rows), alo, ahi)

    def step(self, name: str, x: Tensor, bits: int) -> Tensor:
        """Thresholds spread around the middle of the range."""
        rows, n = x.channels, _levels(bits)[1] - _levels(bits)[0]
        alo, ahi = (np.broadcast_to(np.array(v), rows) for v in (x.lo, x.hi))
        mid, half = (alo + ahi)[:, None] / 2, (ahi - alo + 1)[:, None] / 2
        spread = self.rng.uniform(0.2, 0.5, (rows, 1)) * np.linspace(-1, 1, n + 2)[None, 1:-1] + self.rng.uniform(
            -0.15, 0.15, (rows, 1)
        )
        t = np.clip(np.sort(np.rint(mid + half * spread).astype(np.int64), axis=1), alo[:, None], ahi[:, None] + 1)
        lo, hi = (np.array([v]) for v in _levels(bits))
        return self.add(name, Step(self.keep(t), int(lo[0])), (x,), x.shape, lo, hi)

    def graph(self, name: str, x: Tensor) -> Graph:
        """What there is, with ArgMax behind x."""
        label = self.add("argmax", ArgMax(), (x,), (1,), np.array([0]), np.array([x.channels - 1]))
        return Graph(name, "int", ("x",), (label.name,), tuple(self.nodes), self.tensors, self.blobs, (None,))


def _levels(bits: int) -> tuple[int, int]:
    return (0, 1) if bits == 1 else (-1, 1) if bits == 2 else (0, (1 << bits) - 1)


def network(case: Case) -> Graph:
    """The int Graph of a case: dense layers with thresholds, then ArgMax."""
    net = _Net(case.seed, (case.widths[0],), case.x_bits[0])
    x = net.tensors["x"]
    for k, rows in enumerate(case.widths[1:]):
        xnor = case.w_bits[k] == 1 and case.x_bits[k] == 1
        x = net.matvec(f"fc{k}", x, rows, case.w_bits[k], xnor, case.density)
        if k + 2 < len(case.widths):
            x = net.step(f"step{k}", x, case.x_bits[k + 1])
    return net.graph(case.name, x)


@dataclass(frozen=True)
class Images:
    """A random network of images [H, W, C]. layers: ("conv", rows, kernel, stride, pad), ("depthwise", kernel, pad),
    ("pool", size), or ("residual", kernel): a convolution whose input is added to its output.
    """

    name: str
    shape: tuple[int, int, int]
    w_bits: int
    x_bits: int
    layers: tuple[tuple[str | int, ...], ...]
    ii: int
    seed: int


def image_network(case: Images) -> Graph:
    """The int Graph of a case: its layers, the sum over all positions, a dense layer of 10 classes, ArgMax."""
    net = _Net(case.seed, case.shape, case.x_bits)
    x = net.tensors["x"]

    def window(name: str, x: Tensor, kernel: int, stride: int, pad: int) -> Tensor:
        op = Window((kernel, kernel), (stride, stride), (pad,) * 4, (1, 1), 0)
        shape = (*op.positions(x.shape), kernel * kernel * x.channels)
        return net.add(name, op, (x,), shape, np.array(x.lo), np.array(x.hi))

    for k, (kind, *sizes) in enumerate(case.layers):
        name, (size, *more) = f"{kind}{k}", map(int, sizes)
        if kind == "pool":
            y = window(f"{name}_window", x, size, size, 0)
            shape = (*y.shape[:2], x.channels)
            x = net.add(name, Pool("max", size * size), (y,), shape, np.array(x.lo), np.array(x.hi))
            continue
        c = x.channels
        if kind == "conv":
            y = net.matvec(name, window(f"{name}_window", x, *more), size, case.w_bits, taps=more[0] ** 2)
        elif kind == "depthwise":
            y = window(f"{name}_window", x, size, 1, more[0])
            y = net.matvec(name, y, c, case.w_bits, taps=size**2, groups=c)
        else:
            y = net.matvec(name, window(f"{name}_window", x, size, 1, size // 2), c, case.w_bits, taps=size**2)
            y = net.step(f"{name}_step", y, case.x_bits)
            one, zero = net.keep(np.ones(1, dtype=np.int64)), net.keep(np.zeros(1, dtype=np.int64))
            lo, hi = np.array(x.lo) + np.array(y.lo), np.array(x.hi) + np.array(y.hi)
            y = net.add(f"{name}_add", Combine((one, one), zero), (x, y), y.shape, lo, hi)
        x = net.step(f"{name}_out", y, case.x_bits)
    n = x.shape[0] * x.shape[1]
    x = net.add("mean", Total(), (x,), (x.channels,), n * np.array(x.lo), n * np.array(x.hi))
    return net.graph(case.name, net.matvec("fc", net.step("mean_out", x, case.x_bits), 10, case.w_bits))


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


def window(
    name: str, lanes: int, bits: int, c: int, size: int, k: int, stride: int, pad: int, passes: int, slack: int = 0
) -> Instance:
    """hwq_window on a square image of c channels, `slack` rows deeper than it must be; passes 0: channels first, as
    before a pooling.
    """
    out = (size + 2 * pad - k) // stride + 1
    chunks = c // lanes
    least = Geometry(chunks, (size, size), (k, k), (stride, stride), (1, 1), (pad, pad), (out, out)).least_depth
    params = {
        "LANES": lanes, "BITS": bits, "CHUNKS": chunks, "IN_H": size, "IN_W": size, "KH": k, "KW": k, "SH": stride,
        "SW": stride, "DH": 1, "DW": 1, "PAD_T": pad, "PAD_L": pad, "OUT_H": out, "OUT_W": out,
        "PASSES": max(passes, 1), "GROUPS": 1 if passes else chunks, "PAD_VALUE": 0,
        "DEPTH": least + slack * size * chunks, "STYLE": 0,
    }  # fmt: skip
    return Instance(name, "hwq_window", tuple(params.items()), name)


def slide(
    name: str, lanes: int, bits: int, size: int, k: int, stride: int, pad: int, taps: int, passes: int
) -> Instance:
    """hwq_slide on a square image of pixels of `lanes` values."""
    out = (size + 2 * pad - k) // stride + 1
    params = {
        "LANES": lanes, "BITS": bits, "IN_H": size, "IN_W": size, "KH": k, "KW": k, "SH": stride, "SW": stride, "DH": 1,
        "DW": 1, "PAD_T": pad, "PAD_L": pad, "OUT_H": out, "OUT_W": out, "TAPS": taps, "PASSES": passes, "PIXELS": 1,
        "PAD_VALUE": 0, "STYLE": 0,
    }  # fmt: skip
    return Instance(name, "hwq_slide", tuple(params.items()), name)


def pool(name: str, lanes: int, n: int, bits: int, total: int = 0, chunks: int = 1, taps: int = 1) -> Instance:
    """hwq_pool: the maximum, or (total > 0 bits) the sum, of n beats of `taps` each; with chunks > 1 hwq_total over n
    positions.
    """
    base = {"LANES": lanes, "X_W": bits, "X_SIGNED": 0, "Y_W": total or bits}
    if chunks == 1:
        own = {"N": n, "KIND": int(total > 0), "TAPS": taps, "PIPE": pipeline.pool_pipe(taps, total or bits, 100)}
    else:
        own = {"CHUNKS": chunks, "POSITIONS": n, "STYLE": 1}
    params = base | own
    return Instance(name, "hwq_total" if chunks > 1 else "hwq_pool", tuple(params.items()), name)


def vvu(name: str, pe: int, nf: int, sf: int, w_bits: int, x_bits: int, style: int = 1, simd: int = 1) -> Instance:
    """hwq_vvu with random weights on unsigned inputs."""
    rng = np.random.default_rng(9)
    w, _ = _weights(rng, pe * nf, sf * simd, w_bits, 1.0)
    kind = {1: 1, 2: 2}.get(w_bits, 0)
    acc = x_bits + w_bits + (sf * simd - 1).bit_length()
    params = {"PE": pe, "SIMD": simd, "SF": sf, "NF": nf, "W_BITS": w_bits, "W_KIND": kind, "X_BITS": x_bits,
              "X_SIGNED": 0, "ACC_W": acc, "STYLE": style,
              "PIPE": pipeline.mvu_pipe(simd, w_bits, kind, x_bits, sf, 1, 100), "W_FILE": "w.mem"}  # fmt: skip
    rows = memory.mvu_rows(w, pe, simd, w_bits, kind)
    return Instance(name, "hwq_vvu", tuple(params.items()), name, (MemFile("w.mem", rows),))


def add(name: str, pe: int, cf: int, x0: int, x1: int, m0: int, m1: int, b: int) -> Instance:
    """hwq_add with random multipliers below m0 and m1 (1: none) and biases below b in magnitude."""
    rng = np.random.default_rng(11)
    m = tuple(rng.integers(1, top + 1, pe * cf) for top in (m0, m1))
    bias = rng.integers(-b, b + 1, pe * cf)
    form = add_form((m[0], m[1]), bias)
    rows = add_rows(form, (m[0], m[1]), bias, pe)
    high = m0 * ((1 << x0) - 1) + m1 * ((1 << x1) - 1) + b
    y_w = high.bit_length() + (b > 0)  # signed if there are biases
    params: dict[str, Param] = {
        "PE": pe, "CF": cf, "X0_W": x0, "X0_SIGNED": 0, "X1_W": x1, "X1_SIGNED": 0, "USE0": form.use[0],
        "USE1": form.use[1], "B_W": form.b_bits, "Y_W": y_w, "PIPE": add_pipe(form, y_w, 100),
        **({"MB_FILE": "mb.mem"} if rows else {}),
    }  # fmt: skip
    return Instance(name, "hwq_add", tuple(params.items()), name, (MemFile("mb.mem", rows),) if rows else ())


def concat(name: str, width: int, a: int, b: int) -> Instance:
    return Instance(name, "hwq_concat", (("DATA_W", width), ("A", a), ("B", b)), name)


def spread(name: str, lanes: int, bits: int, chunks: int, size: int, factor: int) -> Instance:
    """hwq_spread on a square image."""
    params = {"LANES": lanes, "BITS": bits, "CHUNKS": chunks, "IN_H": size, "IN_W": size, "FH": factor, "FW": factor,
              "VALUE": 0}  # fmt: skip
    return Instance(name, "hwq_spread", tuple(params.items()), name)


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
        for k, p in enumerate([(4, 8), (12, 32), (40, 16), (3, 64), (64, 48), (8, 200), (16, 600), (72, 3), (128, 4),
                                 (32, 32), (16, 64), (24, 100), (8, 2048)])
    ),
    *(
        window(f"window{k}", *p)
        for k, p in enumerate([
            (3, 8, 3, 32, 3, 1, 0, 4), (16, 1, 64, 30, 3, 1, 0, 2), (4, 4, 16, 14, 3, 1, 1, 8),
            (8, 2, 32, 16, 3, 2, 1, 1), (1, 4, 8, 8, 5, 1, 2, 1), (32, 2, 64, 14, 3, 1, 0, 16),
            (2, 4, 16, 28, 2, 2, 0, 0), (16, 1, 16, 10, 2, 2, 0, 0), (8, 4, 64, 8, 3, 1, 1, 1),
            (4, 2, 4, 28, 5, 1, 2, 3),
            # of networks: CNV, ResNet-8, LeNet-5, depthwise and downsampling layers
            (3, 8, 3, 32, 3, 1, 0, 64), (64, 1, 64, 30, 3, 1, 0, 8), (32, 1, 128, 14, 3, 1, 0, 32, 1),
            (64, 1, 64, 28, 2, 2, 0, 0), (16, 4, 16, 32, 3, 1, 1, 4, 1), (16, 4, 64, 16, 3, 2, 1, 16, 1),
            (8, 4, 16, 32, 1, 2, 0, 4), (6, 4, 6, 14, 5, 1, 0, 4), (16, 4, 32, 56, 3, 1, 1, 0),
            (4, 8, 32, 28, 3, 1, 1, 0, 1), (4, 4, 16, 14, 3, 1, 0, 4), (1, 4, 6, 24, 2, 2, 0, 0),
            (2, 2, 64, 8, 3, 1, 1, 4, 1),
        ])
    ),
    *(
        slide(f"slide{k}", *p)
        for k, p in enumerate([
            (16, 1, 30, 3, 1, 0, 9, 4), (3, 8, 32, 3, 1, 0, 9, 1), (16, 4, 14, 3, 1, 1, 3, 4),
            (8, 4, 56, 3, 2, 1, 9, 2), (64, 1, 14, 3, 1, 0, 9, 1), (1, 8, 28, 5, 1, 2, 25, 8),
            (4, 4, 28, 5, 1, 0, 5, 2), (2, 8, 224, 3, 2, 1, 3, 1), (16, 4, 112, 3, 1, 1, 9, 1),
        ])
    ),
    *(
        pool(f"pool{k}", *p)
        for k, p in enumerate([
            (1, 4, 4), (16, 4, 1), (8, 4, 2), (4, 9, 8), (2, 4, 4, 6), (8, 9, 8, 12), (16, 16, 4, 8),
            (4, 64, 4, 10, 16),
            (8, 49, 2, 8, 4), (1, 64, 8, 14, 64), (16, 25, 4, 9, 2), (64, 4, 1), (4, 4, 8), (16, 64, 4, 10, 4),
            (16, 1, 4, 0, 1, 4), (64, 1, 1, 0, 1, 4), (8, 1, 8, 0, 1, 9), (4, 3, 4, 0, 1, 3), (16, 1, 2, 0, 1, 9),
            (8, 1, 4, 8, 1, 9), (4, 5, 6, 11, 1, 5), (16, 2, 1, 0, 1, 2),
        ])
    ),
    *(
        vvu(f"vvu{k}", *p)
        for k, p in enumerate([
            (1, 32, 9, 4, 4), (4, 8, 9, 4, 4), (16, 2, 9, 2, 4), (8, 4, 25, 8, 8), (4, 16, 9, 1, 2),
            (16, 8, 9, 4, 4, 2), (8, 1, 9, 3, 4), (16, 1, 3, 4, 4, 1, 3), (8, 1, 5, 8, 8, 1, 5), (32, 1, 3, 2, 4, 1, 3),
            (16, 1, 1, 4, 4, 1, 9), (32, 1, 1, 2, 2, 1, 9), (8, 1, 1, 3, 8, 1, 9),
        ])
    ),
    *(
        add(f"add{k}", *p)
        for k, p in enumerate([
            (4, 4, 4, 4, 1, 1, 0), (16, 1, 4, 4, 1, 1, 0), (4, 8, 4, 6, 5, 1, 0), (8, 4, 12, 4, 1, 14, 100),
            (2, 32, 8, 8, 30, 30, 60), (16, 1, 4, 4, 7, 5, 9), (1, 64, 13, 4, 1, 60, 500),
        ])
    ),
    *(concat(f"concat{k}", *p) for k, p in enumerate([(4, 4, 4), (64, 2, 6), (16, 1, 1)])),
    *(spread(f"spread{k}", *p) for k, p in enumerate([(4, 4, 4, 8, 2), (16, 4, 1, 14, 2), (1, 8, 3, 28, 3)])),
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
