"""cocotb bench of one hwq build; runs with `make` in this folder and needs no hwq.

Stimulus and expectation are in vectors.npz: for every stream, uint32 [frames, beats, words], made by the
integer reference. Boundary streams are driven and received by cocotbext-axi; a checker compares every beat of
every stream, and the handshake law, in each cycle. Names, beats and expected timing are in streams.json.
"""

import json
import logging
import random
from pathlib import Path

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiStreamBus, AxiStreamSink, AxiStreamSource

HERE = Path(__file__).parent
TABLE = json.loads((HERE / "streams.json").read_text())
VECTORS = np.load(HERE / "vectors.npz")
FRAMES = len(VECTORS[TABLE["streams"][0]["name"]])
REGIMES = {"none": (0.0, 0.0), "source": (0.4, 0.0), "sink": (0.0, 0.4), "random": (0.4, 0.4)}
SEED = 1


def beats_of(row, frames):
    """The beats of a stream as integers, in order, repetitions included."""
    words = VECTORS[row["name"]][frames].astype("<u4")
    raw = [[int.from_bytes(beat.tobytes(), "little") for beat in frame] for frame in words]
    step, again = row["group"], row["repeat"]
    return [
        beat
        for frame in raw
        for start in range(0, len(frame), step)
        for beat in frame[start : start + step] * again
    ]


def pauses(density, seed):
    """True in a cycle in which the bus model must pause; alone and in bursts."""
    rng = random.Random(seed)
    while True:
        burst = rng.randrange(1, 40)
        level = rng.choice((0.0, density, density, min(1.0, 2 * density)))
        for _ in range(burst):
            yield rng.random() < level


class Checker:
    """Expectation and handshake law of one stream."""

    def __init__(self, dut, row, frames):
        self.row = row
        self.data, self.valid, self.ready = (
            getattr(dut, f"{row['prefix']}_t{s}") for s in ("data", "valid", "ready")
        )
        self.last = getattr(dut, f"{row['prefix']}_tlast", None)
        self.per_frame = row["beats"] * row["repeat"]
        self.expected = beats_of(row, frames)
        self.count = 0
        self.waiting = False
        self.first_cycles, self.last_cycles = [], []

    def sample(self, cycle):
        """At the clock edge that ends `cycle`: its settled values. Returns what is wrong, or ''."""
        if not self.valid.value:
            wrong = self.say("TVALID fell before the beat was taken") if self.waiting else ""
            self.waiting = False
            return wrong
        if self.count == len(self.expected):
            return self.say("one beat too many")
        got, want = int(self.data.value), self.expected[self.count]
        if got != want:
            return self.say(
                f"expected 0x{want:X}, got 0x{got:X}" + (" (changed while waiting)" if self.waiting else "")
            )
        position = self.count % self.per_frame
        if self.last is not None and bool(self.last.value) != (position == self.per_frame - 1):
            return self.say(f"TLAST is {int(self.last.value)}")
        self.waiting = not self.ready.value
        if not self.waiting:
            if position == 0:
                self.first_cycles.append(cycle)
            if position == self.per_frame - 1:
                self.last_cycles.append(cycle)
            self.count += 1
        return ""

    def say(self, what):
        frame, beat = divmod(self.count, self.per_frame)
        place = f"{self.row['name']} (layer {self.row['layer']})"
        return f"{place} frame {frame} beat {beat % self.row['beats']}: {what}"

    def state(self):
        return (
            f"{self.row['name']}: {self.count} of {len(self.expected)} beats, "
            f"TVALID={self.valid.value} TREADY={self.ready.value}"
        )


