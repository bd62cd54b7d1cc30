"""Choosing a folding: for a throughput, for a budget, or read from a file; always exact divisors."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwq.cost.choices import Choices, Floats, Link, choices
from hwq.cost.estimate import RESOURCES
from hwq.errors import ConfigError, FoldingError
from hwq.hw.design import Fold
from hwq.hw.layers import Layer
from hwq.hw.map import check_folds
from hwq.hw.store import BRAM18_IN_LUT
from hwq.ir.graph import Graph
from hwq.targets import Target

SCHEMA_VERSION = 1
DSP_IN_LUT = 240  # what a DSP block is worth: xc7z020 has 53 200 LUT for 220
# Prices tried one after the other until the design fits: no DSP blocks if that is possible, and the usual price of
# block memory; then memory cheaper or dearer, DSP blocks ever cheaper.
DSP_PRICES = (np.inf, DSP_IN_LUT, DSP_IN_LUT / 3, DSP_IN_LUT / 6, DSP_IN_LUT / 12, DSP_IN_LUT / 48)
BRAM_PRICES = tuple(BRAM18_IN_LUT * k for k in (1, 1 / 3, 3, 1 / 30, 30))


@dataclass(frozen=True)
class Search:
    """Foldings of all layers, with their costs, and the streams between them."""

    table: tuple[Choices, ...]
    links: tuple[Link, ...]
    room: Floats  # [4] of RESOURCES
    clock_mhz: float

    def pick(self, ii: int, bram: float = BRAM18_IN_LUT, dsp: float = np.inf) -> tuple[int, ...]:
        """The place of the cheapest folding of every layer that takes at most `ii` cycles, at prices in LUT.

        Every layer in turn with the others as they are, until none changes: nothing gets cheaper by another folding
        of one layer. Every layer must have a folding that is fast enough.
        """
        prices = np.array([1.0, 0.0, bram, dsp if np.isfinite(dsp) else 0.0])
        own = []
        for c in self.table:
            legal = c.cycles <= ii
            if not np.isfinite(dsp):
                legal = legal & (c.cost[RESOURCES.index("dsp")] == 0)
            own.append(np.where(legal, prices @ c.cost, np.inf))
        joined = [np.tensordot(prices, link.cost(ii), 1) for link in self.links]
        place = [int(np.argmin(o)) for o in own]
        for _ in range(len(place) + 2):
            before = list(place)
            for k in range(len(place)):
                price = own[k].copy()
                for link, cost in zip(self.links, joined, strict=True):
                    if link.source == k:
                        price += cost[link.of_source, link.of_sink[place[link.sink]]]
                    if link.sink == k:
                        price += cost[link.of_source[place[link.source]], link.of_sink]
                if price[place[k]] > price.min():
                    place[k] = int(np.argmin(price))
            if place == before:
                break
        return tuple(place)

    def need(self, place: tuple[int, ...], ii: int) -> Floats:
        """[4] of RESOURCES."""
        total = np.sum([c.cost[:, k] for c, k in zip(self.table, place, strict=True)], axis=0)
        for link in self.links:
            total += link.cost(ii)[:, link.of_source[place[link.source]], link.of_sink[place[link.sink]]]
        return np.asarray(total)

    def fitting(self, ii: int, dsp_prices: tuple[float, ...] = DSP_PRICES) -> tuple[int, ...] | None:
        """The first choice that stays within the room."""
        for dsp in dsp_prices:
            for bram in BRAM_PRICES:
                place = self.pick(ii, bram, dsp)
                if np.all(self.need(place, ii) <= self.room):
                    return place
        return None

    def folds(self, place: tuple[int, ...]) -> dict[str, Fold]:
        return {c.layer.name: c.folds[k] for c, k in zip(self.table, place, strict=True)}

    def rates(self, dsp: bool) -> Iterator[int]:
        """Cycles a frame worth trying, ascending: those of foldings, where no resource is surely too little."""
        steps = np.unique(np.concatenate([c.cycles for c in self.table]))
        steps = steps[steps >= max(int(c.cycles.min()) for c in self.table)]
        least = np.zeros((len(RESOURCES), len(steps)))
        for c in self.table:
            some = np.flatnonzero(dsp | (c.cost[RESOURCES.index("dsp")] == 0))
            some = some[np.argsort(c.cycles[some], kind="stable")]
            lowest = np.minimum.accumulate(c.cost[:, some], axis=1)
            least += lowest[:, np.searchsorted(c.cycles[some], steps, side="right") - 1]
        yield from steps[np.all(least <= self.room[:, None], axis=0)].tolist()


def search(graph: Graph, target: Target, clock_mhz: float, fraction: float = 1.0) -> Search:
    """All foldings, and `fraction` of the part as room."""
    table, links = choices(graph, target, clock_mhz)
    room = fraction * np.array([target.capacity()[r] for r in RESOURCES], dtype=float)
    return Search(table, links, room, clock_mhz)


def for_ii(graph: Graph, ii: int, target: Target, clock_mhz: float) -> dict[str, Fold]:
    """The cheapest folding of all layers that needs at most `ii` cycles a frame.

    DSP blocks are used where the part has too few LUTs without them. A design that does not fit at all is the cheapest
    one without DSP blocks. Raises FoldingError if a layer can't be as fast, naming it.
    """
    s = search(graph, target, clock_mhz)
    slowest = max(s.table, key=lambda c: int(c.cycles.min()))
    least = int(slowest.cycles.min())
    if least > ii:
        f = slowest.folds[int(np.argmin(slowest.cycles))]
        raise FoldingError(
            f"layer '{slowest.layer.name}' can't take {ii} cycles a frame: its fastest folding, PE={f.pe} "
            f"SIMD={f.simd}, takes {least}; the most is {clock_mhz * 1e6 / least:.0f} frames/s at {clock_mhz:g} MHz "
            "(lower --fps or raise --clock)"
        )
    return s.folds(s.fitting(ii) or s.pick(ii))


def for_fps(graph: Graph, fps: float, target: Target, clock_mhz: float) -> dict[str, Fold]:
    """The cheapest folding that reaches `fps` frames a second at the clock, as for_ii."""
    if fps <= 0:
        raise FoldingError(f"--fps {fps}: must be positive")
    ii = int(clock_mhz * 1e6 // fps)
    if ii < 1:
        raise FoldingError(
            f"{fps:g} frames/s need less than one cycle a frame at {clock_mhz:g} MHz; "
            f"the most is {clock_mhz * 1e6:.0f} frames/s (raise --clock)"
        )
    return for_ii(graph, ii, target, clock_mhz)


def for_budget(graph: Graph, fraction: float, target: Target, clock_mhz: float) -> dict[str, Fold]:
    """The fastest folding whose estimate stays within `fraction` of every resource of the part; DSP blocks are used
    only if there is none without.

    Raises FoldingError, naming the binding resource and layer, if even the smallest design needs more.
    """
    if not 0 < fraction <= 1:
        raise FoldingError(f"--budget {fraction:g}: must be above 0 and at most 1")
    s = search(graph, target, clock_mhz, fraction)
    for prices in (DSP_PRICES[:1], DSP_PRICES[1:]):
        for ii in s.rates(dsp=len(prices) > 1):
            if (place := s.fitting(ii, prices)) is not None:
                return s.folds(place)
    ii = max(int(c.cycles.max()) for c in s.table)
    place = s.pick(ii)
    need = s.need(place, ii)
    r = int(np.argmax(need / np.maximum(s.room, 1e-9)))
    c, k = max(zip(s.table, place, strict=True), key=lambda p: float(p[0].cost[r, p[1]]))
    raise FoldingError(
        f"even fully folded the design needs {need[r]:.0f} {RESOURCES[r]} of the {s.room[r]:.0f} that --budget "
        f"{fraction:g} allows on {target.name}; layer '{c.layer.name}' alone takes {c.cost[r, k]:.0f}; "
        + ("give a larger --budget (at most 1) or " if fraction < 1 else "")
        + "a larger --target"
    )


def dump(folds: Mapping[str, Fold], target: str, clock_mhz: float, found: Sequence[Layer] = ()) -> str:
    """The folding as a TOML file that --folding reads back. found: the layers, whose matrices it names too."""
    head = f'schema_version = {SCHEMA_VERSION}\ntarget = "{target}"\nclock_mhz = {clock_mhz:g}\n'
    matrix = {la.name: f"matrix = [{la.rows}, {la.cols}]\n" for la in found}
    body = "".join(
        f'\n[layer.{name}]\n{matrix.get(name, "")}pe = {f.pe}\nsimd = {f.simd}\nresource = "{f.resource}"\n'
        f'memory = "{f.memory}"\n'
        for name, f in folds.items()
    )
    return head + body


def read(path: Path, found: Sequence[Layer] = ()) -> dict[str, Fold]:
    """A folding file. Raises ConfigError with place and fact on anything unexpected, FoldingError for a file of another
    network than that of the layers `found`.
    """
    if not path.is_file():
        raise ConfigError(f"folding file '{path}' does not exist")
    try:
        body = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"{path}: not valid TOML: {e}") from None
    folds = {}
    have = {la.name: [la.rows, la.cols] for la in found}
    for name, entry in body.get("layer", {}).items():
        if not isinstance(entry, dict):
            raise ConfigError(f"{path}: layer '{name}' is {entry!r}; write a table [layer.{name}] with pe and simd")
        unknown = sorted(set(entry) - {"matrix", "pe", "simd", "resource", "memory"})
        if unknown:
            raise ConfigError(
                f"{path}: layer '{name}' has unknown key '{unknown[0]}'; legal: matrix, pe, simd, resource, memory"
            )
        matrix = entry.pop("matrix", None)
        if matrix is not None and matrix != have.get(name, matrix):
            raise FoldingError(
                f"{path} folds another network: its layer '{name}' is a matrix {matrix}, that of this model "
                f"{have[name]}; export this model with --fps or --budget and use the folding.toml of that build"
            )
        missing = sorted({"pe", "simd"} - set(entry))
        if missing or not all(isinstance(entry[k], int) for k in ("pe", "simd")):
            raise ConfigError(
                f"{path}: layer '{name}' needs integers pe and simd" + (f"; {missing[0]} is missing" if missing else "")
            )
        folds[name] = Fold(**entry)
    if not folds:
        raise ConfigError(f"{path}: no [layer.NAME] tables")
    if found:
        try:
            check_folds(tuple(found), folds)
        except FoldingError as e:
            raise FoldingError(f"{path} does not fold this model:\n{e}") from None
    return folds
