"""The module bench catches what it is there for: broken values, order, handshakes, capacities and cycles."""

import random

import hwq_hls
import pytest
from hwq_sim.harness.module import run_bench

from hwq.errors import MismatchError, ToolFailed
from hwq.hw.design import Instance
from hwq.hw.library import timing
from hwq.hw.schedule import Timing

pytestmark = pytest.mark.sim

RNG = random.Random(3)
X = [[RNG.getrandbits(8) for _ in range(11)] for _ in range(3)]
FIFO = {"DATA_W": 8, "DEPTH": 5, "STYLE": 1}
REPLAY = {"DATA_W": 8, "BEATS": 11, "PASSES": 3, "DEPTH": 16, "STYLE": 2}


def mutate(name, old, new):
    text = (hwq_hls.root() / "rtl" / name).read_text()
    assert text.count(old) == 1, f"{name} no longer holds {old!r} once"
    return {name: text.replace(old, new)}


MUTANTS = [
    ("hwq_relay.sv", "!out_full_q || m_axis_tready;", "1'b1;", "data_holds"),
    ("hwq_relay.sv", "s_axis_tready = !spare_full_q;", "s_axis_tready = 1'b1;", "run 'sink'"),
    ("hwq_relay.sv", "out_full_q   <= 1'b0;", "", "run 'reset 2'"),
    ("hwq_fifo.sv", "!= COUNT_W'(DEPTH);", "!= COUNT_W'(DEPTH - 1);", "input cycle"),
    ("hwq_fifo.sv", "m_axis_tvalid = count_q != '0;", "m_axis_tvalid = count_q > COUNT_W'(s_axis_tvalid);",
     "valid_holds"),
    ("hwq_fifo.sv", "wptr_q  <= '0;", "wptr_q  <= 1;", "value expected"),
    ("hwq_replay.sv", "base_q <= next(rptr_q)", "base_q <= rptr_q", "value expected"),
    ("hwq_replay.sv", "last_pass ? rptr_q : base_q", "base_q", "input cycle"),
    ("hwq_replay.sv", "!oldest[ADDR_W], oldest", "!rptr_q[ADDR_W], rptr_q", "value expected"),
    ("hwq_replay.sv", "pass_q == PASS_W'(PASSES - 1)", "pass_q == PASS_W'(PASSES - 2)", "beats"),
    ("hwq_ram.sv", "we && (waddr == raddr_d)", "1'b0", "value expected"),
]


@pytest.mark.parametrize("file, old, new, symptom", MUTANTS)
def test_a_broken_module_is_caught_with_its_symptom(file, old, new, symptom):
    sources = mutate(file, old, new)
    with pytest.raises(MismatchError) as e:
        if file == "hwq_relay.sv":
            run_bench("hwq_relay", {"DATA_W": 8}, X, X, Timing("fifo", depth=2), sources=sources)
        elif file == "hwq_fifo.sv":
            run_bench("hwq_fifo", FIFO, X, X, Timing("fifo", depth=5), sources=sources)
        else:
            timing = Timing("replay", n=11, passes=3, depth=16)
            run_bench("hwq_replay", REPLAY, X, [f * 3 for f in X], timing, sources=sources)
    assert symptom in str(e.value)
    assert "DATA_W=8" in str(e.value)


def test_a_counter_that_a_reset_misses_is_caught_although_it_often_stands_at_its_start():
    """hwq_spread between pixels of one row, 3 columns apart; a single reset in the middle of the run did not see it."""
    params = {"LANES": 2, "BITS": 4, "CHUNKS": 2, "IN_H": 2, "IN_W": 3, "FH": 1, "FW": 3, "VALUE": 0}
    frames = [[RNG.getrandbits(8) for _ in range(12)] for _ in range(3)]
    spread = [[v for row in (f[:6], f[6:]) for x in range(7) for v in (row[x // 3 * 2:][:2] if x % 3 == 0 else (0, 0))]
              for f in frames]
    unit = timing(Instance("dut", "hwq_spread", tuple(params.items()), ""))
    run_bench("hwq_spread", params, frames, spread, unit)
    sources = mutate("hwq_spread.sv", "u_gap_x (.clk, .rst_n,", "u_gap_x (.clk, .rst_n(1'b1),")
    with pytest.raises(MismatchError, match="run 'reset 2'") as e:
        run_bench("hwq_spread", params, frames, spread, unit, sources=sources)
    assert not any(f"run '{name}'" in str(e.value) for name in ("none", "source", "sink", "random"))


def test_the_first_difference_names_frame_beat_and_both_values():
    wrong = [list(f) for f in X]
    wrong[1][4] ^= 1
    place = r"run 'none' \(seed 1\): beat 15 \(frame 1, beat 4\): "
    with pytest.raises(MismatchError, match=rf"{place}value expected {wrong[1][4]} .*got {X[1][4]} "):
        run_bench("hwq_relay", {"DATA_W": 8}, X, wrong, Timing("fifo", depth=2))


def test_illegal_parameters_stop_the_build_with_their_sentence():
    with pytest.raises(ToolFailed, match="DEPTH=1, must be at least 2"):
        run_bench("hwq_fifo", {"DATA_W": 8, "DEPTH": 1}, X, X, Timing("fifo", depth=1))
