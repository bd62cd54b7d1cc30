"""AXI4-Stream source, sink and monitor for cocotb. Each does one thing, once per clock cycle.

Time is counted in cycles: cycle c ends with rising edge c. `drive(c)` sets the inputs of cycle c right after
edge c - 1; `sample(c)` runs at edge c and sees the settled values of cycle c.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hwq_sim.stream.stall import Pattern


def _channel(dut: Any, prefix: str) -> tuple[Any, Any, Any]:
    """TDATA, TVALID and TREADY handles of a stream port."""
    return getattr(dut, f"{prefix}_tdata"), getattr(dut, f"{prefix}_tvalid"), getattr(dut, f"{prefix}_tready")


class Source:
    """Offers beats in order, each in the first cycle its pattern allows, and holds it until it is taken."""

    def __init__(self, dut: Any, prefix: str, beats: Sequence[int], lasts: Sequence[int],
                 pattern: Pattern) -> None:
        self.data, self.valid, self.ready = _channel(dut, prefix)
        self.last = getattr(dut, f"{prefix}_tlast", None)
        self.beats, self.lasts, self.pattern = beats, lasts, pattern.tolist()
        self.sent = 0
        self.offering = False
        self.level = -1  # what TVALID was last set to

    def drive(self, cycle: int) -> None:
        may_offer = cycle >= len(self.pattern) or self.pattern[cycle]
        if may_offer and not self.offering and self.sent < len(self.beats):
            self.data.value = self.beats[self.sent]
            if self.last is not None:
                self.last.value = self.lasts[self.sent]
            self.offering = True
        if self.level != self.offering:
            self.level = int(self.offering)
            self.valid.value = self.level

    def sample(self, cycle: int) -> None:
        if self.offering and self.ready.value == 1:
            self.sent += 1
            self.offering = False


class Sink:
    """Raises TREADY as its pattern says, whatever TVALID does; `hold`: and then keeps it up until a beat moves."""

    def __init__(self, dut: Any, prefix: str, pattern: Pattern, hold: bool = False) -> None:
        _, self.valid, self.ready = _channel(dut, prefix)
        self.pattern = pattern.tolist()
        self.level = -1
        self.hold = hold
        self.holding = False

    def drive(self, cycle: int) -> None:
        level = int(self.holding or cycle >= len(self.pattern) or self.pattern[cycle])
        self.holding = self.hold and level == 1
        if level != self.level:
            self.level = level
            self.ready.value = level

    def sample(self, cycle: int) -> None:
        if self.holding and self.valid.value == 1:
            self.holding = False


class Monitor:
    """Records value, TLAST and cycle of every beat that moves."""

    def __init__(self, dut: Any, prefix: str) -> None:
        self.data, self.valid, self.ready = _channel(dut, prefix)
        self.last = getattr(dut, f"{prefix}_tlast", None)
        self.prefix = prefix
        self.beats: list[int] = []
        self.lasts: list[int] = []
        self.cycles: list[int] = []

    def sample(self, cycle: int) -> None:
        if self.valid.value == 1 and self.ready.value == 1:
            self.beats.append(int(self.data.value))
            self.cycles.append(cycle)
            if self.last is not None:
                self.lasts.append(int(self.last.value))

    def state(self) -> str:
        """The handshake as it stands, for a message about a hang."""
        return f"{self.prefix}: {len(self.cycles)} beats, TVALID={self.valid.value} TREADY={self.ready.value}"
