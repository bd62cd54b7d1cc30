"""A full disk and an interrupt at any moment: one message, nothing half-written, no process left, a rerun works.

A disk that is full is the kernel's refusal to let a file grow (RLIMIT_FSIZE; no root needed), an interrupt is a real
signal: sent to a process of its own while a tool runs in it, or raised at a chosen system call (audit events).
"""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from hwq import cli, record
from tests.hw.graphs import mlp
from tests.sim.designs import folds, write_build

MODEL = "digits-mlp"
GRAPH = mlp([12, 8, 6, 5], [2, 4, 3], [3, 2, 4], seed=1, name="small")
RECIPE = """
name = "short"
data = "digits"
encoding = [{ kind = "scale", hi = 16.0 }]
input = { bits = 2 }
layers = [{ out = 6, weight_bits = 2 }, { out = 10 }]
train = { epochs = 60, batch = 256 }
float = { epochs = 1 }
"""


@pytest.fixture
def hwq(capsys, tmp_path, monkeypatch):
    """Run `hwq ARGS` in an empty folder: (exit code, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HWQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HWQ_DATA", raising=False)
    np.save("x.npy", np.random.default_rng(0).integers(0, 17, (300, 8, 8)))
    Path("short.toml").write_text(RECIPE)

    def call(*args):
        handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        with pytest.raises(SystemExit) as done:
            cli.main([str(a) for a in args])
        for s, handler in handlers.items():
            assert signal.getsignal(s) in (handler, signal.SIG_IGN)  # the latter after an interrupt
            signal.signal(s, handler)
        err = capsys.readouterr().err
        assert "Traceback" not in err and "internal error" not in err
        return done.value.code, err.strip()

    return call


@contextlib.contextmanager
def disk_full_after(size):
    """No file of this process, or of one it starts, can grow past `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def tree(*places):
    """{path: content} of all files below."""
    found = {}
    for place in map(Path, places):
        files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
        found |= {str(f): f.read_bytes() for f in files}
    return found


def half_written(folder="."):
    return [str(p) for p in Path(folder).rglob(".*") if p.suffix in (".tmp", ".old") or p.name.startswith(".run.")]


WRITERS = {  # what writes -> (arguments, the result)
    "export": (("export", MODEL, "--target", "pynq-z2", "-o", "b"), "b"),
    "run": (("run", MODEL, "--input", "x.npy", "-o", "y.npy"), "y.npy"),
    "report": (("report", "b", "--html", "r.html"), "r.html"),
}


@pytest.mark.parametrize(("command", "size"), [("export", 100), ("export", 3000), ("export", 9000), ("run", 1000),
                                               ("report", 4000)])
def test_a_full_disk_is_one_message_and_the_old_result_stays_whole(hwq, command, size):
    args, result = WRITERS[command]
    if command == "report":
        assert hwq(*WRITERS["export"][0])[0] == 0
    before = tree(".")
    with disk_full_after(size):  # nothing there yet
        code, err = hwq(*args)
    assert code == 3 and err.splitlines()[-1].startswith(f"hwq: {result}") and "free some space and run" in err
    assert tree(".") == before and not half_written()

    assert hwq(*args)[0] == 0  # the rerun
    whole = tree(".")
    assert tree(result)
    with disk_full_after(size):  # over an older result
        assert hwq(*args)[0] == 3
    assert tree(".") == whole and not half_written()
    assert hwq(*args)[0] == 0 and tree(".") == whole


def test_output_that_no_one_can_take_is_one_message(hwq):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "hwq.cli", "targets", "--json"], stdout=full,
                              stderr=subprocess.PIPE, text=True)
    assert done.returncode == 3 and done.stderr.startswith("hwq: No space left on device; free some space")


def test_a_device_is_written_to_and_never_replaced(hwq):
    code, err = hwq("run", MODEL, "--input", "x.npy", "-o", "/dev/full")
    assert code == 3 and "No space left on device" in err
    assert Path("/dev/full").is_char_device()
    assert hwq("run", MODEL, "--input", "x.npy", "-o", "/dev/null")[0] == 0
    assert Path("/dev/null").is_char_device()


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    record.write_atomic(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"


# ---- interrupts at a chosen system call

_events: dict[str, object] = {}


def _audit(event, args):
    hook = _events.get(event)
    if hook is not None:
        hook(str(args[0]))


sys.addaudithook(_audit)  # hooks can't be removed: this one is idle unless `_events` says otherwise


@contextlib.contextmanager
def signal_at(event, count, number=signal.SIGINT):
    """Send ourselves a signal at the count-th `event` on a half-written file; yields the list of those seen."""
    seen = []

    def hook(path):
        if ".tmp" in path:
            seen.append(path)
            if len(seen) == count:
                signal.raise_signal(number)

    _events[event] = hook
    try:
        yield seen
    finally:
        _events.clear()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(("command", "event", "count"), [
    ("export", "open", 1), ("export", "open", 17), ("export", "os.rename", 1), ("export", "os.rename", 2),
    ("run", "open", 1), ("run", "os.rename", 1), ("report", "open", 1)])
def test_an_interrupt_while_writing_leaves_the_old_result_or_none(hwq, command, event, count, number):
    args, result = WRITERS[command]
    if command == "report":
        assert hwq(*WRITERS["export"][0])[0] == 0
    before = tree(".")
    for _ in range(2):  # with nothing there, then over an older result
        with signal_at(event, count, number) as seen:
            code, err = hwq(*args)
        assert len(seen) >= count and code == 130
        assert err.splitlines()[-1] == "hwq: interrupted; nothing half-written is left, run the same command again"
        assert tree(".") == before and not half_written()
        assert hwq(*args)[0] == 0 and tree(result)
        before = tree(".")


def test_a_second_interrupt_does_not_disturb_the_clean_up(hwq, monkeypatch):
    with signal_at("open", 5):
        _events["shutil.rmtree"] = lambda path: signal.raise_signal(signal.SIGINT)
        code, _ = hwq(*WRITERS["export"][0])
    assert code == 130 and not half_written() and not Path("b").exists()


def test_an_ignored_signal_stays_ignored(hwq):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signal_at("open", 3, signal.SIGHUP) as seen:
            assert hwq(*WRITERS["export"][0])[0] == 0
        assert len(seen) > 3
    finally:
        signal.signal(signal.SIGHUP, before)


# ---- training


@pytest.mark.train
@pytest.mark.parametrize(("event", "count"), [("os.rename", n) for n in (1, 2, 30, 62, 63, 64, 65, 66)])
def test_training_interrupted_at_any_file_ends_in_the_same_bytes(hwq, event, count):
    """Renames: float baseline, 60 checkpoints, the finished one, recipe, encoding, records, model."""
    assert hwq("train", "short.toml", "-o", "whole")[0] == 0
    args = ("train", "short.toml", "-o", "halved")
    for path in Path("cache/float").iterdir():
        path.unlink()
    with signal_at(event, count) as seen:
        assert hwq(*args)[0] == 130
    assert len(seen) == count and not half_written()
    assert not Path("halved/model.onnx").exists()
    code, err = hwq("export", "halved", "--target", "pynq-z2")
    assert code == 2 and "holds neither model.onnx" in err
    assert hwq(*args)[0] == 0
    for file in ("model.onnx", "record.json", "recipe.toml", "encoding.json"):
        assert Path("whole", file).read_bytes() == Path("halved", file).read_bytes(), file


@pytest.mark.train
@pytest.mark.parametrize("size", [100, 4000])
def test_training_on_a_full_disk_is_one_message_and_the_rerun_works(hwq, size):
    args = ("train", "short.toml", "-o", "run", "--set", "train.epochs=3")
    with disk_full_after(size):
        code, err = hwq(*args)
    assert code == 3 and "free some space" in err and not tree("run") and not half_written()
    assert hwq(*args)[0] == 0
    whole = tree("run")
    with disk_full_after(size):
        assert hwq(*args)[0] == 3
    assert hwq(*args)[0] == 0 and tree("run") == whole


# ---- tools, in a process of their own


class Started:
    """`hwq ARGS` as a process; every process it starts carries its mark in the environment."""

    def __init__(self, *args, cache):
        self.mark = f"HWQ_TEST_MARK={uuid.uuid4().hex}"
        name, value = self.mark.split("=")
        self.process = subprocess.Popen([sys.executable, "-m", "hwq.cli", *map(str, args)], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env={**os.environ, name: value, "HWQ_CACHE": str(cache)})

    def others(self):
        """Names of the living processes it started."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if folder.name != str(self.process.pid) and self.mark.encode() in (folder / "environ").read_bytes():
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found

    def wait_for(self, word):
        """Until it has started a process with `word` in its command line."""
        end = time.monotonic() + 120
        while not any(word in c for c in self.others()):
            assert self.process.poll() is None, f"ended before '{word}': {self.process.stderr.read()}"
            assert time.monotonic() < end, f"'{word}' never ran"
            time.sleep(0.01)

    def stop(self, *numbers):
        """Send signals, 50 ms apart; (exit code, stderr) after the end, with no process left behind."""
        for number in numbers:
            self.process.send_signal(number)
            time.sleep(0.05)
        _, err = self.process.communicate(timeout=60)
        assert not self.others()
        return self.process.returncode, err.strip()


@pytest.fixture
def build(tmp_path):
    path = tmp_path / "build"
    write_build(path, GRAPH, folds(GRAPH, (4, 3, 5), (6, 2, 3)))
    return path


def exact_records(path, source):
    """What must be equal in two runs: all but the speed of the simulator."""
    return {(r.metric, r.scope, r.value) for r in record.load(path / "record.json")
            if r.source == source and r.metric != "sim_cycles_per_s"}


WORD = "hwq: interrupted; nothing half-written is left, run the same command again"


@pytest.mark.sim
@pytest.mark.parametrize(("tool", "signals"), [
    ("verilator_bin", (signal.SIGTERM,)), ("cc1plus", (signal.SIGINT,)), ("cc1plus", (signal.SIGINT, signal.SIGINT)),
    ("/simulate", (signal.SIGHUP,)), ("/simulate", (signal.SIGINT, signal.SIGTERM))])
def test_a_simulation_interrupted_in_a_tool_leaves_nothing_and_runs_again(build, tmp_path, tool, signals):
    cache = tmp_path / "cache"
    before = tree(build)
    started = Started("sim", build, "--frames", 2_000_000, cache=cache)
    started.wait_for(tool)
    code, err = started.stop(*signals)
    assert (code, err) == (130, WORD)
    assert tree(build) == before and not half_written(tmp_path)
    assert len(list(cache.rglob("simulate"))) == (tool == "/simulate")
    again, fresh = Started("sim", build, "--frames", 50, cache=cache), tmp_path / "fresh"
    assert again.process.communicate() and again.process.returncode == 0
    write_build(fresh, GRAPH, folds(GRAPH, (4, 3, 5), (6, 2, 3)))
    once = Started("sim", fresh, "--frames", 50, cache=cache)
    assert once.process.communicate() and once.process.returncode == 0
    assert exact_records(build, "verilator") == exact_records(fresh, "verilator") != set()


@pytest.mark.sim
def test_an_interrupted_trace_has_no_name_yet_and_an_older_one_stays(build, tmp_path):
    waves = tmp_path / "w.vcd"
    waves.write_text("old")
    started = Started("sim", build, "--frames", 100_000, "--trace", waves, cache=tmp_path / "cache")
    started.wait_for("/simulate")
    assert started.stop(signal.SIGINT) == (130, WORD)
    assert waves.read_text() == "old" and not half_written(tmp_path)


@pytest.mark.sim
def test_a_bench_interrupted_in_the_compiler_compiles_again(build, tmp_path):
    started = Started("sim", build, "--frames", 20, "--cocotb", cache=tmp_path / "cache")
    started.wait_for("make PYTHON")
    started.wait_for("cc1plus")
    assert started.stop(signal.SIGTERM) == (130, WORD)
    again = Started("sim", build, "--frames", 20, "--cocotb", cache=tmp_path / "cache")
    out, err = again.process.communicate()
    assert again.process.returncode == 0, err
    assert "cocotb tests passed" in out


@pytest.mark.sim
@pytest.mark.parametrize("size", [300, 20_000])  # the first refuses a log, the second the compiler
def test_a_simulation_on_a_full_disk_is_exit_3_and_runs_again(hwq, build, tmp_path, size):
    before = tree(build)
    with disk_full_after(size):  # while the model is compiled
        code, _ = hwq("sim", build, "--frames", 50)
    assert code == 3 and tree(build) == before and not half_written() and not list(Path("cache").rglob("simulate"))
    assert hwq("sim", build, "--frames", 50)[0] == 0
    before = tree(build)
    with disk_full_after(600):  # while the expectations of the frames are written
        code, err = hwq("sim", build, "--frames", 5000)
    assert code == 3 and err.startswith(f"hwq: {tmp_path / 'cache' / 'sim'}") and "free some space" in err
    assert tree(build) == before and not half_written()


@pytest.mark.sim
@pytest.mark.parametrize("kind", ["vcd", "fst"])
def test_waves_cut_off_by_a_full_disk_get_no_name(hwq, build, kind):
    assert hwq("sim", build, "--frames", 3, "--trace", f"ok.{kind}")[0] == 0
    with disk_full_after(Path(f"ok.{kind}").stat().st_size // 2):
        code, err = hwq("sim", build, "--frames", 3, "--trace", f"cut.{kind}")
    assert "the waves can't be written (disk full?)" in err or kind == "fst"
    assert code == 3 and not Path(f"cut.{kind}").exists() and not half_written()


@pytest.mark.synth
@pytest.mark.parametrize(("signals", "wait"), [((signal.SIGINT, signal.SIGINT), 0.0), ((signal.SIGTERM,), 0.5)])
def test_a_synthesis_interrupted_in_yosys_leaves_nothing_and_runs_again(build, tmp_path, signals, wait):
    before = tree(build)
    started = Started("synth", build, cache=tmp_path / "cache")
    started.wait_for("run.ys")
    time.sleep(wait)
    assert started.stop(*signals) == (130, WORD)
    assert {k: v for k, v in tree(build).items() if "/synth/" not in k} == before and not half_written(tmp_path)
    for folder in (build / "synth").iterdir():  # a job that was done, whole
        assert {"run.ys", "yosys.log", "stat.json"} <= {p.name for p in folder.iterdir()}
    write_build(tmp_path / "fresh", GRAPH, folds(GRAPH, (4, 3, 5), (6, 2, 3)))
    for path in (build, tmp_path / "fresh"):
        again = Started("synth", path, "--no-per-layer", cache=tmp_path / path.name / "cache")
        assert again.process.communicate() and again.process.returncode == 0
    assert exact_records(build, "yosys") == exact_records(tmp_path / "fresh", "yosys") != set()


@pytest.mark.synth
@pytest.mark.parametrize("size", [300, 3000, 30_000])
def test_a_synthesis_on_a_full_disk_is_exit_3_and_runs_again(hwq, build, size):
    with disk_full_after(size):
        code, err = hwq("synth", build, "--no-per-layer")
    assert code == 3 and not half_written(), err
    assert not [r for r in record.load(build / "record.json") if r.source == "yosys"]
    assert hwq("synth", build, "--no-per-layer")[0] == 0
    assert {"lut", "ff"} <= {r.metric for r in record.load(build / "record.json") if r.source == "yosys"}
