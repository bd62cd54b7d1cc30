import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hwq import record
from hwq.errors import ConfigError
from hwq.flow import synth
from hwq.report.build import SCHEMA_VERSION

MAC = """
module mac #(parameter int unsigned W = 4, parameter W_FILE = "") (
  input logic clk, input logic [W-1:0] x, input logic [2:0] a, output logic [2*W-1:0] q
);
  logic [W-1:0] w;
  rom #(.W(W), .W_FILE(W_FILE)) store (.clk, .a, .q(w));
  logic [2*W-1:0] acc_q;
  always_ff @(posedge clk) acc_q <= acc_q + (2*W)'({W{w[0]}} & x) + (2*W)'(w);
  assign q = acc_q;
endmodule
"""
ROM = """
module rom #(parameter int unsigned W = 4, parameter W_FILE = "") (
  input logic clk, input logic [2:0] a, output logic [W-1:0] q
);
  logic [W-1:0] mem [8];
  initial $readmemh(W_FILE, mem);
  always_ff @(posedge clk) q <= mem[a];
endmodule
"""
TOP = """
module tiny (input logic clk, input logic [3:0] x, input logic [2:0] a, output logic [7:0] p, q, r);
  mac #(.W(4), .W_FILE("mem/a.mem")) l0_mac (.clk, .x, .a, .q(p));
  mac #(.W(4), .W_FILE("mem/b.mem")) l1_mac (.clk, .x, .a, .q(q));
  mac #(.W(4), .W_FILE("mem/c.mem")) l1_again (.clk, .x, .a, .q(r));
endmodule
"""


@pytest.fixture
def build(tmp_path):
    """Three instances in two layers; the memories of the first and the last are equal."""
    for name, text in {
        "rtl/mac.sv": MAC,
        "rtl/rom.sv": ROM,
        "rtl/tiny.sv": TOP,
        "rtl/unused.sv": "module unused; endmodule",
        "rtl/files.f": "rtl/rom.sv\nrtl/mac.sv\nrtl/unused.sv\nrtl/tiny.sv\n",
        "mem/a.mem": "1 2 3 4 5 6 7 8",
        "mem/b.mem": "f e d c b a 9 8",
        "mem/c.mem": "1 2 3 4 5 6 7 8",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    instances = [
        {"name": n, "module": "mac", "layer": layer, "params": {"W": 4, "W_FILE": f"mem/{m}.mem"}}
        for n, layer, m in [("l0_mac", "l0", "a"), ("l1_mac", "l1", "b"), ("l1_again", "l1", "c")]
    ]
    write_manifest(tmp_path, instances=instances)
    return tmp_path


def write_manifest(folder, **changes):
    path = folder / "manifest.json"
    old = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(
        json.dumps(
            {"schema_version": SCHEMA_VERSION, "name": "tiny", "target": "pynq-z2", "clock_mhz": 100.0} | old | changes
        )
    )


def test_a_module_needs_the_files_its_text_names_and_no_others(build):
    files = synth.source_files(build)
    assert synth.closure("mac", files, build) == ["rtl/rom.sv", "rtl/mac.sv"]
    with pytest.raises(ConfigError, match="no file of module 'pool'"):
        synth.closure("pool", files, build)


def test_a_folder_that_is_no_build_says_how_to_make_one(tmp_path):
    with pytest.raises(ConfigError, match=r"no manifest\.json.*hwq export MODEL"):
        synth.synthesize(tmp_path)
    with pytest.raises(ConfigError, match="does not exist"):
        synth.synthesize(tmp_path / "gone")


def test_a_manifest_of_another_schema_or_cut_short_is_refused(build):
    write_manifest(build, schema_version=99)
    with pytest.raises(ConfigError, match=f"schema_version 99, this hwq reads {SCHEMA_VERSION}"):
        synth.synthesize(build)
    (build / "manifest.json").write_text('{"schema_version": 1, "na')
    with pytest.raises(ConfigError, match="can't be read"):
        synth.synthesize(build)


@pytest.mark.synth
def test_layers_are_sums_of_their_instances_and_equal_instances_run_once(build, tmp_path):
    steps = []
    records = synth.synthesize(build, cache_dir=tmp_path / "cache", progress=lambda *a: steps.append(a))
    assert [s[:2] for s in steps] == [(1, 3), (2, 3), (3, 3)]  # the whole, and two different instances
    by = {(r.scope, r.metric): r.value for r in records}
    detail = json.loads((build / "synth/instances.json").read_text())["instances"]
    luts = {i["name"]: i["lut"] for i in detail}
    assert by["l0", "lut"] == luts["l0_mac"] > 0
    assert by["l1", "lut"] == luts["l1_mac"] + luts["l1_again"]
    assert by["top", "ff"] > 0 and by["top", "dsp"] == 0
    assert record.load(build / "record.json") == records
    assert {r.unit for r in records if r.metric == "logic_delay_ns"} == {"ns, floor: LUT delays only"}


@pytest.mark.synth
def test_an_open_target_is_routed_for_its_clock(build, tmp_path):
    write_manifest(build, target="ulx3s-85f")
    records = synth.synthesize(build, per_layer=False, cache_dir=tmp_path / "cache")
    clock = next(r for r in records if r.metric == "fmax_mhz")
    assert clock.source == "nextpnr" and clock.value > 50
    again = synth.synthesize(build, per_layer=False, cache_dir=tmp_path / "cache")
    assert again == records


@pytest.mark.synth
@pytest.mark.parametrize("target", ["icebreaker", "zcu104"])
def test_other_families_are_counted(build, target):
    write_manifest(build, target=target)
    records = {r.metric: r.value for r in synth.synthesize(build, per_layer=False)}
    assert records["lut"] > 0 and records["ff"] > 0


@pytest.mark.synth
def test_a_terminated_run_stops_its_tools_at_once_and_can_be_repeated(build, tmp_path):
    # enough adders to keep Yosys busy for longer than this test waits
    slow = 'module mac #(parameter int unsigned W = 4, parameter W_FILE = "") (input logic clk, '
    slow += "input logic [63:0] x, input logic [2:0] a, output logic [127:0] q);\n"
    slow += "  always_ff @(posedge clk) q <= (x * x) ^ ((x + 3) * (x ^ (x << 7))) ^ ((x * 5) * (x - 9));\n"
    slow += "endmodule\n"
    fast = (build / "rtl/mac.sv").read_text()
    (build / "rtl/mac.sv").write_text(slow)
    write_manifest(build, instances=[{"name": "m", "module": "mac", "layer": "l0", "params": {}}])
    argv = [sys.executable, "-m", "hwq.cli", "synth", str(build), "--no-whole"]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not children(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    process.terminate()
    assert process.wait(timeout=10) == 130
    assert "interrupted" in process.stderr.read()
    assert not (build / "record.json").exists()
    time.sleep(0.5)
    assert not running_in(str(build))
    (build / "rtl/mac.sv").write_text(fast)
    good = {"W_FILE": "mem/a.mem"}
    write_manifest(build, instances=[{"name": "m", "module": "mac", "layer": "l0", "params": good}])
    assert synth.synthesize(build, whole=False)


def children(pid):
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def running_in(folder):
    """Processes whose working directory is `folder`."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if str(link.readlink()) == folder:
                found.append(link.parent.name)
        except OSError:
            continue
    return found
