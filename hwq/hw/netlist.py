"""A netlist under construction: modules hung behind open stream ends."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hwq.hw.design import Instance, MemFile, Param, Stream

ROOMY = 4  # frames that a FIFO on a branch holds before it is sized: more than any branch is late


@dataclass(frozen=True, slots=True)
class End:
    """An open stream end: who drives it and what it carries (Stream). `cut` if its TREADY comes from a register.

    tensor "": what it carries is no tensor of the Graph, so that the stream is not checked.
    """

    src: tuple[str, str]
    tensor: str
    lanes: int
    bits: int
    signed: bool
    beats: int
    repeat: int = 1
    cut: bool = False
    group: int = 0
    turned: tuple[int, int, int] = (1, 1, 1)

    @property
    def width(self) -> int:
        return self.lanes * self.bits


class Netlist:
    """Instances and streams, in topological order."""

    def __init__(self) -> None:
        self.instances: list[Instance] = []
        self.streams: list[Stream] = []

    def join(
        self,
        ends: End | Sequence[End],
        name: str,
        module: str,
        layer: str,
        params: Mapping[str, Param],
        mems: tuple[MemFile, ...] = (),
        *,
        tensor: str | None = None,
        lanes: int | None = None,
        bits: int | None = None,
        signed: bool | None = None,
        beats: int | None = None,
        repeat: int | None = None,
        cut: bool = False,
        group: int = 0,
        turned: tuple[int, int, int] = (1, 1, 1),
    ) -> End:
        """Add `module` fed by `ends`; the keyword arguments say in what its output differs from the first of them."""
        self.instances.append(Instance(name, module, tuple(params.items()), layer, mems))
        ends = [ends] if isinstance(ends, End) else ends
        for k, end in enumerate(ends):
            self.stream(end, (name, "s_axis" if len(ends) == 1 else f"s{k}_axis"))
        end = ends[0]
        return End(
            (name, "m_axis"),
            end.tensor if tensor is None else tensor,
            lanes or end.lanes,
            bits or end.bits,
            end.signed if signed is None else signed,
            beats or end.beats,
            end.repeat if repeat is None else repeat,
            cut,
            group,
            turned,
        )

    def stream(self, end: End, dst: tuple[str, str]) -> None:
        """Close an end at a port."""
        port = end.src[1].removesuffix("_axis").removeprefix("m")
        name = f"{end.src[0]}_o{port}" if end.src[0] else "s_axis"
        if not dst[0]:
            name = "m_axis"
        self.streams.append(
            Stream(name, end.src, dst, end.tensor, end.lanes, end.bits, end.signed, end.beats, end.repeat,
                   end.group, end.turned)
        )  # fmt: skip

    def cut(self, end: End, name: str, layer: str) -> End:
        """`end`, behind a relay unless its TREADY comes from a register already."""
        return end if end.cut else self.join(end, name, "hwq_relay", layer, {"DATA_W": end.width}, cut=True)

    def fork(self, end: End, count: int, layer: str) -> list[End]:
        """`count` ends that carry the same; a FIFO stands on every branch, deeper than any delay of the others
        (hwq.hw.fifos gives it its depth).
        """
        branches: list[End] = []
        for k in range(count - 1):
            name = f"{layer}_fork{k or ''}"
            self.join(end, name, "hwq_fork", layer, {"DATA_W": end.width})
            branches.append(replace(end, src=(name, "m0_axis")))
            end = replace(end, src=(name, "m1_axis"))
        branches.append(end)
        if count < 2:
            return branches
        return [
            self.join(b, f"{layer}_branch{k}", "hwq_fifo", layer,
                      {"DATA_W": b.width, "DEPTH": ROOMY * (b.beats + 64), "STYLE": 0}, cut=True)
            for k, b in enumerate(branches)
        ]  # fmt: skip

    def width(self, end: End, lanes: int, name: str, layer: str, max_beats: int) -> End:
        """Bring `end` to `lanes` lanes with at most two converters: through gcd lanes if that takes no more than
        `max_beats` beats a frame, else through the lcm.
        """
        if end.lanes == lanes:
            return end
        total = end.lanes * end.beats
        a, b = end.lanes, lanes
        steps = [b]
        if a % b and b % a:
            g = math.gcd(a, b)
            steps = [g, b] if total // g <= max_beats else [math.lcm(a, b), b]
        for k, out in enumerate(steps):
            params: dict[str, Param] = {"LANE_W": end.bits, "IN_LANES": end.lanes, "OUT_LANES": out}
            end = self.join(end, f"{name}{k or ''}", "hwq_dwc", layer, params, lanes=out, beats=total // out)
        return end
