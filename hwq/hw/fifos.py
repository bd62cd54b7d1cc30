"""FIFO sizing: the least depths at which a Design keeps the II that it has with room to spare.

Depths of FIFOs on branches and of the rings of windows are found with the token model, which equals the RTL to the
cycle. Every depth is minimal with the others as they are: one beat less loses throughput (or breaks the bound on
latency, where there is one) or blocks.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hwq.errors import CheckFailed, FoldingError
from hwq.hw.design import Design, Instance
from hwq.hw.library import Figures, figures, timing

LEAST_FIFO = 2


def resizable(design: Design) -> dict[str, tuple[int, int]]:
    """Instance -> (least depth, depth it has) of everything whose depth is free."""
    found: dict[str, tuple[int, int]] = {}
    for i in design.instances:
        if i.module == "hwq_fifo":
            found[i.name] = (LEAST_FIFO, i.int_param("DEPTH"))
        elif i.module == "hwq_window":
            geometry = timing(i).geometry
            found[i.name] = (geometry.least_depth, i.int_param("DEPTH"))
    return found


def with_depths(design: Design, depths: Mapping[str, int]) -> Design:
    """The design with other DEPTH parameters."""

    def sized(i: Instance) -> Instance:
        if i.name not in depths:
            return i
        return replace(i, params=tuple((k, depths[i.name] if k == "DEPTH" else v) for k, v in i.params))

    return design.replace(instances=tuple(sized(i) for i in design.instances))


def held(came: NDArray[np.int64], went: NDArray[np.int64]) -> int:
    """Most beats that a FIFO holds after any cycle, from the cycles in which beats came and went."""
    most = np.arange(1, len(came) + 1) - np.searchsorted(went, came, side="right")
    return int(most.max(initial=0))


def high_water(design: Design, found: Figures) -> dict[str, int]:
    """FIFO or replay buffer -> most beats it holds, in the run of the token model."""
    most = {}
    for i in design.instances:
        if i.module in ("hwq_fifo", "hwq_replay"):
            came, went = (np.asarray(found.times[s[0].name]) for s in (design.into(i.name), design.out_of(i.name)))
            if i.module == "hwq_replay":  # a beat leaves when it is sent for the last time
                went = went.reshape(-1, i.int_param("PASSES"), i.int_param("BEATS"))[:, -1].reshape(-1)
            most[i.name] = held(came, went)
    return most


def fixed(design: Design, depths: Mapping[str, int]) -> Design:
    """The design with depths of its own for some FIFOs and windows. Raises FoldingError with all that can't be."""
    limits = resizable(design)
    wrong = [
        f"depth of '{n}', which the design does not have; it has: {', '.join(limits) or 'none'}"
        for n in depths
        if n not in limits
    ]
    wrong += [
        f"depth {d} of '{n}' is below the {limits[n][0]} beats that it needs to work at all"
        for n, d in depths.items()
        if n in limits and d < limits[n][0]
    ]
    if wrong:
        raise FoldingError("\n".join(wrong))
    return with_depths(design, depths)


def minimal(design: Design, latency: int | None = None, keep: Collection[str] = ()) -> Design:
    """The design with the least depths that keep its II, and a latency of at most `latency` cycles if that is given.

    keep: instances whose depth stays. Raises CheckFailed if it deadlocks as it is.
    """
    limits = {n: ends for n, ends in resizable(design).items() if n not in keep}
    if not limits:
        return design
    full = figures(design)

    def keeps(depths: Mapping[str, int]) -> bool:
        try:
            f = figures(with_depths(design, depths))
        except CheckFailed:
            return False
        return f.ii_cycles <= full.ii_cycles and (latency is None or f.latency_cycles <= latency)

    depths = {name: most for name, (_, most) in limits.items()}
    for name, most in high_water(design, full).items():  # a place more than was ever held is never needed
        if name in depths:
            depths[name] = max(LEAST_FIFO, min(depths[name], most + 1))
    if not keeps(depths):
        depths = {name: most for name, (_, most) in limits.items()}
    windows = {n: limits[n][0] for n in depths if design.instance(n).module == "hwq_window"}
    if keeps(depths | windows):
        depths |= windows
    width = {n: design.into(n)[0].width for n in depths}
    for name in sorted(depths, key=lambda n: -depths[n] * width[n]):
        least, most = limits[name][0], depths[name]
        while least < most:
            middle = (least + most) // 2
            if keeps(depths | {name: middle}):
                most = middle
            else:
                least = middle + 1
        depths[name] = most
    return with_depths(design, depths)
