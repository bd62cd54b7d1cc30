"""Choosing a folding: for a throughput, for a budget, or read from a file; always exact divisors."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwq.cost.estimate import Cost, fold_costs
from hwq.errors import ConfigError, FoldingError
from hwq.hw.design import Fold
from hwq.hw.layers import Layer, layers
from hwq.hw.store import BRAM18_IN_LUT
from hwq.ir.graph import Graph
from hwq.targets import Target

SCHEMA_VERSION = 1
DSP_IN_LUT = 240


@dataclass(frozen=True)
class Choices:
    """Every legal folding of one layer with its cycles and cost, all arrays of one length."""

    layer: Layer
    pe: np.ndarray
    simd: np.ndarray
    cycles: np.ndarray
    cost: Cost

    @property
    def price(self) -> np.ndarray:
        """One number to minimise: LUT with memories and multipliers converted."""
        return np.asarray(self.cost.lut + BRAM18_IN_LUT * self.cost.bram18 + DSP_IN_LUT * self.cost.dsp)


def choices(graph: Graph, target: Target, clock_mhz: float) -> tuple[Choices, ...]:
    """All foldings of every layer, costed in one vectorized evaluation per layer."""
    found = []
    for layer in layers(graph):
        pe, simd = (a.ravel() for a in np.meshgrid(layer.pes, layer.simds, indexing="ij"))
        cycles = (layer.rows // pe) * (layer.cols // simd) * layer.vectors
        found.append(Choices(layer, pe, simd, cycles, fold_costs(graph, layer, pe, simd, target, clock_mhz)))
    return tuple(found)


def _pick(c: Choices, ii: int) -> int:
    """Index of the cheapest folding with at most `ii` cycles."""
    price = np.where(c.cycles <= ii, c.price, np.inf)
    return int(np.lexsort((c.simd, c.cycles, price))[0])


def for_ii(graph: Graph, ii: int, target: Target, clock_mhz: float) -> dict[str, Fold]:
    """The cheapest folding of every layer that needs at most `ii` cycles a frame. Raises FoldingError if ii < 1."""
    if ii < 1:
        raise FoldingError(
            f"{ii} cycles a frame can't be reached; the fastest design takes 1 (lower --fps or raise --clock)"
        )
    picked = {}
    for c in choices(graph, target, clock_mhz):
        k = _pick(c, ii)
        picked[c.layer.name] = Fold(int(c.pe[k]), int(c.simd[k]))
    return picked


def for_fps(graph: Graph, fps: float, target: Target, clock_mhz: float) -> dict[str, Fold]:
    """The cheapest folding that reaches `fps` frames a second at the clock."""
    if fps <= 0:
        raise FoldingError(f"--fps {fps}: must be positive")
    ii = int(clock_mhz * 1e6 // fps)
    if ii < 1:
        raise FoldingError(
            f"{fps:g} frames/s need less than one cycle a frame at {clock_mhz:g} MHz; "
            f"the most is {clock_mhz * 1e6:g} frames/s (raise --clock)"
        )
    return for_ii(graph, ii, target, clock_mhz)


def for_budget(graph: Graph, fraction: float, target: Target, clock_mhz: float) -> dict[str, Fold]:
    """The fastest folding whose estimate stays within `fraction` of every resource of the part.

    Raises FoldingError, naming the binding resource and layer, if even the smallest design needs more.
    """
    if not 0 < fraction <= 1:
        raise FoldingError(f"--budget {fraction:g}: must be above 0 and at most 1")
    table = choices(graph, target, clock_mhz)
    room = {k: v * fraction for k, v in target.capacity().items()}

    def need(ii: int) -> dict[str, float]:
        idx = [(c, _pick(c, ii)) for c in table]
        return {r: float(sum(getattr(c.cost, r)[k] for c, k in idx)) for r in room}

    steps = sorted({int(v) for c in table for v in c.cycles})
    lo, hi = 0, len(steps) - 1
    worst = need(steps[hi])
    over = [r for r in room if worst[r] > room[r]]
    if over:
        r = over[0]
        layer, amount = max(
            ((c.layer.name, float(getattr(c.cost, r)[_pick(c, steps[hi])])) for c in table), key=lambda p: p[1]
        )
        raise FoldingError(
            f"even fully folded the design needs {worst[r]:.0f} {r} of the {room[r]:.0f} that --budget "
            f"{fraction:g} allows on {target.name}; layer '{layer}' alone takes {amount:.0f}; "
            + ("give a larger --budget (at most 1) or " if fraction < 1 else "") + "a larger --target"
        )
    while lo < hi:
        mid = (lo + hi) // 2
        n = need(steps[mid])
        if all(n[r] <= room[r] for r in room):
            hi = mid
        else:
            lo = mid + 1
    return for_ii(graph, steps[lo], target, clock_mhz)


def dump(folds: Mapping[str, Fold], target: str, clock_mhz: float) -> str:
    """The folding as a TOML file that --folding reads back."""
    head = f'schema_version = {SCHEMA_VERSION}\ntarget = "{target}"\nclock_mhz = {clock_mhz:g}\n'
    body = "".join(
        f'\n[layer.{name}]\npe = {f.pe}\nsimd = {f.simd}\nresource = "{f.resource}"\nmemory = "{f.memory}"\n'
        for name, f in folds.items()
    )
    return head + body


def read(path: Path) -> dict[str, Fold]:
    """A folding file. Raises ConfigError with place and fact on anything unexpected."""
    if not path.is_file():
        raise ConfigError(f"folding file '{path}' does not exist")
    try:
        body = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"{path}: not valid TOML: {e}") from None
    folds = {}
    for name, entry in body.get("layer", {}).items():
        unknown = sorted(set(entry) - {"pe", "simd", "resource", "memory"})
        if unknown:
            raise ConfigError(
                f"{path}: layer '{name}' has unknown key '{unknown[0]}'; legal: pe, simd, resource, memory"
            )
        missing = sorted({"pe", "simd"} - set(entry))
        if missing or not all(isinstance(entry[k], int) for k in ("pe", "simd")):
            raise ConfigError(
                f"{path}: layer '{name}' needs integers pe and simd" + (f"; {missing[0]} is missing" if missing else "")
            )
        folds[name] = Fold(**entry)
    if not folds:
        raise ConfigError(f"{path}: no [layer.NAME] tables")
    return folds
