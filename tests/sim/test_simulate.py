"""`simulate` on small networks: what it accepts, what it measures, what it says when something is wrong."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest

from hwq import record
from hwq.errors import CheckFailed, ConfigError, DataError, MismatchError, ModelError
from hwq.flow import harness
from hwq.flow.simulate import simulate
from hwq.golden import execute
from hwq.tools.run import run
from tests.hw.graphs import mlp
from tests.sim.designs import folds, write_build

pytestmark = pytest.mark.sim
GRAPH = mlp([12, 8, 6, 5], [2, 4, 3], [3, 2, 4], seed=1, name="small")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("original") / "build"
    write_build(path, GRAPH, folds(GRAPH, (4, 3, 5), (6, 2, 3)))
    return path


@pytest.fixture
def build(original, tmp_path):
    return shutil.copytree(original, tmp_path / "build")


def break_a_weight(build):
    file = next((build / "mem").glob("fc1*_w.mem"))
    rows = file.read_text().split()
    rows[0] = f"{int(rows[0], 16) ^ 1:0{len(rows[0])}x}"
    file.write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize("stall", harness.STALLS)
def test_every_stream_is_right_in_every_stall_regime(build, cache, stall):
    seen = []
    found = simulate(build, 64, stall=stall, seed=5, cache_dir=cache,
                     progress=lambda a, b: seen.append((a, b)))
    assert (found.frames, found.mismatches, found.timing_equal) == (64, 0, True)
    assert all(s.beats > 0 for s in found.streams)
    assert (found.latency_cycles is None) == (stall != "none")
    assert seen[0] == (0, 64) and seen[-1] == (64, 64)
    saved = {r.metric: r.value for r in record.load(build / "record.json") if r.source == "verilator"}
    assert saved["mismatches"] == 0 and saved["frames"] == 64 and saved["fifo_beats"] > 0


def test_several_processes_give_the_same_timing_as_one(build, cache):
    one, two = (simulate(build, 100, jobs=j, cache_dir=cache) for j in (1, 2))
    assert (one.latency_cycles, one.ii_cycles) == (two.latency_cycles, two.ii_cycles)
    assert [s.beats for s in one.streams] == [s.beats for s in two.streams]


def test_new_weights_need_no_new_model(build, cache):
    before = harness.compile_model(build, cache)
    break_a_weight(build)
    assert harness.compile_model(build, cache) == before


def test_a_wrong_weight_is_located_saved_and_replayed(build, cache):
    break_a_weight(build)
    with pytest.raises(MismatchError, match=r"layer .fc1. stream fc1_mvu_o .*frame \d+.*expected -?") as e:
        simulate(build, 100, stall="random", seed=2, cache_dir=cache)
    folder = next((build / "sim" / "repro").iterdir())
    assert str(folder) in str(e.value)
    assert len(np.load(folder / "input0.npy")) <= 4
    with pytest.raises(MismatchError, match="layer 'fc1'"):
        simulate(build, replay=folder, cache_dir=cache)
    assert len(list((build / "sim" / "repro").iterdir())) == 1
    failed = {r.metric: r.value for r in record.load(build / "record.json")}
    assert failed["mismatches"] > 0


def test_the_first_wrong_frame_counts_not_the_first_process(build, cache):
    frames = np.zeros((64, 12), dtype=np.int64)
    frames[40:] = 3
    np.save(build / "x.npy", frames)
    break_a_weight(build)
    acc = execute(GRAPH, [frames], keep="all")["act0"]
    first = int(np.flatnonzero(acc[:, 0])[0])  # W[0, 0] of fc1 is the broken one
    with pytest.raises(MismatchError, match=f"frame {first},"):
        simulate(build, input=build / "x.npy", cache_dir=cache)


def test_a_hang_ends_with_the_state_of_every_handshake(build, cache):
    file = build / "rtl" / "hwq_relay.sv"
    text = file.read_text()
    stuck = text.replace("assign m_axis_tvalid = out_full_q;", "assign m_axis_tvalid = 1'b0;")
    assert stuck != text
    file.write_text(stuck)
    with pytest.raises(MismatchError, match=r"no beat moved for \d+ cycles") as e:
        simulate(build, 3, cache_dir=cache)
    assert str(e.value).count("TREADY=") == len(json.loads((build / "manifest.json").read_text())["streams"])
    assert "expected a beat, got none" in str(e.value)


def test_timing_other_than_promised_fails_and_names_the_stream(build, cache):
    table = json.loads((build / "sim" / "streams.json").read_text())
    row = next(s for s in table["streams"] if s["name"] == "fc1_mvu_o")
    row["ends"][0] += 1
    (build / "sim" / "streams.json").write_text(json.dumps(table))
    with pytest.raises(CheckFailed, match=r"layer 'fc1' stream fc1_mvu_o \(frame 0.*expected its last beat"):
        simulate(build, 20, cache_dir=cache)


@pytest.mark.parametrize("suffix", ["vcd", "fst"])
def test_waves_are_written_on_request(build, cache, suffix):
    waves = build / f"waves.{suffix}"
    simulate(build, 2, trace=waves, cache_dir=cache)
    assert waves.stat().st_size > 500


def test_the_cocotb_bench_runs_with_make_alone(build, tmp_path):
    done = run(["make", f"PYTHON={sys.executable}"], build / "sim", check=False)
    assert done.code == 0, done.stdout[-3000:]
    assert "TESTS=6 PASS=6 FAIL=0" in done.stdout
    break_a_weight(build)
    done = run(["make", f"PYTHON={sys.executable}"], build / "sim", check=False)
    assert done.code != 0 and "fc1_mvu_o (layer fc1) frame" in done.stdout


@pytest.mark.parametrize("frames, message", [
    (np.zeros((2, 11), dtype=np.int64), "the design takes"),
    (np.full((2, 12), 9, dtype=np.int64), "9"),
    (np.full((2, 12), 0.5, dtype=np.float32), "fractions"),
    (np.array(["a"]), "numbers"),
])
def test_wrong_frames_are_refused(build, cache, frames, message):
    np.save(build / "x.npy", frames)
    with pytest.raises(DataError, match=message):
        simulate(build, input=build / "x.npy", cache_dir=cache)


def test_wrong_options_are_refused(build, cache, tmp_path):
    for options, message in (({"stall": "often"}, "none, source, sink"), ({"frames": 0}, "at least 1"),
                             ({"trace": tmp_path / "x.txt"}, ".fst or .vcd"), ({"jobs": 0}, "at least 1")):
        with pytest.raises(ConfigError, match=message):
            simulate(build, **options, cache_dir=cache)
    with pytest.raises(DataError, match="not a reproducer"):
        simulate(build, replay=tmp_path, cache_dir=cache)
    with pytest.raises(ModelError, match="hwq export"):
        simulate(tmp_path / "nothing", cache_dir=cache)
