"""Stream modules stay below the LUT counts set for them (Yosys LUT, xc7; the counter is hwq.tools.yosys)."""

import shutil

import hwq_hls
import pytest

from hwq.tools.yosys import synth_xc7

MARKS = [  # module, parameters, LUT it must stay below, BRAM18 it may use
    ("hwq_dwc", {"LANE_W": 16, "IN_LANES": 1, "OUT_LANES": 4}, 27, 0),
    ("hwq_dwc", {"LANE_W": 16, "IN_LANES": 4, "OUT_LANES": 1}, 72, 0),
    ("hwq_fifo", {"DATA_W": 32, "DEPTH": 32, "STYLE": 1}, 32 + 20, 0),
    ("hwq_replay", {"DATA_W": 32, "BEATS": 512, "PASSES": 4, "DEPTH": 512, "STYLE": 2}, 120, 1),
]


@pytest.mark.synth
@pytest.mark.parametrize("module, params, below, bram18", MARKS)
def test_module_costs_less_than_its_mark(module, params, below, bram18, tmp_path):
    files = hwq_hls.rtl_files(module)
    for f in files:
        shutil.copy(f, tmp_path)
    cost = synth_xc7([f.name for f in files], module, params, tmp_path)
    assert cost.lut < below
    assert (cost.bram18, cost.dsp) == (bram18, 0)
