"""Choosing a folding: for a throughput, for a budget, or read from a file; always exact divisors."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwq.cost.choices import Choices, Floats, Link, choices
from hwq.cost.estimate import RESOURCES
from hwq.dtype import IntArray
from hwq.errors import CheckFailed, ConfigError, FoldingError
from hwq.hw.design import Fold
from hwq.hw.layers import Layer
from hwq.hw.library import Figures, figures
from hwq.hw.map import build, check_folds
from hwq.hw.store import BRAM18_IN_LUT
from hwq.ir.graph import Graph
from hwq.targets import Target

SCHEMA_VERSION = 1
DSP_IN_LUT = 240  # what a DSP block is worth: xc7z020 has 53 200 LUT for 220
# Prices tried one after the other until the design fits: no DSP blocks if that is possible, and the usual price of
# block memory; then memory cheaper or dearer, DSP blocks ever cheaper.
DSP_PRICES = (np.inf, DSP_IN_LUT, DSP_IN_LUT / 3, DSP_IN_LUT / 6, DSP_IN_LUT / 12, DSP_IN_LUT / 48)
BRAM_PRICES = tuple(BRAM18_IN_LUT * k for k in (1, 1 / 3, 3, 1 / 30, 30))
NEVER = 1 << 60  # cycles of a network that comes to no steady state
Place = tuple[int, ...]  # which of its foldings every layer has
Limits = int | IntArray  # cycles a frame, for all layers or for each


@dataclass(frozen=True)
class Search:
    """Foldings of all layers, with their costs, and the streams between them."""

    graph: Graph
    target: Target
    table: tuple[Choices, ...]
    links: tuple[Link, ...]
    room: Floats  # [4] of RESOURCES
    clock_mhz: float

    def pick(self, limits: Limits, bram: float = BRAM18_IN_LUT, dsp: float = np.inf) -> Place:
        """The place of the cheapest folding of every layer that takes at most its limit of cycles, at prices in LUT.

        limits: cycles a frame, one for all layers or one for each.
        Every layer in turn with the others as they are, until none changes: nothing gets cheaper by another folding
        of one layer. Every layer must have a folding that is fast enough.
        """
        ii = int(np.max(limits))
        prices = np.array([1.0, 0.0, bram, dsp if np.isfinite(dsp) else 0.0])
        own = []
        for c, limit in zip(self.table, np.broadcast_to(limits, len(self.table)), strict=True):
            legal = c.cycles <= limit
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

    def need(self, place: Place, ii: int) -> Floats:
        """[4] of RESOURCES."""
        total = np.sum([c.cost[:, k] for c, k in zip(self.table, place, strict=True)], axis=0)
        for link in self.links:
            total += link.cost(ii)[:, link.of_source[place[link.source]], link.of_sink[place[link.sink]]]
        return np.asarray(total)

    def fitting(self, limits: Limits, dsp_prices: tuple[float, ...] = DSP_PRICES) -> Place | None:
        """The first choice that stays within the room."""
        for dsp in dsp_prices:
            for bram in BRAM_PRICES:
                place = self.pick(limits, bram, dsp)
                if self.fits(place, int(np.max(limits))):
                    return place
        return None

    def fits(self, place: Place, ii: int) -> bool:
        """Whether it stays within the room."""
        return bool(np.all(self.need(place, ii) <= self.room))

    def cheapest(self, limits: Limits) -> Place:
        """The first choice that fits, else the cheapest without DSP blocks."""
        return self.fitting(limits) or self.pick(limits)

    def price(self, place: Place) -> float:
        """What it costs, in LUT."""
        return float(np.array([1.0, 0.0, BRAM18_IN_LUT, DSP_IN_LUT]) @ self.need(place, int(self.cycles(place).max())))

    def folds(self, place: Place) -> dict[str, Fold]:
        return {c.layer.name: c.folds[k] for c, k in zip(self.table, place, strict=True)}

    def cycles(self, place: Place) -> IntArray:
        """Cycles a frame of every layer."""
        return np.array([c.cycles[k] for c, k in zip(self.table, place, strict=True)])

    def figures(self, place: Place) -> Figures:
        """Latency and II of the mapped network, FIFOs with room to spare."""
        return figures(build(self.graph, self.folds(place), self.target, self.clock_mhz))

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
    return Search(graph, target, table, links, room, clock_mhz)


def for_ii(graph: Graph, ii: int, target: Target, clock_mhz: float, latency: int | None = None) -> dict[str, Fold]:
    """The cheapest folding that needs at most `ii` cycles a frame, and `latency` from the first beat in to the last out
    of a frame that finds the design empty.

    DSP blocks are used where the part has too few LUTs without them. A design that does not fit at all is the cheapest
    one without DSP blocks. Raises FoldingError if a layer can't be as fast, naming it, or the network as a whole.
    """
    s = search(graph, target, clock_mhz)
    ii = ii if latency is None else min(ii, latency)
    slowest = max(s.table, key=lambda c: int(c.cycles.min()))
    least = int(slowest.cycles.min())
    if least > ii:
        f = slowest.folds[int(np.argmin(slowest.cycles))]
        raise FoldingError(
            f"layer '{slowest.layer.name}' can't take {ii} cycles a frame: its fastest folding, PE={f.pe} "
            f"SIMD={f.simd}, takes {least}; the most is {clock_mhz * 1e6 / least:.0f} frames/s at {clock_mhz:g} MHz "
            f"({'raise --latency' if latency == ii else 'lower --fps'} or raise --clock)"
        )
    return s.folds(_meeting(s, ii, latency))


def _meeting(s: Search, ii: int, latency: int | None) -> Place:
    """A cheap folding of the network that meets both as the token model sees it, every layer included.

    From the cheapest one whose layers take `ii` cycles each, always the step that gains most cycles for its price (of
    those that fit, if there are any), then every layer as slow again as the others allow. Raises FoldingError.
    """
    known: dict[Place, int] = {}

    def lacking(place: Place) -> int:
        """Cycles over the limits."""
        if place not in known:
            try:
                f = s.figures(place)
                over = 0 if latency is None else max(0, f.latency_cycles - latency)
                known[place] = max(0, f.ii_cycles - ii) + over
            except CheckFailed:  # no steady state
                known[place] = NEVER
        return known[place]

    def gain(other: Place) -> tuple[bool, bool, float]:
        saved = lacking(place) - lacking(other)
        return saved > 0, s.fits(other, ii), saved / max(1.0, s.price(other) - s.price(place))

    limits = np.full(len(s.table), ii)
    place = s.cheapest(limits)
    while lacking(place):
        steps = [(less, s.cheapest(less)) for less in _faster(s, place, limits)]
        if not steps:
            raise _unreachable(s, place, ii, latency)
        best = max(steps, key=lambda step: gain(step[1]))
        limits, place = best if gain(best[1])[0] else steps[-1]  # no layer alone: all of them
    for k in np.flatnonzero(limits < ii):
        slower = np.unique(s.table[k].cycles[(s.table[k].cycles > s.cycles(place)[k]) & (s.table[k].cycles <= ii)])
        lo, hi = 0, len(slower)
        while lo < hi:  # the last of them that still meets everything
            middle = (lo + hi) // 2
            more = limits.copy()
            more[k] = slower[middle]
            other = s.cheapest(more)
            if lacking(other) or (s.fits(place, ii) and not s.fits(other, ii)):
                hi = middle
            else:
                lo, limits, place = middle + 1, more, other
    return place


def _unreachable(s: Search, place: Place, ii: int, latency: int | None) -> FoldingError:
    """What to say where every layer is at its fastest, and that is too slow."""
    f, slowest = s.figures(place), s.table[int(np.argmax(s.cycles(place)))].layer.name
    wish = f"{ii} cycles a frame" + ("" if latency is None else f" and {latency} of latency")
    return FoldingError(
        f"{wish} can't be had: with every layer at its fastest folding the network takes {f.ii_cycles} cycles a frame "
        f"and has {f.latency_cycles} cycles of latency; its slowest layer is then '{slowest}' "
        f"({s.cycles(place).max()} cycles); lower --fps, raise --latency or --clock"
    )


def _faster(s: Search, place: Place, limits: IntArray) -> Iterator[IntArray]:
    """Limits of cycles with one layer twice as fast as it is, for each; at the end all by a quarter."""
    cycles, least = s.cycles(place), np.array([c.cycles.min() for c in s.table])
    halves = np.maximum(cycles // 2, least)
    for k in np.flatnonzero(halves < cycles):
        yield np.where(np.arange(len(limits)) == k, halves, limits)
    if np.any(least < cycles):
        yield np.maximum(np.minimum(limits, cycles[least < cycles].max() * 3 // 4), least)


def for_fps(graph: Graph, fps: float, target: Target, clock_mhz: float, latency: int | None = None) -> dict[str, Fold]:
    """The cheapest folding that reaches `fps` frames a second at the clock, as for_ii."""
    if fps <= 0:
        raise FoldingError(f"--fps {fps}: must be positive")
    ii = int(clock_mhz * 1e6 // fps)
    if ii < 1:
        raise FoldingError(
            f"{fps:g} frames/s need less than one cycle a frame at {clock_mhz:g} MHz; "
            f"the most is {clock_mhz * 1e6:.0f} frames/s (raise --clock)"
        )
    return for_ii(graph, ii, target, clock_mhz, latency)


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
    body = _body(path)
    folds = {}
    have = {la.name: [la.rows, la.cols] for la in found}
    tables = body.get("layer", {})
    if not isinstance(tables, dict):
        raise ConfigError(f"{path}: 'layer' is {tables!r}; write tables [layer.NAME] with pe and simd")
    for name, entry in tables.items():
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
        if missing or not all(type(entry[k]) is int for k in ("pe", "simd")):
            raise ConfigError(
                f"{path}: layer '{name}' needs integers pe and simd" + (f"; {missing[0]} is missing" if missing else "")
            )
        for k in ("resource", "memory"):
            if not isinstance(entry.get(k, ""), str):
                raise ConfigError(f"{path}: layer '{name}': {k} is {entry[k]!r}; write one word in quotes")
        folds[name] = Fold(**entry)
    if not folds:
        raise ConfigError(f"{path}: no [layer.NAME] tables")
    if found:
        try:
            check_folds(tuple(found), folds)
        except FoldingError as e:
            raise FoldingError(f"{path} does not fold this model:\n{e}") from None
    return folds


def read_depths(path: Path) -> dict[str, int]:
    """The table [depth] of a folding file: beats of the FIFOs and line buffers whose depth is not to be found, by
    instance. Raises ConfigError.
    """
    table = _body(path).get("depth", {})
    wrong = table if not isinstance(table, dict) else {k: v for k, v in table.items() if type(v) is not int or v < 1}
    if wrong:
        raise ConfigError(f"{path}: [depth] {wrong!r}: write instance = beats, positive integers")
    return dict(table)


def _body(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"folding file '{path}' does not exist")
    try:
        body = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: not valid TOML: {e}") from None
    version = body.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        raise ConfigError(f"{path}: schema_version {version!r}, this hwq reads {SCHEMA_VERSION}; export again")
    return body