class Bench:
    """Clock, reset, bus models on the boundary, checkers on every stream."""

    def __init__(self, dut):
        self.dut = dut
        logging.getLogger(f"cocotb.{dut._name}").setLevel(
            logging.ERROR
        )  # the bus models announce every detail
        dut.rst_n.value = 0
        cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
        args = {"reset": dut.rst_n, "reset_active_level": False}
        self.sources = {
            n: AxiStreamSource(AxiStreamBus.from_prefix(dut, n), dut.clk, **args) for n in TABLE["inputs"]
        }
        self.sinks = {
            n: AxiStreamSink(AxiStreamBus.from_prefix(dut, n), dut.clk, **args) for n in TABLE["outputs"]
        }
        self.rows = {row["name"]: row for row in TABLE["streams"]}

    async def reset(self, cycles=4):
        self.dut.rst_n.value = 0
        for bus in (*self.sources.values(), *self.sinks.values()):
            bus.clear()
        for _ in range(cycles):
            await RisingEdge(self.dut.clk)
        self.dut.rst_n.value = 1
        await RisingEdge(self.dut.clk)

    def stall(self, regime, seed):
        source, sink = REGIMES[regime]
        for i, bus in enumerate(self.sources.values()):
            bus.set_pause_generator(pauses(source, seed + i) if source else None)
        for i, bus in enumerate(self.sinks.values()):
            bus.set_pause_generator(pauses(sink, seed + 100 + i) if sink else None)

    def send(self, frames):
        for name, bus in self.sources.items():
            row = self.rows[name]
            width = row["tdata_bits"] // 8
            per_frame = row["beats"] * row["repeat"]
            beats = beats_of(row, frames)
            for f in range(0, len(beats), per_frame):
                bus.send_nowait(b"".join(b.to_bytes(width, "little") for b in beats[f : f + per_frame]))

    async def run(self, frames, stop_after=None):
        """Send `frames` (slice) and check every stream until all beats came, or for `stop_after` cycles."""
        checkers = [Checker(self.dut, row, frames) for row in TABLE["streams"]]
        self.send(frames)
        count = len(range(*frames.indices(FRAMES)))
        limit = 20 * (TABLE["latency_cycles"] + count * TABLE["ii_cycles"]) + 10_000
        drain = 20
        for cycle in range(stop_after or limit):
            await RisingEdge(self.dut.clk)
            wrong = [w for c in checkers if (w := c.sample(cycle))]
            assert not wrong, "; ".join(wrong)
            if all(c.count == len(c.expected) for c in checkers):
                drain -= 1
                if not drain:
                    break
        else:
            assert stop_after, f"no end after {limit} cycles:\n" + "\n".join(c.state() for c in checkers)
        for name in TABLE["flags"]:
            assert not getattr(self.dut, name).value, (
                f"{name}: TLAST does not come with the last beat of a frame"
            )
        return {c.row["name"]: c for c in checkers}

    def received(self, frames):
        """What the bus model received equals the expectation, frame by frame."""
        for name, bus in self.sinks.items():
            row = self.rows[name]
            width, per_frame = row["tdata_bits"] // 8, row["beats"] * row["repeat"]
            expected = beats_of(row, frames)
            for f in range(0, len(expected), per_frame):
                want = b"".join(b.to_bytes(width, "little") for b in expected[f : f + per_frame])
                assert bytes(bus.recv_nowait().tdata) == want, (
                    f"{name}: frame {f // per_frame} as received differs"
                )
            assert bus.empty(), f"{name}: one frame too many"


@cocotb.test()
@cocotb.parametrize(regime=list(REGIMES))
async def every_beat_is_right_in_each_stall_regime(dut, regime):
    bench = Bench(dut)
    await bench.reset()
    bench.stall(regime, SEED)
    await bench.run(slice(None))
    bench.received(slice(None))


@cocotb.test()
async def frames_back_to_back_keep_the_promised_latency_and_interval(dut):
    bench = Bench(dut)
    await bench.reset()
    seen = await bench.run(slice(None))
    first = min(seen[n].first_cycles[0] for n in TABLE["inputs"])
    out = seen[TABLE["outputs"][0]].last_cycles
    assert out[0] - first == TABLE["latency_cycles"], (
        f"latency {out[0] - first}, promised {TABLE['latency_cycles']}"
    )
    if TABLE["settled_after"] + 2 <= FRAMES:
        assert out[-1] - out[-2] == TABLE["ii_cycles"], (
            f"interval {out[-1] - out[-2]}, promised {TABLE['ii_cycles']}"
        )


@cocotb.test()
async def a_reset_in_mid_frame_leaves_no_trace(dut):
    bench = Bench(dut)
    await bench.reset()
    rng = random.Random(SEED)
    for _ in range(3):
        cycles = rng.randrange(1, TABLE["latency_cycles"] + TABLE["ii_cycles"] + 1)
        await bench.run(slice(None), stop_after=cycles)
        await bench.reset(2)
    await bench.run(slice(0, 2))
    bench.received(slice(0, 2))
