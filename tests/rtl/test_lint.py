"""Every library module, at every parameter set of its `lint` list, is silent under both frontends."""

import re

import hwq_hls
import pytest

from hwq.tools import verilator, yosys
from hwq.tools.run import run

SETS = [(name, s) for name, entry in hwq_hls.library().items() for s in entry["lint"]]
IDS = [f"{name}-{'-'.join(str(v) for k, v in s.items() if k != 'rows')}" for name, s in SETS]


def prepare(lint_set, folder):
    """Parameters of a set; its memory files are written to `folder` with the asked number of zero rows."""
    for key, rows in lint_set.get("rows", {}).items():
        (folder / lint_set[key]).write_text("0\n" * rows)
    return {k: v for k, v in lint_set.items() if k != "rows"}


@pytest.mark.sim
@pytest.mark.parametrize("module, lint_set", SETS, ids=IDS)
def test_verilator_wall_is_silent(module, lint_set, tmp_path):
    params = prepare(lint_set, tmp_path)
    files = hwq_hls.rtl_files(module)
    verilator.lint(verilator.find(), files, module, tmp_path, params, hwq_hls.include_dirs())


@pytest.mark.synth
def test_read_slang_accepts_every_module_without_a_word(tmp_path):
    """One Yosys start for all sets; each set has its own memory files."""
    script = []
    for path in (hwq_hls.root() / "rtl").glob("*.sv"):
        (tmp_path / path.name).write_text(path.read_text())
    for i, (module, lint_set) in enumerate(SETS):
        renamed = {k: f"set{i}_{v}" if isinstance(v, str) else v for k, v in lint_set.items()}
        generics = " ".join(f'-G {k}="{v}"' if isinstance(v, str) else f"-G {k}={v}"
                            for k, v in prepare(renamed, tmp_path).items())
        files = " ".join(f.name for f in hwq_hls.rtl_files(module))
        script += [f"log SET {IDS[i]}", f"read_slang --threads 1 --top {module} {generics} {files}",
                   f"select -assert-min 1 {module}*", "design -reset"]
    (tmp_path / "lint.ys").write_text("\n".join(script) + "\n")
    out = run([yosys.executable(), "-s", "lint.ys"], tmp_path, timeout_s=600).stdout
    assert len(re.findall(r"^SET ", out, flags=re.M)) == len(SETS)
    assert re.findall(r".*\b(?:warning|error)\b:.*", out, flags=re.I) == []
